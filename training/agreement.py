"""What the processes of a run must have in common before they learn together."""

import json
from collections.abc import Mapping
from typing import Any

from imaging.imageset import ImageSet
from torch_utils import config as configs
from torch_utils import distributed
from training.config import RunConfig

# May differ from machine to machine: who reads the images, and how long a process waits for the others. So may paths.
LOCAL = {"workers", "patience"}


def agree_on(values: Mapping[str, Any], model: type[RunConfig]) -> None:
    """Check that all processes have the same settings. Every process must call it.

    Args:
        values: settings by dotted name; `--resume` and `--transfer` may be among them.
        model: the class of the configuration, which knows the options.

    Raises:
        ValueError: names the settings that differ, and their values.
    """
    mine = {
        name: configs.spell(value)
        for name, value in sorted(values.items())
        if name not in LOCAL and not name.endswith(".path")
    }
    everybody = [json.loads(text) for text in distributed.texts(json.dumps(mine))]
    found = []
    for name in sorted(set().union(*everybody)):
        each = list(dict.fromkeys(values.get(name, "not given") for values in everybody))
        if len(each) > 1:
            option = name if name.startswith("--") else configs.flag_of(model, name)
            found.append(f"{option} ({' and '.join(each)})")
    if found:
        settings = ", ".join(found)
        raise ValueError(f"the processes have different settings, {settings}: start all of them with the same command")


def see_the_same(dataset: ImageSet) -> None:
    """Check that all processes have the same images. Raises ValueError."""
    if not distributed.agree(int(dataset.fingerprint[:15], 16)):
        raise ValueError("the data are not the same on all machines: copy one set to all of them")
