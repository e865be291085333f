"""VGG16 (Simonyan and Zisserman 2015) for precision and recall, and LPIPS upon it (Zhang et al. 2018).

Modules have the names of the published weights: torchvision's `vgg16-397923af.pth`, and LPIPS's own file.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.perceptual.inception import resize

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SIDE = 224
LEAST = 2 ** (len(WIDTHS) - 1)  # pixels of a side that LPIPS needs
FEATURES, CLASSES = 4096, 1000
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colors in 0..1


class VGG16(nn.Module):
    """Pixels -> features."""

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
