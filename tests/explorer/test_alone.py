"""The page without a server: written by convert.py, shown by a plain file server in Chromium."""

import functools
import http.server
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import convert
import generate
from explorer import webpage
from imaging.pixels import from_pil
from tests.commands import refused
from tests.explorer.conftest import NAMES
from tests.explorer.visits import at_rest, drag, drop, pixels
from tests.networks import save_noisy, save_tiny

needs_runtime = pytest.mark.skipif(
    not (webpage.RUNTIME / webpage.RUNTIME_FILES[0]).is_file(), reason="onnxruntime-web is missing: make web fetches it"
)
LEVELS = 1  # by which pixels may differ from those of generate.py


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *told):
        pass


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    save_tiny(folder / "styles.safetensors", classes=3, class_names=NAMES)
    words = ["--source", str(folder / "styles.safetensors"), "--dest", str(folder / "page"), "--format", "page"]
    result = CliRunner().invoke(convert.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "index.html: the page; show the folder with python -m http.server" in result.output
    return folder


@pytest.fixture(scope="module")
def address(made):
    handler = functools.partial(Quiet, directory=str(made / "page"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


def visit(page, address: str, state: str, words: str) -> str:
    page.goto(f"{address}#{state}")
    return at_rest(page, words)


@needs_runtime
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("seeds=0", ["--seeds", "0"]),
        ("seeds=4294967295&class=2&psi=0.5", ["--seeds", "4294967295", "--class", "cow", "--psi", "0.5"]),
        ("seeds=5:0.8,9:-0.6&psi=-0.7&psi_cutoff=3", ["--mix", "5:0.8,9:-0.6", "--psi", "-0.7", "--psi-cutoff", "3"]),
        ("seeds=8&psi=0.3&psi_from=2", ["--seeds", "8", "--psi", "0.3", "--psi-from", "2"]),
    ],
)
def test_the_pictures_are_those_of_generate(page, address, made, tmp_path, state, words):
    line = visit(page, address, state, words[1])
    assert line == " ".join(["python generate.py --network styles.safetensors", *words])
    given = ["--network", str(made / "styles.safetensors"), "--device", "cpu", "--outdir", str(tmp_path), *words]
    assert CliRunner().invoke(generate.main, given, catch_exceptions=False).exit_code == 0
    (file,) = tmp_path.glob("*.png")
    difference = pixels(page).astype(int) - from_pil(Image.open(file))
    assert np.abs(difference).max() <= LEVELS and np.abs(difference).mean() < 0.05


@needs_runtime
def test_the_page_works_as_with_a_server(page, address, tmp_path):
    visit(page, address, "seeds=0", "--seeds 0")
    assert page.is_hidden("#film") and page.inner_text("#kind") == "StyleGAN2, 16x16"
    before = pixels(page)
    drag(page, -100, 0)
    assert "--mix 0:" in at_rest(page, "--mix") and not np.array_equal(pixels(page), before)
    page.keyboard.press("Control+z")
    at_rest(page, "--seeds 0")
    page.keyboard.press("c")
    page.wait_for_function("() => [...document.querySelectorAll('.child canvas')].every(canvas => canvas.width === 16)")
    page.click("[aria-label='Child 3']")
    at_rest(page, "--mix 0:")
    page.keyboard.press("c")
    page.keyboard.press("v")
    page.click("#compare-pin")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("r")
    page.wait_for_function("() => /apart/.test(document.getElementById('compare-measured').textContent)")
    assert page.is_hidden("#compare-network") and page.is_hidden("#runs-run")
    line = page.inner_text("#command")
    with page.expect_download() as saved:
        page.keyboard.press("p")
    saved.value.save_as(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["explorer"])["seeds"] and image.text["command"] == line
        assert np.array_equal(from_pil(image.convert("RGB")), pixels(page))
    page.click("#reset")
    at_rest(page, "--seeds 0")
    drop(page, (tmp_path / "a.png").read_bytes(), "a.png")
    at_rest(page, line)
    drop(page, b"GIF89a", "b.gif")
    page.wait_for_function("() => /has no settings in it/.test(document.getElementById('message').textContent)")


@needs_runtime
def test_the_folder_has_the_license_and_names_no_other_host(made):
    page = made / "page"
    assert "MIT License" in (page / "LICENSE-onnxruntime.txt").read_text()
    index = (page / "index.html").read_text()
    assert "Content-Security-Policy" in index and "unsafe-inline" not in index and "unsafe-eval'" in index
    for path in page.iterdir():
        if path.suffix in (".js", ".html", ".css"):
            text = path.read_text()
            assert not re.search(r"(?:https?|wss?)://(?!\$\{location\.host\}|www\.w3\.org/2000/svg)", text), path
            for name in re.findall(r'(?:from "\./|src="|href=")([\w.-]+)"', text):
                assert (page / name).is_file(), (path, name)
    assert json.loads((made / "page.json").read_text())["options"]["format"] == "page"


@needs_runtime
def test_other_families_and_taken_folders_are_refused(tmp_path):
    save_noisy(tmp_path / "noisy.safetensors")
    save_tiny(tmp_path / "styles.safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    refusals = [("noisy", "a", "--format page holds no networks of DiT"), ("styles", "full", "is not an empty folder")]
    for source, dest, said in refusals:
        words = [
            "--source",
            str(tmp_path / f"{source}.safetensors"),
            "--dest",
            str(tmp_path / dest),
            "--format",
            "page",
        ]
        assert said in refused(CliRunner().invoke(convert.main, words, prog_name="convert.py"))
    assert not (tmp_path / "a").exists()


def test_a_missing_runtime_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(webpage, "RUNTIME", tmp_path)
    with pytest.raises(ValueError, match="make web fetches it"):
        webpage.check(tmp_path / "page")


def test_normal_numbers_are_numpys(page, styles, tmp_path):
    """Seeds with the module that the page uses, run in Chromium."""
    source = (webpage.ALONE / "seeds.js").read_text().replace("export function", "function")
    page.goto(styles)
    for seed in (0, 7, 85, 2**31, 2**32 - 1):
        found = page.evaluate(f"() => {{ {source}; return normal({seed}, 1001); }}")
        assert np.allclose(found, np.random.RandomState(seed).randn(1001), rtol=1e-14, atol=0)
