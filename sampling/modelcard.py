"""A network published: the folder that the Hugging Face Hub shows, with a model card and samples."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from imaging.grid import save_image, sheet
from imaging.pixels import to_pil
from models.families import FAMILIES, save_network
from models.family import Family
from models.foreign import Job
from models.places import CARD, CONFIG, MODEL, SAMPLES
from models.sampler import Sampler, Shape, learned_classes
from sampling.classes import LONGEST, class_names, kind_of, listed
from system.files import real_path, replacing
from system.text import printable, program
from torch_utils import checkpoint
from torch_utils.cli import progress

SIDE = 2048  # pixels of the sheet of samples, about, at most
COLUMNS, ROWS, MOST_CLASSES = 8, 4, 8  # of the sheet, if pictures are small

# A colon and an at sign would turn addresses into links.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", ":": "&#58;", "@": "&#64;"}
_MEANINGFUL = re.compile(r"[\\`*_{}\[\]()#+!|~$<>&:@]")


class SamplePlan(NamedTuple):
    """The pictures of a sheet of samples."""

    rows: list[list[int]]  # seeds
    classes: list[int]  # of the rows; empty without classes
    labels: list[str]  # of the rows; empty without classes
    caption: str


class Card(NamedTuple):
    """The contents of a model card."""

    name: str  # of the network, which is its folder's
    family: Family
    metadata: Mapping[str, Any]  # of the network file
    parts: Sequence[str]  # of the family that the file holds
    caption: str  # of the samples; "" without samples
    license: str  # an identifier of the Hub, such as `mit`; "" leaves the field out


def check_publishable(folder: Path) -> None:
    """Raise ValueError unless a folder is missing, empty or one of the Hub. Hidden files and a card may be there."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, but the Hub needs a folder: name another path")
    if not folder.is_dir() or (folder / MODEL).is_file():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name[0] != "." and path.name != CARD)
    if others:
        raise ValueError(f"{folder} holds other things, such as {others[0]}: name a new folder, or one of the Hub")


def publish(job: Job, dtype: torch.dtype) -> list[str]:
    """Write the folder, each file atomically, and return the names of the written files. An existing card stays."""
    family, folder = FAMILIES[job.metadata["family"]], job.dest
    shown = next((name for name in family.shown if name in job.networks), next(iter(job.networks)))
    config: Any = job.networks[shown].config
    caption, samples = "", None
    if family.open_sampler is not None:
        plan = plan_samples(family.shape(config), job.metadata, family.caption)
        # A copy, because a sampler may prepare weights for inference.
        sampler = family.open_sampler({shown: copy.deepcopy(job.networks[shown])}, family.options(), job.metadata)
        caption, samples = plan.caption, _sheet(sampler, plan)
    (folder / CONFIG).unlink(missing_ok=True)  # it may describe the network that is replaced now
    save_network(folder / MODEL, family.name, job.networks, job.metadata, dtype)
    _, written = checkpoint.load(folder / MODEL)
    texts = {CONFIG: json.dumps(written, indent=2) + "\n"}
    if not (folder / CARD).exists():
        about = Card(real_path(folder).name, family, written, list(job.networks), caption, job.options.license)
        texts[CARD] = model_card(about, config)
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if samples is not None:
        save_image(samples, folder / SAMPLES)
    return [MODEL, *texts, *([SAMPLES] if samples is not None else [])]


def plan_samples(shape: Shape, metadata: Mapping[str, Any], how: str) -> SamplePlan:
    """A row for each class, up to 8, or four rows; fewer of large pictures. `how` they are made is in the caption."""
    columns = min(COLUMNS, max(2, SIDE // shape.width))
    fitting = max(1, SIDE // shape.height)
    how = f"not picked, {how}" if how else "not picked"
    if not shape.classes:
        rows = [list(range(k * columns, (k + 1) * columns)) for k in range(min(ROWS, fitting))]
        return SamplePlan(rows, [], [], f"Seeds 0-{rows[-1][-1]}, {how}.")
    classes = learned_classes(metadata, shape.classes)[: min(MOST_CLASSES, fitting)]
    names = class_names(metadata, shape.classes)
    labels = [printable(names[k], LONGEST) for k in classes]
    some = "" if len(classes) == shape.classes else f" (the first {len(classes)} of {shape.classes})"
    caption = f"Every row is a class{some}; seeds 0-{columns - 1}, {how}."
    return SamplePlan([list(range(columns)) for _ in classes], classes, labels, caption)


def _sheet(sampler: Sampler, plan: SamplePlan) -> Image.Image:
    def each() -> Iterator[torch.Tensor]:
        for k, seeds in enumerate(plan.rows):
            yield from sampler.sample(sampler.requests(seeds, plan.classes[k] if plan.classes else None))

    columns = len(plan.rows[0])
    pictures = [to_pil(pixels) for pixels in progress(each(), len(plan.rows) * columns, "samples")]
    return sheet([pictures[i : i + columns] for i in range(0, len(pictures), columns)], plan.labels, [])


def model_card(card: Card, config: Any) -> str:
    """Markdown with the front matter that the Hugging Face Hub reads. `config` is that of the part that is shown."""
    family, shape = card.family, card.family.shape(config)
    names = class_names(card.metadata, shape.classes)
    classes = f" in {len(names)} classes ({_escaped(listed(names))})" if names else ""
    stated = [f"license: {json.dumps(card.license)}"] if card.license else []
    held = ", ".join(f"`{part}.…` {family.parts[part].role}" for part in card.parts)
    tags = ["tags:", *(f"- {tag}" for tag in family.tags), "library_name: image-workshop"]
    sections = [
        "\n".join(["---", *stated, f"pipeline_tag: {family.task}", *tags, "---"]),
        f"# {_escaped(card.name)}",
        f"{family.title} for {kind_of(shape)} images{classes}.",
        f"![Samples]({SAMPLES})\n\n*{card.caption}*" if card.caption else "",
        _use(card, config),
        _training(card),
        f"## Files\n\n- `{MODEL}`: {held}\n- `{CONFIG}`: sizes of the networks, and how they were trained",
        "" if card.license else "## License\n\nNot stated yet: put `license: ...` at the head of this card.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _use(card: Card, config: Any) -> str:
    family, example = card.family, f"\n{card.family.use(config)}" if card.family.use else ""
    start = " ".join(program(family.script))
    command = f"    {start} --network {card.name} {family.command}".rstrip() + "\n\n"
    return f"""## Use

With the program that wrote this card, and this folder, or `hf://USER/NAME` once it is on the Hub:

{command if family.script else ""}```python
import torch
from image_workshop import from_pretrained

network = from_pretrained({json.dumps(card.name)}){example}
```"""


def _training(card: Card) -> str:
    """A table of the known facts; "" if there are none."""
    told = {"preset": "preset", "batch": "pace.batch", **card.family.told, "precision": "precision"}
    facts = {
        "images seen": f"{card.metadata['kimg'] * 1000:,.0f}" if "kimg" in card.metadata else None,
        "data": _fact(card.metadata, "data.name"),
        "images in the data": _fact(card.metadata, "data.images"),
        **{words: _fact(card.metadata, f"training.{name}") for words, name in told.items()},
        "converted from": _fact(card.metadata, "source.format"),
    }
    known = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    if not known:
        return ""
    rows = "\n".join(f"| {key} | {_escaped(v) if isinstance(v, str) else v} |" for key, v in known.items())
    return f"## Training\n\n| | |\n|---|---|\n{rows}\n\n`{CONFIG}` has every setting that is known."


def _fact(facts: Any, name: str) -> Any:
    """A fact by its dotted name; None if the file does not state it."""
    for part in name.split("."):
        facts = facts.get(part) if isinstance(facts, Mapping) else None
    return facts


def _escaped(text: str) -> str:
    """One line of plain text: names come from files of strangers, and must not become Markdown or HTML."""
    return _MEANINGFUL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), printable(text))
