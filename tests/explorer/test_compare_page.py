"""Comparing in Chromium: pinned pictures, networks, precisions, and a run that goes on while it is looked at."""

import shutil

import numpy as np
import pytest

from tests.explorer.conftest import running
from tests.explorer.visits import at_rest, opened, pixels
from tests.networks import save_tiny

DIFFERENT = "() => / gray levels apart/.test(document.getElementById('compare-measured').textContent)"
SAME = "() => document.getElementById('compare-measured').textContent === 'no difference'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a network, another one, and a run of two snapshots."""
    place = tmp_path_factory.mktemp("compare")
    folder = place / "runs" / "00000-a"
    folder.mkdir(parents=True)
    save_tiny(place / "shown.safetensors")
    save_tiny(place / "wider.safetensors", w_dim=12)
    save_tiny(folder / "network-000001.0.safetensors", w_dim=12)
    save_tiny(folder / "network-000002.0.safetensors")
    (folder / "log.txt").write_text("begun\n")
    return place


@pytest.fixture(scope="module")
def address(run):
    with running(run / "shown.safetensors") as found:
        yield found


def test_a_pinned_picture_wiper_difference_and_swap(page, address):
    opened(page, address)
    page.keyboard.press("v")
    page.wait_for_function(SAME)
    page.click("#compare-pin")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    at_rest(page, "--seeds 1")
    page.wait_for_function(DIFFERENT)
    first = pixels(page, "#compare-b")
    assert np.array_equal(pixels(page, "#compare-a"), pixels(page)) and page.inner_text(".tag.right") == "seed 0"
    box = page.locator("#compare-stage").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 20)
    assert 24 <= float(page.input_value("#compare-wiper")) <= 26
    page.click("button#compare-difference")
    assert page.is_hidden("#compare-wiper") and "apart" in page.inner_text("#compare-measured")
    page.click("#compare-beside")
    page.click("#compare-swap")
    at_rest(page, "--seeds 0")
    page.wait_for_function("() => document.querySelector('.tag.right').textContent === 'seed 1'")
    assert np.array_equal(pixels(page, "#compare-a"), first)
    page.select_option("#compare-linked", "seed")
    page.fill("#control-psi", "0.5")
    page.keyboard.press("Enter")
    page.wait_for_function(DIFFERENT)
    page.dblclick("#row-psi label")
    page.wait_for_function(SAME)


def test_other_networks_and_precisions_follow_the_page(page, address):
    opened(page, address)
    page.keyboard.press("v")
    page.wait_for_selector("#compare-network optgroup[label='Beside it']", state="attached")
    page.select_option("#compare-network", label="wider.safetensors")
    page.wait_for_function(DIFFERENT)
    before = pixels(page, "#compare-b")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('picture').dataset.exact > 1")
    page.wait_for_timeout(500)
    assert not np.array_equal(pixels(page, "#compare-b"), before)
    page.select_option("#compare-network", "")
    page.select_option("#compare-precision", "bf16")
    page.wait_for_function("() => document.querySelector('.tag.right').textContent === 'bf16'")
    page.select_option("#compare-precision", "")
    page.wait_for_function(SAME)


def test_a_run_is_looked_through_while_it_goes_on(page, address, run):
    opened(page, address)
    page.keyboard.press("v")
    page.wait_for_selector("#runs-kimg")
    page.focus("#runs-kimg")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelectorAll('#runs-strip img[src]').length === 2")
    assert page.inner_text("#runs-at") == "kimg 1" and page.inner_text(".tag.right") == "kimg 1"
    page.click("[aria-label='Snapshot of kimg 2']")
    page.wait_for_function(SAME)  # it has the weights of the shown one
    shutil.copy(run / "wider.safetensors", run / "runs" / "00000-a" / "network-000003.5.safetensors")
    page.wait_for_selector("[aria-label='Snapshot of kimg 3.5']")
    page.wait_for_function("() => document.getElementById('runs-at').textContent === 'kimg 3.5'")
    page.wait_for_function(DIFFERENT)
    with page.context.expect_page() as other:
        page.click("#runs-report")
    other.value.wait_for_load_state()
    assert "00000-a" in other.value.inner_text("h1") and other.value.evaluate("() => origin") == "null"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1600, "light")])
def test_the_comparison_fits_the_page(page, address, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, address)
    page.keyboard.press("v")
    page.wait_for_selector("#runs-kimg")
    for way in ("beside", "difference", "wiper"):
        page.click(f"button#compare-{way}")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
