"""Whatever is printed is harmless, and no failure to print it stops the work."""

import io
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from torch_utils import cli, runs, terminal

ROOT = Path(__file__).parents[2]
HARM = "a\x1b]0;owned\x07b\rc\x9b31m\u202ed\udce9"
SHOWN = r"a\x1b]0;owned\x07b\rc\x9b31m\u202ed\udce9"


class Tty(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    """A stream whose disk is full."""

    def write(self, text=""):
        raise OSError(28, "No space left on device")

    flush = write


def test_what_is_put_is_harmless():
    stream = io.StringIO()
    terminal.put(f"{HARM}\nline\t2 猫\n", stream)
    assert stream.getvalue() == f"{SHOWN}\nline\t2 猫\n"


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\xe9 \u732b"), ("cp1252", r"é \u732b"), ("utf-8", "é 猫")])
def test_letters_that_a_stream_has_not_are_spelled(encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    terminal.put("é 猫", stream)
    assert stream.buffer.getvalue().decode(encoding) == shown


def test_a_stream_that_is_gone_closed_or_full_is_no_error():
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, Broken()):
        terminal.put("x\n", stream)
        assert not terminal.is_terminal(stream)
        assert terminal.Steady(stream or closed).write("x") == 1
        terminal.Steady(stream or closed).flush()


def test_a_log_is_harmless_and_outlives_its_terminal(tmp_path):
    log = runs.Log(tmp_path / "log.txt", Broken())
    log(f"{HARM} 猫")
    log.keep(HARM)
    log.close()
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == f"{SHOWN} 猫\n{SHOWN}\n"


def test_ranks_prefix_each_line_of_their_errors():
    stream = Tty()
    steady = terminal.Steady(stream, "[rank 3] ")
    print("one\ntwo", file=steady)
    print(end="th", file=steady)
    print("ree\n\nfo", end="", file=steady)
    print("\nur", file=steady)
    lines = ["one", "two", "three", "", "fo", "ur"]
    assert stream.getvalue() == "".join(f"[rank 3] {line}\n" for line in lines)
    assert not steady.isatty()


def test_other_ranks_have_no_output_and_everybody_gets_the_streams_back(capsys):
    before = sys.stdout, sys.stderr
    with terminal.steady(2):
        print("out")
        print("err", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("", "[rank 2] err\n")
    with terminal.steady():
        print("out")
        print(HARM, file=sys.stderr)
    assert capsys.readouterr() == ("out\n", f"{SHOWN}\n")


def test_bars_move_on_a_terminal_and_nothing_else_does(monkeypatch):
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", terminal.Steady(stream))
    assert list(cli.progress(range(3), 3, HARM, lambda: HARM)) == [0, 1, 2]
    drawn = stream.getvalue()
    assert SHOWN in drawn and "100%" in drawn and "\r" in drawn
    assert "\x1b]" not in drawn and "\x9b" not in drawn and "\u202e" not in drawn
    bare = Tty()
    print(f"x{HARM}\x1b[2Ay", file=terminal.Steady(bare))
    assert bare.getvalue() == rf"x{SHOWN}\x1b[2Ay" + "\n"


def test_messages_of_every_kind_are_harmless(capsys):
    @click.command(cls=cli.Command)
    @click.argument("what")
    def main(what):
        if what == "refuse":
            raise ValueError(f"{HARM}\nError: forged")
        cli.say(HARM)
        click.echo(HARM)
        click.echo(HARM, err=True)
        list(cli.progress(range(100), 100, HARM))

    refused = CliRunner().invoke(main, ["refuse"])
    assert (refused.exit_code, refused.output) == (2, f"Error: {SHOWN} Error: forged\n")
    said = CliRunner().invoke(main, ["say"])
    assert said.stdout == f"{SHOWN}\n{SHOWN}\n" and said.stderr.startswith(f"{SHOWN}\n{SHOWN}: 10 of 100\n")
    utf8 = HARM.encode(errors="ignore").decode()  # other arguments are refused without being repeated
    wrong = CliRunner().invoke(main, ["a", utf8])
    assert terminal.clean(utf8) in wrong.output and "\x1b" not in wrong.output


SCRIPT = """
import click, sys
from pathlib import Path
from torch_utils import cli
@click.command(cls=cli.Command)
@click.argument("dest", type=click.Path(path_type=Path))
def main(dest):
    for n in range(3):
        cli.say("猫 " * 9000)
        print("猫 é", file=sys.stderr)
        click.echo("猫")
    list(cli.progress(range(100), 100, "猫"))
    dest.write_text("done")
main()
"""
STREAMS = {
    "ascii": "PYTHONIOENCODING=ascii {} >out 2>err",
    "everything closed": "{} <&- >&- 2>&-",
    "full, and a reader that has gone": "{} 2>/dev/full | true",
}


@pytest.mark.parametrize("case", STREAMS)
def test_the_work_is_done_whatever_becomes_of_the_output(case, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    line = STREAMS[case].format(f"{sys.executable} script.py done.txt") + "; echo status ${PIPESTATUS[0]} >status"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (tmp_path / "status").read_text() == "status 0\n"
    assert (tmp_path / "done.txt").read_text() == "done"
    assert "Traceback" not in ended.stdout + ended.stderr and "Exception ignored" not in ended.stderr
    for file in ("out", "err"):
        if (tmp_path / file).exists():
            assert "Traceback" not in (tmp_path / file).read_text(errors="replace")
    if case == "ascii":
        assert (tmp_path / "err").read_text().startswith("\\u732b \\xe9\n")
