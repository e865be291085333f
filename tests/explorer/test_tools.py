"""The tabs of the page in Chromium: styles of other pictures, directions, the map, and photographs."""

import io
import shlex

import numpy as np
from click.testing import CliRunner
from PIL import Image

import style_mixing
from imaging.pixels import from_pil
from tests.explorer.visits import at_rest, drop, opened, pixels

GRAYS = """canvas => [[10, 256], [500, 256], [256, 10], [256, 500]].map(([x, y]) =>
  canvas.getContext("2d").getImageData(x, y, 1, 1).data[0])"""


def test_styles_of_seeds_and_of_kept_pictures(page, styles):
    opened(page, styles, "seeds=4&class=1")
    page.click("#tab-styles")
    page.fill("#style-seed", "9")
    page.keyboard.press("Enter")
    at_rest(page, "--styles-of 9/1@coarse")
    page.click(".style-part .chip:has-text('middle')")
    page.click(".style-part [aria-label='layer 5']")
    at_rest(page, "--styles-of 9/1@3-4")
    page.get_by_label("Weight, typed").fill("0.5")
    page.keyboard.press("Enter")
    at_rest(page, "--styles-of 9/1@3-4@0.5")
    page.click("#undo")
    page.wait_for_function("() => document.getElementById('command').textContent.endsWith('9/1@3-4')")
    page.keyboard.press("Control+Shift+z")
    at_rest(page, "--styles-of 9/1@3-4@0.5")
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 5")
    page.click("[aria-label='Remove these styles']")
    page.click("#tab-settings")
    page.click("#tab-styles")
    page.click("#styles .small-strip button")
    at_rest(page, "--styles-of 4/1@coarse")
    page.click(".style-part .chip:has-text('all')")
    at_rest(page, "--styles-of 4/1@0-5")
    assert page.locator(".style-part canvas").evaluate("canvas => canvas.width") == 16


def test_a_kept_picture_brings_its_own_styles(page, styles):
    """What arrives in the layers is the kept picture's w, whatever it is made of."""
    opened(page, styles, "seeds=4&class=1&styles_of=9/2@0-2@0.5")
    kept = "seeds=4&class=1&styles_of=9/2@0-2@0.5;7/0@1"
    page.evaluate("state => void (location.hash = state)", kept)
    at_rest(page, "7/0@1")
    before = pixels(page)
    parts = page.evaluate("""async () => {
      const { brought, textOf } = await import("./mixing.js"), about = await (await fetch("about")).json();
      const state = { seeds: [[4, 1]], label: 1, classes: [], options: { styles_of: "9/2@0-2@0.5;7/0@1" } };
      const text = (weight) => textOf(brought(state, [0, 1, 2, 3, 4, 5], weight, "styles_of", about), about);
      return [text(1), text(0.25)];
    }""")
    assert parts[0] == "4/1@0,2-5;9/2@0,2@0.5;7/0@1"
    assert parts[1] == "4/1@0,2@0.143;4/1@middle@0.25;9/2@0,2@0.125;7/0@1@0.25"
    page.evaluate("state => void (location.hash = state)", f"seeds=8&class=0&noise_mode=none&styles_of={parts[0]}")
    at_rest(page, "--seeds 8")
    other = pixels(page)
    page.evaluate("state => void (location.hash = state)", f"{kept}&noise_mode=none")
    at_rest(page, "--seeds 4")
    assert np.array_equal(pixels(page), other) and not np.array_equal(before, other)


def test_the_grid_is_that_of_style_mixing(page, styles, folder, tmp_path, monkeypatch):
    opened(page, styles, "seeds=4&class=1&psi=0.7")
    page.click("#tab-styles")
    page.fill("#sheet-rows", "5, 6")
    page.fill("#sheet-cols", "7")
    page.click("#row-sheet [aria-label='layer 3']")
    page.wait_for_function("() => document.querySelector('.told code').textContent.includes('--styles 0-3')")
    words = shlex.split(page.inner_text(".told code"))
    page.wait_for_function("() => [...document.querySelectorAll('#mixing canvas')].every(canvas => "
                           "canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3])")  # fmt: skip
    assert page.is_hidden("#picture") and page.locator("#mixing button").count() == 5
    page.click("[aria-label='6 with styles of 7']")
    at_rest(page, "--seeds 6 --class dog --psi 0.7 --styles-of 7/1@0-3")
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(style_mixing.main, [*words[2:], "--outdir", str(tmp_path)]).exit_code == 0
    assert page.is_visible("#picture") and page.is_hidden("#mixing")
    assert np.array_equal(pixels(page), from_pil(Image.open(tmp_path / "6-7.png")))


def test_tabs_are_walked_by_keys_and_missing_where_a_network_has_no_layers(page, styles, noisy):
    opened(page, styles)
    page.focus("#tab-settings")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#styles") and page.is_hidden("#panel")
    assert page.evaluate("() => document.activeElement.id") == "tab-styles"
    opened(page, noisy)
    assert page.is_hidden("#tabs") and page.is_visible("#panel")


def test_directions_are_found_moved_renamed_combined_and_taught(page, styles):
    opened(page, styles, "seeds=4&class=1")
    page.click("#tab-directions")
    page.click("#find-pca")
    page.wait_for_selector(".direction")
    assert page.locator(".direction").count() == 8
    page.wait_for_function("() => document.querySelector('.direction small').textContent.startsWith('changes ')")
    slider = page.get_by_label("Strength of pca0", exact=True)
    slider.focus()
    page.keyboard.press("End")
    line = at_rest(page, "--move pca0:6")
    assert "--directions found/styles-directions.safetensors" in line
    page.click("[aria-label='Layers of pca0'].bars")
    page.click("[role=group][aria-label='Layers of pca0'] .chip:has-text('coarse')")
    at_rest(page, "--move pca0:6@coarse")
    title = page.get_by_label("Name of pca0")
    title.fill("hair")
    page.keyboard.press("Enter")
    at_rest(page, "--move hair:6@coarse")
    page.get_by_label("Give pca3 a star").click()
    page.wait_for_function("() => document.querySelector('.direction').dataset.name === 'pca3'")
    page.click("[aria-label='pca3 -3']")
    at_rest(page, "--move 'hair:6@coarse;pca3:-3'")
    page.wait_for_function("() => !document.querySelector('#picture').hidden")
    before = pixels(page)
    page.fill("#combine-name", "both")
    page.click("#combine")
    at_rest(page, "--move both:")
    assert pixels(page).shape == before.shape
    page.get_by_label("Remove both").click()
    page.wait_for_function("() => !document.getElementById('command').textContent.includes('--move')")
    page.click("#teach")
    for n, clicks in ((1, 1), (2, 1), (3, 1), (5, 2), (6, 2), (9, 2)):
        for _ in range(clicks):
            page.click(f"#marking .child:nth-child({n})")
    assert page.is_disabled("#teach-done")
    page.fill("#teach-name", "glow")
    page.click("#teach-done")
    page.wait_for_selector("[data-name='glow']")
    assert page.is_hidden("#marking") and page.is_visible("#picture")
    page.reload()
    page.click("#tab-directions")
    page.wait_for_selector("[data-name='glow']")
    assert page.locator(".direction").first.get_attribute("data-name") == "pca3"


def test_mistakes_of_tasks_are_told(page, styles):
    opened(page, styles)
    page.click("#tab-directions")
    page.click("#find-sefa")
    page.wait_for_selector("[data-name='sefa1']")
    title = page.get_by_label("Name of sefa1")
    title.fill("a;b")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('message').textContent.includes('cannot name a direction')")


def test_the_map_leads_to_pictures(page, styles):
    opened(page, styles, "seeds=4&class=1")
    page.click("#tab-directions")
    page.click("#find-pca")
    page.wait_for_selector("[data-name='pca2']")
    page.click("#tab-map")
    page.select_option("#map-x", "pca2")
    page.select_option("#map-y", "pca1")
    page.wait_for_function("() => document.getElementById('map-canvas').width > 100")
    page.wait_for_timeout(1500)
    box = page.locator("#map-canvas").bounding_box()
    page.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 0.97 * box["height"])  # a corner without seeds
    line = at_rest(page, "pca2:")
    steps = dict(part.split(":") for part in shlex.split(line.split("--move ")[1])[0].split(";"))
    page.focus("#map-canvas")
    page.keyboard.press("ArrowLeft")
    at_rest(page, f"pca2:{float(steps['pca2']) - 0.25:g}")
    assert page.is_hidden("#map-film")
    page.mouse.move(box["x"] + 0.03 * box["width"], box["y"] + 0.03 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    page.click("#map-film")
    page.wait_for_function("() => document.querySelectorAll('#film-room li img').length === 2")
    page.click("#film")
    page.evaluate("() => scrollTo(0, 0)")
    box = page.locator("#map-canvas").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    for dx in range(40):
        if page.inner_text(".map .hint").startswith("seed"):
            break
        page.mouse.move(box["x"] + 0.5 * box["width"] + 2 * dx, box["y"] + 0.5 * box["height"])
    seed = page.inner_text(".map .hint").split()[1].rstrip(",")
    page.mouse.down()
    page.mouse.up()
    assert "--move" not in at_rest(page, f"--seeds {seed} --class dog")


def test_a_photograph_becomes_latents_like_any_other(page, styles):
    opened(page, styles, "seeds=4&class=1")
    buffer, turned = io.BytesIO(), Image.Exif()
    turned[274] = 6  # EXIF: the right side is up
    Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG", exif=turned)
    drop(page, buffer.getvalue(), "photo.jpg")
    page.wait_for_selector("#photo-canvas")
    page.locator("#photo-mean").fill("0")
    left, right, top, bottom = page.eval_on_selector("#photo-canvas", GRAYS)
    assert left > right + 100 and abs(top - bottom) < 20
    page.focus("#photo-canvas")
    page.keyboard.press("ArrowRight")
    page.locator("#photo-turn").fill("90")
    page.locator("#photo-zoom").fill("0.5")
    left, right, top, bottom = page.eval_on_selector("#photo-canvas", GRAYS)
    assert top > bottom + 50 and abs(left - right) < 20
    page.fill("#photo-steps", "3000")
    page.click("#photo-find")
    page.wait_for_selector("#photo-seen:not([hidden])")
    page.click("#photo-enough")
    line = at_rest(page, "--latents found/styles-photo-")
    latent = line.split("styles-")[1].split(".npz")[0]
    assert "--seeds" not in line and page.url.endswith(f"#latent={latent}")
    page.wait_for_selector("#kept li img")
    found = pixels(page)
    page.reload()
    at_rest(page, latent)
    page.wait_for_function("() => document.getElementById('picture').dataset.exact")
    assert np.array_equal(pixels(page), found)
    page.keyboard.press("c")
    page.wait_for_selector("[aria-label='Child 3']")
    page.click("[aria-label='Child 3']")
    at_rest(page, "--styles-of")
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    page.click("#tab-styles")
    page.click("#styles .small-strip button")
    at_rest(page, f"{latent}.npz@coarse")
