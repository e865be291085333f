"""The page in Chromium: by clicks, keys and drags, as a person uses it."""

import re
import shlex

import numpy as np
from click.testing import CliRunner
from PIL import Image

import generate
from imaging.pixels import from_pil
from tests.explorer.visits import at_rest, drag, drop, opened, pixels


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


def test_a_draft_that_is_decoded_late_does_not_replace_the_exact_picture(page, styles, folder, tmp_path, monkeypatch):
    page.add_init_script("""
        const decode = window.createImageBitmap;
        window.createImageBitmap = async (picture) => {
          const made = await decode(picture);
          if (picture.type === "image/jpeg") {
            await new Promise((resume) => setTimeout(resume, 400));
            window.late = (window.late ?? 0) + 1;
          }
          return made;
        };
    """)
    opened(page, styles, "seeds=3")
    words = shlex.split(at_rest(page, "--seeds 3"))
    page.wait_for_function("() => window.late")
    page.wait_for_timeout(100)
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(generate.main, [*words[2:], "--outdir", str(tmp_path)]).exit_code == 0
    assert np.array_equal(pixels(page), from_pil(Image.open(tmp_path / "seed0003.png")))


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


def test_classes_are_mixed_and_one_class_comes_back(page, styles):
    opened(page, styles, "seeds=1&noise_mode=random&noise_seed=4")
    page.click("#blend")
    at_rest(page, "--classes dog:1 --noise-mode random --noise-seed 4")
    page.get_by_label("cow", exact=True).focus()
    page.keyboard.press("End")
    at_rest(page, "--classes dog:1,cow:1")
    page.get_by_label("Weight of dog").fill("0.25")
    page.keyboard.press("Enter")
    at_rest(page, "--classes dog:0.25,cow:1")
    assert "classes=0:0,1:0.25,2:1&" in page.url
    page.reload()
    at_rest(page, "--classes dog:0.25,cow:1")
    page.click("#blend")
    at_rest(page, "--class cow")
    assert page.locator("#row-class .part").count() == 0


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
