"""The generator: w modulates a stack of convolutions, and each block doubles the size.

Every block adds its RGB image to the upsampled image of the previous block ("output skips", Karras et al. 2020, section
4.1). The paper's two other architectures make one image, in the last block: `residual` adds a 1x1 shortcut to the
features of every block, `plain` has neither.
Letters: N batch, C channels, H W size, D width of w, L number of w.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from custom_ops import upsample2d
from models.stylegan2.config import GeneratorConfig, block_dtypes, set_low_clamp
from models.stylegan2.latents import truncate
from models.stylegan2.layers import Conv2D, FullyConnected, LowPass, Noise, memory_format
from models.stylegan2.mapping import MappingNetwork
from models.stylegan2.modulation import Conv2DMod
from torch_utils.device import Precision
from torch_utils.forward import call, own_precision

NoiseMode = Literal["random", "const", "none"]


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
    """One resolution: an upsampling layer (not in the first block), a second layer, and the block's RGB image.

    A residual block scales its two branches by sqrt(1/2), so that their sum has the variance of the input.
    """

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
        x = x.to(dtype=self.dtype, memory_format=memory_format(x.device))
        shortcut = upsample2d(self.skip(x), self.low_pass(x)) if self.skip is not None else None  # [N, C, H, W]
        *w_convs, w_rgb = ws.unbind(dim=1)
        for layer, w, noise in zip(self.layers, w_convs, noises, strict=True):
            x = layer(x, w, noise)  # [N, C, H, W]
        if shortcut is not None:
            x = (x + shortcut) * sqrt(0.5)
        if self.rgb is None:
            return x, image
        rgb = self.rgb(x, w_rgb)  # [N, channels, H, W]
        return x, rgb if image is None else rgb + upsample2d(image, self.low_pass(image))

    def fold(self, on: bool = True) -> None:
        """Precompute what inference in the block's dtype needs of the weights; `on=False` undoes it."""
        for module in self.modules():
            if isinstance(module, Conv2DMod):
                module.fold(self.dtype) if on else module.unfold()


class StyledSynthesis(nn.Module):
    """g: w -> image. Any graph that has `num_ws` w of width `w_dim`."""

    num_ws: int
    w_dim: int

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None) -> Tensor:
        """ws [N, num_ws, w_dim] -> images [N, channels, height, width], float32, about [-1, 1], not clamped.

        Args:
            ws: one w for each layer.
            noise_mode: `random` draws noise anew, `const` takes the stored noise, `none` takes none, or its mean.
            generator: source of random noise; PyTorch's own by default.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws must be [N, {self.num_ws}, {self.w_dim}], but is {tuple(ws.shape)}")
        if noise_mode not in get_args(NoiseMode):
            raise ValueError(f"noise mode is {noise_mode!r}, expected {', '.join(get_args(NoiseMode))}")
        return self.render(ws.float(), self.noises(ws.shape[0], noise_mode, generator))

    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]:
        """The noise of each layer that takes noise."""
        raise NotImplementedError

    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
        """The image as a function of tensors alone, which can be computed a second time, or compiled."""
        raise NotImplementedError


class Synthesis(StyledSynthesis):
    """StyleGAN2's g. Each convolution takes a w of its own; an RGB layer shares the w of the next convolution."""

    recompute: bool = False  # activation checkpointing: keep the inputs of blocks, and recompute what is inside

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.const = nn.Parameter(torch.randn(config.channels_at(0), *config.base))
        self.blocks = nn.ModuleList(GeneratorBlock(config, k) for k in range(config.doublings + 1))

    def with_noise(self, ws: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """The images of `forward` with given noise: [N, 1, H, W] or [H, W] for each of `layers`."""
        noises = [noise * layer.noise.strength for noise, layer in zip(maps, self.layers, strict=True)]
        return self.render(ws.float(), list(noises))

    @property
    def layers(self) -> list[GeneratorLayer]:
        """The layers that take noise, from the smallest size to the largest."""
        return [layer for block in self.blocks if isinstance(block, GeneratorBlock) for layer in block.layers]

    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]:
        return [layer.noise(batch, mode, generator) for layer in self.layers]

    @property
    def noise_size(self) -> int:
        """Number of pixels in the noise of all layers, P."""
        return sum(layer.noise.fixed.numel() for layer in self.layers)

    def parted_noise(self, noise: Tensor) -> list[Tensor | None]:
        """Normal numbers for all layers [N, P] -> the noise of each layer, as of `noises`."""
        layers = self.layers
        parts = noise.split([layer.noise.fixed.numel() for layer in layers], dim=1)
        return [
            part.reshape(-1, 1, *layer.noise.fixed.shape) * layer.noise.strength
            for part, layer in zip(parts, layers, strict=True)
        ]

    @own_precision
    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
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
        """Latents [N, z_dim] and classes [N, classes] -> images [N, channels, height, width], about [-1, 1].

        `set_precision` chooses the dtype of the computation; `torch.autocast` has no effect.

        Args:
            z: standard normal latents.
            c: one-hot classes; None for an unconditional network.
            truncation_psi: 1 for full variety, towards 0 for the average image.
            truncation_cutoff: number of first w that are truncated; by default all.
            noise_mode: `random`, `const` or `none`.
            generator: source of random noise; PyTorch's own by default.
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
        """Precompute what does not depend on w, for inference: the weights must not change afterwards.

        `set_precision` and `train` undo it. Return the network.
        """
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
            assert isinstance(block, GeneratorBlock)
            block.dtype = dtype
            block.fold(on=False)
        set_low_clamp(self, precision)
        return self

    def fold(self) -> Self:
        self.eval()
        for block in self.synthesis.blocks:
            assert isinstance(block, GeneratorBlock)
            block.fold()
        return self

    def train(self, mode: bool = True) -> Self:
        """As of nn.Module; a network in training is unfolded."""
        for block in self.synthesis.blocks if mode else []:
            assert isinstance(block, GeneratorBlock)
            block.fold(on=False)
        return super().train(mode)
