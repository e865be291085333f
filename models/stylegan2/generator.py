"""The generator: w modulates a stack of convolutions, and each block doubles the size.

Every block adds its RGB image to the upsampled image of the previous one ("output skips", Karras et al. 2020, section
4.1). Two other architectures make one image, in the last block: `residual` adds a 1x1 shortcut to the features of every
block, `plain` has neither.
Letters: N batch, C channels, H W size, D width of w, L number of w.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from custom_ops import upsample2d
from models.stylegan2.choices import NoiseMode
from models.stylegan2.config import GeneratorConfig, block_dtypes, set_low_clamp
from models.stylegan2.layers import Conv2D, FullyConnected, LowPass, Noise, drawn, memory_format
from models.stylegan2.mapping import MappingNetwork, truncate
from models.stylegan2.modulation import Conv2DMod
from models.stylegan2.prepared import PreparedSynthesis
from torch_utils.device import Precision
from torch_utils.forward import call, own_precision


class GeneratorLayer(nn.Module):
    """Style, modulated convolution, noise, bias and leaky ReLU."""

    low_clamp: float = 0.0  # limit of activations if `clamp` sets none; set_precision changes it

    def __init__(self, config: GeneratorConfig, inputs: int, outputs: int, size: tuple[int, int], up: int = 1) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.affine = FullyConnected(config.w_dim, inputs, bias_init=1)
        self.conv = Conv2DMod(inputs, outputs, kernel=3, up=up)
        self.noise = Noise(*size)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """[N, I, H, W], w [N, D] and noise as `Noise` gives it -> [N, O, H * up, W * up]."""
        return self.conv(x, self.affine(w), noise, self.bias, act="lrelu", clamp=self.clamp or self.low_clamp or None)


class RGBBlock(nn.Module):
    """Features to an image by a modulated 1x1 convolution without demodulation."""

    low_clamp: float = 0.0  # as of `GeneratorLayer`

    def __init__(self, config: GeneratorConfig, inputs: int) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.affine = FullyConnected(config.w_dim, inputs, bias_init=1)
        self.conv = Conv2DMod(inputs, config.channels, kernel=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(config.channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features [N, C, H, W] and w [N, D] -> image [N, channels, H, W] in float32."""
        return self.conv(x, self.affine(w), bias=self.bias, clamp=self.clamp or self.low_clamp or None).float()


class GeneratorBlock(nn.Module):
    """One resolution: an upsampling layer (not in the first block), a second layer, and the block's RGB image."""

    dtype: torch.dtype = torch.float32  # of the convolutions; set_precision changes it

    def __init__(self, config: GeneratorConfig, k: int) -> None:
        super().__init__()
        outputs, size = config.channels_at(k), config.size_at(k)
        self.conv0 = GeneratorLayer(config, config.channels_at(k - 1), outputs, size, up=2) if k else None
        self.conv1 = GeneratorLayer(config, outputs, outputs, size)
        self.rgb = RGBBlock(config, outputs) if config.architecture == "skip" or k == config.doublings else None
        residual = config.architecture == "residual" and k
        self.skip = Conv2D(config.channels_at(k - 1), outputs, kernel=1, bias=False) if residual else None
        self.low_pass = LowPass()

    @property
    def layers(self) -> list[GeneratorLayer]:
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Tensor, *noises: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features, the image so far, w [N, 3 or 2, D] and noise of this block -> features and image of this size."""
        x = self.features(x, ws, *noises)
        return x, self.image(x, image, ws)

    def features(self, x: Tensor, ws: Tensor, *noises: Tensor | None) -> Tensor:
        """Features, w and noise as of `forward` -> features of this size. The last w is not used."""
        x = x.to(dtype=self.dtype, memory_format=memory_format(x.device))
        shortcut = upsample2d(self.skip(x), self.low_pass(x)) if self.skip is not None else None  # [N, C, H, W]
        for layer, w, noise in zip(self.layers, ws.unbind(dim=1)[:-1], noises, strict=True):
            x = layer(x, w, noise)  # [N, C, H, W]
        if shortcut is not None:
            x = (x + shortcut) * sqrt(0.5)  # keeps the variance of the input
        return x

    def image(self, x: Tensor, image: Tensor | None, ws: Tensor) -> Tensor | None:
        """This block's features, the image so far and w as of `forward` -> the image of this size."""
        if self.rgb is None:
            return image
        rgb = self.rgb(x, ws[:, -1])  # [N, channels, H, W]
        return rgb if image is None else rgb + upsample2d(image, self.low_pass(image))


class StyledSynthesis(nn.Module):
    """g: w -> image. Any graph that has `num_ws` w of width `w_dim`."""

    num_ws: int
    w_dim: int

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None) -> Tensor:
        """ws [N, num_ws, w_dim] -> images [N, channels, height, width], float32, about [-1, 1], not clamped.

        Mode `random` draws noise from `generator`, `const` takes the stored noise, `none` takes none, or its mean.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws must be [N, {self.num_ws}, {self.w_dim}], but is {tuple(ws.shape)}")
        if noise_mode not in get_args(NoiseMode):
            raise ValueError(f"noise mode is {noise_mode!r}, expected {', '.join(get_args(NoiseMode))}")
        return self.render(ws.float(), self.noises(ws.shape[0], noise_mode, generator))

    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]:
        """The noise of each layer that takes noise."""
        raise NotImplementedError

    def scaled(self, noises: list[Tensor | None], strength: float) -> list[Tensor | None]:
        """Noise of layers with its distance from none, or from its mean, times `strength`."""
        if strength == 1:
            return noises
        none = self.noises(1, "none", None)
        pairs = zip(noises, none, strict=True)
        return [n if n is None else n * strength if mean is None else mean.lerp(n, strength) for n, mean in pairs]

    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
        """The image as a function of tensors alone, which can be computed a second time, or compiled."""
        raise NotImplementedError


class Synthesis(StyledSynthesis):
    """StyleGAN2's g. Each convolution takes a w of its own; an RGB layer shares the w of the next convolution."""

    blocks: Any  # nn.ModuleList of GeneratorBlock
    prepared: PreparedSynthesis | None = None
    recompute: bool = False  # activation checkpointing: keep the inputs of blocks, and recompute what is inside

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.const = nn.Parameter(drawn(config.channels_at(0), *config.base))
        self.blocks = nn.ModuleList(GeneratorBlock(config, k) for k in range(config.doublings + 1))

    def with_noise(self, ws: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """The images of `forward` with given noise: [N, 1, H, W] or [H, W] for each of `layers`."""
        return self.render(ws.float(), [n * one.noise.strength for n, one in zip(maps, self.layers, strict=True)])

    @property
    def layers(self) -> list[GeneratorLayer]:
        """The layers that take noise, from the smallest size to the largest."""
        return [layer for block in self.blocks for layer in block.layers]

    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]:
        return [layer.noise(batch, mode, generator) for layer in self.layers]

    @property
    def noise_size(self) -> int:
        """Number of pixels in the noise of all layers, P."""
        return sum(layer.noise.fixed.numel() for layer in self.layers)

    def parted_noise(self, noise: Tensor) -> list[Tensor | None]:
        """Normal numbers for all layers [N, P] -> the noise of each layer, as of `noises`."""
        each = [layer.noise for layer in self.layers]
        parts = noise.split([one.fixed.numel() for one in each], dim=1)
        return [p.reshape(-1, 1, *one.fixed.shape) * one.strength for p, one in zip(parts, each, strict=True)]

    def steps(self, ws: Tensor) -> PreparedSynthesis | None:
        """The prepared steps that make the images of these w, if they fit."""
        if not PreparedSynthesis.fits(self, ws):
            return None
        if self.prepared is None or not self.prepared.current:
            self.prepared = PreparedSynthesis(self)
        return self.prepared

    @own_precision
    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
        if (steps := self.steps(ws)) is not None:
            return steps(ws, noises)
        x, image = self.const.expand(ws.shape[0], -1, -1, -1), None
        for k, block in enumerate(self.blocks):
            first = max(2 * k - 1, 0)
            inputs = (x, image, ws[:, first : 2 * k + 2], *noises[first : 2 * k + 1])
            x, image = call(block, *inputs, recompute=self.recompute)
        assert image is not None
        return image


class StyledGenerator(nn.Module):
    """Mapping and synthesis: (z, c) -> images. Any graph whose mapping keeps `w_average`."""

    config: Any
    mapping: Any
    synthesis: Any

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Normal z [N, z_dim], one-hot c [N, classes] or None -> images [N, channels, height, width], about [-1, 1].

        Truncation by psi, 1 for full variety and 0 for the average image, of the first w up to the cutoff; noise as in
        `StyledSynthesis.forward`. `set_precision` chooses the dtype; `torch.autocast` has no effect.
        """
        return self.synthesis(self.ws(z, c, truncation_psi, truncation_cutoff), noise_mode, generator)

    def ws(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Latents and classes -> truncated w for every layer [N, num_ws, w_dim]."""
        ws = self.mapping(z, c)[:, None, :].expand(-1, self.synthesis.num_ws, -1)
        return truncate(ws, self.mapping.w_average, truncation_psi, truncation_cutoff)

    def set_precision(self, precision: Precision) -> Self:
        """Choose the dtype of the computation; parameters stay float32. Return the network."""
        raise NotImplementedError

    def fold(self) -> Self:
        """Precompute for inference what does not depend on w, until `set_precision` or `train`. Return the network."""
        raise NotImplementedError


class Generator(StyledGenerator):
    """StyleGAN2's generator."""

    config: GeneratorConfig
    mapping: MappingNetwork
    synthesis: Synthesis

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.z_dim, config.classes, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)

    def set_precision(self, precision: Precision) -> Self:
        dtypes = block_dtypes(self.config.doublings, precision)
        for block, dtype in zip(self.synthesis.blocks, dtypes, strict=True):
            block.dtype = dtype
        set_low_clamp(self, precision)
        return self._fold(on=False)

    def fold(self) -> Self:
        return self.eval()._fold(on=True)

    def train(self, mode: bool = True) -> Self:
        """As of nn.Module; a network in training is unfolded."""
        return super().train(mode)._fold(on=False) if mode else super().train(mode)

    def _fold(self, on: bool) -> Self:
        for block in self.synthesis.blocks:
            for module in block.modules():
                if isinstance(module, Conv2DMod):
                    module.fold(block.dtype if on else None)
        return self
