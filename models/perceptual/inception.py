"""The Inception v3 of the FID: the TensorFlow network of 2015-12-05 (Szegedy et al. 2016), for images of any size.

It differs from the network of the paper in three places: average pools count no padding, the very last block pools by
the maximum, and there are 1008 classes. Modules have the names of the published weights, `pt_inception-2015-12-05`.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 299
FEATURES, CLASSES = 2048, 1008

Step = tuple  # (name, outputs, kernel) or (name, outputs, kernel, stride) of a layer; (name, module) of a pool
_AVERAGE: Step = ("average", nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
_SHRINK: Step = ("maximum", nn.MaxPool2d(3, stride=2))
_MAXIMUM: Step = ("maximum", nn.MaxPool2d(3, stride=1, padding=1))
_ROW, _COLUMN = (1, 7), (7, 1)


def _layer(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, padded: bool = True
) -> nn.Sequential:
    """Convolution, batch normalization, ReLU. By default the size stays, or is not padded for a stride."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, "same" if padded and stride == 1 else 0, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs, eps=0.001), relu=nn.ReLU()))


class InceptionBlock(nn.Module):
    """Branches of layers and pools, side by side. Steps of one name are one step, computed once."""

    def __init__(self, inputs: int, *branches: Sequence[Step]) -> None:
        super().__init__()
        self.branches = [tuple(name for name, *_ in branch) for branch in branches]
        for branch in branches:
            channels = inputs
            for name, what, *shape in branch:
                if name not in self._modules:
                    self.add_module(name, _layer(channels, what, *shape) if shape else what)
                channels = what if shape else channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, sum of the branches' channels, H', W']."""
        made: dict[tuple[str, ...], Tensor] = {(): x}
        for branch in self.branches:
            for k, step in enumerate(branch):
                if branch[: k + 1] not in made:
                    made[branch[: k + 1]] = self.get_submodule(step)(made[branch[:k]])
        return torch.cat([made[branch] for branch in self.branches], dim=1)


def _a(inputs: int, pool: int) -> InceptionBlock:
    """[N, inputs, 35, 35] -> [N, 224 + pool, 35, 35]."""
    five = [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)]
    three = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)]
    return InceptionBlock(inputs, [("branch1x1", 64, 1)], five, three, [_AVERAGE, ("branch_pool", pool, 1)])


def _c(width: int) -> InceptionBlock:
    """[N, 768, 17, 17] -> [N, 768, 17, 17], with `width` channels inside."""
    once = [("branch7x7_1", width, 1), ("branch7x7_2", width, _ROW), ("branch7x7_3", 192, _COLUMN)]
    shapes = ((width, 1), (width, _COLUMN), (width, _ROW), (width, _COLUMN), (192, _ROW))
    twice = [(f"branch7x7dbl_{k}", *shape) for k, shape in enumerate(shapes, 1)]
    return InceptionBlock(768, [("branch1x1", 192, 1)], once, twice, [_AVERAGE, ("branch_pool", 192, 1)])


def _e(inputs: int, pool: Step) -> InceptionBlock:
    """[N, inputs, 8, 8] -> [N, 2048, 8, 8]."""
    one = [("branch3x3_1", 384, 1)]
    two = [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3)]
    return InceptionBlock(
        inputs,
        [("branch1x1", 320, 1)],
        [*one, ("branch3x3_2a", 384, (1, 3))],
        [*one, ("branch3x3_2b", 384, (3, 1))],
        [*two, ("branch3x3dbl_3a", 384, (1, 3))],
        [*two, ("branch3x3dbl_3b", 384, (3, 1))],
        [pool, ("branch_pool", 192, 1)],
    )


class Inception(nn.Module):
    """Pixels -> features, or class probabilities for the inception score."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _layer(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _layer(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = _layer(32, 64, 3)
        self.Conv2d_3b_1x1 = _layer(64, 80, 1)
        self.Conv2d_4a_3x3 = _layer(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        three = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)]
        self.Mixed_6a = InceptionBlock(288, [("branch3x3", 384, 3, 2)], three, [_SHRINK])
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = _c(128), _c(160), _c(160), _c(192)
        three = [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)]
        shapes = ((192, 1), (192, _ROW), (192, _COLUMN), (192, 3, 2))
        seven = [(f"branch7x7x3_{k}", *shape) for k, shape in enumerate(shapes, 1)]
        self.Mixed_7a = InceptionBlock(768, three, seven, [_SHRINK])
        self.Mixed_7b, self.Mixed_7c = _e(1280, _AVERAGE), _e(2048, _MAXIMUM)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def features(self, pixels: Tensor) -> Tensor:
        """Pixels [N, 3, H, W] in 0..255, of any dtype -> features [N, 2048]."""
        x = (resize(pixels.float(), SIDE, SIDE) - 128) / 128  # [N, 3, 299, 299]
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [N, 64, 147, 147]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 64, 73, 73]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # [N, 192, 71, 71]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 192, 35, 35]
        for name, block in self.named_children():
            x = block(x) if name.startswith("Mixed") else x  # to [N, 2048, 8, 8]
        return x.mean(dim=(2, 3))  # [N, 2048]

    def probabilities(self, pixels: Tensor) -> Tensor:
        """Pixels as above -> class probabilities [N, 1008]; without the bias, as the inception score is defined."""
        return (self.features(pixels) @ self.fc.weight.T).softmax(dim=1)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Resize images [N, C, H, W] bilinearly as TensorFlow 1 does, which published FIDs depend on.

    Output pixel i is read at i * (input / output): pictures are not centered, and not low-pass filtered when reduced.
    Both are known faults (Parmar et al. 2022) and part of the definition of the FID.
    """
    for axis, size in ((3, width), (2, height)):
        last = x.shape[axis] - 1
        place = torch.arange(size, dtype=torch.float32, device=x.device) * (x.shape[axis] / size)
        low = place.long().clamp(max=last)
        share = (place - low).to(x.dtype).view([size if i == axis else 1 for i in range(4)])
        below = x.index_select(axis, low)
        x = below + (x.index_select(axis, (low + 1).clamp(max=last)) - below) * share
    return x
