import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from torch_utils import cli

ROOT = Path(__file__).parents[2]


def _run(error):
    @click.command(cls=cli.Command)
    def main():
        raise error

    return CliRunner().invoke(main, [])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("--gamma: got -1, wanted more"), "--gamma: got -1, wanted more"),
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
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs"), "cannot use runs: Is a directory"),
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


def test_refused_values_name_their_option():
    @click.command(cls=cli.Command)
    @cli.option("--seeds", type=cli.SeedList(), group="Input")
    def main(seeds):
        pass

    result = CliRunner().invoke(main, ["--seeds", "9-3"])
    assert result.exit_code == 2
    assert result.output.endswith("Error: Invalid value for '--seeds': got '9-3', wanted the smaller seed first: 3-9\n")


@pytest.mark.parametrize("total", [3, 10, 25])
def test_progress_in_a_log_is_a_few_plain_lines(capsys, total):
    assert list(cli.progress(iter(range(total)), total, "images")) == list(range(total))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == min(total, 10)
    assert lines[-1] == f"images: {total} of {total}"


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(cli.progress(range(3), 3, "images")) == [0, 1, 2]
    told = capsys.readouterr()
    assert told.out == ""
    assert "images: 100%" in told.err


def test_say_prints_a_line(capsys):
    cli.say("a")
    cli.say()
    assert capsys.readouterr().out == "a\n\n"
