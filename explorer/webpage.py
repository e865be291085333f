"""The page without a server: the network as ONNX, which ONNX Runtime computes in the browser.

Any static file server shows the folder, such as `python -m http.server` or GitHub Pages.
"""

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

from explorer.controls import Control, controls, fitted
from explorer.pagestate import PageState
from explorer.studio import refusal
from models.families import FAMILIES
from models.foreign import Job, Notes
from models.graphformats import require_packages
from models.graphs import save
from models.sampler import learned_classes
from system.files import check_vacant, replacing
from system.text import printable
from torch_utils.cli import progress

HERE = Path(__file__).parent
ALONE = HERE / "alone"  # files of such pages alone
RUNTIME = HERE / "npm" / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)


def check(dest: Path) -> None:
    """Raise ValueError if `dest` is not free, or what the page is made of is missing."""
    check_vacant(dest)
    require_packages("ONNX")
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        raise ValueError("--format page needs onnxruntime-web: make web fetches it from the npm registry")


def write(job: Job) -> Notes:
    """Write the folder of a page. ValueError for a network whose family has no graphs for pages."""
    family = FAMILIES[job.metadata["family"]]
    if family.web is None or family.open_sampler is None:
        raise ValueError(f"--format page holds no networks of {family.title}: take another format")
    (network,) = job.networks.values()
    about = page_about(job)
    graphs = family.web(network, job.source)
    about["engine"] = {"width": graphs.width, "average": graphs.average, "pull": dict(graphs.pull)}
    notes: Notes = {}
    with replacing(job.dest) as folder:
        folder.mkdir()
        for path in (*(HERE / "page").iterdir(), *ALONE.iterdir(), *(RUNTIME / name for name in RUNTIME_FILES)):
            (folder / path.name).write_bytes(path.read_bytes())
        index = (folder / "index.html").read_text("utf-8")
        rule = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        (folder / "index.html").write_text(index.replace('<meta charset="utf-8">', rule, 1), "utf-8")
        (folder / "about").write_text(json.dumps(about), "utf-8")
        for half in progress(("mapping", "synthesis"), 2, "graphs"):
            notes[job.dest / f"{half}.onnx"] = save(folder / f"{half}.onnx", getattr(graphs, half))
    return {job.dest / "index.html": "the page; show the folder with python -m http.server", **notes}


def page_about(job: Job) -> dict[str, Any]:
    """What the page is told about its network, as of `explorer.studio`."""
    family = FAMILIES[job.metadata["family"]]
    assert family.web is not None and family.open_sampler is not None
    (network,) = job.networks.values()
    sampler = family.open_sampler({"": copy.deepcopy(network)}, family.options(), job.metadata)
    height, width, channels, classes = sampler.shape
    names = set(family.web(network, "").pull.values())
    found: list[Control] = []
    for control in controls(family.options):
        if control.name in names:
            found.append(fitted(control, partial(_accepts, sampler, control.name)))
    return {
        "network": printable(Path(job.source).name, 80),
        "kind": f"{family.title}, {width}x{height}",
        "size": [width, height],
        "channels": channels,
        "emerging": False,
        "walkable": False,
        "tools": False,
        "blending": False,
        "layers": 0,
        "groups": {},
        "learned": learned_classes(job.metadata, classes),
        "classes": [printable(name, 80) for name in job.class_names],
        "controls": [control.model_dump(mode="json") for control in found],
        "state": PageState().model_dump(mode="json"),
    }


def _accepts(sampler: Any, name: str, value: float) -> bool:
    return not refusal(sampler, name, int(value))
