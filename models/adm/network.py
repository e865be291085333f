"""The U-Net (Dhariwal and Nichol 2021, section 3) and the classifier of noisy pictures (section 4)."""

from typing import Self

import torch
from torch import Tensor, nn

from models.adm.blocks import AttentionBlock, AttentionPool, Downsample, GroupNorm, ResBlock, Upsample, zeroed
from models.adm.config import ClassifierConfig, UNetConfig
from models.compute import Conv2d, set_compute
from models.diffusion.layers import class_numbers, sinusoid
from torch_utils.device import Precision
from torch_utils.forward import call, own_precision

HIDDEN = 2048  # of the classifier's spatial pools


class Stage(nn.ModuleList):
    """Layers one after the other, of which some take the condition."""

    def forward(self, x: Tensor, emb: Tensor, tokens: Tensor) -> Tensor:
        for layer in self:
            steered = isinstance(layer, ResBlock | AttentionBlock)
            x = layer(x, emb, tokens) if steered else layer(x)
        return x


class Trunk(nn.Module):
    """The halving half and the middle."""

    recompute = False

    def __init__(self, config: UNetConfig | ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = 4 * config.model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(config.model_channels, self.embedding), nn.SiLU(), nn.Linear(self.embedding, self.embedding)
        )
        channels = config.channels_at(0)
        self.input_blocks = nn.ModuleList([Stage([Conv2d(config.channels, channels, 3, 1, 1)])])
        self.widths = [channels]
        for level in range(len(config.mult)):
            for _ in range(config.res_blocks):
                layers: list[nn.Module] = [self._res(channels, config.channels_at(level))]
                channels = config.channels_at(level)
                if 2**level in config.attention:
                    layers.append(self._attention(channels))
                self._append(layers, channels)
            if level < len(config.mult) - 1:
                self._append([self._half(channels)], channels)
        middle = [self._res(channels, channels), self._attention(channels), self._res(channels, channels)]
        self.middle_block = Stage(middle)
        self.channels = channels  # of the middle

    def _append(self, layers: list[nn.Module], channels: int) -> None:
        self.input_blocks.append(Stage(layers))
        self.widths.append(channels)

    def _res(self, channels: int, outputs: int, resample: Downsample | Upsample | None = None) -> ResBlock:
        c = self.config
        return ResBlock(
            channels, outputs, self.embedding, c.conditioning, c.groups, c.dropout, resample, conv_skip=c.conv_skip
        )

    def _attention(self, channels: int, heads: int = 0) -> AttentionBlock:
        c = self.config
        return AttentionBlock(channels, c.heads_for(channels, heads), c.groups, c.new_attention_order)

    def _half(self, channels: int) -> nn.Module:
        if self.config.resblock_updown:
            return self._res(channels, channels, Downsample(channels, conv=False))
        return Downsample(channels, self.config.conv_resample)

    def embed(self, t: Tensor) -> Tensor:
        """Times [N] -> vectors [N, 4 model_channels]."""
        waves = sinusoid(t, self.config.model_channels)
        return self.time_embed(waves.to(next(self.time_embed.parameters()).dtype))

    def run(self, stage: nn.Module, x: Tensor, emb: Tensor, tokens: Tensor) -> Tensor:
        """The output of a stage; with `recompute` only its input is kept for the backward pass."""
        return call(stage, x, emb, tokens, recompute=self.recompute)

    def halve(self, x: Tensor, emb: Tensor, tokens: Tensor) -> list[Tensor]:
        """The outputs of all input blocks, and of the middle block at the end."""
        found = []
        for stage in self.input_blocks:
            x = self.run(stage, x, emb, tokens)
            found.append(x)
        return [*found, self.run(self.middle_block, x, emb, tokens)]

    def set_precision(self, precision: Precision) -> Self:
        """Choose the type of convolutions and products; norms and embeddings stay in float32."""
        return set_compute(self, precision)


class UNet(Trunk):
    """Predicts what the noise of a picture hides.

    Args:
        config: its sizes.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        if config.classes:
            self.label_emb = nn.Embedding(config.classes + config.null_class, self.embedding)
        channels, widths = self.channels, list(self.widths)
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(config.mult))):
            for i in range(config.res_blocks + 1):
                layers: list[nn.Module] = [self._res(channels + widths.pop(), config.channels_at(level))]
                channels = config.channels_at(level)
                if 2**level in config.attention:
                    layers.append(self._attention(channels, config.heads_upsample))
                if level and i == config.res_blocks:
                    layers.append(self._twice(channels))
                self.output_blocks.append(Stage(layers))
        last = zeroed(Conv2d(channels, config.outputs, 3, 1, 1))
        self.out = nn.Sequential(GroupNorm(config.groups, channels), nn.SiLU(), last)

    def _twice(self, channels: int) -> nn.Module:
        if self.config.resblock_updown:
            return self._res(channels, channels, Upsample(channels, conv=False))
        return Upsample(channels, self.config.conv_resample)

    @own_precision
    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """The raw prediction of noisy pictures.

        Args:
            x: [N, C, H, W].
            t: what the process tells of each level, [N], 0 to 1000.
            c: class numbers, int64 [N], `classes` for none; None: no classes.

        Returns:
            [N, C, H, W], float32; [N, 2 C, H, W] with learned variances.

        Raises:
            ValueError: no classes are given to a network that has no row for none.
        """
        parts = [self.embed(t)]
        if self.config.classes:
            parts.append(self.label_emb(class_numbers(c, x, self.config.classes, self.config.null_class)))
        emb, tokens = torch.stack(parts).sum(0), torch.stack(parts, dim=1)
        *skips, h = self.halve(x, emb, tokens)
        for stage in self.output_blocks:
            h = self.run(stage, torch.cat([h, skips.pop()], dim=1), emb, tokens)
        return self.out(h).to(x.dtype)


class NoisyClassifier(Trunk):
    """Tells the class of a noisy picture.

    Args:
        config: its sizes.
    """

    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        channels, groups, classes = self.channels, config.groups, config.classes
        if config.pool == "attention":
            pool = AttentionPool(config.smallest, channels, config.heads_for(channels), classes)
            self.out = nn.Sequential(GroupNorm(groups, channels), nn.SiLU(), pool)
        elif config.pool == "adaptive":
            last = zeroed(nn.Conv2d(channels, classes, 1))
            self.out = nn.Sequential(
                GroupNorm(groups, channels), nn.SiLU(), nn.AdaptiveAvgPool2d(1), last, nn.Flatten()
            )
        else:
            seen = sum(self.widths) + channels
            between = [nn.ReLU()] if config.pool == "spatial" else [GroupNorm(groups, HIDDEN), nn.SiLU()]
            self.out = nn.Sequential(nn.Linear(seen, HIDDEN), *between, nn.Linear(HIDDEN, classes))

    @own_precision
    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits [N, classes], float32, of noisy pictures x [N, C, H, W] at levels t [N]."""
        emb = self.embed(t)
        found = self.halve(x, emb, emb[:, None])
        if self.config.pool.startswith("spatial"):
            return self.out(torch.cat([h.to(x.dtype).mean((2, 3)) for h in found], dim=1))
        return self.out(found[-1]).to(x.dtype)
