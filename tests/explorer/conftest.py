"""A browser and the pages of two networks; skipped with a sentence where there is no Chromium."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.explorer.visits import WAIT
from tests.networks import save_noisy, save_tiny

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).parents[2]
NAMES = ("cat", "dog", "cow")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("networks")
    save_tiny(place / "styles.safetensors", classes=3, class_names=NAMES)
    save_noisy(place / "noisy.safetensors", classes=3, class_names=NAMES)
    return place


@contextmanager
def running(network: Path, *words: str) -> Iterator[str]:
    """The address of a page that shows a network."""
    words = words or ("--no-browser", "--device", "cpu", "--outdir", "found")
    command = [sys.executable, str(ROOT / "explore.py"), "--network", network.name, *words]
    with subprocess.Popen(command, cwd=network.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def styles(folder):
    with running(folder / "styles.safetensors") as address:
        yield address


@pytest.fixture(scope="session")
def noisy(folder):
    with running(folder / "noisy.safetensors") as address:
        yield address


@pytest.fixture(scope="module")  # not longer: while it lives, asyncio.run works in no other test
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: requirements-dev.txt has it")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
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
    refused = "status of 422"  # the server's sentence about it is shown in the page
    tab.on(
        "console", lambda said: wrong.append(said.text) if said.type == "error" and refused not in said.text else None
    )
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request",
        lambda asked: None if re.match(r"(http://127\.0\.0\.1:|blob:|data:)", asked.url) else wrong.append(asked.url),
    )
    yield tab
    context.close()
    assert wrong == []
