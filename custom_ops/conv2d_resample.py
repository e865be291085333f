"""2-D convolution between an upsampling and a downsampling filter.

The definition is three steps: enlarge `up` times with the filter f, convolve with w, reduce `down` times with f.
Convolutions commute, so the common cases are computed at the lower resolution, or with strides: the same result at a
fraction of the cost.
"""

from torch import Tensor

from custom_ops.convolution import convolve, convolve_transposed
from custom_ops.upfirdn2d import (
    Padding,
    add_sides,
    downsampling_padding,
    four_sides,
    split_padding,
    upfirdn2d,
    upsampling_padding,
)


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Convolve images, after enlarging them or before reducing them.

    Args:
        x: images [N, I, H, W].
        w: weights [O, I / groups, rows, columns].
        f: low-pass filter of `setup_filter`. None is the identity.
        up: upsampling factor.
        down: downsampling factor.
        padding: zeros around the upsampled image, as for `upfirdn2d`.
        groups: number of convolution groups.
        flip_weight: True correlates with w (PyTorch's convention), False convolves.
        flip_filter: False convolves with f, True correlates.

    Returns:
        Images [N, O, H', W'], with H' = H * up / down if the padding keeps the size in the convolution.

    Raises:
        ValueError: for weights or groups that do not fit, or factors below one.
    """
    if w.ndim != 4 or x.ndim != 4 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f"weights {tuple(w.shape)} in {groups} groups do not fit an input {tuple(x.shape)}")
    if up < 1 or down < 1:
        raise ValueError(f"resampling factors are whole numbers from 1, but up is {up} and down is {down}")
    rows, columns = w.shape[2:]
    sides = four_sides(padding)
    if up > 1:
        sides = add_sides(sides, upsampling_padding(f, up))
    if down > 1:
        sides = add_sides(sides, downsampling_padding(f, down))

    if up == 1 and down == 1:
        return _convolve(x, w, 1, sides, groups, flip_weight)
    if rows == columns == 1 and up == 1:
        x = upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter)
        return _convolve(x, w, 1, (0, 0, 0, 0), groups, flip_weight)
    if rows == columns == 1 and down == 1:
        x = _convolve(x, w, 1, (0, 0, 0, 0), groups, flip_weight)
        return upfirdn2d(x, f, up=up, padding=sides, flip_filter=flip_filter, gain=up**2)
    if up == 1:
        x = upfirdn2d(x, f, padding=sides, flip_filter=flip_filter)
        return _convolve(x, w, down, (0, 0, 0, 0), groups, flip_weight)

    # A transposed convolution computes every output that a sample reaches. The filter's padding crops what is outside.
    x = convolve_transposed(x, _transposed(w, groups, flip_weight), stride=up, groups=groups)
    left, right, top, bottom = sides
    sides = (left - columns + 1, right - columns + up, top - rows + 1, bottom - rows + up)
    x = upfirdn2d(x, f, padding=sides, flip_filter=flip_filter, gain=up**2)
    return upfirdn2d(x, f, down=down, flip_filter=flip_filter) if down > 1 else x


def _convolve(
    x: Tensor, w: Tensor, stride: int, sides: tuple[int, int, int, int], groups: int, flip_weight: bool
) -> Tensor:
    x, implicit = split_padding(x, sides)
    w = w if flip_weight or w.shape[2] == w.shape[3] == 1 else w.flip([2, 3])
    return convolve(x, w, stride=stride, padding=implicit, groups=groups)


def _transposed(w: Tensor, groups: int, flip_weight: bool) -> Tensor:
    """Weights [O, I / groups, rows, columns] in the order of `conv_transpose2d`: [I, O / groups, rows, columns]."""
    w = w.flip([2, 3]) if flip_weight else w
    if groups == 1:
        return w.transpose(0, 1)
    O, I, rows, columns = w.shape
    w = w.reshape(groups, O // groups, I, rows, columns).transpose(1, 2)
    return w.reshape(groups * I, O // groups, rows, columns)
