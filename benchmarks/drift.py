"""What a direction does to pictures of the demo set: how far it moves a drawn factor, and how far all others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.observer import Observer, Seen, cause_names, draw, look
from benchmarks.quality import HELD_OUT
from models.stylegan2.directions import move
from models.stylegan2.generator import Generator
from models.stylegan2.latents import layer_range
from models.stylegan2.sampler import StyleSampler
from torch_utils.cli import progress

RANGES = ("all", "coarse", "middle", "fine")
SEEN_WELL = 0.5  # share of a factor's variance that the observer must see in drawn faces for it to count as drift
ENOUGH = 2 / 3  # of the largest change: layers that change less are not chosen, however little else they change
DRAWN = 500  # held-out faces that tell how well the observer sees
BATCH = 16


@dataclass(frozen=True)
class Moved:
    """What a direction does to held-out pictures, from strength -s to +s.

    Changes are in standard deviations of a factor over the network's pictures; drift is that of the other factors, the
    mean of its absolute value over factors and pictures.
    """

    name: str
    layers: str
    skill: float | None  # correlation of the fitted plane with the labels of held-out pictures
    values: tuple[float, ...]  # of the factor, in its own unit, at -s, 0 and s; empty where none is meant
    change: float
    drift: float
    most: dict[str, float]  # the mean changes of those that change most, of the others where a factor is meant
    kept: float  # share of pictures that show the same expression at -s and at s


@dataclass(frozen=True)
class Scene:
    """A network, the observer's view of its pictures, and which factors it can be asked about."""

    G: Generator
    observer: Observer
    ws: Tensor  # [N, L, D] of all seeds
    groups: Tensor  # [N]
    seen: Seen
    deviation: Tensor  # of each cause over the pictures, [causes]
    visible: Tensor  # whether the observer sees a cause well, [causes]
    strength: float


def look_at_samples(G: Generator, observer: Observer, count: int, height: int, width: int, strength: float) -> Scene:
    """The first `count` seeds, classes in turn, and what the observer makes of their pictures."""
    classes = [seed % G.config.classes for seed in range(count)] if G.config.classes else None
    sampler = StyleSampler(G)
    ws = sampler.ws(sampler.requests(range(count)))
    drawn = draw(HELD_OUT, DRAWN, height, width)
    guess = look(observer, drawn.pixels.split(BATCH)).causes
    explained = 1 - (drawn.causes - guess).square().mean(dim=0) / drawn.causes.var(dim=0, unbiased=False)
    seen = _see(G, observer, ws, "samples")
    return Scene(
        G=G,
        observer=observer,
        ws=ws,
        groups=torch.tensor(classes or [0] * count),
        seen=seen,
        deviation=seen.causes.std(dim=0),
        visible=explained > SEEN_WELL,
        strength=strength,
    )


def best_layers(trials: dict[str, Moved]) -> str:
    """Of the ranges that change the factor nearly as much as any, that with the least drift for its change.

    All layers where none moves it the right way.
    """
    most = max(trial.change for trial in trials.values())
    if most <= 0:
        return "all"
    enough = {word: trial for word, trial in trials.items() if trial.change >= ENOUGH * most}
    return min(enough, key=lambda word: enough[word].drift / enough[word].change)


def measure(
    scene: Scene, name: str, target: int | None, step: Tensor, word: str, seeds: range, skill: float | None = None
) -> Moved:
    """What `strength` steps [D] to either side do to the pictures of these seeds, in the layers of a word.

    Args:
        scene: the network and its samples.
        name: of the direction.
        target: which cause is meant to move; None for none.
        step: the direction, as long as one standard deviation of w along it.
        word: layers.
        seeds: whose pictures.
        skill: of the fit.
    """
    layers, ws = layers_of(word, scene.G), scene.ws[seeds.start : seeds.stop]
    ends = []
    for strength in (-scene.strength, scene.strength):
        ends.append(_see(scene.G, scene.observer, move(ws, step, strength, layers), f"{name} {word}"))
    low, high = ends
    change = (high.causes - low.causes) / scene.deviation  # [n, causes]
    others = scene.visible.clone()
    values: tuple[float, ...] = ()
    if target is not None:
        others &= torch.tensor([not _same_factor(k, target) for k in range(len(others))])
        middle = scene.seen.causes[seeds.start : seeds.stop]
        values = tuple(float(causes[:, target].mean()) for causes in (low.causes, middle, high.causes))
    means = {n: float(change[:, k].mean()) for k, n in enumerate(cause_names()) if others[k]}
    most = dict(sorted(means.items(), key=lambda pair: -abs(pair[1]))[:3])
    return Moved(
        name=name,
        layers=word,
        skill=skill,
        values=values,
        change=float(change[:, target].mean()) if target is not None else 0.0,
        drift=float(change[:, others].abs().mean()),
        most=most,
        kept=float((low.expressions == high.expressions).float().mean()),
    )


def _same_factor(a: int, b: int) -> bool:
    """Whether two causes tell of one factor, as the styles of hair do."""
    first, second = (cause_names()[k].split(" ")[0] for k in (a, b))
    return first == second


def _see(G: Generator, observer: Observer, ws: Tensor, label: str) -> Seen:
    sampler = StyleSampler(G)
    made = sampler.pictures(ws, sampler.requests(range(len(ws))), BATCH)
    return look(observer, torch.stack([pixels.cpu() for pixels in progress(made, len(ws), label)]).split(BATCH))


def ranges(G: Generator) -> Sequence[str]:
    """The words that mean layers of this network."""
    return [word for word in RANGES if word != "fine" or G.config.num_ws > 7]


def layers_of(word: str, G: Generator) -> list[int]:
    return list(range(G.config.num_ws)) if word == "all" else layer_range(word, G.config.num_ws)
