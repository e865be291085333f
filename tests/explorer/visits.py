"""Visits of the page in Chromium: what a person does there, and what is seen."""

import base64

import numpy as np

WAIT = 60_000  # milliseconds, on a busy machine
PIXELS = """canvas => {
  const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  return [width, height, btoa(String.fromCharCode(...data))];
}"""


def opened(page, address: str, state: str = "seeds=0"):
    page.goto(f"{address}#{state}")
    return at_rest(page, " --seeds 0" if state == "seeds=0" else "")


def at_rest(page, words: str) -> str:
    """Wait for the exact picture whose command line has these words; return the line."""
    page.wait_for_function(
        "words => document.getElementById('command').textContent.includes(words)", arg=words or "generate.py"
    )
    return page.inner_text("#command")


def pixels(page, selector: str = "#picture") -> np.ndarray:
    """What a canvas shows, uint8 [3, H, W]."""
    width, height, data = page.eval_on_selector(selector, PIXELS)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4).transpose(2, 0, 1)[:3]


def drag(page, dx: float, dy: float) -> None:
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=10)
    page.mouse.up()


def drop(page, data: bytes, name: str) -> None:
    page.evaluate(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0)), dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(data).decode(), name],
    )
