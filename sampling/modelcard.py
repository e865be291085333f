"""The model card of a network: what it makes, how to use it, and how it was trained as far as its file states."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from models.family import Family
from models.places import CONFIG, MODEL, SAMPLES
from sampling.classes import class_names, kind_of, listed
from system.text import printable

# A colon and an at sign would turn addresses into links.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", ":": "&#58;", "@": "&#64;"}
_MEANINGFUL = re.compile(r"[\\`*_{}\[\]()#+!|~$<>&:@]")


class Card(NamedTuple):
    """The contents of a model card."""

    name: str  # of the network, which is its folder's
    family: Family
    metadata: Mapping[str, Any]  # of the network file
    parts: Sequence[str]  # of the family that the file holds
    caption: str  # of the samples; "" without samples
    license: str  # an identifier of the Hub, such as `mit`; "" leaves the field out


def model_card(card: Card, config: Any) -> str:
    """Markdown with the front matter that the Hugging Face Hub reads. `config` is that of the part that is shown."""
    shape = card.family.shape(config)
    names = class_names(card.metadata, shape.classes)
    kind = kind_of(shape)
    classes = f" in {len(names)} classes ({_escaped(listed(names))})" if names else ""
    sections = [
        _front_matter(card),
        f"# {_escaped(card.name)}",
        f"{card.family.title} for {kind} images{classes}.",
        f"![Samples]({SAMPLES})\n\n*{card.caption}*" if card.caption else "",
        _use(card, config),
        _training(card),
        _files(card),
    ]
    if not card.license:
        sections.append("## License\n\nNot stated yet: put `license: ...` at the head of this card.")
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(card: Card) -> str:
    lines = [f"license: {json.dumps(card.license)}"] if card.license else []
    lines += [f"pipeline_tag: {card.family.task}", "tags:", *(f"- {tag}" for tag in card.family.tags)]
    return "\n".join(["---", *lines, "---"])


def _use(card: Card, config: Any) -> str:
    family, example = card.family, f"\n{card.family.use(config)}" if card.family.use else ""
    command = f"    python {family.script} --network {card.name} {family.command}".rstrip() + "\n\n"
    return f"""## Use

In a checkout of the program that wrote this card, with this folder, or `hf://USER/NAME` once it is on the Hub:

{command if family.script else ""}```python
import torch
from models.families import load_network

network = load_network({json.dumps(card.name)}){example}
```"""


def _training(card: Card) -> str:
    """A table of the known facts; "" if there are none."""
    training, data, source = (_object(card.metadata, key) for key in ("training", "data", "source"))
    facts = {
        "images seen": f"{card.metadata['kimg'] * 1000:,.0f}" if "kimg" in card.metadata else None,
        "data": data.get("name"),
        "images in the data": data.get("images"),
        "preset": training.get("preset"),
        "batch": _setting(training, "pace.batch"),
        **{words: _setting(training, name) for words, name in card.family.told.items()},
        "precision": training.get("precision"),
        "converted from": source.get("format"),
    }
    known = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    if not known:
        return ""
    rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in known.items())
    return f"## Training\n\n| | |\n|---|---|\n{rows}\n\n`{CONFIG}` has every setting that is known."


def _files(card: Card) -> str:
    held = ", ".join(f"`{part}.…` {card.family.parts[part].role}" for part in card.parts)
    return f"## Files\n\n- `{MODEL}`: {held}\n- `{CONFIG}`: sizes of the networks, and how they were trained"


def _object(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _setting(training: Mapping[str, Any], name: str) -> Any:
    """A setting by its dotted name; None if the file does not state it."""
    *sections, leaf = name.split(".")
    for section in sections:
        training = _object(training, section)
    return training.get(leaf)


def _cell(value: Any) -> str:
    return _escaped(value) if isinstance(value, str) else str(value)


def _escaped(text: str) -> str:
    """One line of plain text: names come from files of strangers, and must not become Markdown or HTML."""
    return _MEANINGFUL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), printable(text))
