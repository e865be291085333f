"""The library: pipelines of every family, networks saved and shared, and style transfer."""

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import image_workshop
import stylize
from image_workshop import (
    from_pretrained,
    list_networks,
    pipeline,
    push_to_hub,
    save_pretrained,
    transfer_style,
)
from models.families import FAMILIES, read_network
from tests.imaging.pictures import picture
from tests.networks import save_noisy, save_tiny, tiny_generator

FACES = ("happy", "sad", "surprised")
ROOT = Path(__file__).parents[1]
STYLE = ROOT / "assets" / "style.safetensors"
MAKERS = {"stylegan2": save_tiny, "dit": save_noisy, "adm": lambda path, **more: save_noisy(path, "adm", **more)}
OPTIONS = {"stylegan2": {"psi": 0.5}, "dit": {"steps": 2, "cfg_scale": 2.0}, "adm": {"steps": 2}}


@pytest.fixture
def network(tmp_path) -> Path:
    return save_tiny(tmp_path / "faces.safetensors", classes=3, class_names=FACES)


def generated(folder: Path, *words: str) -> list[bytes]:
    result = CliRunner().invoke(generate.main, [*words, "--device", "cpu", "--outdir", str(folder)])
    assert result.exit_code == 0, result.output
    return [path.read_bytes() for path in sorted(folder.glob("seed*.png"))]


def png(image: Image.Image, like: bytes) -> bool:
    """Whether a file holds the pixels of a picture."""
    return np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(like))))


@pytest.mark.parametrize("family", MAKERS)
def test_pictures_of_every_family_are_those_of_the_script(family, tmp_path):
    path = MAKERS[family](tmp_path / "a.safetensors", classes=3, class_names=FACES)
    pipe = pipeline(path, device="cpu", **OPTIONS[family])
    made = pipe(seeds=[3, 8], label="sad").images
    words = [word for name, value in OPTIONS[family].items() for word in (f"--{name.replace('_', '-')}", str(value))]
    files = generated(tmp_path / "out", "--network", str(path), "--seeds", "3,8", "--class", "sad", *words)
    assert len(files) == 2 and all(png(image, file) for image, file in zip(made, files, strict=True))
    tensor = pipe(seeds=[3, 8], label=1).pixels
    assert tensor.dtype == torch.uint8 and np.array_equal(tensor[1].permute(1, 2, 0), np.asarray(made[1]))


def test_a_notebook_shows_all_pictures_on_a_sheet(network):
    made = pipeline(network, device="cpu")(range(10))
    shown = Image.open(io.BytesIO(made._repr_png_()))
    assert shown.format == "PNG" and np.array_equal(np.asarray(shown), np.asarray(made.sheet()))
    tiles = np.asarray(made.sheet(5))
    side = tiles.shape[0] // 2
    scale = side // 16
    assert tiles.shape == (2 * side, 5 * side, 3)
    assert np.array_equal(tiles[side::scale, : side * 5 : scale][:16, :16], np.asarray(made.images[5]))


def test_options_of_a_call_replace_those_of_the_pipeline_for_that_call(network):
    pipe = pipeline(network, device="cpu", psi=0.5)
    first = pipe(seeds=1).pixels
    other = pipe(seeds=1, psi=1.0).pixels
    assert pipe.options.psi == 1.0
    assert torch.equal(other, pipeline(network, device="cpu")(1).pixels)
    assert not torch.equal(first, other) and torch.equal(first, pipe(seeds=1).pixels)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda pipe: pipe(psy=1), "psy"),
        (lambda pipe: pipe([]), "seeds is empty: give at least one"),
        (lambda pipe: pipe(psi="a lot"), "psi"),
        (lambda pipe: pipe(label="glad"), "glad: expected one of 3 classes, 0 happy, 1 sad, 2 surprised"),
        (lambda pipe: pipe.save_pretrained(Path(__file__).parent), "holds other things"),
    ],
)
def test_bad_input_of_a_pipeline(network, call, reason):
    with pytest.raises(ValueError, match=reason):
        call(pipeline(network, device="cpu"))


def test_a_network_without_pictures_of_seeds_is_no_pipeline():
    with pytest.raises(ValueError, match="a network of AdaIN, which makes no pictures of seeds"):
        pipeline(STYLE)


def test_networks_by_pattern():
    assert list_networks("FFHQ*") == ["ffhq", "ffhq1024", "ffhq256", "ffhq512"]
    assert set(list_networks()) == {name for family in FAMILIES.values() for name in family.published}
    assert list_networks("nothing*") == []


def test_a_file_saved_and_opened_again_is_the_same(network, tmp_path):
    folder = pipeline(network, device="cpu").save_pretrained(tmp_path / "new" / "faces", license="mit")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "samples.png",
    ]  # fmt: skip
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlicense: "mit"\n') and "\nlibrary_name: image-workshop\n" in card
    before, after = pipeline(network, device="cpu"), pipeline(folder, device="cpu")
    assert after.classes == list(FACES) and after.file.metadata["kimg"] == 1.5
    assert torch.equal(before(5).pixels, after(5).pixels)
    assert pipeline(save_pretrained(network, tmp_path / "b")).classes == list(FACES)


def test_the_card_s_example_runs(network, tmp_path, monkeypatch):
    folder = save_pretrained(network, tmp_path / "faces")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)
    assert found["images"].shape == (1, 3, 16, 16)


def test_a_changed_network_is_saved_with_the_names_of_its_classes(tmp_path):
    G = tiny_generator(classes=3)
    with torch.no_grad():
        next(G.parameters()).mul_(2)
    folder = save_pretrained(G, tmp_path / "faces", class_names=FACES)
    again = from_pretrained(folder)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in G.state_dict().items())
    assert pipeline(folder).classes == list(FACES)
    with pytest.raises(ValueError, match="1 class_names for a network with 3 classes"):
        save_pretrained(G, tmp_path / "other", class_names=["happy"])
    with pytest.raises(ValueError, match="a Linear is no network of this package"):
        save_pretrained(torch.nn.Linear(1, 1), tmp_path / "other")
    with pytest.raises(ValueError, match="class_names do not apply"):
        save_pretrained(folder, tmp_path / "other", class_names=FACES)


def test_every_part_of_every_family_finds_its_row(tmp_path):
    for save in (save_noisy, save_tiny):
        file = read_network(save(tmp_path / "a.safetensors"))
        name = file.parts[0]
        assert read_network(save_pretrained(file.part(name), tmp_path / save.__name__)).family is file.family
    encoder = from_pretrained(STYLE, which="encoder") if "encoder" in read_network(STYLE).parts else None
    assert encoder is None or read_network(save_pretrained(encoder, tmp_path / "e")).parts == ["encoder"]
    assert read_network(save_pretrained(STYLE, tmp_path / "style")).parts == read_network(STYLE).parts


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that notes what is asked of it."""
    asked = SimpleNamespace(files={}, calls=[], fails=None)

    class Api:
        def create_repo(self, name, **more):
            asked.calls.append((name, more))
            if asked.fails:
                raise asked.fails

        def file_exists(self, name, file):
            return file in asked.files

        def upload_folder(self, repo_id, folder_path, ignore_patterns):
            asked.files |= {p.name: p.read_bytes() for p in folder_path.iterdir() if p.name not in ignore_patterns}

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return asked


def test_what_is_pushed_is_what_would_be_saved(hub, network, tmp_path):
    assert push_to_hub(network, "me/faces", license="mit", private=True) == "hf://me/faces"
    saved = save_pretrained(network, tmp_path / "faces", license="mit")
    assert hub.calls == [("me/faces", {"private": True, "exist_ok": True})]
    assert hub.files == {path.name: path.read_bytes() for path in saved.iterdir()}
    assert json.loads(hub.files["config.json"])["kimg"] == 1.5


def test_a_card_on_the_hub_stays(hub, network):
    hub.files["README.md"] = b"my own words"
    pipeline(network, device="cpu").push_to_hub("me/faces")
    assert hub.files["README.md"] == b"my own words" and "model.safetensors" in hub.files


def test_a_refusal_of_the_hub_is_one_sentence(hub, network, monkeypatch):
    hub.fails = RuntimeError("401 Unauthorized\nmore\nlines")
    with pytest.raises(
        ValueError, match=r"^cannot upload to me/faces \(401 Unauthorized\): check the name and `hf auth"
    ):
        push_to_hub(network, "me/faces")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="push_to_hub needs a package: pip install huggingface_hub"):
        push_to_hub(network, "me/faces")


@pytest.mark.parametrize("color", ["no", "match", "luminance"])
def test_style_transfer_is_that_of_the_script(color, tmp_path):
    paths = [tmp_path / f"{name}.png" for name in ("content", "a", "b")]
    images = [picture(40, 48, seed=i) for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        image.save(path)
    words = ["--content", str(paths[0]), "--style", f"{paths[1]},{paths[2]}", "--style-weights", "0.25,0.75"]
    words += ["--preserve-color", color, "--alpha", "0.8", "--device", "cpu", "--network", str(STYLE)]
    result = CliRunner().invoke(stylize.main, [*words, "--outdir", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    file = (tmp_path / "out" / "content-a+b.png").read_bytes()
    for content, styles in ((paths[0], paths[1:]), (images[0], images[1:])):
        assert png(transfer_style(content, styles, alpha=0.8, weights=[1, 3], color=color, device="cpu"), file)


def test_bad_input_of_style_transfer(network):
    content = picture(32, 32)
    with pytest.raises(ValueError, match=r"1 styles and the weights \[1, 2\]"):
        transfer_style(content, content, weights=[1, 2])
    with pytest.raises(ValueError, match="alpha 2 and color"):
        transfer_style(content, content, alpha=2)
    with pytest.raises(ValueError, match="transfer_style needs a network of AdaIN"):
        transfer_style(content, content, network=network)
    with pytest.raises(FileNotFoundError):
        transfer_style(content, "nowhere.png")


def test_the_package_is_imported_without_pytorch_and_lists_its_names():
    code = "import sys, image_workshop; print('torch' in sys.modules, *image_workshop.__all__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", *image_workshop.__all__]
    assert set(image_workshop.__all__) <= set(dir(image_workshop))
    assert all(getattr(image_workshop, name).__doc__ for name in image_workshop.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'paint'"):
        image_workshop.paint  # noqa: B018


def test_the_examples_of_the_document_run(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("assets").symlink_to(ROOT / "assets")
    examples = (ROOT / "docs" / "python.md").read_text().split("```python\n")[1:]
    for example in examples:
        exec(example.split("```")[0], {})
    assert len(examples) == 4 and Path("styled.png").is_file() and "model.safetensors" in hub.files
