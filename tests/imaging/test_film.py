"""Films, read back by programs that know nothing of how they were written."""

from itertools import accumulate

import av
import numpy as np
import pytest
from PIL import Image

from imaging.film import write_film

ENDINGS = ["mp4", "gif", "webp"]


def plain(color, size=(32, 24), mode="RGB"):
    return Image.new(mode, size, color)


def gradients(count=6, size=(47, 33)):
    """Smooth pictures whose colors wander."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
        third = 128 + 60 * np.sin(turn + x / width)
        yield Image.fromarray(np.stack([255 * x / width, 255 * y / height, third], axis=-1).astype(np.uint8))


def read(path):
    """The frames as float [N, H, W, 3 or 4], and how long each lasts in seconds."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return np.stack(frames).astype(float), [1 / float(stream.average_rate)] * len(frames)
    frames, lasting = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGBA")))
            lasting.append(image.info["duration"] / 1000)
    return np.stack(frames).astype(float), lasting


@pytest.mark.parametrize("size", [(32, 24), (47, 33), (16, 17), (3, 5)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_film_has_its_frames_in_order_and_size(tmp_path, ending, size):
    path = tmp_path / "deep" / f"a.{ending}"
    colors = [(250, 20, 30), (20, 240, 40), (10, 30, 250), (128, 128, 128)]
    assert write_film(path, (plain(color, size) for color in colors), fps=10) == 4
    frames, lasting = read(path)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert frames.shape[:3] == (4, *(even if ending == "mp4" else size)[::-1])
    assert lasting == pytest.approx([0.1] * 4)
    for frame, color in zip(frames, colors, strict=True):
        assert np.abs(frame[..., :3] - color).max() <= 4  # H.264 has 219 steps from black to white


@pytest.mark.parametrize(("ending", "mean", "largest"), [("mp4", 3, 60), ("gif", 9, 90), ("webp", 3, 40)])
def test_the_colors_are_near(tmp_path, ending, mean, largest):
    path = tmp_path / f"a.{ending}"
    write_film(path, gradients(), fps=20)
    wanted = np.stack([np.asarray(frame, float) for frame in gradients()])
    off = read(path)[0][:, :33, :47, :3] - wanted
    assert np.abs(off).mean() < mean and np.abs(off).max() < largest
    assert np.abs(off.mean(axis=(1, 2))).max() < 5  # no frame is brighter, darker or of another hue as a whole


def test_an_mp4_says_which_colors_it_means_and_begins_with_its_index(tmp_path):
    write_film(tmp_path / "a.mp4", gradients(), fps=24)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 24)
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("ending", "step"), [("gif", 0.01), ("webp", 0.001)])
@pytest.mark.parametrize("fps", [30, 24, 7, 50])
def test_frames_begin_when_they_should(tmp_path, ending, step, fps):
    """Each to the format's nearest step, so that no film runs away from its sound."""
    path = tmp_path / f"a.{ending}"
    write_film(path, (plain((12 * i, 0, 0)) for i in range(20)), fps=fps)
    begins = [0, *accumulate(read(path)[1])]
    assert np.abs(np.array(begins[:-1]) - np.arange(20) / fps).max() <= step / 2 + 1e-9


def test_a_gif_of_few_colors_has_just_those(tmp_path):
    rng = np.random.default_rng(0)
    colors = (rng.integers(0, 32, [100, 3]) * 8).astype(np.uint8)
    wanted = [colors[rng.integers(0, 100, [20, 30])] for _ in range(5)]
    write_film(tmp_path / "a.gif", map(Image.fromarray, wanted), fps=20)
    assert np.array_equal(read(tmp_path / "a.gif")[0][..., :3], wanted)


def test_what_stands_still_does_not_flicker_in_a_gif(tmp_path):
    """The upper half stays the same while the lower wanders through other colors."""
    still = np.asarray(next(gradients()))[:16]
    moving = [np.concatenate([still, np.asarray(frame)[16:]]) for frame in gradients(12)]
    write_film(tmp_path / "a.gif", map(Image.fromarray, moving), fps=20)
    frames = read(tmp_path / "a.gif")[0]
    assert (frames[:, :16] == frames[:1, :16]).all()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("mode", "color"), [("L", 100), ("RGB", (90, 100, 110)), ("RGBA", (90, 100, 110, 255))])
def test_every_kind_of_picture(tmp_path, ending, mode, color):
    path = tmp_path / f"a.{ending}"
    write_film(path, [plain(color, mode=mode)] * 3, fps=10)
    wanted = [100, 100, 100] if mode == "L" else [90, 100, 110]
    assert np.abs(read(path)[0][..., :3] - wanted).max() <= 3


def test_transparent_frames(tmp_path):
    frame = np.zeros([24, 32, 4], np.uint8)
    frame[:, 16:] = (200, 0, 0, 255)
    moving = [Image.fromarray(np.roll(frame, shift, axis=1)) for shift in (0, 8)]
    for ending in ENDINGS:
        write_film(tmp_path / f"a.{ending}", moving, fps=10)
    gif, webp = (read(tmp_path / f"a.{ending}")[0] for ending in ("gif", "webp"))
    for shown in (gif, webp):
        assert np.array_equal(shown[..., 3], [np.asarray(picture)[..., 3] for picture in moving])
    laid_on_white = read(tmp_path / "a.mp4")[0]
    assert laid_on_white[0, :, 2:12].min() > 245 and np.abs(laid_on_white[0, :, 20:30] - (200, 0, 0)).max() < 12


def test_a_folder_of_frames_keeps_every_byte(tmp_path):
    assert write_film(tmp_path / "frames", gradients(12)) == 12
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"frame{number:06d}.png" for number in range(12)]
    for name, wanted in zip(names, gradients(12), strict=True):
        assert Image.open(tmp_path / "frames" / name).tobytes() == wanted.tobytes()


def test_a_shorter_film_leaves_no_frame_of_a_longer_one(tmp_path):
    write_film(tmp_path / "frames", gradients(12))
    write_film(tmp_path / "frames", [plain("red")] * 3)
    assert len(list((tmp_path / "frames").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "frames"])
def test_a_film_that_fails_midway_leaves_what_was_there(tmp_path, name):
    def failing():
        yield from gradients(3)
        raise RuntimeError("no more")

    path = tmp_path / name
    with pytest.raises(RuntimeError, match="no more"):
        write_film(path, failing())
    assert list(tmp_path.iterdir()) == []
    write_film(path, gradients(2))

    def contents():
        return {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    before = contents()
    with pytest.raises(RuntimeError, match="no more"):
        write_film(path, failing())
    assert contents() == before


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "frames"])
def test_frames_are_taken_one_by_one(tmp_path, name, monkeypatch):
    """None is asked for before the one before it is dealt with."""
    alive, most = 0, 0

    class Counted(Image.Image):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def frames():
        nonlocal alive, most
        for frame in gradients(40):
            frame.__class__ = Counted
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    write_film(tmp_path / name, frames())
    assert most <= 4
