"""Every transform and filter in closed form."""

import numpy as np
import pytest
from PIL import Image

from imaging.transforms import Fitting

RAMP = np.tile(np.arange(64, dtype=np.uint8), (32, 1))  # every pixel says its column


def fit(array, size, transform, kernel="box"):
    """size is (height, width)."""
    return np.asarray(Fitting(size, transform, kernel)(Image.fromarray(array))).astype(int)


def test_center_crop_of_a_gradient():
    assert fit(RAMP, (32, 32), "center-crop").tolist() == np.tile(np.arange(16, 48), (32, 1)).tolist()
    # Halved by the mean of two columns, which rounds half up.
    assert fit(RAMP, (16, 16), "center-crop")[0].tolist() == [16 + 2 * i + 1 for i in range(16)]
    assert fit(RAMP.T.copy(), (32, 32), "center-crop")[:, 5].tolist() == list(range(16, 48))


def test_wide_has_bars_above_and_below():
    array = np.full((40, 64), 200, np.uint8)
    found = fit(array, (48, 64), "center-crop-wide")
    assert found.shape == (64, 64)
    assert (found[:8] == 0).all() and (found[56:] == 0).all() and (found[8:56] == 200).all()
    assert Fitting((384, 512), "center-crop-wide").canvas == (512, 512), "LSUN cars"
    content = fit(RAMP, (32, 64), "center-crop-wide")
    assert content[16:48].tolist() == RAMP.tolist() and not content[:16].any() and not content[48:].any()


def test_tall_has_bars_left_and_right():
    content = fit(RAMP.T.copy(), (64, 32), "center-crop-tall")
    assert content.shape == (64, 64)
    assert content[:, 16:48].tolist() == RAMP.T.tolist() and not content[:, :16].any() and not content[:, 48:].any()


def test_bars_are_black_not_transparent():
    image = Image.new("RGBA", (16, 8), (9, 9, 9, 7))
    found = np.asarray(Fitting((8, 16), "center-crop-wide")(image))
    assert found[0, 0].tolist() == [0, 0, 0, 255] and found[8, 8].tolist() == [9, 9, 9, 7]
    assert Fitting((8, 16), "pad")(image) is image


def test_pad_shows_the_whole_picture():
    found = fit(RAMP, (64, 64), "pad")
    assert found[16:48].tolist() == RAMP.tolist() and not found[:16].any() and not found[48:].any()
    half = fit(RAMP, (48, 32), "pad")  # 32x16 in the middle of 32x48
    assert half[16:32].tolist() == np.tile(np.arange(16 * 2) * 2 + 1, (16, 1)).tolist()
    assert not half[:16].any() and not half[32:].any()
    odd = fit(np.full((9, 12), 50, np.uint8), (12, 12), "pad")  # of three rows one above, two below
    assert odd.any(axis=1).tolist() == [False] + [True] * 9 + [False] * 2


def test_squash_shows_the_whole_picture_in_another_aspect():
    assert fit(RAMP, (32, 32), "squash").tolist() == np.tile(np.arange(32) * 2 + 1, (32, 1)).tolist()


def test_filters_differ_as_their_kernels_do():
    step = np.zeros((8, 64), np.uint8)
    step[:, 33:] = 200  # an edge in the middle of an output pixel
    box, lanczos, bicubic = (fit(step, (8, 32), "squash", kernel)[4] for kernel in ("box", "lanczos", "bicubic"))
    assert box.tolist() == [0] * 16 + [100] + [200] * 15
    assert lanczos.max() > bicubic.max() > 200, "both ring, Lanczos more"
    assert (np.abs(lanczos - box)[:12] == 0).all()


def test_what_enlarges():
    assert Fitting((32, 32), "center-crop").enlarges(64, 16) and not Fitting((32, 32), "pad").enlarges(64, 16)
    assert Fitting((32, 32), "pad").enlarges(16, 16) and Fitting((32, 32), "squash").enlarges(16, 64)


@pytest.mark.parametrize(
    ("size", "transform", "message"),
    [
        (
            (64, 32),
            "center-crop-wide",
            "--transform center-crop-wide needs a size that is wide, not 32x64: use center-crop-tall",
        ),
        (
            (32, 64),
            "center-crop-tall",
            "--transform center-crop-tall needs a size that is tall, not 64x32: use center-crop-wide",
        ),
    ],
)
def test_sizes_that_have_no_bars(size, transform, message):
    with pytest.raises(ValueError) as error:
        Fitting(size, transform)
    assert str(error.value) == message
