"""`python -m training.report`: write the page of a run."""

import webbrowser
from pathlib import Path

import click

from torch_utils import runs
from torch_utils.cli import Command, option
from training.report import page

EXAMPLES = """
Examples:
  python -m training.report runs/00000-ffhq-auto
  python -m training.report latest --open
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("run", metavar="RUN|latest")
@option(
    "--outdir", type=click.Path(path_type=Path), default=Path("runs"), group="Data", help="Folder of runs, for latest."
)
@option("--open", "opened", is_flag=True, group="Output", help="Show the page in the browser.")
def main(run: str, outdir: Path, opened: bool) -> None:
    """Write report.html for any run: finished, in progress, or of an older version."""
    folder = runs.latest(outdir) if run.lower() == "latest" else Path(run)
    if folder is None:
        raise FileNotFoundError(f"there is no run in {outdir}: give its folder, or another --outdir")
    path = page.write(folder)
    click.echo(path)
    if opened:
        webbrowser.open(path.resolve().as_uri())


if __name__ == "__main__":
    main(prog_name="python -m training.report")
