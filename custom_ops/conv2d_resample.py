"""2-D convolution after an upsampling filter or before a downsampling filter.

The definition is: enlarge `up` times with the filter f and convolve with w, or convolve and reduce `down` times with
f. Convolutions commute, so a 1x1 convolution is computed at the lower resolution, and others with strides: the same
result at a fraction of the cost.
"""

from torch import Tensor

from custom_ops.convolution import convolve, convolve_transposed
from custom_ops.upfirdn2d import NO_SIDES, add_sides, downsampling_padding, split_padding, upfirdn2d, upsampling_padding


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """Convolve images, after enlarging them or before reducing them.

    Args:
        x: images [N, I, H, W].
        w: weights [O, I / groups, rows, columns], to correlate with (PyTorch's convention); to convolve with if up > 1.
        f: low-pass filter of `setup_filter`. None is the identity.
        up: upsampling factor.
        down: downsampling factor. One of the two is 1.
        padding: zeros on each side of the upsampled image.
        groups: number of convolution groups.

    Returns:
        Images [N, O, H', W'], with H' = H * up / down if the padding keeps the size in the convolution.

    Raises:
        ValueError: for weights, groups or factors that do not fit.
    """
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f"weights {tuple(w.shape)} in {groups} groups do not fit an input {tuple(x.shape)}")
    if up > 1 and down > 1:
        raise ValueError(f"up is {up} and down is {down}, expected 1 for one of them")
    rows, columns = w.shape[2:]
    sides = upsampling_padding(f, up) if up > 1 else downsampling_padding(f, down) if down > 1 else NO_SIDES
    left, right, top, bottom = sides = add_sides(sides, padding)
    if up == 1:
        if down > 1 and rows == columns == 1:
            x, sides, down = upfirdn2d(x, f, down=down, padding=sides), NO_SIDES, 1
        elif down > 1:
            x, sides = upfirdn2d(x, f, padding=sides), NO_SIDES
        x, implicit = split_padding(x, sides)
        return convolve(x, w, stride=down, padding=implicit, groups=groups)
    if rows == columns == 1:
        return upfirdn2d(convolve(x, w, groups=groups), f, up=up, padding=sides, gain=up**2)
    # A transposed convolution computes every output that a sample reaches. The filter's padding crops what is outside.
    x = convolve_transposed(x, _transposed(w, groups), stride=up, groups=groups)
    sides = (left - columns + 1, right - columns + up, top - rows + 1, bottom - rows + up)
    return upfirdn2d(x, f, padding=sides, gain=up**2)


def _transposed(w: Tensor, groups: int) -> Tensor:
    """Weights [O, I / groups, rows, columns] in the order of `conv_transpose2d`: [I, O / groups, rows, columns]."""
    if groups == 1:
        return w.transpose(0, 1)
    O, I, rows, columns = w.shape
    w = w.reshape(groups, O // groups, I, rows, columns).transpose(1, 2)
    return w.reshape(groups * I, O // groups, rows, columns)
