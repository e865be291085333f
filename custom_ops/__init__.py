"""What PyTorch lacks: bias with activation, FIR resampling, and convolution with resampling.

Every operator is differentiable twice and works on any device. Graphs of `torch.export` consist of
PyTorch's own operators, so they run without this project.
"""

import system.start  # noqa: F401 (first)

from custom_ops.bias_act import ACTIVATIONS, bias_act, scale_bias_act
from custom_ops.conv2d_resample import conv2d_resample
from custom_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

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
