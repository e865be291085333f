"""The discriminator: image and class to a score, by blocks that halve the size.

Blocks are `residual`, or `plain` without shortcuts; with `skip` every block also reads the image at its own size
("input skips", Karras et al. 2020, section 4.1). Letters: N batch, C channels, H W size.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from custom_ops import downsample2d
from models.stylegan2.config import DiscriminatorConfig, block_dtypes, set_low_clamp
from models.stylegan2.layers import Conv2D, FullyConnected, LowPass, memory_format, minibatch_std
from models.stylegan2.mapping import MappingNetwork
from torch_utils.device import Precision
from torch_utils.forward import call, own_precision


def _from_rgb(config: DiscriminatorConfig, k: int) -> Conv2D:
    """Image to features of the size after k doublings."""
    return Conv2D(config.channels, config.channels_at(k), kernel=1, act="lrelu", clamp=config.clamp)


class DiscriminatorBlock(nn.Module):
    """Two convolutions, of which the second halves the size; with `residual`, a 1x1 shortcut beside them.

    Both branches are scaled by sqrt(1/2), so that their sum has the variance of the input (Karras et al. 2020, 4.1).
    """

    dtype: torch.dtype = torch.float32  # of the convolutions; set_precision changes it

    def __init__(self, config: DiscriminatorConfig, k: int) -> None:
        super().__init__()
        inputs, outputs = config.channels_at(k), config.channels_at(k - 1)
        reads = config.architecture == "skip" and k < config.doublings
        self.from_rgb = _from_rgb(config, k) if reads else None  # `Discriminator` reads the first block's image
        self.conv0 = Conv2D(inputs, inputs, kernel=3, act="lrelu", clamp=config.clamp)
        self.conv1 = Conv2D(inputs, outputs, kernel=3, act="lrelu", down=2, clamp=config.clamp)
        residual = config.architecture == "residual"
        self.skip = Conv2D(inputs, outputs, kernel=1, bias=False, down=2) if residual else None

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """[N, C, H, W], and with `skip` the image of that size -> [N, C', H / 2, W / 2]."""
        if self.from_rgb is not None and image is not None:
            x = x + self.from_rgb(image.to(x.dtype))
        if self.skip is None:
            return self.conv1(self.conv0(x))
        y = self.skip(x, gain=sqrt(0.5))
        x = self.conv1(self.conv0(x), gain=1.0)  # the leaky ReLU's sqrt(2) times sqrt(1/2)
        return x + y


class DiscriminatorTail(nn.Module):
    """Minibatch statistics, a convolution and two fully connected layers on the base size."""

    def __init__(self, config: DiscriminatorConfig, outputs: int) -> None:
        super().__init__()
        self.mbstd_group = config.mbstd_group
        C, (H, W) = config.channels_at(0), config.base
        self.from_rgb = _from_rgb(config, 0) if config.architecture == "skip" else None
        self.conv = Conv2D(C + 1, C, kernel=3, act="lrelu", clamp=config.clamp)
        self.fc = FullyConnected(C * H * W, C, act="lrelu")
        self.out = FullyConnected(C, outputs)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """[N, C, H, W], and with `skip` the image of that size -> [N, outputs] in float32."""
        x = x.float()
        if self.from_rgb is not None and image is not None:
            x = x + self.from_rgb(image.float())
        x = self.conv(minibatch_std(x, self.mbstd_group))  # [N, C + 1, H, W] -> [N, C, H, W]
        return self.out(self.fc(x.flatten(1)))


class Discriminator(nn.Module):
    """Scores of images: positive for images taken as real.

    With classes, the output vector is projected on the mapped class (Miyato and Koyama 2018).
    """

    blocks: Any  # nn.ModuleList of DiscriminatorBlock
    recompute: bool = False  # activation checkpointing: keep the inputs of blocks, and recompute what is inside

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        top, width = config.doublings, config.channels_at(0)
        self.from_rgb = _from_rgb(config, top)
        self.blocks = nn.ModuleList(DiscriminatorBlock(config, k) for k in range(top, 0, -1))
        self.low_pass = LowPass()
        self.tail = DiscriminatorTail(config, width if config.classes else 1)
        self.mapping: MappingNetwork | None = None
        if config.classes:
            self.mapping = MappingNetwork(0, config.classes, width, config.mapping_layers, track_average=False)

    @property
    def layers(self) -> list[Conv2D]:
        """The convolutions from the image to the base size: the RGB layer, then those of each block."""
        return [self.from_rgb, *(m for block in self.blocks for m in block.children() if isinstance(m, Conv2D))]

    @own_precision
    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Images [N, channels, height, width] in [-1, 1] and one-hot classes [N, classes] -> scores [N, 1]."""
        size = (self.config.channels, self.config.height, self.config.width)
        if images.ndim != 4 or tuple(images.shape[1:]) != size:
            raise ValueError(f"images must be [N, {size[0]}, {size[1]}, {size[2]}], but are {tuple(images.shape)}")
        x, image = images, images if self.config.architecture == "skip" else None
        for i, block in enumerate(self.blocks):
            x = x.to(dtype=block.dtype, memory_format=memory_format(x.device))
            x = call(block if i else self._first, x, image, recompute=self.recompute)
            if image is not None:
                image = downsample2d(image, self.low_pass(image))
        x = self.tail(x, image)
        if self.mapping is None:
            return x
        class_vector = self.mapping(None, c)
        return (x * class_vector).sum(dim=1, keepdim=True) / sqrt(class_vector.shape[1])

    def _first(self, x: Tensor, image: Tensor | None) -> Tensor:
        return self.blocks[0](self.from_rgb(x), image)

    def set_precision(self, precision: Precision) -> "Discriminator":
        """Choose the dtype of each block; parameters and the last layers stay float32. Return the network.

        With bfloat16 the smallest block stays float32, too, because its rounding spoils the minibatch statistics:
        gradients of R1 and R2 were wrong by 19 to 37 %, and are by 3 % now (`python -m benchmarks.stylegan2.rounding`).
        """
        dtypes = block_dtypes(self.config.doublings, precision)[1:]
        if precision == "bf16":
            dtypes[0] = torch.float32
        for block, dtype in zip(self.blocks, reversed(dtypes), strict=True):
            block.dtype = dtype
        set_low_clamp(self, precision)
        return self
