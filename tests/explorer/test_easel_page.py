"""The page of a network that restyles pictures, in Chromium: dropping, painting, saving, keys, and axe-core's rules."""

import base64
import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import stylize
from tests.explorer.conftest import running
from tests.explorer.test_accessible import AXE, RUN
from tests.explorer.test_easel import FILES, picture
from tests.explorer.visits import pixels
from tests.test_stylize import network  # noqa: F401 (fixture)

DROP = """([files, selector]) => {
  const dataTransfer = new DataTransfer();
  for (const [name, data] of files) {
    dataTransfer.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt(0))], name));
  }
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def easel(network):  # noqa: F811
    with running(network, "--no-browser", "--device", "cpu") as address:
        yield address


def drop(page, selector: str, **files: bytes) -> None:
    page.evaluate(DROP, [[[name, base64.b64encode(data).decode()] for name, data in files.items()], selector])


def at_rest(page, words: str) -> list[str]:
    """Wait for the exact picture whose command line has these words; return them all."""
    page.wait_for_function("words => document.getElementById('command').textContent.includes(words)", arg=words)
    return shlex.split(page.inner_text("#command"))


def opened(page, address: str) -> None:
    page.goto(address)
    at_rest(page, "--style drawn-style-1.png,drawn-style-2.png --style-weights 1,1")


def slide(page, selector: str, value: float) -> None:
    page.eval_on_selector(
        selector,
        """(slider, value) => {
          slider.value = value;
          for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, { bubbles: true }));
        }""",
        value,
    )


def saved(page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as found:
        page.click(button)
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def written(page, folder: Path, **files: bytes) -> bytes:
    """The picture that stylize.py makes by the command line of the page."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    result = CliRunner().invoke(stylize.main, at_rest(page, "")[2:])
    assert result.exit_code == 0, result.output
    (path,) = (folder / "out").glob("*.png")
    data = path.read_bytes()
    path.unlink()
    return data


def test_dropped_pictures_are_restyled_painted_and_saved(page, easel, network, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / network.name).write_bytes(network.read_bytes())
    opened(page, easel)
    files = {"my photo.png": picture(64, 48, 5), "a.jpg": FILES["a.jpg"], "b.webp": FILES["b b.webp"]}
    drop(page, "#content-figure", **{"my photo.png": files["my photo.png"]})
    at_rest(page, "--content 'my photo.png'")
    assert page.is_disabled("#control-feather") and page.is_hidden("#brush")
    drop(page, "#styles", **{name: files[name] for name in ("a.jpg", "b.webp")})  # the drawn ones give way
    at_rest(page, "--style a.jpg,b.webp --style-weights 1,1")
    slide(page, "[aria-label='weight of b.webp']", 0.4)
    slide(page, "#row-alpha [type=range]", 0.8)
    page.select_option("#control-color", "match")
    at_rest(page, "--style-weights 1,0.4 --alpha 0.8 --preserve-color match")
    name, data = saved(page, "#download")
    assert name == "my-photo-a-b.png" and data == written(page, tmp_path, **files)
    page.click("[aria-label='Paint the region of b.webp']")
    box = page.locator("#content").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    at_rest(page, "--mask mask.png")
    slide(page, "#row-feather [type=range]", 6)
    slide(page, "[aria-label='strength of b.webp']", 0.5)
    at_rest(page, "--mask mask.png --region-alphas 1,0.5")
    assert "--feather 6" in page.inner_text("#command")
    _, mask = saved(page, "#mask-save")
    levels = np.asarray(Image.open(io.BytesIO(mask)).convert("L"))
    assert (
        levels.shape == (48, 64) and set(np.unique(levels)) == {0, 255} and levels[24, 5] == 255 and levels[24, 60] == 0
    )
    name, data = saved(page, "#download")
    expected = written(page, tmp_path, **{"mask.png": mask})
    assert data == expected and np.array_equal(
        pixels(page), np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)
    )
    page.click("#mask-undo")
    at_rest(page, "--style-weights 1,0.4")
    page.click("[aria-label='Remove b.webp']")
    at_rest(page, "--style a.jpg --alpha 0.8")
    assert page.locator("#style-list input").count() == 0


def test_a_style_that_is_painted_nowhere_is_left_out(page, easel):
    opened(page, easel)
    drop(page, "#styles", **{f"{name}.png": picture(20, 20, k) for k, name in enumerate("abc")})
    at_rest(page, "--style a.png,b.png,c.png --style-weights 1,1,1")
    page.click("[aria-label='Paint the region of c.png']")
    page.focus("#content")
    page.keyboard.press(" ")
    at_rest(page, "--style a.png,c.png --mask mask.png")
    page.click("[aria-label='Paint the region of b.png']")
    page.focus("#content")
    for key in ("ArrowLeft", "ArrowLeft", " "):
        page.keyboard.press(key)
    at_rest(page, "--style a.png,b.png,c.png --mask mask.png")
    page.click("[aria-label='Remove a.png']")
    at_rest(page, "--style b.png,c.png --mask mask.png")
    page.click("#mask-clear")
    at_rest(page, "--style b.png,c.png --style-weights 1,1")
    drop(page, "#styles", **{f"{name}.png": picture(20, 20, k) for k, name in enumerate("def")})
    page.wait_for_function("() => document.getElementById('message').textContent.includes('there are 4 styles')")
    assert page.locator("#style-list li").count() == 4 and page.is_disabled("#style-add")


def test_the_mask_of_a_large_picture_has_its_size_and_as_many_levels_as_regions(page, easel):
    opened(page, easel)
    drop(page, "#content-figure", **{"wide.png": picture(1500, 90, 0)})
    at_rest(page, "--content wide.png")
    page.click("[aria-label='Paint the region of drawn-style-2.png']")
    page.focus("#content")
    page.keyboard.press(" ")
    at_rest(page, "--mask mask.png")
    _, mask = saved(page, "#mask-save")
    levels = np.asarray(Image.open(io.BytesIO(mask)).convert("L"))
    assert levels.shape == (90, 1500) and set(np.unique(levels)) == {0, 255}


def test_other_files_are_refused_in_a_sentence(page, easel):
    opened(page, easel)
    drop(page, "#styles", **{"notes.txt": b"no picture"})
    page.wait_for_function("() => document.getElementById('message').textContent.includes('no PNG, JPEG or WebP')")
    assert page.locator("#style-list li").count() == 2


def test_keys(page, easel):
    opened(page, easel)
    page.keyboard.press("[")
    at_rest(page, "--alpha 0.99")
    page.keyboard.press("y")
    assert "--alpha 0.99" in page.evaluate("() => navigator.clipboard.readText()")
    with page.expect_download() as found:
        page.keyboard.press("p")
    assert found.value.suggested_filename == "drawn-content-drawn-style-1-drawn-style-2.png"
    page.click("[aria-label='Paint the region of drawn-style-1.png']")
    page.focus("#content")
    page.keyboard.press(" ")
    at_rest(page, "--mask mask.png")
    page.keyboard.press("Control+z")
    at_rest(page, "--style-weights 1,1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_breaks_no_rule(page, easel, scheme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, easel)
    page.click("[aria-label='Paint the region of drawn-style-2.png']")
    page.focus("#content")
    page.keyboard.press(" ")
    at_rest(page, "--mask mask.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, canvas[role], a")]
      .filter(part => !(part.ariaLabel || part.title || part.textContent.trim() || part.labels?.length))
      .map(part => part.outerHTML)""")
    assert nameless == []
    if not AXE.is_file():
        pytest.skip("axe-core is missing: make web fetches it")
    page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
    assert page.evaluate(RUN) == []
