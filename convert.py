"""Convert a network to another format, or describe a file."""

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click

from explorer import webpage
from models.families import FAMILIES, read_network
from models.foreign import Format, Job, Told
from sampling import formats
from sampling.classes import class_names, describe
from sampling.command import record_files
from torch_utils.cli import Command, option, say
from torch_utils.flags import given

EXAMPLES = """
Examples:
  python convert.py --source ffhq.pkl                                  describes the file
  python convert.py --source ffhq.pkl --dest ffhq.safetensors          for every script's --network
  python convert.py --source runs/00000-ffhq-auto --dest small.safetensors --only G_ema --dtype float16
  python convert.py --source ffhq.safetensors --dest ffhq.onnx         runs without this program
  python convert.py --source ffhq.safetensors --dest ffhq.pt2 --split --noise-mode random
  python convert.py --source ffhq.safetensors --dest my-model/ --license mit
  python convert.py --source ffhq.safetensors --dest page/ --format page    the explorer as a page without a server
  python convert.py --source dit.pt --dest dit.safetensors --set heads=3
  python convert.py --source adm.safetensors --dest folder/ --format diffusers
"""
PAGE = Format(
    "",
    "a page",
    lambda job: webpage.write(job),
    one=True,
    kind="page",
    check=lambda dest: webpage.check(dest),
)
formats.FURTHER[:] = [PAGE]
ENDINGS = formats.known_endings()


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--source",
    type=click.Path(),
    metavar="PLACE",
    required=True,
    group="Networks",
    help="a network, as for --network of the other scripts",
)
@option(
    "--dest",
    type=click.Path(path_type=Path),
    group="Networks",
    help=f"file to write: {ENDINGS}; or a folder for the Hugging Face Hub, or for the web with --format page; "
    "without it the source is described",
)
@option(
    "--format",
    "kind",
    type=click.Choice(["auto", *formats.kinds()]),
    default="auto",
    group="Networks",
    help="auto: by --dest",
)
@option(
    "--only",
    metavar="NAMES",
    show_default="all; a graph holds the one that makes pictures",
    group="Networks",
    help="networks to take, with commas, by the names in the description",
)
@option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    group="Networks",
    help="what a file of another program does not state about its networks, such as heads=3",
)
def main(source: str, dest: Path | None, kind: str, only: str | None, sets: tuple[str, ...], **options: Any) -> None:
    """Convert a network to another format, chosen by the ending of --dest. Without --dest, describe the file.

    An .onnx and a .pt2 run without this program. Each is run after it is written, and is deleted if its results differ
    from the network's. DEST.json records how the files were made.
    """
    told = Told({flag.name or "": options.pop(flag.name) for flag in _SOURCE}, sets)
    form = formats.find_format(dest, kind, FAMILIES.values()) if dest else None
    formats.check_options(
        form, options if form else {"only": only, "format": None if kind == "auto" else kind, **options}
    )
    if dest and form:
        form.check(dest)  # before a large source is read
    file = read_network(source, told)
    networks = {name: file.part(name) for name in file.parts}
    say(describe(file, networks))
    if not dest:
        return
    form = formats.find_format(dest, kind, [file.family])
    formats.check_options(form, options)
    formats.check_dest(dest, file)
    names = formats.choose(file, only, form)
    shape = file.family.shape(next(iter(networks.values())).config)
    job = Job(
        source=file.place or file.path.name,
        metadata=file.metadata,
        tensors=file.tensors,
        class_names=class_names(file.metadata, shape.classes),
        networks={name: networks[name] for name in names},
        dest=dest,
        options=form.options(**given(form.options, options)),
    )
    notes = form.write(job)
    for path, note in notes.items():
        say(f"wrote {path}: {note}")
    facts = {"network": str(file), "networks": names, "files": {str(path): note for path, note in notes.items()}}
    record_files("convert", dest.with_name(f"{dest.name}.json"), facts, formats.resolved(job))


_SOURCE = formats.source_flags()
main.params += [*_SOURCE, *formats.format_flags()]


if __name__ == "__main__":
    main()
