"""The options of scripts that look at images with pretrained networks."""

from collections.abc import Callable
from typing import Any

from torch_utils.cli import option


def detector_options(group: str, names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a script --detector and --trust, as `detectors` and `trust`; `names` are the detectors that it can use."""
    detector = option(
        "--detector",
        "detectors",
        multiple=True,
        metavar="NAME=PATH",
        group=group,
        help=f"file or URL of a detector, instead of the published one: {names}; #sha256=DIGEST after it is its digest",
    )
    trust = option("--trust", is_flag=True, group=group, help="run files of --detector that are programs (TorchScript)")
    return lambda script: detector(trust(script))
