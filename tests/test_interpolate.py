import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import interpolate
from models.stylegan2 import centers
from models.stylegan2.latents import save_ws
from tests.networks import ON_CPU, pictures_of, save_tiny, tiny_generator, ws_of


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(centers, "SAMPLES", 500)
    return save_tiny(tmp_path / "runs" / "00000-a" / "network-000001.5.safetensors")


@pytest.fixture
def conditional(tmp_path):
    return save_tiny(tmp_path / "conditional.safetensors", classes=3, class_names=("cat", "dog", "cow"))


def run(*arguments, script=interpolate.main):
    return CliRunner().invoke(script, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def made(*arguments, script=interpolate.main):
    result = run(*arguments, script=script)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def frames(folder="out/interpolation"):
    return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


def pixels(folder="out/interpolation"):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]).astype(int)


def pictures(seeds, *more):
    """The bytes that generate.py writes."""
    made("--seeds", seeds, "--outdir", "pictures", *more, script=generate.main)
    return {int(path.stem.removeprefix("seed")): path.read_bytes() for path in Path("pictures").glob("*.png")}


def test_it_writes_a_film_and_says_so():
    told = made("--frames", "2")
    assert told[-1] == "wrote interpolation.mp4 (16 frames, 0.5 s) and interpolate.json to out"
    assert sorted(path.name for path in Path("out").iterdir()) == ["interpolate.json", "interpolation.mp4"]
    with av.open("out/interpolation.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (16, 16, 16, 30)


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animated_pictures(ending):
    made("--seeds", "0,1", "--frames", "4", "--format", ending, "--fps", "10", "--scale", "2")
    with Image.open(f"out/interpolation.{ending}") as image:
        image.load()
        assert (image.size, image.n_frames, image.info["loop"], image.info["duration"]) == ((32, 32), 8, 0, 100)


def test_the_record_says_what_was_done(network):
    made("--frames", "1", "--grid", "2x1", "--format", "frames", "--path", "spherical")
    record = json.loads(Path("out/interpolate.json").read_text())
    assert record["command"].startswith("python interpolate.py")
    assert (record["film"], record["count"], record["kimg"]) == ("interpolation", 8, 1.5)
    options = record["options"]
    assert (options["seeds"], options["space"], options["grid"]) == ("0-15", "z", "2x1")
    assert (options["path"], options["frames"], options["loop"], options["fps"]) == ("spherical", 1, True, 30)


WAYS = [("w", "spline"), ("w", "linear"), ("z", "spline"), ("z", "linear"), ("z", "spherical")]


PSI = ["--psi", "0.6", "--psi-cutoff", "4"]
CENTERS = ["--psi", "0.3", "--centers", "3"]


@pytest.mark.parametrize(
    ("space", "path", "loop", "more"),
    [
        *((*way, True, []) for way in WAYS),
        *((*way, False, PSI) for way in (WAYS[0], WAYS[-1])),
        *((*way, True, CENTERS) for way in (WAYS[0], WAYS[-1])),
    ],
)
def test_the_frame_at_a_key_is_the_picture_of_its_seed(conditional, space, path, loop, more):
    common = ["--network", conditional, *more]
    way = ["--space", space, "--path", path, "--loop" if loop else "--no-loop", "--frames", "2", "--format", "frames"]
    made("--seeds", "5,3,10", *way, *common)
    shown, alone = frames(), pictures("5,3,10", *common)
    assert len(shown) == (6 if loop else 5)
    assert [shown[0], shown[2], shown[4]] == [alone[5], alone[3], alone[10]]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(("space", "path"), WAYS)
def test_a_loop_has_no_seam(space, path):
    """The step from the last frame to the first is no longer than others are, near it and elsewhere."""
    made("--seeds", "0-2", "--frames", "6", "--space", space, "--path", path, "--format", "frames")
    shown = pixels()
    steps = np.abs(shown - np.roll(shown, -1, axis=0)).mean(axis=(1, 2, 3))
    assert steps[-1] < 2 * max(steps[-2], steps[0]) and steps[-1] < 3 * np.median(steps)


def test_the_frame_after_the_last_is_the_first():
    """A film of twice the keys goes round twice."""
    way = ["--frames", "2", "--format", "frames", "--path", "linear"]
    made("--seeds", "0-2", *way, "--outdir", "once")
    made("--seeds", "0-2,0-2", *way, "--outdir", "twice")
    made("--seeds", "0-2,0", *way, "--no-loop", "--outdir", "there")
    once = frames("once/interpolation")
    assert frames("twice/interpolation") == once * 2
    assert frames("there/interpolation") == [*once, once[0]]


def test_frames_between_are_the_pictures_of_w_between():
    made("--seeds", "0,1", "--frames", "4", "--path", "linear", "--no-loop", "--format", "frames")
    G = tiny_generator()
    a, b = ws_of(G, [0, 1])
    (wanted,) = pictures_of(G, [0], ws=[a.lerp(b, 0.25)])
    assert np.array_equal(pixels()[1], wanted.permute(1, 2, 0))


def test_spherical_frames_are_those_of_a_z_between():
    made("--seeds", "0,1", "--frames", "2", "--path", "spherical", "--no-loop", "--format", "frames")
    G = tiny_generator()
    a, b = (torch.from_numpy(np.random.RandomState(seed).randn(1, 8)) for seed in (0, 1))
    middle = a / a.norm() + b / b.norm()  # the mapping takes no notice of its length
    (wanted,) = pictures_of(G, [0], ws=G.ws(middle.float()))
    assert np.abs(pixels()[1] - wanted.permute(1, 2, 0).numpy()).max() <= 1


def test_easing_moves_frames_and_no_keys():
    common = ["--seeds", "0,1", "--frames", "4", "--path", "linear", "--format", "frames"]
    made(*common, "--outdir", "even")
    made(*common, "--easing", "smooth", "--outdir", "eased")
    even, eased = frames("even/interpolation"), frames("eased/interpolation")
    assert [n for n in range(8) if even[n] == eased[n]] == [0, 2, 4, 6]


def test_a_grid_deals_its_keys_out_in_turn():
    common = ["--frames", "2", "--format", "frames"]
    made("--seeds", "0-11", "--grid", "3x2", *common)
    sheet = pixels()
    assert sheet.shape == (4, 32, 48, 3)
    for cell in (2, 4):
        made("--seeds", f"{2 * cell}-{2 * cell + 1}", *common, "--outdir", "one")
        top, left = 16 * (cell // 3), 16 * (cell % 3)
        assert np.array_equal(sheet[:, top : top + 16, left : left + 16], pixels("one/interpolation"))


def test_without_seeds_each_cell_has_eight_keys():
    made("--frames", "1", "--grid", "2x1", "--format", "frames")
    assert len(frames()) == 8
    assert json.loads(Path("out/interpolate.json").read_text())["options"]["seeds"] == "0-15"


def test_random_noise_stays_the_same_through_a_film(network):
    common = ["--noise-mode", "random"]
    still = ["--seeds", "4,4", "--frames", "3", "--format", "frames", *common]
    made(*still)
    assert set(frames()) == {pictures("4", *common)[4]}
    made("--seeds", "4,5,6,7", "--grid", "2x1", "--frames", "1", "--format", "frames", *common, "--outdir", "grid")
    first = pixels("grid/interpolation")[0]
    for seed, part in ((4, first[:, :16]), (6, first[:, 16:])):
        assert pictures(str(seed), *common) and np.array_equal(
            part, np.asarray(Image.open(f"pictures/seed000{seed}.png"))
        )


def test_a_class_for_all_and_a_class_for_each(conditional):
    common = ["--network", conditional, "--frames", "2", "--format", "frames"]
    for space in ("w", "z"):
        way = ["--seeds", "3,4", "--space", space, "--path", "linear"]
        made(*common, *way, "--class", "dog")
        dogs, alone = frames(), pictures("3,4", "--network", conditional, "--class", "dog")
        assert [dogs[0], dogs[2]] == [alone[3], alone[4]]
        made(*common, *way)
        assert frames()[0] != dogs[0] and frames()[2] == dogs[2]


def test_a_class_changes_by_and_by_in_z(conditional):
    """One z whose class changes: on the way it is between the two."""
    made("--network", conditional, "--seeds", "1,2", "--space", "z", "--frames", "10", "--format", "frames")
    shown = pixels()
    steps = np.abs(np.diff(shown, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 4 * np.median(steps)


def test_centers_make_no_jump_on_the_way(conditional):
    """Were every frame drawn to what is nearest to it, there would be one where the nearest changes."""
    way = ["--seeds", "0,3,6,9", "--space", "z", "--frames", "6", "--format", "frames", "--path", "spherical"]
    made("--network", conditional, *way, "--psi", "0.1", "--centers", "8")
    shown = pixels()
    steps = np.abs(shown - np.roll(shown, -1, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 5 * np.median(steps)


def test_films_of_latents():
    G = tiny_generator()
    ws = ws_of(G, [0, 1, 2])
    save_ws(Path("a.npz"), ws[:2])
    save_ws(Path("b.npz"), ws[2:])
    common = ["--frames", "4", "--format", "frames", "--psi", "0.7"]
    made("--latents", "a.npz, b.npz", *common, "--outdir", "latents")
    made("--seeds", "0-2", *common, "--outdir", "seeds")
    assert frames("latents/interpolation") == frames("seeds/interpolation")
    record = json.loads(Path("latents/interpolate.json").read_text())
    assert record["options"]["latents"] == "a.npz, b.npz" and record["options"]["seeds"] is None


def test_noise_of_latents_is_left_out_with_a_note(conditional):
    G = tiny_generator(classes=3)
    save_ws(
        Path("a.npz"), torch.zeros(2, 6, 8), [layer.noise.fixed.expand(2, 1, -1, -1) for layer in G.synthesis.layers]
    )
    save_ws(Path("b.npz"), torch.zeros(2, 6, 8))
    common = ["--network", conditional, "--frames", "1"]
    note = "note: the noise fitted to the latents is left out, because a film's noise stays the same"
    told = made("--latents", "b.npz,a.npz", *common)
    assert told[1] == note and not any("class" in line for line in told)
    for options in (["b.npz"], ["a.npz", "--noise-mode", "none"]):
        assert note not in made("--latents", *options, *common)


def test_latents_are_drawn_to_centers_of_the_class_that_is_named(conditional):
    G = tiny_generator(classes=3)
    save_ws(Path("a.npz"), ws_of(G, [1, 4], [1, 1]))
    common = ["--network", conditional, "--frames", "2", "--format", "frames", "--psi", "0.4", "--centers", "4"]
    made("--latents", "a.npz", "--class", "dog", *common, "--outdir", "latents")
    made("--seeds", "1,4", *common, "--outdir", "seeds")
    assert frames("latents/interpolation") == frames("seeds/interpolation")


def test_pictures_are_enlarged_by_whole_numbers():
    common = ["--seeds", "0,1", "--frames", "1", "--format", "frames"]
    made(*common)
    small = pixels()
    made(*common, "--scale", "3", "--resample", "nearest")
    assert np.array_equal(pixels(), small.repeat(3, axis=1).repeat(3, axis=2))
    made(*common, "--scale", "3")
    smooth = Image.open("out/interpolation/frame000000.png")
    wanted = Image.fromarray(small[0].astype(np.uint8)).resize((48, 48), Image.Resampling.LANCZOS)
    assert smooth.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("ending", ["mp4", "gif", "webp", "frames"])
def test_gray_and_transparent_rectangles(tmp_path, channels, ending):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels, height=12, width=20)
    told = made("--network", network, "--seeds", "0,1", "--frames", "2", "--format", ending, "--grid", "1x1")
    name = "interpolation" if ending == "frames" else f"interpolation.{ending}"
    assert told[-1] == f"wrote {name} (4 frames, 0.1 s) and interpolate.json to out"


def test_a_shorter_film_leaves_no_frames_of_a_longer_one():
    made("--seeds", "0,1", "--frames", "3", "--format", "frames")
    made("--seeds", "0,1", "--frames", "2", "--format", "frames")
    assert len(frames()) == 4


def test_an_interrupted_film_leaves_nothing(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sampling.films.tile", interrupted)
    assert run("--frames", "2").exit_code == 130
    assert not Path("out").exists() or not any(Path("out").iterdir())
