"""A network from one format to another; or what a file holds."""

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click

from models.families import read_network
from sampling.conversion import check_dest, check_options, choose, find_format
from sampling.description import describe
from sampling.formats import Job
from sampling.record import write_record
from torch_utils.cli import Command, option, say

EXAMPLES = """
Examples:
  python convert.py --source ffhq.pkl                                  what is in it
  python convert.py --source ffhq.pkl --dest ffhq.safetensors          for every script's --network
  python convert.py --source runs/00000-ffhq-auto --dest small.safetensors --only G_ema --dtype float16
  python convert.py --source ffhq.safetensors --dest ffhq.onnx         runs without this program
  python convert.py --source ffhq.safetensors --dest ffhq.pt2 --split --noise-mode random
  python convert.py --source ffhq.safetensors --dest my-model/ --license mit
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--source",
    type=click.Path(),
    metavar="PLACE",
    required=True,
    group="Networks",
    help="whatever the scripts take as --network",
)
@option(
    "--dest",
    type=click.Path(path_type=Path),
    group="Networks",
    help="file in .safetensors (this program's), .pt (rosinality's), .onnx or .pt2 (torch.export), or a folder for the "
    "Hugging Face Hub; without it the source is described",
)
@option(
    "--format", "kind", type=click.Choice(["auto", "hub"]), default="auto", group="Networks", help="auto: by --dest"
)
@option(
    "--only",
    metavar="NAMES",
    show_default="all; a graph holds one generator, G_ema if there is one",
    group="Networks",
    help="networks to take of G_ema, G, D, with commas",
)
@option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    show_default="as the source's",
    group="Files of weights",
    help="of the stored numbers; float16 halves the file",
)
@option("--license", metavar="NAME", group="Files of weights", help="for the model card, such as mit")
@option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    show_default="const",
    group="Graphs: .onnx and .pt2",
    help="the network's own noise, an input that the caller fills with normal numbers, or none",
)
@option(
    "--psi-cutoff",
    type=click.IntRange(min=0),
    group="Graphs: .onnx and .pt2",
    help="how many of the first layers the input psi truncates; without it all",
)
@option(
    "--split",
    is_flag=True,
    group="Graphs: .onnx and .pt2",
    help="the mapping and the synthesis in a file each, NAME-mapping and NAME-synthesis",
)
def main(source: str, dest: Path | None, kind: str, only: str | None, **options: Any) -> None:
    """Convert a network to another format, by the ending of --dest; or, without --dest, say what a file holds.

    An .onnx and a .pt2 need nothing of this program to run. Each is run once it is written, and one that computes
    anything else than the network is not kept. DEST.json beside it says how it was made.
    """
    form = find_format(dest, kind == "hub") if dest else None
    check_options(form, options if form else {"only": only, "format": kind == "hub", **options})
    if dest and form:
        form.check(dest)
    file = read_network(source)
    networks = {name: file.part(name) for name in file.parts}
    say(describe(file, networks))
    if not dest or not form:
        return
    check_dest(dest, file, form)
    names = choose(file, only, form)
    given = {name: value for name, value in options.items() if value is not None}
    job = Job(file, {name: networks[name] for name in names}, dest, **given)
    notes = form.write(job)
    for path, note in notes.items():
        say(f"wrote {path}: {note}")
    beside = dest.with_name(f"{dest.name}.json")
    facts = {"network": str(file), "networks": names, "files": {str(path): note for path, note in notes.items()}}
    write_record("convert", beside, facts, job.resolved(form.options))


if __name__ == "__main__":
    main()
