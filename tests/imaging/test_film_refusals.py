"""What cannot become a film: one sentence, and nothing written."""

import pytest
from PIL import Image

from imaging.film import check_film, check_rate, write_film


def plain(color, size=(32, 24)):
    return Image.new("RGB", size, color)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "frames"])
def test_frames_of_other_sizes_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ValueError) as error:
        write_film(path, [plain("red"), plain("red"), plain("red", (24, 32))])
    assert str(error.value) == (
        f"{path}: frame 2 has 24x32 pixels, but the first one has 32x24: give frames of one size"
    )
    assert list(tmp_path.iterdir()) == []


def refusal(path, *more, flag="--out"):
    with pytest.raises(ValueError) as error:
        check_film(path, flag, *more)
    return str(error.value)


def test_a_film_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        write_film(tmp_path / "a.gif", [])
    assert str(error.value) == f"{tmp_path}/a.gif: a film needs at least one frame"


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    folder = tmp_path / "frames"
    write_film(folder, [plain("red")])
    check_film(folder, "--out")
    (folder / "mine.txt").write_text("mine")
    told = refusal(folder)
    assert told == f"--out {folder} holds other files than frames (mine.txt): choose another path"
    with pytest.raises(ValueError, match="holds other files than frames"):
        write_film(folder, [plain("red")])
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(("name", "most"), [("a.mp4", 16384), ("a.gif", 65535), ("a.webp", 16383)])
def test_sides_that_a_format_cannot_hold_are_refused(tmp_path, name, most):
    check_film(tmp_path / name, "--out", (most, 10))
    assert refusal(tmp_path / name, (10, most + 1)) == (
        f"--out {tmp_path}/{name}: {name[2:]} takes frames of at most {most} pixels a side, not "
        f"10x{most + 1}: make them smaller, or write a folder of frames"
    )


@pytest.mark.parametrize(
    ("name", "kind", "most"),
    [("a.mp4", "mp4", 240), ("a.gif", "gif", 50), ("a.webp", "webp", 240), ("a", "a film", 240)],
)
def test_rates_that_a_format_cannot_show_are_refused(tmp_path, name, kind, most):
    check_rate(tmp_path / name, "--fps", most)
    for fps in (most + 1, 0, -1):
        with pytest.raises(ValueError) as error:
            check_rate(tmp_path / name, "--fps", fps)
        assert str(error.value) == f"--fps {fps}: {kind} takes more than 0 and up to {most} frames a second"
