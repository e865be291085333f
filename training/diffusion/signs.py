"""What the statistics of denoising networks and classifiers of noisy pictures mean."""

from collections.abc import Sequence

from training.signs import Alarm, Chart, Config, Means, Signs, Watch, few_differences, part, skipped_steps

EXPLODED = 100.0  # norm of gradients: a hundred times the limit to which `auto` clips them
STUCK = 0.95  # of the error of an output of zeros, which an untrained network has
SMALLER = "a smaller --lr, or a longer --warm-up"
TICKS = 10


def _rising(name: str) -> Watch:
    def judge(means: Sequence[Means]) -> str:
        first, last = means[0][name], means[-1][name]
        if len(means) < TICKS + 1 or last < 1.05 * first:
            return ""
        return f"the loss has risen from {first:.3g} to {last:.3g} within {len(means) - 1} ticks"

    return Watch("the loss rises", (name,), judge, SMALLER, TICKS)


def _stuck(means: Sequence[Means]) -> str:
    share = means[-1]["loss/share"]
    return f"the error is still {share:.0%} of that of an untrained network" if share > STUCK else ""


def _exploding(means: Sequence[Means]) -> str:
    norm = means[-1]["gradients/denoise"]
    return f"the gradients have a norm of {norm:.3g}" if norm > EXPLODED else ""


def _long_average(config: Config) -> list[Alarm]:
    """An average that reaches back further than the run is long."""
    halves, ramp = part(config, "average").get("kimg"), part(config, "average").get("ramp")
    kimg = part(config, "pace").get("kimg")
    if not isinstance(halves, list | tuple) or not isinstance(kimg, int | float) or ramp:
        return []
    first = next((half for half in halves if isinstance(half, int | float)), 0)
    if first <= kimg:
        return []
    text = f"the average has a half-life of {first:g} kimg, but the run is {kimg:g} kimg long"
    return [Alarm("the average is longer than the run", 0, text, f"a shorter one: --set average.kimg={kimg / 10:g}")]


_WATCHES = (Watch("the gradients explode", ("gradients/denoise",), _exploding, SMALLER), skipped_steps(SMALLER))
_STILL = Watch("the loss does not fall", ("loss/share",), _stuck, "a larger --lr, or a shorter --warm-up", TICKS)
_NOISE = "each falls and then stays; the most noise and the least are hardest to predict"

DENOISING = Signs(
    shown={"loss/denoise": "loss"},
    charts=(
        Chart("Loss", ("loss/denoise", "loss/bound"), "falls quickly, then slowly for the whole run"),
        Chart("Share of the error of an untrained network", ("loss/share",), "1 at first, falls at once and far"),
        Chart("Loss by noise level", ("loss/noise *",), _NOISE),
    ),
    watches=(
        *_WATCHES,
        _rising("loss/denoise"),
        _STILL,
        few_differences("a longer run, or a smaller sampling.cfg_scale"),
    ),
    before=_long_average,
    diverged=SMALLER,
)

CLASSIFYING = Signs(
    shown={"loss/classify": "loss", "right": "right"},
    charts=(
        Chart("Loss", ("loss/classify",), "falls; if it falls to 0 the images are learned by heart"),
        Chart("Share of the loss of a guess", ("loss/share",), "1 at first, falls"),
        Chart("Share of right classes", ("right", "right/noise *"), "rises; at the most noise it stays at chance"),
    ),
    watches=(
        *_WATCHES,
        _rising("loss/classify"),
        _STILL,
    ),
    before=_long_average,
    diverged=SMALLER,
    diversity=False,
)
