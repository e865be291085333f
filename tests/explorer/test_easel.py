"""Restyled pictures without a browser: equal to those of stylize.py, and what the server refuses."""

import io
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

import stylize
from explorer.bodies import LARGEST_UPLOAD
from explorer.collage import Collage
from explorer.controls import controls
from explorer.easel import DRAFT, collage_of, open_easel
from explorer.encoding import LARGEST_PICTURE
from explorer.gallery import Gallery
from explorer.server import make_app
from explorer.studio import Asked
from models.adain.choices import StyleTransferOptions
from tests.explorer.test_server import HOST, OWN, PORT, TOKEN, Echo
from tests.test_stylize import network  # noqa: F401 (fixture)
from torch_utils import config

CPU = torch.device("cpu")


def picture(width: int, height: int, seed: int, kind: str = "PNG", mode: str = "RGB", **more) -> bytes:
    buffer = io.BytesIO()
    numbers = np.random.RandomState(seed).randint(0, 256, (height, width, 4)).astype(np.uint8)
    Image.fromarray(numbers, "RGBA").convert(mode).save(buffer, kind, **more)
    return buffer.getvalue()


def halves(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    numbers = np.zeros((height, width), np.uint8)
    numbers[:, width // 3 :] = 255
    Image.fromarray(numbers).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    (tmp_path / "gallery").mkdir()
    return Gallery(tmp_path / "gallery")


@pytest.fixture
def easel(network, gallery):  # noqa: F811
    return open_easel(str(network), gallery, CPU)


FILES = {
    "photo.png": picture(41, 30, 0, mode="RGBA"),
    "a.jpg": picture(23, 17, 1, "JPEG"),
    "b b.webp": picture(9, 40, 2, "WEBP"),
}
EXIF = Image.Exif()
EXIF[0x112] = 6  # turned by a quarter
FILES |= {"turned.jpg": picture(30, 41, 3, "JPEG", exif=EXIF), "mask.png": halves(41, 30)}


@pytest.mark.parametrize(
    ("content", "styles", "options"),
    [
        ("photo.png", {"a.jpg": 1}, {}),
        ("photo.png", {"a.jpg": 0.3}, {"alpha": 0.7, "color": "luminance"}),
        ("photo.png", {"a.jpg": 0.35, "b b.webp": 0.8}, {"color": "match", "feather": 3}),
        ("turned.jpg", {"a.jpg": 0.5, "b b.webp": 0.25, "photo.png": 0}, {"alpha": 0.45}),
        ("turned.jpg", {"a.jpg": 1, "b b.webp": 0.4, "mask.png": ""}, {"feather": 5.5, "color": "luminance"}),
        ("photo.png", {"a.jpg": 1, "b b.webp": 1, "mask.png": ""}, {"color": "match"}),
    ],
)
def test_the_command_line_makes_the_same_bytes(easel, tmp_path, monkeypatch, content, styles, options):
    monkeypatch.chdir(tmp_path)
    for name, data in FILES.items():
        Path(name).write_bytes(data)
    kept = {name: {"digest": easel.gallery.keep(data), "name": name} for name, data in FILES.items()}
    mask = kept["mask.png"] if "mask.png" in styles else None
    parts = [{**kept[name], "share": share} for name, share in styles.items() if name != "mask.png"]
    asked = Asked.model_validate(
        {"state": {"options": options}, "collage": {"content": kept[content], "styles": parts, "mask": mask}}
    )
    (made,) = easel.pictures(collage_of(asked))
    words = shlex.split(easel.told(asked)["command"])
    assert words[:2] == ["python", "stylize.py"] and ("--feather" in words) == (
        mask is not None and "feather" in options
    )
    result = CliRunner().invoke(stylize.main, [*words[2:], "--device", "cpu"])
    assert result.exit_code == 0, result.output
    (written,) = Path("out").glob("*.png")
    assert made.exact and made.kind == "image/png" and made.data == written.read_bytes()
    assert ("feather" in easel.told(asked)["barred"]) == (mask is None)


def test_drafts_of_large_contents_are_small_and_have_all_regions(easel):
    def asked(size: tuple[int, int], mask: bytes | None = None) -> Asked:
        of = [{"digest": easel.gallery.keep(data), "name": "x"} for data in (picture(*size, 0), FILES["a.jpg"])]
        kept = {"digest": easel.gallery.keep(mask), "name": "m"} if mask else None
        styles = [of[1], of[1]] if mask else [of[1]]
        return Asked.model_validate({"draft": True, "collage": {"content": of[0], "styles": styles, "mask": kept}})

    def size(question: Asked) -> tuple[int, int]:
        (made,) = easel.pictures(question)
        assert not made.exact and made.kind == "image/jpeg"
        return Image.open(io.BytesIO(made.data)).size

    thin = np.zeros((400, 800), np.uint8)
    thin[0, 0] = 255  # a region that is smaller than a pixel of the draft
    buffer = io.BytesIO()
    Image.fromarray(thin).save(buffer, "PNG")
    assert size(asked((800, 400))) == size(asked((800, 400), buffer.getvalue())) == (DRAFT, DRAFT // 2)
    assert size(asked((41, 30))) == (41, 30)


def test_a_style_is_measured_once_unless_it_takes_the_colors_of_the_content(easel, monkeypatch):
    seen = []
    measure = type(easel.restyler).measure
    monkeypatch.setattr(type(easel.restyler), "measure", lambda *given: seen.append(1) or measure(*given))
    kept = [{"digest": easel.gallery.keep(FILES[name]), "name": name} for name in ("photo.png", "turned.jpg", "a.jpg")]
    for options, counted in (
        ({}, 1),
        ({"alpha": 0.5}, 1),
        ({"color": "match"}, 3),
        ({"color": "match", "alpha": 0.1}, 3),
    ):
        for content in kept[:2]:
            question = {"state": {"options": options}, "collage": {"content": content, "styles": kept[2:]}}
            list(easel.pictures(Asked.model_validate(question)))
        assert len(seen) == counted


def test_unfit_questions_are_refused(easel):
    kept, other = ({"digest": easel.gallery.keep(FILES[name]), "name": name} for name in ("photo.png", "a.jpg"))

    def refusal(options: dict = {}, **collage) -> str:  # noqa: B006
        question = {"state": {"options": options}, "collage": {"content": kept, "styles": [other], **collage}}
        with pytest.raises(ValueError) as caught:
            list(easel.pictures(collage_of(Asked.model_validate(question))))
        return str(caught.value)

    lost = {"digest": "0" * 64, "name": "x"}
    for collage in ({"content": lost}, {"styles": [lost]}, {"mask": lost}):
        assert refusal(**collage) == "a picture is no longer here: drop it on the page again"
    assert "digest" in refusal(content={"digest": "../../etc/passwd", "name": "x"})
    assert "share" in refusal(styles=[{**other, "share": 2}])
    assert "weights of all styles are 0" in refusal(styles=[{**other, "share": 0}] * 2)
    assert "at most 4 items" in refusal(styles=[other] * 5) and "at least 1 item" in refusal(styles=[])
    assert "no setting of this page" in refusal({"tile": 64}) and "alpha" in refusal({"alpha": 2})
    assert "regions" in refusal(mask=kept)
    for asked in (Asked(), "{}", Asked(near="alpha")):
        with pytest.raises(ValueError, match="give a content and a style"):
            collage_of(asked)


def test_the_page_starts_with_drawn_pictures(easel, gallery):
    about = easel.about
    parts = [{"digest": each["digest"], "name": each["name"]} for each in (about["content"], *about["styles"])]
    (made,) = easel.pictures(Asked(collage=Collage(content=parts[0], styles=parts[1:])))
    assert Image.open(io.BytesIO(made.data)).size == (about["content"]["width"], about["content"]["height"])


def test_the_settings_are_the_options_of_the_script():
    script = {param.opts[0]: param for param in stylize.main.params}
    for control in controls(StyleTransferOptions):
        option = script[control.flag]
        assert option.default == control.default and option.help == control.help
        if control.kind == "choice":
            assert tuple(option.type.choices) == control.choices
        else:
            assert (option.type.min, option.type.max) == (control.low, control.high)
    assert "color" in config.settings(StyleTransferOptions)


@pytest.fixture
def client(gallery) -> TestClient:
    link: Any = Echo()
    link.about["page"] = "easel.html"
    return TestClient(make_app(link, PORT, TOKEN, more=gallery.routes()), base_url=f"http://{HOST}", headers=OWN)


def test_pictures_are_kept_under_their_digest(client, gallery):
    for name, kind in (("photo.png", "image/png"), ("turned.jpg", "image/jpeg"), ("b b.webp", "image/webp")):
        told = client.post("/pictures", content=FILES[name]).json()
        size = (9, 40) if "webp" in name else (41, 30)
        assert (told["width"], told["height"]) == size and (gallery.folder / told["digest"]).read_bytes() == FILES[name]
        shown = client.get(f"/pictures/{told['digest']}")
        assert shown.content == FILES[name] and shown.headers["content-type"] == kind
        assert shown.headers["x-content-type-options"] == "nosniff"
    assert "easel.js" in client.get("/").text


def test_what_is_no_picture_or_too_large_is_refused(client, gallery, monkeypatch):
    def refusal(data: bytes, status: int) -> str:
        answer = client.post("/pictures", content=data)
        assert answer.status_code == status and list(gallery.folder.iterdir()) == []
        return answer.json()["error"]

    none = "the file is no PNG, JPEG or WebP picture: choose another one"
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    for data in (b"", svg, FILES["photo.png"][:200], picture(5, 5, 0, "TIFF"), picture(5, 5, 0, "GIF", "P")):
        assert refusal(data, 422) == none
    assert refusal(bytes(LARGEST_UPLOAD + 1), 413) == "the file is larger than 20 MiB"
    side = int(LARGEST_PICTURE**0.5) + 1
    huge = io.BytesIO()
    Image.new("1", (side, side)).save(huge, "PNG")
    assert refusal(huge.getvalue(), 413).startswith(f"the picture has {side}x{side} pixels, more than 67 megapixels")
    strange = {**OWN, "Origin": "http://evil.example"}
    assert client.post("/pictures", content=FILES["photo.png"], headers=strange).status_code == 403
    for digest in ("0" * 64, "%2E%2E", "..%2Fsecret", "A" * 64):
        assert client.get(f"/pictures/{digest}").status_code == 404
    (gallery.folder.parent / "secret").write_bytes(FILES["photo.png"])
    with pytest.raises(ValueError, match="no longer here"):
        gallery.path("../secret")


def test_the_oldest_pictures_leave(gallery, monkeypatch):
    monkeypatch.setattr("explorer.gallery.MOST", len(FILES["photo.png"]) + len(FILES["a.jpg"]))
    first, second = (gallery.keep(FILES[name]) for name in ("photo.png", "a.jpg"))
    os.utime(gallery.folder / first, (1, 1))
    third = gallery.keep(FILES["b b.webp"])
    assert not (gallery.folder / first).exists() and gallery.path(second) and gallery.path(third)
