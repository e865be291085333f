"""Losses between images, as vectors of images whose squared distance is the loss; VGG16 and LPIPS.

`pyramid_vectors` needs no pretrained network. Pixels alone judge an edge that is shifted slightly as harshly as a
missing edge. Smaller sizes forgive shifts, and gradients ask for the edges themselves (Mathieu et al. 2016, section
3.2; sizes as in Bojanowski et al. 2018). VGG16 and LPIPS have the names of the published weights.
Letters: N batch, C channels, H W size, S number of sizes.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.perceptual.inception import resize

Embed = Callable[[Tensor], Tensor]  # images [N, C, H, W] in [-1, 1] -> vectors [N, D]

LARGEST = 256  # pixels of a side for LPIPS (Karras et al. 2020, appendix D)
SMALLEST = 8  # pixels of a side of the smallest pyramid level
WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SIDE = 224
LEAST = 2 ** (len(WIDTHS) - 1)  # pixels of a side that LPIPS needs
FEATURES, CLASSES = 4096, 1000
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colors in 0..1


def pyramid_vectors(images: Tensor, gradient: float = 1.0) -> Tensor:
    """Images [N, C, H, W] -> vectors [N, D] whose squared distance is

        1/S  sum over the sizes of  MSE(x, y) + gradient * (MSE(dx/dh, dy/dh) + MSE(dx/dv, dy/dv))

    where d/dh and d/dv are the differences of neighboring pixels.
    """
    sizes = pyramid(images)
    parts = []
    for x in sizes:
        maps = [(x, 1.0), (x.diff(dim=3), gradient), (x.diff(dim=2), gradient)]
        parts += [m.flatten(1) * (weight / (len(sizes) * m[0].numel())) ** 0.5 for m, weight in maps if m.numel()]
    return torch.cat(parts, dim=1)


def pyramid(images: Tensor) -> list[Tensor]:
    """The images, and their halves by averages of 2 x 2 pixels while the shorter side has at least 8 pixels."""
    sizes = [images]
    while min(sizes[-1].shape[2:]) >= 2 * SMALLEST:
        sizes.append(F.avg_pool2d(sizes[-1], 2))
    return sizes


def perceptual_likeness(lpips: Embed) -> Embed:
    """LPIPS plus the mean squared error of the pixels (Abdal et al. 2019, equation 1, with LPIPS for VGG).

    `lpips` turns RGB pixels [N, 3, H, W] in 0..255 into vectors whose squared distance is LPIPS.
    """
    return lambda images: torch.cat(
        [lpips(to_rgb(for_lpips(images))), images.flatten(1) / images[0].numel() ** 0.5], dim=1
    )


def for_lpips(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] -> pixels in 0..255, not rounded; averaged down if larger than 256 pixels."""
    factor = max(max(images.shape[2:]) // LARGEST, 1)
    return (F.avg_pool2d(images, factor) + 1) * (255 / 2)


def lpips_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of what `for_lpips` returns for images of this size."""
    factor = max(max(height, width) // LARGEST, 1)
    return height // factor, width // factor


def to_rgb(pixels: Tensor) -> Tensor:
    """Pixels of 1, 3 or 4 channels -> RGB of the same dtype; transparent pixels are put on white."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    if pixels.shape[1] == 3:
        return pixels
    alpha = pixels[:, 3:].float() / 255
    mixed = pixels[:, :3] * alpha + 255 * (1 - alpha)
    return mixed if pixels.is_floating_point() else mixed.round().to(pixels.dtype)


class VGG16(nn.Module):
    """Pixels -> features (Simonyan and Zisserman 2015)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for widths in WIDTHS:
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        dense = [nn.Linear(channels * 7 * 7, FEATURES), nn.ReLU(), nn.Dropout(), nn.Linear(FEATURES, FEATURES)]
        self.classifier = nn.Sequential(*dense, nn.ReLU(), nn.Dropout(), nn.Linear(FEATURES, CLASSES))

    def second_layer(self, pixels: Tensor) -> Tensor:
        """Pixels [N, 3, H, W] in 0..255 -> activations of the second fully connected layer [N, 4096]."""
        x = self.features(normalized(resize(pixels.float(), SIDE, SIDE)))  # [N, 512, 7, 7]
        return self.classifier[:5](x.flatten(1))

    def activations(self, pixels: Tensor) -> list[Tensor]:
        """Pixels [N, 3, H, W] in 0..255, not resized -> the last activations at each of five sizes."""
        if min(pixels.shape[2:]) < LEAST:
            raise ValueError(f"LPIPS needs images of at least {LEAST} x {LEAST} pixels, got {list(pixels.shape[2:])}")
        x, found = normalized(pixels.float()), []
        for layer in list(self.features)[:-1]:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]


class LPIPS(nn.Module):
    """LPIPS's own weights: one number for every channel at each of five sizes."""

    def __init__(self) -> None:
        super().__init__()
        for k, widths in enumerate(WIDTHS):
            model = nn.Sequential(nn.Dropout(), nn.Conv2d(widths[-1], 1, 1, bias=False))
            self.add_module(f"lin{k}", nn.ModuleDict({"model": model}))

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """`VGG16.activations` -> [N, D], vectors whose squared distance is LPIPS (Zhang et al. 2018, equation 1)."""
        parts = []
        for x, weight in zip(activations, self.state_dict().values(), strict=True):
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            share = (x.shape[2] * x.shape[3]) ** -0.5
            parts.append((unit * (weight.clamp(min=0).sqrt() * share)).flatten(1))
        return torch.cat(parts, dim=1)


def normalized(pixels: Tensor, largest: int = 255) -> Tensor:
    """RGB pixels [N, 3, H, W] in 0..largest -> [N, 3, H, W] of mean 0 and deviation 1 over ImageNet."""
    mean, deviation = (pixels.new_tensor(values)[:, None, None] * largest for values in (MEAN, DEVIATION))
    return (pixels - mean) / deviation
