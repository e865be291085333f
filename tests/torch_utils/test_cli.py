import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from torch_utils import cli
from torch_utils.flags import flags

ROOT = Path(__file__).parents[2]


def _run(error):
    @click.command(cls=cli.Command)
    def main():
        raise error

    return CliRunner().invoke(main, [])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("--gamma: got -1, expected more"), "--gamma: got -1, expected more"),
        (FileNotFoundError("there is no run in runs: start one"), "there is no run in runs: start one"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.zip"), "there is no a.zip: check the path"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            "no permission for /a: choose another path, or change its permissions",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a"),
            "no space left to write runs/a: free some, then start again",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left to write: free some, then start again"),
        (OSError(errno.EIO, "Input/output error", "a"), "a cannot be used (Input/output error): choose another path"),
        (MemoryError(), "out of memory: stop other programs"),
        (OSError(errno.EIO, "Input/output error"), "a file cannot be used (Input/output error): choose another path"),
    ],
)
def test_errors_are_one_sentence_and_status_2(error, sentence):
    result = _run(error)
    assert (result.exit_code, result.output) == (2, f"Error: {sentence}\n")


def test_our_own_mistakes_keep_their_traceback():
    assert isinstance(_run(AssertionError("a mistake")).exception, AssertionError)


def test_an_interrupt_is_quiet():
    result = _run(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


def test_ctrl_c_ends_a_script_with_130():
    code = """
import click, time
from torch_utils import cli
@click.command(cls=cli.Command)
def main():
    cli.say("ready")
    time.sleep(60)
main()
"""
    script = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert script.stdout is not None
    assert script.stdout.readline() == "ready\n"
    script.send_signal(signal.SIGINT)
    assert script.communicate(timeout=30) == ("", "")
    assert script.returncode == 130


def test_a_reader_that_went_away_is_no_error():
    assert isinstance(_run(OSError(errno.EPIPE, os.strerror(errno.EPIPE))).exception, SystemExit)
    assert _run(OSError(errno.EPIPE, os.strerror(errno.EPIPE))).exit_code == 1


def test_help_is_grouped_and_examples_are_kept():
    @click.command(cls=cli.Command, epilog="Examples:\n\n  python x.py --seeds 0-9 \\\n      --psi 0.7\n")
    @cli.option("--seeds", type=cli.SeedList(), default="0-9", group="Input", help="Seeds.")
    @cli.option("--outdir", default="out", group="Output", help="Folder.")
    @cli.option("--size", type=cli.Size(), group="Input", help="Size.")
    def main(seeds, outdir, size):
        """Makes images."""

    assert CliRunner().invoke(main, ["-h"], prog_name="x.py").output == HELP


HELP = """\
Usage: x.py [OPTIONS]

  Makes images.

Input:
  --seeds SEEDS  Seeds.  [default: 0-9]
  --size WXH     Size.

Output:
  --outdir TEXT  Folder.  [default: out]

Other:
  -h, --help  Show this message and exit.

Examples:

  python x.py --seeds 0-9 \\
      --psi 0.7
"""


@pytest.mark.parametrize("arguments", [["--psis", "-1:1:0.5"], ["--psis=-1:1:0.5"], ["-p", "-1:1:0.5"]])
def test_a_value_may_begin_with_a_minus(arguments):
    found = []

    @click.command(cls=cli.Command)
    @cli.option("-p", "--psis", type=cli.FloatList(), group="Output")
    def main(psis):
        found.append(psis)

    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert found == [[-1.0, -0.5, 0.0, 0.5, 1.0]]


@pytest.mark.parametrize("total", [100, 107, 2500])
def test_progress_in_a_log_is_a_few_plain_lines(capsys, total):
    assert list(cli.progress(iter(range(total)), total, "images")) == list(range(total))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1] == f"images: {total} of {total}"


@pytest.mark.parametrize("total", [0, 1, 10, 99])
def test_a_log_hears_nothing_of_a_few_items(capsys, total):
    assert list(cli.progress(iter(range(total)), total, "images")) == list(range(total))
    assert capsys.readouterr().err == ""


def test_progress_says_its_note_after_each_line(capsys, monkeypatch):
    done = []
    for item in cli.progress(range(100), 100, "steps", lambda: f"loss {sum(done)}"):
        done.append(item)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["steps: 10 of 100, loss 45", "steps: 20 of 100, loss 190"] and len(lines) == 10
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(cli.progress(range(3), 3, "steps", lambda: "loss 7")) == [0, 1, 2]
    assert "loss 7" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--to", ""], ["--to="], ["--data", ""], ["--data="]])
def test_empty_paths_are_refused(arguments):
    class Data(BaseModel):
        path: str = Field("demo", json_schema_extra={"flag": "--data"})

    @click.command(cls=cli.Command)
    @cli.option("--to", type=click.Path(path_type=Path), group="Output")
    def main(**params):
        raise AssertionError("never called")

    main.params += flags(Data)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    flag = arguments[0].rstrip("=")
    assert result.output.splitlines()[-1] == f"Error: {flag} is empty: name a file or folder, or leave it out"


def test_a_program_that_is_terminated_tidies_up():
    before = signal.getsignal(signal.SIGTERM)
    tidied = False
    with pytest.raises(SystemExit) as ended, cli.terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            tidied = True
    assert tidied and ended.value.code == 143 and signal.getsignal(signal.SIGTERM) == before
