"""The page in Chromium: by clicks, keys and drags, as a person uses it."""

import base64
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import generate
from imaging.pixels import from_pil
from tests.networks import save_noisy, save_tiny

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements-dev.txt has it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed: apt-get install chromium", allow_module_level=True)

ROOT = Path(__file__).parents[2]
WAIT = 60_000  # milliseconds, on a busy machine
NAMES = ("cat", "dog", "cow")
PIXELS = """canvas => {
  const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  return [width, height, btoa(String.fromCharCode(...data))];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("networks")
    save_tiny(place / "styles.safetensors", classes=3, class_names=NAMES)
    save_noisy(place / "noisy.safetensors", classes=3, class_names=NAMES)
    return place


@contextmanager
def running(network: Path) -> Iterator[str]:
    """The address of a page that shows a network."""
    words = ["--network", network.name, "--no-browser", "--device", "cpu"]
    command = [sys.executable, str(ROOT / "explore.py"), *words]
    with subprocess.Popen(command, cwd=network.parent, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def styles(folder):
    with running(folder / "styles.safetensors") as address:
        yield address


@pytest.fixture(scope="module")
def noisy(folder):
    with running(folder / "noisy.safetensors") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, headless=True)
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """An empty tab; errors of the page fail the test, and so does a request to another host."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    tab = context.new_page()
    tab.set_default_timeout(WAIT)
    wrong: list[str] = []
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request",
        lambda asked: None if re.match(r"(http://127\.0\.0\.1:|blob:|data:)", asked.url) else wrong.append(asked.url),
    )
    yield tab
    context.close()
    assert wrong == []


def opened(page, address: str, state: str = "seeds=0"):
    page.goto(f"{address}#{state}")
    return at_rest(page, " --seeds 0" if state == "seeds=0" else "")


def at_rest(page, words: str) -> str:
    """Wait for the exact picture whose command line has these words; return the line."""
    page.wait_for_function(
        "words => document.getElementById('command').textContent.includes(words)", arg=words or "generate.py"
    )
    return page.inner_text("#command")


def pixels(page, selector: str = "#picture") -> np.ndarray:
    """What a canvas shows, uint8 [3, H, W]."""
    width, height, data = page.eval_on_selector(selector, PIXELS)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4).transpose(2, 0, 1)[:3]


def drag(page, dx: float, dy: float) -> None:
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=10)
    page.mouse.up()


def test_keys_move_the_seed_and_undo_goes_back(page, styles):
    opened(page, styles)
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    page.keyboard.press("Shift+ArrowRight")
    at_rest(page, "--seeds 11")
    page.keyboard.press("Control+z")
    at_rest(page, "--seeds 1")
    page.keyboard.press("Control+z")
    at_rest(page, "--seeds 0")
    assert page.is_disabled("#undo")
    page.click("#redo")
    at_rest(page, "--seeds 1")
    assert page.input_value("#seed") == "1" and page.url.endswith("/#seeds=1")
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelectorAll('#history li').length === 4")
    assert page.locator("#history img[src^='data:image/webp']").count() >= 3


def test_the_picture_and_the_command_line_agree(page, styles, folder, tmp_path, monkeypatch):
    opened(page, styles, "seeds=5:0.8,9:0.6&class=1&psi=0.7&noise_mode=random")
    words = shlex.split(at_rest(page, "--mix 5:0.8,9:0.6"))
    page.click("#copy")
    assert page.evaluate("() => navigator.clipboard.readText()") == shlex.join(words)
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(generate.main, [*words[2:], "--outdir", str(tmp_path)]).exit_code == 0
    assert np.array_equal(pixels(page), from_pil(Image.open(tmp_path / "mix0005.png")))


def test_every_control_is_typed_moved_by_keys_and_reset(page, styles):
    opened(page, styles)
    page.fill("#control-psi", "0.5")
    page.keyboard.press("Enter")
    at_rest(page, "--seeds 0 --psi 0.5")
    slider = page.locator("#row-psi input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    at_rest(page, "--psi 0.51")
    page.keyboard.press("[")
    at_rest(page, "--psi 0.5")
    slider.dblclick()
    page.wait_for_function("() => !document.getElementById('command').textContent.includes('psi')")
    page.fill("#control-psi_cutoff", "99")
    page.keyboard.press("Enter")
    at_rest(page, "--psi-cutoff 6")
    page.dblclick("#row-psi_cutoff label")
    page.select_option("#class", label="cow")
    assert "cutoff" not in at_rest(page, "--class cow")
    page.fill("#seed", "123")
    page.keyboard.press("Enter")
    at_rest(page, "--seeds 123 --class cow")
    page.click("#reset")
    assert at_rest(page, "--seeds 0").endswith("--seeds 0")


def test_dragging_walks_between_seeds_with_drafts_on_the_way(page, styles):
    opened(page, styles)
    before = pixels(page)
    drag(page, -150, -40)
    line = at_rest(page, "--mix 0:")
    assert "--class cat" in line and re.search(r"--mix 0:0\.\d+,1:0\.\d+,100:", line)
    assert not np.array_equal(pixels(page), before) and page.is_visible("#mixture")
    page.keyboard.press("Control+z")
    at_rest(page, "--seeds 0")
    box = page.locator("#picture").bounding_box()
    drag(page, -box["width"] / 2, 0)
    drag(page, -box["width"] / 2, 0)
    page.click("text=first seed alone")
    assert "--seeds" in at_rest(page, "--seeds")


def test_children(page, styles):
    opened(page, styles)
    page.keyboard.press("c")
    page.wait_for_function("() => [...document.querySelectorAll('.child canvas')].every(canvas => canvas.width === 16)")
    different = {pixels(page, f"#grid .child:nth-child({n}) canvas").tobytes() for n in range(1, 10)}
    assert len(different) == 9
    page.click("[aria-label='Child 3']")
    assert len(at_rest(page, "--mix 0:").split("--mix ")[1].split()[0].split(",")) == 2
    page.click("[aria-label='Child 1']", modifiers=["Shift"])
    page.click("[aria-label='Child 8']", modifiers=["Shift"])
    page.wait_for_function("() => document.getElementById('command').textContent.split(',').length === 4")
    page.keyboard.press("c")
    assert page.is_visible("#picture") and page.is_hidden("#grid")


def test_kept_pictures_stay(page, styles):
    opened(page, styles)
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    page.keyboard.press("s")
    page.click("#dice")
    page.reload()
    page.click("#kept li button")
    at_rest(page, "--seeds 1")
    page.hover("#kept li")
    page.click("#kept .remove")
    page.wait_for_selector("#kept .hint")


def test_a_saved_png_brings_its_state_back(page, styles, tmp_path):
    opened(page, styles, "seeds=8&class=2&psi=0.25")
    at_rest(page, "--psi 0.25")
    with page.expect_download() as saved:
        page.keyboard.press("p")
    assert saved.value.suggested_filename == "seed-8-cow-psi-0.25.png"
    saved.value.save_as(tmp_path / "a.png")
    assert np.array_equal(from_pil(Image.open(tmp_path / "a.png")), pixels(page))
    page.click("#reset")
    at_rest(page, "--seeds 0")
    drop(page, (tmp_path / "a.png").read_bytes(), "a.png")
    at_rest(page, "--seeds 8 --class cow --psi 0.25")


def drop(page, data: bytes, name: str) -> None:
    page.evaluate(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0)), dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(data).decode(), name],
    )


def test_the_address_leads_to_the_picture_and_has_no_token(page, styles):
    opened(page, styles, "seeds=42&psi=0.3")
    at_rest(page, "--seeds 42 --psi 0.3")
    assert styles.rsplit("/", 1)[1] not in page.url
    page.evaluate("() => void (location.hash = 'seeds=43')")
    assert at_rest(page, "--seeds 43").endswith("--seeds 43")


def test_mistakes_are_told_beside_the_control(page, styles):
    opened(page, styles)
    page.evaluate("() => void (location.hash = 'seeds=0&psi_cutoff=77')")
    page.wait_for_selector("#row-psi_cutoff.wrong")
    assert page.inner_text("#message").startswith("--psi-cutoff 77: expected 0 to 6")
    page.keyboard.press("Control+z")
    page.wait_for_function("() => document.getElementById('message').hidden")
    assert page.locator(".wrong").count() == 0


def test_pictures_of_other_families_emerge_and_unfit_controls_are_gray(page, noisy):
    opened(page, noisy)
    assert page.is_disabled("#control-eta") and "--solver ddim" in page.inner_text("#row-eta .reason")
    page.evaluate("() => ""() => {
      window.seen = [];
      new MutationObserver(() => seen.push(document.getElementById("share").value))
        .observe(document.getElementById("share"), { attributes: true });
    }""")
    page.fill("#control-steps", "400")
    page.keyboard.press("Enter")
    at_rest(page, "--steps 400")
    page.click("#dice")
    page.wait_for_function("() => seen.some(share => share > 0.1 && share < 0.9) && document.getElementById('share').hidden")
    page.select_option("#control-solver", "ddim")
    page.wait_for_function("() => !document.getElementById('control-eta').disabled")
    page.fill("#control-cfg_interval", "0.2:0.8")
    page.evaluate("() => void (location.hash = 'seeds=0&steps=3&cfg_scale=2&cfg_interval=0.2:0.8')")
    at_rest(page, "--steps 3 --cfg-scale 2 --cfg-interval 0.2:0.8")


def test_without_sockets_pictures_come_by_post(page, styles):
    page.add_init_script("""window.WebSocket = class extends EventTarget {
      constructor() { super(); setTimeout(() => this.dispatchEvent(new Event("close")), 10); }
    };""")
    opened(page, styles)
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    drag(page, -100, 0)
    at_rest(page, "--mix")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (768, 1024), (1600, 1000)])
def test_the_page_fits_its_width_and_every_part_has_a_name(page, styles, width, height):
    page.set_viewport_size({"width": width, "height": height})
    opened(page, styles)
    for key in ("c", "c", "?"):
        page.keyboard.press(key)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    nameless = page.evaluate("() => ""() => [...document.querySelectorAll("button, input, select, canvas[role], progress")]
      .filter(part => !(part.ariaLabel || part.title || part.textContent.trim() || part.labels?.length))
      .map(part => part.outerHTML)""")
    assert nameless == [] and page.inner_text("#keys").count("\n") > 20
    page.keyboard.press("Escape")
    assert page.is_hidden("#sheet")


def test_random_actions_end_in_no_error(page, styles):
    opened(page, styles)
    rng = random.Random(0)
    keys = [
        "ArrowLeft",
        "ArrowRight",
        "r",
        "[",
        "]",
        "{",
        "}",
        "Control+z",
        "Control+y",
        "c",
        "n",
        "1",
        "5",
        "s",
        "x",
        "Tab",
    ]
    for _ in range(80):
        action = rng.random()
        if action < 0.8:
            page.keyboard.press(rng.choice(keys))
        elif page.is_visible("#picture"):
            drag(page, rng.uniform(-300, 300), rng.uniform(-100, 100))
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("r")
    page.wait_for_function(
        "() => document.getElementById('message').hidden || document.getElementById('message').className === 'note'"
    )
    state = re.search(r"#seeds=(\d+)", page.url)[1]
    assert at_rest(page, f"--seeds {state}")
