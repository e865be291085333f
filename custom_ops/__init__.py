"""What PyTorch lacks: bias with activation, FIR resampling, and convolution with resampling.

Every operator is differentiable twice. Graphs of `torch.export` consist of PyTorch's own operators.
"""

import system.start  # noqa: F401 (first)

from custom_ops import build, proof
from custom_ops.convolution import conv2d_resample
from custom_ops.scale_bias_act import ACTIVATIONS, bias_act, scale_bias_act
from custom_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

build.proof = proof

__all__ = [
    "ACTIVATIONS",
    "bias_act",
    "conv2d_resample",
    "downsample2d",
    "filter2d",
    "scale_bias_act",
    "setup_filter",
    "upfirdn2d",
    "upsample2d",
]
