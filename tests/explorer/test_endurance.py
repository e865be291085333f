"""The page under 300 random actions, in ten tabs, and while its server dies and comes back."""

import random
import re
import socket
import subprocess
import sys

import pytest

from tests.explorer.conftest import NAMES, ROOT, running
from tests.explorer.visits import WAIT, at_rest, drag, opened
from tests.networks import save_tiny

KEYS = ["ArrowLeft", "ArrowRight", "Shift+ArrowRight", "r", "[", "]", "{", "}", "Control+z", "Control+y", "c", "n", "1",
        "5", "s", "x", "f", "v", "Space", "Tab", "y", "Home", "End", "Escape"]  # fmt: skip
# A visible part of the page that may be clicked or moved at random; files are not saved, and other pages not opened.
ACT = """(draw) => {
  const parts = [...document.querySelectorAll("button, select, input, summary")].filter((part) =>
    part.checkVisibility() && !part.disabled && !["download", "film-render", "help"].includes(part.id));
  const part = parts[Math.floor(draw * parts.length)];
  if (part.tagName === "SELECT") {
    part.selectedIndex = Math.floor(draw * 7919) % part.options.length;
    part.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (part.type === "range") {
    part.value = Number(part.min || 0) + draw * (Number(part.max || 1) - Number(part.min || 0));
    for (const kind of ["input", "change"]) part.dispatchEvent(new Event(kind, { bubbles: true }));
  } else if (part.type === "number" || part.type === "text") {
    part.value = Math.floor(draw * 100);
    part.dispatchEvent(new Event("change", { bubbles: true }));
  } else part.click();
}"""


@pytest.fixture
def worn(tmp_path):
    """A page of its own: random actions leave directions behind."""
    with running(save_tiny(tmp_path / "styles.safetensors", classes=3, class_names=NAMES)) as address:
        yield address


def test_300_random_actions_end_in_no_error(worn, page):
    opened(page, worn)
    draws = random.Random(1)
    for _ in range(300):
        kind = draws.random()
        if kind < 0.5:
            page.keyboard.press(draws.choice(KEYS))
        elif kind < 0.95:
            page.evaluate(ACT, draws.random())
        elif page.is_visible("#picture"):
            drag(page, draws.uniform(-300, 300), draws.uniform(-100, 100))
    page.evaluate("() => document.activeElement.blur()")
    page.evaluate("() => document.getElementById('reset').click()")
    page.keyboard.press("r")
    seed = re.search(r"#seeds=(\d+)", page.url)[1]
    at_rest(page, f"--seeds {seed}")


def test_ten_tabs(page, styles):
    """Eight work; the others say so, and one of them works as soon as there is room."""
    tabs = [page.context.new_page() for _ in range(9)]
    for number, tab in enumerate([page, *tabs]):
        tab.goto(f"{styles}#seeds={number}")
    for number, tab in enumerate([page, *tabs][:8]):
        at_rest(tab, f"--seeds {number}")
    for tab in tabs[7:]:
        tab.wait_for_function("() => !document.getElementById('message').hidden")
        assert "too many pages are open" in tab.inner_text("#message")
    tabs[0].close()
    tabs[1].close()
    for number, tab in enumerate(tabs[7:], 8):
        at_rest(tab, f"--seeds {number}")
    for tab in tabs[2:]:
        tab.close()


def test_a_server_that_is_killed_and_started_again(browser, folder):
    """The page says so, keeps what it shows, and goes on by itself as soon as the new address was opened."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = ["--network", "styles.safetensors", "--no-browser", "--device", "cpu", "--port", port]
    command = [sys.executable, str(ROOT / "explore.py"), *words]

    def started() -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        return process, process.stdout.readline().split()[-1]

    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    process, address = started()
    try:
        opened(page, address)
        page.keyboard.press("ArrowRight")
        at_rest(page, "--seeds 1")
        process.kill()
        page.wait_for_selector("body.offline")
        assert "no connection to explore.py" in page.inner_text("#message")
        page.keyboard.press("ArrowRight")
        process.wait(60)
        process, address = started()
        page.wait_for_function("() => document.getElementById('message').textContent.includes('another address')")
        opened(context.new_page(), address, "seeds=9")
        at_rest(page, "--seeds 2")
        assert page.is_hidden("#message") and page.locator("#history li").count() == 3
    finally:
        process.kill()
        process.wait(60)
        context.close()
