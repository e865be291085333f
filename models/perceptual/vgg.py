"""VGG16 (Simonyan and Zisserman 2015) for precision and recall, and LPIPS upon it (Zhang et al. 2018).

Modules have the names of torchvision's published weights, `vgg16-397923af.pth`.
"""

import torch
from torch import Tensor, nn

from models.perceptual.resize import resize

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
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, FEATURES),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(FEATURES, FEATURES),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(FEATURES, CLASSES),
        )

    def second_layer(self, pixels: Tensor) -> Tensor:
        """Pixels [N, 3, H, W] in 0..255 -> activations of the second fully connected layer [N, 4096]."""
        x = self.features(_normalized(resize(pixels.float(), SIDE, SIDE)))  # [N, 512, 7, 7]
        return self.classifier[:5](x.flatten(1))

    def activations(self, pixels: Tensor) -> list[Tensor]:
        """Pixels [N, 3, H, W] in 0..255, not resized -> the last activations at each of five sizes."""
        if min(pixels.shape[2:]) < LEAST:
            raise ValueError(f"LPIPS needs images of at least {LEAST} x {LEAST} pixels, got {list(pixels.shape[2:])}")
        x, found = _normalized(pixels.float()), []
        for layer in list(self.features)[:-1]:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]


class LPIPS(nn.Module):
    """Images -> vectors whose squared distance is the perceptual distance of the images.

    Args:
        vgg: the trained network.
        weights: of the channels at each of the five sizes, [1, C, 1, 1] each.
    """

    def __init__(self, vgg: VGG16, weights: list[Tensor]) -> None:
        super().__init__()
        self.vgg = vgg
        for k, weight in enumerate(weights):
            self.register_buffer(f"root{k}", weight.clamp(min=0).sqrt())

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [N, 3, H, W] in 0..255 -> [N, sum of C H W over the sizes] (Zhang et al. 2018, equation 1)."""
        parts = []
        for k, x in enumerate(self.vgg.activations(pixels)):
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            share = (x.shape[2] * x.shape[3]) ** -0.5
            parts.append((unit * (self.get_buffer(f"root{k}") * share)).flatten(1))
        return torch.cat(parts, dim=1)


class VGGWeights(nn.Module):
    """LPIPS's own weights under the names in their file: one number for every channel at each of five sizes."""

    def __init__(self) -> None:
        super().__init__()
        for k, widths in enumerate(WIDTHS):
            model = nn.Sequential(nn.Dropout(), nn.Conv2d(widths[-1], 1, 1, bias=False))
            self.add_module(f"lin{k}", nn.ModuleDict({"model": model}))

    def by_size(self) -> list[Tensor]:
        """[1, C, 1, 1] for each size."""
        return list(self.state_dict().values())


def _normalized(pixels: Tensor) -> Tensor:
    mean, deviation = (pixels.new_tensor(values)[:, None, None] * 255 for values in (MEAN, DEVIATION))
    return (pixels - mean) / deviation
