"""Image generators in Python: networks of every family opened, used, saved and shared; docs/python.md shows how.

Each name is imported when it is first used, so that `image-workshop --help` needs no PyTorch.
"""

import system.start  # noqa: F401 (first)

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from image_workshop.pipelines import Pictures as Pictures
    from image_workshop.pipelines import Pipeline as Pipeline
    from image_workshop.pipelines import pipeline as pipeline
    from image_workshop.sharing import from_pretrained as from_pretrained
    from image_workshop.sharing import list_networks as list_networks
    from image_workshop.sharing import push_to_hub as push_to_hub
    from image_workshop.sharing import save_pretrained as save_pretrained
    from image_workshop.styles import transfer_style as transfer_style

_PLACES = {
    **dict.fromkeys(("Pictures", "Pipeline", "pipeline"), "pipelines"),
    **dict.fromkeys(("from_pretrained", "list_networks", "push_to_hub", "save_pretrained"), "sharing"),
    "transfer_style": "styles",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
