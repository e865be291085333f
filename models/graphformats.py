"""Graphs (ONNX, PyTorch's .pt2) as rows of the formats that a family writes; `models.graphs` writes them."""

from collections.abc import Callable
from importlib.util import find_spec

from models.foreign import Format, Job, Notes
from models.sampler import Options

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_packages(what: str) -> None:
    """Raise ValueError if a package that writes or runs ONNX is missing, which `what` needs."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(f"{what} needs packages that are not installed: pip install {' '.join(missing)}")


def graph_formats(write: Callable[[Job], Notes], options: type[Options] = Options) -> tuple[Format, Format]:
    """The two formats of a family whose graphs `write` writes."""
    return (
        Format(".onnx", "an .onnx", write, options, one=True, check=lambda dest: require_packages("ONNX")),
        Format(".pt2", "a .pt2", write, options, one=True),
    )
