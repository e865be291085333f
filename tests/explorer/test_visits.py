"""The page in Chromium: other families, other ways, all widths, and random actions."""

import random
import re

import pytest

from tests.explorer.visits import at_rest, drag, opened


def test_pictures_of_other_families_emerge_and_unfit_controls_are_gray(page, noisy):
    opened(page, noisy)
    assert page.is_disabled("#control-eta") and "--solver ddim" in page.inner_text("#row-eta .reason")
    page.evaluate("""() => {
      window.seen = [];
      new MutationObserver(() => seen.push(document.getElementById("share").value))
        .observe(document.getElementById("share"), { attributes: true });
    }""")
    page.fill("#control-steps", "150")
    page.keyboard.press("Enter")
    at_rest(page, "--steps 150")
    page.click("#dice")
    page.wait_for_function(
        "() => seen.some(share => share > 0.1 && share < 0.9) && document.getElementById('share').hidden"
    )
    page.select_option("#control-solver", "ddim")
    page.wait_for_function("() => !document.getElementById('control-eta').disabled")
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
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, canvas[role], progress")]
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
    for _ in range(50):
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
