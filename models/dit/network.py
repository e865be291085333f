"""The diffusion transformer (Peebles and Xie 2023, section 3), with each of the four ways to condition its blocks.

Letters: N batch, C H W a picture, p patch, T = (H / p) (W / p) tokens, D their width. Names of tensors are those of the
published files.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compute import Linear, set_compute
from models.conditioning import (
    Chunk,
    CrossAttention,
    ModulationHead,
    heads_apart,
    heads_together,
    modulate,
    normalize,
    with_context,
)
from models.diffusion.layers import STD, TimestepEmbedder, class_numbers, positions
from models.dit.config import DiTConfig
from torch_utils.device import Precision
from torch_utils.forward import call, own_precision

WAVES = 256  # width of the sinusoid of the time
EPSILON = 1e-6  # of the norms


def norm(x: Tensor) -> Tensor:
    """Each token with mean 0 and variance 1, in float32 (or the double precision of a test)."""
    return normalize(x, "layer", eps=EPSILON)


class Patches(nn.Module):
    """Pictures [N, C, H, W] -> tokens [N, T, D]."""

    def __init__(self, channels: int, patch: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden, patch, patch)
        nn.init.xavier_uniform_(self.proj.weight.view(hidden, -1))
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Labels(nn.Module):
    """The vector of a class; the last row stands for no class (Ho and Salimans 2022)."""

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(rows, hidden)
        nn.init.normal_(self.embedding_table.weight, std=STD)

    def forward(self, c: Tensor) -> Tensor:
        return self.embedding_table(c)


class HeadNorm(nn.RMSNorm):
    """Root-mean-square norm of the queries or keys of a head, in the type of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class Attention(nn.Module):
    """Self-attention of tokens (Vaswani et al. 2017); with `qk_norm` of normalized queries and keys."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = Linear(config.hidden, 3 * config.hidden)
        self.proj = Linear(config.hidden, config.hidden)
        width = config.hidden // config.heads
        self.q_norm = HeadNorm(width, EPSILON) if config.qk_norm else nn.Identity()
        self.k_norm = HeadNorm(width, EPSILON) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (heads_apart(part, self.heads) for part in self.qkv(x).chunk(3, dim=2))
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        return self.proj(heads_together(F.scaled_dot_product_attention(q, k, v)))


class MLP(nn.Module):
    """Linear, GELU in its tanh form, Linear, for each token."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        inner = int(config.hidden * config.mlp_ratio)
        self.fc1, self.fc2 = Linear(config.hidden, inner), Linear(inner, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x, gelu=True))


class Block(nn.Module):
    """Attention and MLP, each on normalized tokens and added to them, steered by the condition as `block` says.

    "adaln": both norms are scaled and shifted by the condition; "adaln-zero": and both branches gated, shut at first;
    "cross-attention": a third branch attends to time and class; "in-context": these two are tokens among the others.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(config), MLP(config)
        if config.block in ("adaln", "adaln-zero"):
            zero = config.block == "adaln-zero"
            order: tuple[Chunk, ...] = ("shift", "scale", "gate") if zero else ("shift", "scale")
            self.adaLN_modulation = ModulationHead(config.hidden, config.hidden, order, sets=2)
        if config.block == "cross-attention":
            self.cross_attn = CrossAttention(config.hidden, config.heads, config.hidden)
        self.steered = config.block in ("adaln", "adaln-zero")
        self.crossed = config.block == "cross-attention"

    def forward(self, x: Tensor, condition: Tensor, tokens: Tensor) -> Tensor:
        """x [N, T, D], condition [N, D], and its parts as tokens [N, L, D] -> [N, T, D]."""
        if self.steered:
            for branch, by in zip((self.attn, self.mlp), self.adaLN_modulation.steer(condition), strict=True):
                change = branch(modulate(norm(x), by.shift, by.scale))
                x = x + change if by.gate is None else torch.addcmul(x, by.gate[:, None], change)
            return x
        x = x + self.attn(norm(x))
        if self.crossed:
            x = x + self.cross_attn(norm(x), tokens)
        return x + self.mlp(norm(x))


class FinalLayer(nn.Module):
    """Norm, steered where the blocks are, and Linear to the pixels of a patch, whose channels come last."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.linear = Linear(config.hidden, config.patch**2 * config.outputs)
        self.steered = config.block in ("adaln", "adaln-zero")
        if self.steered:
            self.adaLN_modulation = ModulationHead(config.hidden, config.hidden)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = norm(x)
        if self.steered:
            (by,) = self.adaLN_modulation.steer(condition)
            x = modulate(x, by.shift, by.scale)
        return self.linear(x)


class DiT(nn.Module):
    """Predicts what the noise of a picture hides.

    Args:
        config: its sizes.
    """

    recompute = False  # activations in the backward pass; train.py's --checkpoint-activations

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.x_embedder = Patches(config.channels, config.patch, config.hidden)
        self.t_embedder = TimestepEmbedder(WAVES, config.hidden)
        if config.classes:
            self.y_embedder = Labels(config.classes + config.null_class, config.hidden)
        self.register_buffer("pos_embed", positions(*config.grid, config.hidden)[None].float())
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)
        self._initialize()

    def _initialize(self) -> None:
        # Peebles and Xie 2023, section 3.2: Xavier weights, small embeddings, and an output of zeros.
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith("t_embedder") and "adaLN_modulation" not in name:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.final_layer.linear.weight)

    def set_precision(self, precision: Precision) -> Self:
        """Choose the type of the large products; the rest stays in float32."""
        return set_compute(self, precision)

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
        tokens = self.x_embedder(x) + self.pos_embed.to(x.dtype)
        parts = [self.t_embedder(t)]
        if self.config.classes:
            parts.append(self.y_embedder(class_numbers(c, x, self.config.classes, self.config.null_class)))
        condition, context = torch.stack(parts).sum(0), torch.stack(parts, dim=1)
        count = tokens.shape[1]
        if self.config.block == "in-context":
            tokens = with_context(tokens, *parts)
        for block in self.blocks:
            tokens = call(block, tokens, condition, context, recompute=self.recompute)
        return self.unpatchify(self.final_layer(tokens[:, :count], condition)).to(x.dtype)

    def unpatchify(self, tokens: Tensor) -> Tensor:
        """[N, T, p * p * channels], in the order row, column, channel -> pictures [N, channels, H, W]."""
        (rows, columns), p = self.config.grid, self.config.patch
        patches = tokens.reshape(tokens.shape[0], rows, columns, p, p, -1)
        return torch.einsum("nhwpqc->nchpwq", patches).reshape(tokens.shape[0], -1, rows * p, columns * p)
