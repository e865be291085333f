"""How long the page of explore.py takes from an event, such as a key or a move of the mouse, to the painted picture."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

import click

from benchmarks.turns import ROOT
from torch_utils.cli import Command, option, progress, say

EXAMPLES = """
Examples:
  python -m benchmarks.explorer
  python -m benchmarks.explorer --network ffhq256 --count 30
"""
BUNDLED = ROOT / "assets" / "faces64.safetensors"
# A message that is posted in an animation frame is handled after the frame has been painted.
WATCH = """() => {
  let asked = null;
  const note = (event) => { asked ??= event.timeStamp; };
  const by = (event) => event.isTrusted && (event.type !== "pointermove" || event.buttons);
  for (const kind of ["input", "click", "keydown", "pointermove"]) {
    addEventListener(kind, (event) => by(event) && note(event), true);
  }
  window.times = [];
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    if (asked !== null) window.times.push(performance.now() - asked);
    asked = null;
  };
  new MutationObserver(() => channel.port2.postMessage(0))
    .observe(document.getElementById("speed"), { attributes: true, attributeFilter: ["data-ms"] });
}"""
REST = 600  # milliseconds between two events: pictures ahead are made meanwhile


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", metavar="PLACE", group="Page", help="as for explore.py; default: the bundled one")
@option("--count", type=click.IntRange(2), default=55, group="Measurement", help="events of each kind")
def main(network: str | None, count: int) -> None:
    """Time events in Chromium up to the painted picture: headless, at 60 frames a second, on this machine.

    The page is that of explore.py with its usual settings. It needs playwright and Debian's chromium.
    """
    with serving(network or str(BUNDLED)) as address, tab(address) as page:
        rows = [measure(page, name, act, count) for name, act in ACTS.items()]
    say("event to painted picture, ms")
    say(f"{'':<34}{'median':>8}{'95 %':>8}{'events':>8}")
    for name, times in rows:
        say(f"{name:<34}{median(times):8.1f}{quantiles(times, n=20)[-1]:8.1f}{len(times):8}")


@contextmanager
def serving(network: str) -> Iterator[str]:
    """The address of a page of explore.py."""
    command = [sys.executable, str(ROOT / "explore.py"), "--network", network, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            if not lines[-1]:
                raise ValueError(f"explore.py has not started with {network}: see its error above")
            yield lines[-1].split()[-1]
        finally:
            process.terminate()


@contextmanager
def tab(address: str) -> Iterator[Any]:
    """The page in Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise FileNotFoundError("chromium is not installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ValueError("this benchmark needs a package: pip install playwright") from error
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, headless=True)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}#seeds=0")
        page.wait_for_function("() => document.getElementById('picture').dataset.exact")
        page.evaluate(WATCH)
        yield page
        browser.close()


def measure(page: Any, name: str, act: Callable[[Any, int], None], count: int) -> tuple[str, list[float]]:
    """Milliseconds from each event to its picture."""
    page.evaluate("() => { window.times.length = 0; }")
    for k in progress(range(count), count, name):
        act(page, k)
    page.wait_for_timeout(REST)
    return name, page.evaluate("() => [...window.times]")


def _dice(page: Any, k: int) -> None:
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("r")
    page.wait_for_timeout(REST)


def _slider(page: Any, k: int) -> None:
    slider = page.locator("#panel input[type=range]").first
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(REST)


def _held(page: Any, k: int) -> None:
    page.locator("#panel input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(33)  # as keys repeat


def _drag(page: Any, k: int) -> None:
    """One move of the mouse; the button stays down from the first to the last."""
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if k == 0:
        page.mouse.move(x, y)
        page.mouse.down()
    page.mouse.move(x + 5 + k % 100, y + k % 37)
    page.wait_for_timeout(33)


ACTS: dict[str, Callable[[Any, int], None]] = {
    "a random seed, key R": _dice,
    "a slider's next stop, at rest": _slider,
    "the same with the key held": _held,
    "dragging over the picture": _drag,
}


if __name__ == "__main__":
    main()
