"""Every view of the page, light and dark, by the rules of axe-core."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.explorer.visits import drop, opened

AXE = Path(__file__).parents[2] / "explorer" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.flatMap(({ id, nodes }) =>
  nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary.split("\\n").slice(1).join(";")}`))"""
VIEWS = ["", "c", "f", "v", "?"]  # keys that open them


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("family", ["styles", "noisy"])
def test_no_view_breaks_a_rule(page, request, family, scheme, width):
    if not AXE.is_file():
        pytest.skip("axe-core is missing: make web fetches it")
    address = request.getfixturevalue(family)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, address)
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
    found = {}
    for key in VIEWS:
        if key:
            page.keyboard.press(key)
        if key == "f":
            page.click("#film-add")
            page.evaluate("() => document.activeElement.blur()")
        page.wait_for_timeout(300)
        found[key] = page.evaluate(RUN)
        if key in ("c", "f", "v"):
            page.keyboard.press(key)
    page.keyboard.press("Escape")
    for tab in page.locator("[role=tab]:visible").all():
        tab.click()
        page.wait_for_timeout(300)
        found[tab.inner_text()] = page.evaluate(RUN)
    assert found == {view: [] for view in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_breaks_a_rule(page, styles, scheme):
    if not AXE.is_file():
        pytest.skip("axe-core is missing: make web fetches it")
    page.emulate_media(color_scheme=scheme)
    opened(page, styles, "seeds=4&class=1&styles_of=9@coarse@0.5")
    page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
    page.click("#tab-directions")
    page.click("#find-pca")
    page.wait_for_selector("[data-name='pca2']")
    drop(page, photograph(), "a.png")
    page.wait_for_selector("#photo-canvas")
    found = {}
    pressed = {"styles": "#sheet-show", "directions": "#teach", "map": "", "photo": "", "settings": "#blend"}
    for tab, more in pressed.items():
        page.click(f"#tab-{tab}")
        if more:
            page.click(more)
        page.wait_for_timeout(500)
        found[tab] = page.evaluate(RUN)
    assert found == {tab: [] for tab in found}


def photograph() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_rules_find_a_fault(page, styles):
    if not AXE.is_file():
        pytest.skip("axe-core is missing: make web fetches it")
    opened(page, styles)
    page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
    page.evaluate(
        "() => { document.getElementById('dice').textContent = ''; document.getElementById('dice').title = ''; }"
    )
    page.evaluate("() => { document.getElementById('kind').style.color = '#ddd'; }")
    assert {line.split()[0] for line in page.evaluate(RUN)} == {"button-name", "color-contrast"}
