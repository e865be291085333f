"""What StyleGAN2's statistics mean."""

from collections.abc import Sequence

from training.signs import Alarm, Chart, Config, Means, Signs, Watch, few_differences, part, skipped_steps
from training.stylegan2 import config as presets

NEAR = 0.95  # healthy runs of the demo faces begin with signs of 0.85 and go to 0.5; the target of ADA is 0.6
# D's loss is 2 ln 2 = 1.39 if it cannot tell reals from fakes, and 0 if it always can. A smaller change than this over
# the watched ticks counts as standing still.
FLAT = 0.1
PAIRS_WON = 0.05  # D's loss of pairs if it places every real above its fake by 3; it is ln 2 = 0.69 at chance
OF_D = ("loss/D fake", "loss/D real", "loss/D pair")
CEILING = 0.95  # p is limited to 1
FAR = 20.0  # the presets of the papers lie up to 5 times beside the rule; those who tune go by factors of 2 and 4

CHARTS = (
    Chart("Losses", ("loss/G", "loss/D fake", "loss/D real", "loss/D pair"),
          "they move up and down without end. D fake and D real sum to 1.39, D pair is 0.69, if D cannot tell reals "
          "from fakes; near 0 D has won."),
    Chart("Losses of regularization", ("loss/*",), "steady, or slowly falling."),
    Chart("Scores that D gives", ("scores/*", "margin"),
          "reals lie above fakes, and the distance does not grow for ever."),
    Chart("Signs of the scores", ("signs/*",),
          "0.3 to 0.8 for reals. Near 1 and -1 D knows everything by heart. With --loss rpgan they mean nothing."),
    Chart("Augmentation: p", ("augment/p",),
          "it rises, then settles below 0.8. If it climbs to 1, there are too few images."),
    Chart("Augmentation", ("augment/*",), "the mean sign comes to --target, 0.6 unless given."),
    Chart("Path length", ("path/*",), "the length settles, and the penalty falls to near 0."),
    Chart("R1 and R2", ("r1/*", "r2/*"), "steady. If they jump tenfold, a larger --gamma helps."),
    Chart("Learning rates", ("learning rate/*",),
          "level, at interval / (interval + 1) of the rate that was set (4/5 for G, 16/17 for D), because lazy "
          "regularization adds a step to every interval (Karras et al. 2020, appendix B).",
          section="Machine"),
)  # fmt: skip


def d_has_won(recent: Sequence[Means]) -> str:
    """D scores every real above every fake, and its loss does not change."""
    now = recent[-1]
    told = [[record[name] for name in OF_D if name in record] for record in recent]
    losses = [sum(parts) for parts in told if parts]
    if losses and abs(losses[-1] - losses[0]) > FLAT:
        return ""
    if "loss/D pair" in now:  # scores of pairs have no zero, so their signs mean nothing
        won = now["loss/D pair"] <= PAIRS_WON
        return f"it places the reals above the fakes, at a loss of {losses[-1]:.2g}" if won else ""
    real, fake = now["signs/real"], now["signs/fake"]
    if real < NEAR or fake > -NEAR:
        return ""
    at = f", at a loss of {losses[-1]:.2g}" if losses else ""
    # a mean sign of 0.98 is 99 % on one side
    return f"it knows {50 + 50 * real:.3g} % of the reals and {50 - 50 * fake:.3g} % of the fakes{at}"


def p_at_ceiling(recent: Sequence[Means]) -> str:
    """p is as high as it goes."""
    p = recent[-1]["augment/p"]
    return f"p is {p:.2f}: augmentations begin to appear in the samples" if p >= CEILING else ""


WATCHES = (
    Watch("D has won", ("signs/real", "signs/fake"), d_has_won,
          "try more images, --aug ada, a larger --gamma, or --transfer from a trained network"),
    few_differences("try --transfer from an earlier network of this run, a larger --gamma, or --aug ada"),
    Watch("p is at its ceiling", ("augment/p",), p_at_ceiling,
          "try more images, another --augpipe, or --transfer from a trained network"),
    skipped_steps("try --precision fp32, a larger --gamma, or smaller learning rates"),
)  # fmt: skip


def far_gamma(config: Config) -> list[Alarm]:
    """An alarm if gamma is far from the rule of `auto` and from the preset's own value. 0 is off on purpose."""
    loss, image, batch = part(config, "loss"), part(config, "generator"), part(config, "pace").get("batch")
    gamma, height, width = loss.get("gamma"), image.get("height"), image.get("width")
    sizes = [size for size in (height, width, batch) if isinstance(size, int) and size > 0]
    follows_rule = loss.get("kind", "logistic") == "logistic"  # the rule was found for this loss
    if not isinstance(gamma, int | float) or gamma <= 0 or len(sizes) < 3 or not follows_rule:
        return []
    rule = presets.gamma_rule(*sizes)
    meant = presets.preset_gamma(str(config.get("preset")), *sizes)
    if any(value / FAR <= gamma <= value * FAR for value in (rule, meant)):
        return []
    times = f"{gamma / rule:,.0f} times" if gamma > rule else f"1/{rule / gamma:,.0f} of"
    text = f"--gamma {gamma:g} is {times} the {rule:.3g} that suits {height}x{width} with --batch {batch}"
    return [Alarm("gamma is far from the rule", 0, text, "try the rule's value, unless it is meant")]


SIGNS = Signs(
    shown={"loss/G": "G", "loss/D fake": "Dfake", "loss/D real": "Dreal", "loss/D pair": "Dpair"}
    | {"loss/D r1": "r1", "loss/D r2": "r2", "path/length": "path", "augment/p": "p"},
    charts=CHARTS,
    watches=WATCHES,
    before=far_gamma,
    diverged="a larger --gamma or a smaller learning rate",
)
