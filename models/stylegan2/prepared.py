"""The synthesis of one picture on a CPU as a flat list of prepared steps, bit for bit as the modules compute it.

At 64x64 a third of the modules' time is their own: calls of modules, checks of arguments, views of tensors that never
change. The steps are made from folded weights, and hold what does not depend on w.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from custom_ops import ACTIVATIONS, build, upsample2d
from models.stylegan2.modulation import DEMODULATION_EPSILON, Conv2DMod, Weights, multiply

MOST_PIXELS = 256**2  # of a picture; of larger ones the modules' own time is a small share

_act = torch.ops.custom_ops.scale_bias_act.default


class Layer:
    """A `GeneratorLayer` for inputs [1, I, H, W] of one size."""

    def __init__(self, layer: Any, size: tuple[int, int]) -> None:
        self.conv: Conv2DMod = layer.conv
        assert self.conv.folded is not None and self.conv.folded.energy is not None
        self.weights: Weights = self.conv.folded
        self.energy = self.conv.folded.energy.t()
        inputs = self.weights.w.shape[1]
        self.grouped = self.conv.prefers_grouped(torch.empty(1, inputs, *size, device="meta"))
        self.affine_bias, self.affine = layer.affine.bias, layer.affine.weight.t()
        self.bias, (alpha, gain) = layer.bias, ACTIVATIONS["lrelu"]
        self.curve = alpha, gain, layer.clamp or layer.low_clamp or None

    def __call__(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Features, w [1, D] times the gain of affine layers, and noise [1, 1, H, W] -> features."""
        style = torch.addmm(self.affine_bias, w, self.affine)  # [1, I]
        scale: Tensor | None = (style.square() @ self.energy + DEMODULATION_EPSILON).rsqrt()  # [1, O]
        if self.grouped:
            assert scale is not None
            x = self.conv.convolve(x, self.weights.w * (style * scale.t())[:, :, None, None])
            scale = None
        else:
            x = self.conv.convolve(_act(x, style, None, None, 1.0, 1.0, None), self.weights.low)
        return _act(x, scale, noise, self.bias, *self.curve)


class RGB:
    """An `RGBBlock` for one picture."""

    def __init__(self, block: Any) -> None:
        self.conv: Conv2DMod = block.conv
        assert self.conv.folded is not None
        self.weights: Weights = self.conv.folded
        self.matrix = self.weights.w.flatten(1)  # [channels, I]
        self.affine_bias, self.affine = block.affine.bias, block.affine.weight.t()
        self.bias, self.clamp = block.bias, block.clamp or block.low_clamp or None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        """Features [1, I, H, W] and w as of `Layer` -> an image [1, channels, H, W]."""
        style = torch.addmm(self.affine_bias, w, self.affine) * self.conv.weight_gain
        return _act(multiply(x, (self.matrix * style)[None]), None, None, self.bias, 1.0, 1.0, self.clamp)


class PreparedSynthesis:
    """The function of a folded `Synthesis` in float32 that adds images block by block, for one picture on a CPU."""

    def __init__(self, synthesis: Any) -> None:
        self.gain: float = synthesis.layers[0].affine.weight_gain
        self.const = synthesis.const[None].to(memory_format=torch.channels_last)
        self.blocks: list[tuple[list[Layer], RGB, Tensor]] = []
        size = synthesis.const.shape[1:]
        for block in synthesis.blocks:
            layers = []
            for layer in block.layers:
                layers.append(Layer(layer, size))
                size = layer.noise.fixed.shape
            self.blocks.append((layers, RGB(block.rgb), block.low_pass.taps))
        self._made_of: list[tuple[Conv2DMod, Weights]] = []
        for layers, rgb, _ in self.blocks:
            self._made_of += [*((layer.conv, layer.weights) for layer in layers), (rgb.conv, rgb.weights)]
        build.load("cpu")

    @staticmethod
    def fits(synthesis: Any, ws: Tensor) -> bool:
        """Whether the images of these w can be made so."""
        blocks = synthesis.blocks
        return (
            not torch.compiler.is_compiling()  # first: an exported graph must not ask for the size of its batch
            and not torch.is_grad_enabled()
            and len(ws) == 1
            and ws.device.type == "cpu"
            and blocks[-1].conv1.noise.fixed.numel() <= MOST_PIXELS
            and all(block.rgb is not None and block.skip is None for block in blocks)
            and all(block.dtype == torch.float32 and block.conv1.conv.folded is not None for block in blocks)
        )

    @property
    def current(self) -> bool:
        """Whether the network still has the weights that the steps were made of."""
        return all(conv.folded is weights for conv, weights in self._made_of)

    def __call__(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor:
        """w [1, L, D] and the noise of each layer, [H, W] or [1, 1, H, W] -> images [1, channels, H, W]."""
        rows = (ws[0] * self.gain).split(1)  # [1, D] each
        x, image, first = self.const, None, 0
        for k, (layers, _, _) in enumerate(self.blocks):
            last = first + len(layers)
            x = self.features(k, x, rows[first:last], noises[first:last])
            image = self.image(k, x, image, rows[last])
            first = last
        assert image is not None
        return image

    def features(self, k: int, x: Tensor, rows: Sequence[Tensor], noises: Sequence[Tensor | None]) -> Tensor:
        """Features of block k, from those before it, w times the gain for each layer, and noise."""
        for layer, w, n in zip(self.blocks[k][0], rows, noises, strict=True):
            x = layer(x, w, n if n is None or n.ndim == 4 else n[None, None])
        return x

    def image(self, k: int, x: Tensor, image: Tensor | None, w: Tensor) -> Tensor:
        """The image of block k, from its features, the image before it, and w times the gain."""
        _, rgb, taps = self.blocks[k]
        made = rgb(x, w)
        return made if image is None else made + upsample2d(image, taps)
