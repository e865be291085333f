"""The generator of lucidrains/stylegan2-pytorch, for sampling only. Its graph is not StyleGAN2's.

No weights of StyleGAN2 compute the same: features are upsampled bilinearly before a convolution, where StyleGAN2 has a
transposed convolution and a filter; the upsampled image is blurred once more; a plain convolution follows the constant;
noise has a gain for every channel, and all layers see the upper left corner of one uniform picture; and a block has one
w. Attention may precede a block, and w may make the first features instead of a constant.

Letters: N batch, C channels, H W size, D width of w, L blocks; in attention h heads, d dimensions of a head, P pixels.
"""

from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.stylegan2.choices import NoiseMode
from models.stylegan2.foreign.lucidrainsconfig import Form, LucidrainsConfig
from models.stylegan2.generator import StyledGenerator, StyledSynthesis
from torch_utils.device import Precision
from torch_utils.forward import own_precision

SLOPE = 0.2  # of the leaky ReLU, whose gain is 1
HEADS, DIMENSIONS = 8, 64


class Mapping(nn.Module):
    """f: z -> w, fully connected layers with leaky ReLU; z is scaled to length 1."""

    w_average: Tensor

    def __init__(self, config: LucidrainsConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(config.w_dim, config.w_dim) for _ in range(config.mapping_layers))
        self.register_buffer("w_average", torch.zeros(config.w_dim))

    @own_precision
    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Latents [N, D] -> w [N, D]."""
        x = F.normalize(z.float(), dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return x


class Modulated(nn.Module):
    """A convolution whose input channels a style scales by s + 1; one of 3 x 3 pixels scales the outputs back."""

    def __init__(self, w_dim: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, I, H, W] and w [N, D] -> [N, O, H, W]."""
        style, kernel = self.affine(w) + 1, self.weight.shape[2]  # [N, I]
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=kernel // 2)
        energy = self.weight.square().sum(dim=[2, 3])  # [O, I]
        return x * (style.square() @ energy.t() + 1e-8).rsqrt()[:, :, None, None] if kernel > 1 else x


class LucidrainsLayer(nn.Module):
    """Modulated convolution, noise with a gain for every channel, bias and leaky ReLU."""

    def __init__(self, w_dim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Modulated(w_dim, inputs, outputs, kernel=3)
        self.noise_gain = nn.Parameter(torch.zeros(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """[N, I, H, W], w [N, D] and noise [N, 1, H, W] -> [N, O, H, W]."""
        noise = noise * self.noise_gain[:, None, None] + self.bias[:, None, None]
        return F.leaky_relu(self.conv(x, w) + noise, SLOPE)


class LucidrainsBlock(nn.Module):
    """One resolution: two layers, and an image that is added to the image of the previous blocks."""

    def __init__(self, config: LucidrainsConfig, k: int) -> None:
        super().__init__()
        inputs, outputs = config.channels_at(max(k - 1, 0)), config.channels_at(k)
        self.conv0 = LucidrainsLayer(config.w_dim, inputs, outputs)
        self.conv1 = LucidrainsLayer(config.w_dim, outputs, outputs)
        self.rgb = Modulated(config.w_dim, outputs, config.channels, kernel=1)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Features of this size, w [N, D] and the whole noise -> features and image."""
        noise = noise[:, :, : x.shape[2], : x.shape[3]]
        x = self.conv1(self.conv0(x, w, noise), w, noise)
        return x, self.rgb(x, w)


class Scaling(nn.Module):
    """A residual connection around a branch: the branch's input is normalized, or its output multiplied."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.form = form
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if form != "1.6" else None

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        gain = self.gain[:, None, None]
        if self.bias is None:
            return x + branch(x) * gain
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        deviation = variance.sqrt() + 1e-5 if self.form == "1.8" else (variance + 1e-5).sqrt()
        return x + branch((x - mean) / deviation * gain + self.bias[:, None, None])


class Attention(nn.Module):
    """Self-attention of linear cost, then a network of single pixels.

    Keys are normalized over the pixels and queries over their dimensions, so keys and values are summed once for all
    queries (Shen et al. 2018, "Efficient Attention: Attention with Linear Complexities"):

        context = sum over pixels of softmax(k) v^T        out = softmax(q) context / sqrt(d)
    """

    def __init__(self, C: int, form: Form) -> None:
        super().__init__()
        width = HEADS * DIMENSIONS
        self.scaling0, self.scaling1 = Scaling(C, form), Scaling(C, form)
        self.queries = nn.Conv2d(C, width, 1, bias=False)
        self.surroundings = nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False)
        self.keys_values = nn.Conv2d(C, 2 * width, 1, bias=False)
        self.out = nn.Conv2d(width, C, 1)
        self.widen = nn.Conv2d(C, 2 * C, 1)
        self.narrow = nn.Conv2d(2 * C, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        x = self.scaling0(x, self._attend)
        return self.scaling1(x, lambda x: self.narrow(F.leaky_relu(self.widen(x), SLOPE)))

    def _attend(self, x: Tensor) -> Tensor:
        k, v = self.keys_values(self.surroundings(x)).unflatten(1, (2, HEADS, DIMENSIONS)).flatten(-2).unbind(dim=1)
        q = self.queries(x).unflatten(1, (HEADS, DIMENSIONS)).flatten(-2)  # [N, h, d, P], as k and v
        context = k.softmax(dim=-1) @ v.mT  # [N, h, d, d]
        out = context.mT @ q.softmax(dim=-2) / DIMENSIONS**0.5  # [N, h, d, P]
        return self.out(F.gelu(out.flatten(1, 2).unflatten(-1, x.shape[2:])))


class LucidrainsSynthesis(StyledSynthesis):
    """g: w -> image."""

    noise: Tensor

    def __init__(self, config: LucidrainsConfig) -> None:
        super().__init__()
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        C = config.channels_at(0)
        self.const = nn.Parameter(torch.randn(C, 4, 4)) if config.constant else None
        self.begin = None if config.constant else nn.Linear(config.w_dim, C * 4 * 4, bias=False)
        self.first = nn.Conv2d(C, C, 3, padding=1)
        self.blocks = nn.ModuleList(LucidrainsBlock(config, k) for k in range(config.num_ws))
        self.attention = nn.ModuleDict(
            {str(k): Attention(config.channels_at(max(k - 1, 0)), config.attention_form) for k in config.attention}
        )
        self.register_buffer("noise", torch.rand(config.height, config.width))  # theirs has its axes swapped

    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]:
        """The one picture of noise [N, 1, height, width] that all layers see."""
        if mode == "random":
            return [torch.rand(batch, 1, *self.noise.shape, device=self.noise.device, generator=generator)]
        noise = self.noise if mode == "const" else torch.full_like(self.noise, 0.5)  # the mean of 0 to 1
        return [noise.expand(batch, 1, -1, -1)]

    @own_precision
    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
        (noise,) = noises
        image = torch.zeros((), device=ws.device)
        const = self.const if self.begin is None else self.begin(ws.mean(dim=1)).unflatten(1, (-1, 4, 4))
        x: Tensor = self.first(const.expand(len(ws), -1, -1, -1))  # type: ignore[union-attr]  # [N, C, H, W]
        for k, (block, w) in enumerate(zip(self.blocks, ws.unbind(dim=1), strict=True)):
            if str(k) in self.attention:
                x = self.attention[str(k)](x)
            if k:
                x, image = enlarge(x), soften(enlarge(image))
            x, rgb = block(x, w, noise)
            image = image + rgb
        return 2 * image - 1  # theirs is about [0, 1]


class LucidrainsGenerator(StyledGenerator):
    """z -> images."""

    def __init__(self, config: LucidrainsConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = LucidrainsSynthesis(config)

    def set_precision(self, precision: Precision) -> Self:
        """Refuse half precision. Return the network."""
        if precision in ("bf16", "fp16"):
            raise ValueError(f"--precision {precision}: networks of lucidrains' program compute in fp32 or tf32")
        return self

    def fold(self) -> Self:
        """Return the network: nothing is precomputed."""
        return self.eval()


def enlarge(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2 H, 2 W], bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def soften(x: Tensor) -> Tensor:
    """A binomial blur over 3 x 3 pixels of [N, C, H, W], mirrored at the borders."""
    f = x.new_tensor([1, 2, 1]) / 4
    kernel = (f[:, None] * f)[None, None].expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), kernel, groups=x.shape[1])
