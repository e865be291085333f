"""The best linear denoiser, in closed form, beside trained networks: a bar that a broken network cannot pass.

Of x = alpha x_0 + sigma eps, with pictures x_0 of mean m and covariance C, the best affine prediction of x_0 is
m + alpha C (alpha^2 C + sigma^2)^-1 (x - alpha m) (Wiener 1949). Nothing of the pictures but m and C counts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor

from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.pixels import to_images
from models.diffusion.likelihood import flat_mean
from models.diffusion.prediction import Objective, target
from models.diffusion.process import Process
from models.diffusion.sampler import is_denoiser
from models.families import load_network
from models.family import Shape
from torch_utils import seeds
from torch_utils.cli import Command, option, progress, say

LEVELS = 10  # noise levels, in the middle of equal shares
NETWORK = "a denoising network; give the option again for more of the same noise"
LARGEST = 16384  # numbers in a picture: 2 GiB of covariances

EXAMPLES = """
Examples:
  python -m benchmarks.diffusion.linear --network runs/00000-demo32-dit-ti-4-demo --data demo
  python -m benchmarks.diffusion.linear --network a.safetensors --network b.safetensors --data demo --no-class
"""


class Wiener(NamedTuple):
    """The best linear denoiser of pictures with D numbers each, float64."""

    mean: Tensor  # [D]
    values: Tensor  # variances along the principal axes, [D]
    axes: Tensor  # the principal axes, in columns [D, D]

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> "Wiener":
        """Of pictures with a mean [D] and a covariance [D, D]."""
        values, axes = torch.linalg.eigh(covariance.double())
        return cls(mean.double(), values.clamp(min=0), axes)

    def picture(self, x: Tensor, k: int, process: Process) -> Tensor:
        """The prediction of the clean pictures in x [N, C, H, W] at level k."""
        alpha, sigma = float(process.alpha[k]), float(process.sigma[k])
        gain = alpha * self.values / (alpha**2 * self.values + sigma**2)
        away = x.flatten(1).double() - alpha * self.mean
        return (self.mean + (away @ self.axes * gain) @ self.axes.T).reshape(x.shape).to(x.dtype)

    def error(self, k: int, process: Process, objective: Objective) -> float:
        """The expected squared error at level k of what a network of an objective predicts, mean over a picture.

        All objectives follow from x_0 and x, so that their errors differ by a factor.
        """
        alpha, sigma = float(process.alpha[k]), float(process.sigma[k])
        of_picture = float((self.values * sigma**2 / (alpha**2 * self.values + sigma**2)).mean())
        one, d_alpha, d_sigma = 1.0, float(process.d_alpha[k]), float(process.d_sigma[k])
        factor = {"x0": one, "eps": alpha / sigma}.get(objective, d_alpha - d_sigma * alpha / sigma)
        return factor**2 * of_picture


def network_error(
    network: Callable[..., Tensor],
    images: Tensor,
    labels: Tensor | None,
    k: int,
    process: Process,
    objective: Objective,
    at_once: int = 64,
) -> float:
    """The mean squared error of a network's predictions at level k, with the same noise for every network.

    Args:
        network: gives raw predictions of x, t, c.
        images: clean ones [N, C, H, W] in [-1, 1].
        labels: class numbers [N] that the network is told; None: none.
    """
    total = 0.0
    for first in range(0, len(images), at_once):
        x0 = images[first : first + at_once]
        c = None if labels is None else labels[first : first + at_once]
        noise = torch.randn(x0.shape, dtype=x0.dtype, generator=seeds.generator("cpu", k, first)).to(x0.device)
        level = torch.full((len(x0),), k, device=x0.device)
        with torch.no_grad():
            told = process.t[k].to(x0.device, torch.float32).expand(len(x0))
            found = network(process.noised(x0, level, noise), told, c)[:, : x0.shape[1]]
        total += float(flat_mean((found - target(x0, noise, level, process, objective)).square()).double().sum())
    return total / len(images)


def moments(dataset: ImageSet, count: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of the first `count` pictures of a set, in [-1, 1], float64."""
    size = dataset.channels * dataset.height * dataset.width
    total, squares = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for first in progress(range(0, count, 500), (count + 499) // 500, "covariance"):
        flat = pictures(dataset, first, min(first + 500, count))[0].flatten(1).double()
        total += flat.sum(0)
        squares.addmm_(flat.T, flat)
    mean = total / count
    return mean, squares / count - torch.outer(mean, mean)


def pictures(dataset: ImageSet, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Pictures `start` to `stop` - 1 of a set, [N, C, H, W] in [-1, 1], and their classes [N]."""
    read = [dataset[i] for i in range(start, stop)]
    labels = torch.tensor([label for _, label in read])
    return to_images(torch.stack([torch.as_tensor(pixels) for pixels, _ in read])), labels


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", "places", required=True, multiple=True, metavar="PLACE", group="Measurement", help=NETWORK)
@option("--data", required=True, metavar="PATH", group="Measurement", help="the images that it learned, as of train.py")
@option("--images", type=click.IntRange(1), default=1000, group="Measurement", help="images shown to the networks")
@option("--fit", type=click.IntRange(2), default=10000, group="Measurement", help="images for mean and covariance")
@option("--no-class", "unlabeled", is_flag=True, group="Measurement", help="ask networks without a class")
@option("--which", default="", metavar="NAME", group="Measurement", help="ema, ema_2, net; without it the first")
@option("--device", default="cpu", group="Machine", help="cpu, cuda or mps")
def main(places: tuple[str, ...], data: str, images: int, fit: int, unlabeled: bool, which: str, device: str) -> None:
    """Print the errors of denoising networks at ten noise levels beside that of the best linear denoiser.

    Errors are mean squares of what the networks predict. The linear denoiser knows no classes; networks are told them
    without --no-class.
    """
    dataset = open_dataset(DataConfig(path=data))
    networks = [opened(place, device, which, dataset) for place in places]
    noise = networks[0].config.noise
    if other := next((p for p, net in zip(places, networks, strict=True) if net.config.noise != noise), None):
        raise ValueError(
            f"--network {other}: its noise or objective is another than that of {places[0]}: compare alike"
        )
    fit = min(fit, len(dataset))
    linear = Wiener.of(*moments(dataset, fit))
    shown, labels = (t.to(device) for t in pictures(dataset, 0, min(images, len(dataset))))
    process, objective = noise.process().to(torch.device(device)), noise.objective
    say(f"{objective}: mean squared error of {len(shown)} images; linear: of the covariance of {fit}")
    for number, place in enumerate(places, 1):
        say(f"{number:>9}: {place}")
    say("  ".join(f"{name:>9}" for name in ("noise", "linear", *map(str, range(1, len(places) + 1)))))
    for level in range(LEVELS):
        k = round((level + 0.5) / LEVELS * len(process)) - 1
        told = [labels if net.config.classes and not unlabeled else None for net in networks]
        errors = [network_error(net, shown, c, k, process, objective) for net, c in zip(networks, told, strict=True)]
        best = linear.error(k, process, objective)
        say("  ".join([f"{(k + 1) / len(process):>9.0%}", *(f"{e:>9.4f}" for e in (best, *errors))]))


def opened(place: str, device: str, which: str, dataset: ImageSet) -> Any:
    """The denoising network at a place. Raises ValueError if it is none, or of other images than a set's."""
    network: Any = load_network(place, device, which=which)
    config = network.config
    if not is_denoiser(network) or config.latent is not None:
        raise ValueError(f"--network {place}: expected a network that predicts the noise of pixels: take another")
    own, found = Shape.of(config), Shape.of(dataset)
    if own[:3] != found[:3] or config.classes not in (0, dataset.classes):
        raise ValueError(
            f"--data {dataset.name}: its images are {tuple(found)}, the network's {tuple(own)}: take others"
        )
    if (size := own.height * own.width * own.channels) > LARGEST:
        raise ValueError(f"--network {place}: pictures of {size} numbers are too large, expected {LARGEST} or fewer")
    return network


if __name__ == "__main__":
    main()
