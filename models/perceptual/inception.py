"""Inception v3 as the FID knows it, the TensorFlow network of 2015-12-05 (Szegedy et al. 2016), for images of any size.

It differs from the network of the paper in three places: average pools count no padding, the very last block pools by
the maximum, and there are 1008 classes. Modules bear the names of the published weights, `pt_inception-2015-12-05`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.perceptual.resize import resize

SIDE = 299
FEATURES, CLASSES = 2048, 1008


class Layer(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _row(inputs: int, outputs: int) -> Layer:
    return Layer(inputs, outputs, (1, 7), padding=(0, 3))


def _column(inputs: int, outputs: int) -> Layer:
    return Layer(inputs, outputs, (7, 1), padding=(3, 0))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """[N, inputs, 35, 35] -> [N, 224 + pool, 35, 35]."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Layer(inputs, 64, 1)
        self.branch5x5_1 = Layer(inputs, 48, 1)
        self.branch5x5_2 = Layer(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Layer(inputs, 64, 1)
        self.branch3x3dbl_2 = Layer(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Layer(96, 96, 3, padding=1)
        self.branch_pool = Layer(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], dim=1)


class BlockB(nn.Module):
    """[N, 288, 35, 35] -> [N, 768, 17, 17]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Layer(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Layer(inputs, 64, 1)
        self.branch3x3dbl_2 = Layer(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Layer(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockC(nn.Module):
    """[N, 768, 17, 17] -> the same, with `width` channels within."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = Layer(inputs, 192, 1)
        self.branch7x7_1 = Layer(inputs, width, 1)
        self.branch7x7_2 = _row(width, width)
        self.branch7x7_3 = _column(width, 192)
        self.branch7x7dbl_1 = Layer(inputs, width, 1)
        self.branch7x7dbl_2 = _column(width, width)
        self.branch7x7dbl_3 = _row(width, width)
        self.branch7x7dbl_4 = _column(width, width)
        self.branch7x7dbl_5 = _row(width, 192)
        self.branch_pool = Layer(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_average(x))], dim=1)


class BlockD(nn.Module):
    """[N, 768, 17, 17] -> [N, 1280, 8, 8]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Layer(inputs, 192, 1)
        self.branch3x3_2 = Layer(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Layer(inputs, 192, 1)
        self.branch7x7x3_2 = _row(192, 192)
        self.branch7x7x3_3 = _column(192, 192)
        self.branch7x7x3_4 = Layer(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockE(nn.Module):
    """[N, inputs, 8, 8] -> [N, 2048, 8, 8]. `maximum` says how the last branch pools."""

    def __init__(self, inputs: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Layer(inputs, 320, 1)
        self.branch3x3_1 = Layer(inputs, 384, 1)
        self.branch3x3_2a = Layer(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Layer(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Layer(inputs, 448, 1)
        self.branch3x3dbl_2 = Layer(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Layer(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Layer(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Layer(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else _average(x)
        threes = [self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([self.branch1x1(x), *threes, self.branch_pool(pooled)], dim=1)


class Inception(nn.Module):
    """Pixels -> features, or class probabilities for the inception score."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Layer(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Layer(32, 32, 3)
        self.Conv2d_2b_3x3 = Layer(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = Layer(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def features(self, pixels: Tensor) -> Tensor:
        """Pixels [N, 3, H, W] in 0..255, of any type -> features [N, 2048]."""
        x = (resize(pixels.float(), SIDE, SIDE) - 128) / 128  # [N, 3, 299, 299]
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [N, 64, 147, 147]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 64, 73, 73]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # [N, 192, 71, 71]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 192, 35, 35]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # [N, 288, 35, 35]
        x = self.Mixed_6a(x)  # [N, 768, 17, 17]
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))  # [N, 768, 17, 17]
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [N, 2048, 8, 8]
        return x.mean(dim=(2, 3))  # [N, 2048]

    def probabilities(self, pixels: Tensor) -> Tensor:
        """Pixels as above -> class probabilities [N, 1008]; without the bias, as the inception score is defined."""
        return (self.features(pixels) @ self.fc.weight.T).softmax(dim=1)
