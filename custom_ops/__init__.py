"""What PyTorch lacks: bias with activation, FIR resampling, and convolution with resampling.

Every operator here is differentiable any number of times and works on any device. What `torch.export` records is made
of PyTorch's own operators, so that its graphs run where this project is not.
"""

import system.start  # noqa: F401 (first)

from custom_ops import build, proof
from custom_ops.activations import ACTIVATIONS
from custom_ops.bias_act import bias_act
from custom_ops.conv2d_resample import conv2d_resample
from custom_ops.scale_bias_act import scale_bias_act
from custom_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

build.proof = proof.PROOF  # which knows all operators, as none of them may know the others

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
