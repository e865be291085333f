"""`python -m training.report` as from a shell."""

from click.testing import CliRunner

from tests.commands import refused
from tests.training.report.folders import folder
from training.report import __main__ as program
from training.report.page import NAME


def report(*arguments: object):
    return CliRunner().invoke(program.main, [str(argument) for argument in arguments])


def test_it_writes_the_page_prints_where_and_can_open_it(tmp_path, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(program.webbrowser, "open", opened.append)
    run = folder(tmp_path)
    assert report(run).output == f"{run / NAME}\n" and opened == []
    assert (run / NAME).read_text().startswith("<!DOCTYPE html>")
    assert not [path for path in run.iterdir() if path.suffix == ".tmp"]
    assert report(run, "--open").exit_code == 0 and opened == [(run / NAME).resolve().as_uri()]


def test_the_latest_run(tmp_path):
    folder(tmp_path, "00000-a-auto"), folder(tmp_path, "00001-b-auto")
    assert report("latest", "--outdir", tmp_path).output == f"{tmp_path / '00001-b-auto' / NAME}\n"


def test_refusals(tmp_path):
    missing = f"there is no run in {tmp_path}/no: give the folder of a run, such as runs/00000-ffhq-auto"
    assert refused(report(tmp_path / "no")) == missing
    assert refused(report(tmp_path)).startswith(f"there is no run in {tmp_path}: give the folder")
    assert list(tmp_path.iterdir()) == []
    assert refused(report("latest", "--outdir", tmp_path)) == (
        f"there is no run in {tmp_path}: give its folder, or another --outdir"
    )
