"""The encoder, the decoder, and both together: a picture in the style of another one.

Pictures are [N, 3, H, W] in [0, 1]. Names of tensors are those of naoto0804's files.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adain import bands
from models.adain.config import StyleConfig
from models.compute import Conv2d, set_compute
from models.conditioning import Statistics, restyled, statistics
from torch_utils.device import Precision
from torch_utils.forward import own_precision

LEAST = 2  # side of the smallest features that reflection can pad


class Patches(nn.PixelUnshuffle):
    """[N, C, H, W] -> [N, C patch^2, H / patch, W / patch], rounded up: the frame is repeated where it is too small."""

    def forward(self, input: Tensor) -> Tensor:
        """Pictures in patches."""
        down, right = (-side % self.downscale_factor for side in input.shape[-2:])
        return super().forward(F.pad(input, (0, right, 0, down), mode="replicate"))


class Encoder(nn.Sequential):
    """Convolutions with reflection padding, ReLU and max pooling: VGG-19 up to relu4_1, or a smaller one like it."""

    def __init__(self, config: StyleConfig) -> None:
        layers: list[nn.Module] = [Conv2d(3, 3, 1)] if config.colored else []
        layers += [Patches(config.patch)] if config.patch > 1 else []
        channels, self_taps = 3 * config.patch**2, []
        for level, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            if level:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            for i in range(depth):
                layers += [nn.ReflectionPad2d(1), Conv2d(channels, width, 3), nn.ReLU()]
                channels = width
                if not i:
                    self_taps.append(len(layers) - 1)
        super().__init__(*layers[: self_taps[-1] + 1])
        self.config = config
        self.taps = tuple(self_taps)  # relu1_1, relu2_1, ... : the first of each size

    def set_precision(self, precision: Precision) -> Self:
        """Choose the type of the convolutions."""
        return set_compute(self, precision)

    def forward(self, x: Tensor) -> Tensor:
        """The last features."""
        out: Tensor = bands.run(self, x) if bands.applies(x) else super().forward(x)
        return out

    def features(self, x: Tensor) -> list[Tensor]:
        """The features at the taps, from the picture down."""
        found = []
        for i, layer in enumerate(self):
            x = layer(x)
            if i in self.taps:
                found.append(x)
        return found


class Decoder(nn.Sequential):
    """The encoder mirrored: nearest enlargement in the place of pooling and of patches, and no normalization."""

    def __init__(self, config: StyleConfig) -> None:
        layers: list[nn.Module] = []
        depths = (*config.depths[:-1], 1)  # the encoder ends at the first features of its last size
        below = (config.widths[0] if config.patch > 1 else 3, *config.widths)
        for level in reversed(range(len(depths))):
            for i in range(depths[level]):
                last = i == depths[level] - 1
                outputs = below[level] if last else config.widths[level]
                layers += [nn.ReflectionPad2d(1), Conv2d(config.widths[level], outputs, 3), nn.ReLU()]
            if level:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        if config.patch > 1:  # pixel shuffle in its place would leave a grain of the size of a patch
            layers += [nn.Upsample(scale_factor=config.patch, mode="nearest"), nn.ReflectionPad2d(1)]
            layers += [Conv2d(config.widths[0], 3, 3), nn.ReLU()]
        super().__init__(*layers[:-1])  # no ReLU at the end

    def forward(self, x: Tensor) -> Tensor:
        """A picture of features."""
        out: Tensor = bands.run(self, x) if bands.applies(x) else super().forward(x)
        return out


class Region(NamedTuple):
    """A part of a picture, and its style."""

    mask: Tensor  # weights of its pixels, [1 or N, 1, H, W] in [0, 1]
    style: int  # number of its style
    alpha: float = 1.0


class AdaIN(nn.Module):
    """Puts pictures into the style of other pictures.

    Args:
        config: its sizes.
    """

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)

    def set_precision(self, precision: Precision) -> Self:
        """Choose the type of the convolutions; statistics stay in float32."""
        return set_compute(self, precision)

    @own_precision
    def forward(self, content: Tensor, style: Tensor, alpha: float = 1.0) -> Tensor:
        """Content pictures [N, 3, H, W] in the style of others [N or 1, 3, H', W'].

        Args:
            content, style: in [0, 1], of any two sizes from 1 pixel on.
            alpha: 0 reconstructs the content, 1 has the style whole.

        Returns:
            [N, 3, H, W], not clamped.
        """
        features = self.encode(content)
        return self.decode(self.mix(features, [self.measure(style)], [1.0], alpha), content.shape)

    def encode(self, pictures: Tensor) -> Tensor:
        """The last features, [N, C, h, w] in float32, with h = ceil(H / factor); small pictures are padded first."""
        height, width = pictures.shape[-2:]
        least = (LEAST - 1) * self.config.factor + 1
        if min(height, width) < least:
            pictures = F.pad(pictures, (0, max(least - width, 0), 0, max(least - height, 0)), mode="replicate")
        return full(self.encoder(pictures))

    def decode(self, features: Tensor, shape: Sequence[int]) -> Tensor:
        """Features -> pictures of the height and width at the end of `shape`."""
        return full(self.decoder(features))[..., : shape[-2], : shape[-1]]

    def measure(self, pictures: Tensor, mask: Tensor | None = None) -> Statistics:
        """Mean and deviation of the last features of pictures, each [N, C, 1, 1]; a mask [N, 1, H, W] weighs pixels."""
        return self.statistics(self.encode(pictures), mask)

    def statistics(self, features: Tensor, mask: Tensor | None = None) -> Statistics:
        """Mean and deviation of features, within a mask of the picture."""
        seen = None if mask is None else shrunk(mask, features)
        return statistics(features, "instance", mask=seen, unbiased=self.config.unbiased)

    def mix(
        self,
        features: Tensor,
        styles: Sequence[Statistics],
        weights: Sequence[float],
        alpha: float = 1.0,
        own: Statistics | None = None,
    ) -> Tensor:
        """Content features in a mixture of styles (Huang and Belongie 2017, equations 14 and 15).

        alpha * sum of weight_k AdaIN(features, style_k) + (1 - alpha) * features

        Args:
            features: of the content.
            styles: statistics of each style.
            weights: of the styles; their sum is 1.
            alpha: share of the style.
            own: statistics of the content; by default those of these features.
        """
        own = self.statistics(features) if own is None else own
        # AdaIN is affine in the style's statistics, so their mixture gives the mixture of the pictures' features.
        mean = sum(weight * style.mean for weight, style in zip(weights, styles, strict=True))
        std = sum(weight * style.std for weight, style in zip(weights, styles, strict=True))
        found = restyled(features, own, Statistics(mean, std))  # type: ignore[arg-type]
        return found if alpha == 1 else torch.lerp(features, found, alpha)

    def mix_regions(
        self,
        features: Tensor,
        styles: Sequence[Statistics],
        regions: Sequence[Region],
        own: Sequence[Statistics] | None = None,
    ) -> Tensor:
        """Content features with a style in each region, whose statistics are those of the region alone.

        Where masks overlap, as at feathered edges, styles are mixed; where none is, the content stays. `own` are the
        statistics of the content in each region; by default those of these features.
        """
        own = [self.statistics(features, region.mask) for region in regions] if own is None else own
        masks = [shrunk(region.mask, features) for region in regions]
        total = torch.stack([mask.expand_as(features[:, :1]) for mask in masks]).sum(0)
        found = features * (1 - total).clamp(min=0)
        for region, mask, now in zip(regions, masks, own, strict=True):
            inside = torch.lerp(features, restyled(features, now, styles[region.style]), region.alpha)
            found = found + inside * mask / total.clamp(min=1)
        return found


def full(x: Tensor) -> Tensor:
    """Float32, or the double precision of a test."""
    return x if x.dtype == torch.float64 else x.float()


def shrunk(mask: Tensor, features: Tensor) -> Tensor:
    """A mask of pixels as weights of features: the mean of the pixels that each feature covers."""
    return F.adaptive_avg_pool2d(mask.to(features.dtype), (features.shape[-2], features.shape[-1]))


def content_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of features (Huang and Belongie 2017, equation 12, squared)."""
    return F.mse_loss(made, wanted)


def style_loss(made: Tensor, style: Tensor, unbiased: bool = False) -> Tensor:
    """Mean squared differences of means and of deviations of features of one layer (equation 13, squared)."""
    ours, theirs = (statistics(x, "instance", unbiased=unbiased) for x in (made, style))
    return F.mse_loss(ours.mean, theirs.mean) + F.mse_loss(ours.std, theirs.std)


def variation(pictures: Tensor) -> Tensor:
    """Total variation of pictures (Rudin et al. 1992): the mean distance of neighbors, down and right."""
    return pictures.diff(dim=-2).abs().mean() + pictures.diff(dim=-1).abs().mean()
