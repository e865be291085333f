"""The model card of a network: what it makes, how to use it, and how it was trained as far as its file knows."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from imaging.pixels import MODES
from imaging.sizes import spell
from imaging.transforms import NAMES
from models.hubfolder import CONFIG, MODEL, SAMPLES
from models.stylegan2.styles import Sizes
from sampling.classes import class_names, listed
from sampling.description import ROLES
from system.text import printable

FAMILIES = {"stylegan2": "StyleGAN2"}  # as it is written; others as they are called
_ENTITIES = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    ":": "&#58;",
    "@": "&#64;",
}  # the last two make links by themselves
_MEANINGFUL = re.compile(r"[\\`*_{}\[\]()#+!|~$<>&:@]")
TAGS = ("stylegan2", "gan", "image-generation", "safetensors")


def model_card(
    name: str,
    config: Sizes,
    metadata: Mapping[str, Any],
    parts: Sequence[str],
    caption: str,
    licence: str | None,
) -> str:
    """Markdown with the front matter that the Hugging Face Hub reads.

    Args:
        name: of the folder, which is the network's.
        config: of the generator.
        metadata: of the network file.
        parts: which networks the file holds.
        caption: of the samples.
        licence: an identifier of the Hub, such as `mit`; None leaves the field out, to be filled in.
    """
    names = class_names(metadata, config.classes)
    kind = f"{spell(config.height, config.width)} {NAMES[MODES[config.channels]]}"
    classes = f" in {len(names)} classes ({_escaped(listed(names))})" if names else ""
    sections = [
        _front_matter(licence),
        f"# {_escaped(name)}",
        f"A {FAMILIES.get(metadata['family'], metadata['family'])} generator of {kind} images{classes}.",
        f"![Samples]({SAMPLES})\n\n*{caption}*",
        _use(name, bool(names)),
        _training(metadata),
        _files(parts),
    ]
    if licence is None:
        sections.append("## Licence\n\nNot stated yet: put `license: ...` at the head of this card.")
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(licence: str | None) -> str:
    lines = [f"license: {json.dumps(licence)}"] if licence else []
    lines += ["pipeline_tag: unconditional-image-generation", "tags:", *(f"- {tag}" for tag in TAGS)]
    return "\n".join(["---", *lines, "---"])


def _use(name: str, conditional: bool) -> str:
    label = "torch.eye(G.config.classes)[:1]  # of class 0, one-hot" if conditional else "None"
    return f"""## Use

In a checkout of the program that wrote this card, with this folder, or `hf://USER/NAME` once it is on the Hub:

    python generate.py --network {name} --seeds 0-15 --psi 0.7

```python
import torch
from models.families import load_network

G = load_network({json.dumps(name)})
z, c = torch.randn(1, G.config.z_dim), {label}
images = G(z, c, truncation_psi=0.7, noise_mode="const")  # [1, channels, height, width], about -1 to 1
```

`python convert.py --source {name} --dest network.onnx` makes a file that runs without that program."""


def _training(metadata: Mapping[str, Any]) -> str:
    """A table of what is known; nothing where nothing is."""
    training, data, source = (_object(metadata, key) for key in ("training", "data", "source"))
    facts = {
        "images seen": f"{metadata['kimg'] * 1000:,.0f}" if "kimg" in metadata else None,
        "data": data.get("name"),
        "images in the data": data.get("images"),
        "preset": training.get("preset"),
        "batch": _object(training, "pace").get("batch"),
        "gamma of R1": _object(training, "loss").get("gamma"),
        "augmentation": _object(training, "augment").get("mode"),
        "precision": training.get("precision"),
        "converted from": source.get("format"),
    }
    known = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    if not known:
        return ""
    rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in known.items())
    return f"## Training\n\n| | |\n|---|---|\n{rows}\n\n`{CONFIG}` has every setting that is known."


def _files(parts: Sequence[str]) -> str:
    held = ", ".join(f"`{part}.…` {ROLES[part]}" for part in parts)
    return f"## Files\n\n- `{MODEL}`: {held}\n- `{CONFIG}`: sizes of the networks, and how they were trained"


def _object(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _cell(value: Any) -> str:
    return _escaped(value) if isinstance(value, str) else str(value)


def _escaped(text: str) -> str:
    """One line in which Markdown and HTML find nothing to follow: names come out of files of strangers."""
    return _MEANINGFUL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), printable(text))
