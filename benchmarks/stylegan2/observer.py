"""A small network that recognizes what a drawn face was drawn from: its expression, which is the class, and the rest.

It also learns pose, hair, glasses and colors, for the sake of its features: a network that learned only five classes
would map all faces of a class to one point, and could not tell whether the faces differ.
"""

from collections.abc import Iterable
from math import tau
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.cartoon import EXPRESSIONS, GLASSES, HAIR_STYLES
from imaging.demo import FACTORS, DemoSet
from imaging.pixels import to_images
from metrics.sliced_wasserstein import descriptors

LONGEST_SIDE = 64  # larger faces are reduced first
FEATURES = 96
FACES, ROUNDS, BATCH = 8192, 3, 32
LEARNING_RATE = 0.003
WORLD = 1  # the faces that it learns from; train.py's demo set is world 0
# Factors with several columns of causes, and the names of the columns.
SPLIT = {"hair_style": HAIR_STYLES, "glasses": GLASSES, "background": ("sin", "cos"), "expression": ()}
CAUSES = [f"{name} {choice}".strip() for name in FACTORS for choice in SPLIT.get(name, ("",))]


class Faces(NamedTuple):
    """Drawn faces: pixels uint8 [N, 3, H, W], expressions [N], and causes [N, causes]."""

    pixels: Tensor
    expressions: Tensor
    causes: Tensor


class Look(NamedTuple):
    """An observer's answers on the CPU: features [N, FEATURES], expressions [N], causes [N, causes]; and patches."""

    features: Tensor
    expressions: Tensor
    causes: Tensor
    patches: Tensor


class Observer(nn.Module):
    """Faces [N, 3, height, width] in [-1, 1] -> features [N, FEATURES]; two layers make answers of the features."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        side, self.reduction = max(height, width), 1
        while side // self.reduction > LONGEST_SIDE:
            self.reduction *= 2
        first = 2 if side // self.reduction > LONGEST_SIDE // 2 else 1
        self.body = nn.Sequential(
            *_convolution(3, 24, stride=first),
            *_convolution(24, 48, stride=2),
            *_convolution(48, 96),
            *_convolution(96, 96, stride=2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 96, FEATURES),
            nn.ReLU(),
        )
        self.expression = nn.Linear(FEATURES, len(EXPRESSIONS))
        self.causes = nn.Linear(FEATURES, len(CAUSES))

    def forward(self, images: Tensor) -> Tensor:
        x = F.avg_pool2d(images, self.reduction) if self.reduction > 1 else images
        return self.body(x.contiguous(memory_format=torch.channels_last))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def draw(world: int, count: int, height: int, width: int) -> Faces:
    """The first `count` faces of a world."""
    demo = DemoSet(height, width, count, seed=world)
    pixels = torch.stack([torch.from_numpy(demo.read(i)) for i in range(count)])
    return Faces(pixels, torch.from_numpy(demo.labels), causes(torch.from_numpy(demo.factors)))


def causes(factors: Tensor) -> Tensor:
    """Factors [N, 17] without the expression -> numbers [N, causes] that are close for faces that look alike.

    Choices become one number each, and the hue of the background its sine and cosine.
    """
    columns: list[Tensor] = []
    for name, column in zip(FACTORS, factors.unbind(dim=1), strict=True):
        if name == "background":
            columns += [(column * tau).sin(), (column * tau).cos()]
        elif name not in SPLIT:
            columns.append(column)
        elif choices := len(SPLIT[name]):
            columns += F.one_hot(column.long(), choices).float().unbind(dim=1)
    return torch.stack(columns, dim=1)


def train(height: int, width: int, device: torch.device, faces: int = FACES, rounds: int = ROUNDS) -> Observer:
    """An observer of faces of one size, trained for `rounds` epochs on `faces` drawn faces."""
    drawn = draw(WORLD, faces, height, width)
    mean, deviation = drawn.causes.mean(dim=0), drawn.causes.std(dim=0) + 1e-6
    wanted = (drawn.causes - mean) / deviation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        observer = Observer(height, width).to(device)
        order = torch.cat([torch.randperm(faces) for _ in range(rounds)]).split(BATCH)
    optimizer = torch.optim.AdamW(observer.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=len(order))
    for chosen in order:
        features = observer(to_images(drawn.pixels[chosen].to(device)))
        loss = F.cross_entropy(observer.expression(features), drawn.expressions[chosen].to(device))
        loss = loss + F.mse_loss(observer.causes(features), wanted[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # the last layer answers in the units of the causes
        observer.causes.weight.mul_(deviation.to(device)[:, None])
        observer.causes.bias.mul_(deviation.to(device)).add_(mean.to(device))
    return observer.requires_grad_(False).eval()


def look(observer: Observer, batches: Iterable[Tensor]) -> Look:
    """The observer's answers for pictures, given as batches of pixels uint8 [n, 3, H, W]."""
    device = observer.causes.weight.device
    parts, count = [], 0
    for pixels in batches:
        features = observer(to_images(pixels.to(device)))
        patches = descriptors(to_images(pixels.cpu()), range(count, count + len(pixels)))
        parts.append((features, observer.expression(features).argmax(dim=1), observer.causes(features), patches))
        count += len(pixels)
    return Look(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))


def variance_seen(true: Tensor, seen: Tensor) -> float:
    """Share of the variance of the true causes [N, causes] that the answers explain, averaged over causes (R^2)."""
    error = (true - seen).square().mean(dim=0)
    return (1 - error / true.var(dim=0, unbiased=False)).mean().item()
