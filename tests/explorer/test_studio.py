"""Pictures of the page: drafts, exact ones, those on the way, and settings that travel in a PNG."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from explorer import studio as studios
from explorer.encoding import restored
from explorer.pagestate import PageState
from explorer.studio import Asked, header, open_studio
from imaging.pixels import from_pil
from tests.networks import save_noisy, save_tiny

CPU = torch.device("cpu")
STATE = PageState(network="a.safetensors", seeds=((3, 0.8), (5, 0.6)), options={"psi": 0.7})


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    return open_studio(str(save_tiny(tmp_path_factory.mktemp("n") / "a.safetensors")), {}, CPU, "fp32")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return open_studio(str(save_noisy(tmp_path_factory.mktemp("n") / "b.safetensors")), {"steps": 20}, CPU, "fp32")


def opened(data: bytes) -> np.ndarray:
    return from_pil(Image.open(io.BytesIO(data)))


def test_a_draft_is_a_jpeg_near_the_exact_picture(styles):
    (quick,) = styles.pictures(Asked(state=STATE, draft=True))
    exact = styles.exact(STATE)
    assert (quick.kind, exact.kind, quick.exact, exact.exact) == ("image/jpeg", "image/png", False, True)
    error = opened(quick.data).astype(float) - opened(exact.data)
    assert np.sqrt((error**2).mean()) < 12


def test_transparent_drafts_stay_transparent(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", channels=4)
    (quick,) = open_studio(str(network), {}, CPU, "fp32").pictures(Asked(draft=True))
    assert quick.kind == "image/webp" and opened(quick.data).shape == (4, 16, 16)


def test_pictures_emerge_and_end_in_the_exact_one(noisy, monkeypatch):
    monkeypatch.setattr(studios, "BETWEEN_STEPS", 0)
    state = PageState(options={"steps": 20})
    *steps, last = noisy.pictures(Asked(state=state, emerge=True))
    assert [made.share for made in steps] == [pytest.approx(k / 20) for k in range(1, 20)]
    assert {made.kind for made in steps} == {"image/jpeg"} and not any(made.exact for made in steps)
    noisy._kept.clear()
    assert noisy.exact(state).data == last.data and last.exact
    differences = [np.abs(opened(made.data).astype(float) - opened(last.data)).mean() for made in steps]
    assert differences[0] > 3 * differences[-1]


def test_a_draft_takes_fewer_steps(noisy, monkeypatch):
    taken = []
    sample = type(noisy.sampler).sample
    monkeypatch.setattr(
        type(noisy.sampler), "sample", lambda s, *more: taken.append(s.options.steps) or sample(s, *more)
    )
    list(noisy.pictures(Asked(state=PageState(seeds=((9, 1),), options={"steps": 20}), draft=True)))
    assert taken == [8]


def test_pictures_are_kept_by_state(styles, monkeypatch):
    styles.exact(STATE)
    monkeypatch.setattr(styles, "_made", lambda asked: pytest.fail("computed again"))
    renamed = STATE.model_copy(update={"network": "other"})
    assert styles.exact(renamed) == styles.exact(STATE)


def test_the_kept_pictures_are_limited(styles, monkeypatch):
    monkeypatch.setattr(studios, "LARGEST_CACHE", 2000)
    for seed in range(20):
        styles.exact(PageState(seeds=((seed, 1),)))
    assert 1 <= len(styles._kept) < 5


def test_options_of_the_command_line_come_first(noisy):
    assert noisy.about["state"]["options"] == {"steps": 20}
    assert noisy.scene.fixed == {}


def test_the_header_tells_the_command_line_of_exact_pictures_alone(styles):
    exact, (quick,) = styles.exact(STATE), styles.pictures(Asked(state=STATE, draft=True))
    told = json.loads(header(Asked(number=4, slot=2, state=STATE), exact, styles))
    assert (told["number"], told["slot"], told["kind"], told["share"]) == (4, 2, "image/png", 1)
    assert told["command"].endswith("--mix 3:0.8,5:0.6 --psi 0.7") and set(told["barred"]) == {"noise_seed"}
    assert "command" not in json.loads(header(Asked(state=STATE, draft=True), quick, styles))


def test_a_saved_picture_has_the_same_pixels_and_brings_its_state_back(styles):
    saved, exact = styles.saved(STATE), styles.exact(STATE).data
    assert np.array_equal(opened(saved), opened(exact)) and saved != exact
    assert restored(saved) == STATE
    assert Image.open(io.BytesIO(saved)).text["command"] == styles.scene.command(STATE)


def png(**texts: str) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def wide() -> bytes:
    """The beginning of a PNG of 60,000 x 60,000 pixels."""
    data = bytearray(png())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is no PNG, JPEG or WebP picture"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "the file is no PNG"),
        (b"GIF89a" + bytes(50), "the file is no PNG"),
        (png()[:40], "the file is no PNG"),
        (wide(), "the file is no PNG"),
        (png(), "the picture has no settings in it"),
        (png(explorer="{"), "the settings: invalid JSON"),
        (png(explorer='{"seeds": [[1, 1]], "options": {"../x": {}}}'), "options"),
        (png(explorer="[" * 100_000), "the settings: invalid JSON"),
    ],
)
def test_other_files_are_refused_in_a_sentence(data, said):
    with pytest.raises(ValueError) as error:
        restored(data)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
