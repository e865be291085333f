"""What the processes of a run must have in common before they learn together."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from imaging.imageset import ImageSet
from torch_utils import config as configs
from torch_utils import distributed
from training.stylegan2.config import StyleGAN2Config

# What may differ from machine to machine: where the images are, who reads them, and how long others are waited for.
LOCAL = {"data.path", "workers", "patience"}


def agree_on(values: Mapping[str, Any]) -> None:
    """Makes sure that all processes have the same settings, by dotted name: else each would learn something else.

    Every process must call it. `--resume` and `--transfer` may stand among the names, to tell what is begun.

    Raises:
        ValueError: naming the settings that differ and their values.
    """
    mine = {name: configs.spell(value) for name, value in sorted(values.items()) if name not in LOCAL}
    digest = hashlib.sha256(json.dumps(mine).encode()).hexdigest()
    if distributed.agree(int(digest[:15], 16)):
        return
    everybody = [json.loads(text) for text in distributed.texts(json.dumps(mine))]
    found = []
    for name in sorted(set().union(*everybody)):
        each = list(dict.fromkeys(values.get(name, "not given") for values in everybody))
        if len(each) > 1:
            option = name if name.startswith("--") else configs.flag_of(StyleGAN2Config, name)
            found.append(f"{option} ({' and '.join(each)})")
    raise ValueError(
        f"the processes have different settings, {', '.join(found)}: start all of them with the same command"
    )


def see_the_same(dataset: ImageSet) -> None:
    """Makes sure that all processes have the same images. Raises ValueError."""
    if not distributed.agree(int(dataset.fingerprint[:15], 16)):
        raise ValueError("the data are not the same on all machines: copy one set to all of them")
