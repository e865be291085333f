"""Films in Chromium: key frames from the strips, the preview, rendering, saving, and what stays after a reload."""

import shlex

import av
import numpy as np
import pytest

from tests.explorer.visits import at_rest, opened, pixels


def add(page, count: int) -> None:
    """A film through seeds 0, 1, 2, ..."""
    page.keyboard.press("f")
    for seed in range(count):
        page.click("#film-add")
        if seed < count - 1:
            page.evaluate("() => document.activeElement.blur()")
            page.keyboard.press("ArrowRight")
            at_rest(page, f"--seeds {seed + 1}")
    page.wait_for_function("n => document.querySelectorAll('#film-keys .remove').length === n", arg=count)


def test_a_film_plays_is_rendered_and_saved(page, styles, tmp_path):
    opened(page, styles)
    add(page, 3)
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('--seeds 0,1,2')")
    still = pixels(page, "#film-picture")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.getElementById('film-time').valueAsNumber > 0.3")
    page.keyboard.press("Space")
    assert page.inner_text("#film-play") == "Play" and not np.array_equal(pixels(page, "#film-picture"), still)
    page.fill("#film-seconds", "0.2")
    page.select_option("#film-fps", "25")
    page.uncheck("#film-loop")
    page.select_option("#film-scale", "2")
    page.select_option("#film-easing", "smooth")
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('--easing')")
    words = shlex.split(page.inner_text("#film-command"))
    assert " ".join(words[4:]).endswith("--frames 5 --fps 25 --no-loop --easing smooth --scale 2")
    assert "/ 0.4 s" in page.inner_text(".clock")
    page.click("#film-render")
    page.wait_for_selector("#film-file:not([hidden])")
    with page.expect_download() as saved:
        page.click("#film-file")
    assert saved.value.suggested_filename == "interpolation.mp4"
    saved.value.save_as(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 11 and frames[0].shape == (32, 32, 3)


def test_key_frames_come_from_strips_move_and_stay(page, styles):
    opened(page, styles)
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    assert page.locator("#history .add").first.is_hidden()
    page.keyboard.press("f")
    page.click("#history li:nth-child(2) .add")
    page.click("#kept .add")
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('--seeds 1,0')")
    page.focus("#film-keys li:nth-child(2) button")
    page.keyboard.press("Alt+ArrowLeft")
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('--seeds 0,1')")
    page.drag_and_drop("#film-keys li:nth-child(1)", "#film-keys li:nth-child(2)")
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('--seeds 1,0')")
    page.click("#film-keys li:nth-child(2) button:first-child")
    at_rest(page, "--seeds 0")
    page.reload()
    at_rest(page, "--seeds 0")
    page.click("#film")
    assert page.locator("#film-keys li").count() == 2
    page.hover("#film-keys li:nth-child(1)")
    page.click("#film-keys li:nth-child(1) .remove")
    assert page.is_disabled("#film-render") and page.is_disabled("#film-play")
    page.click("#film-clear")
    page.wait_for_selector("#film-keys .hint")


def test_films_of_pictures_that_differ_in_more_than_seeds_have_no_line_and_are_canceled(page, styles):
    opened(page, styles)
    add(page, 1)
    page.fill("#control-psi", "0.5")
    page.keyboard.press("Enter")
    at_rest(page, "--psi 0.5")
    page.click("#film-add")
    page.wait_for_selector("#film-command.hint")
    page.fill("#film-seconds", "60")
    page.select_option("#film-format", "webp")
    page.click("#film-render")
    page.wait_for_function("() => /[1-9]\\d* of 3600/.test(document.getElementById('film-said').textContent)")
    page.keyboard.press("ArrowRight")
    page.reload()
    at_rest(page, "--psi 0.5")
    page.click("#film")
    page.click("#film-cancel")
    page.wait_for_function("() => document.getElementById('film-said').textContent === 'canceled'")
    assert page.is_enabled("#film-render")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1600, "dark")])
def test_the_film_fits_the_page(page, noisy, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, noisy)
    add(page, 2)
    page.wait_for_function("() => document.getElementById('film-command').textContent.includes('interpolate.py')")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
