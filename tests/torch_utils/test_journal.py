"""Lines of a run folder, whoever wrote them: read with bounds, and appended to plain files only."""

import json
import os
import time
from contextlib import closing

import pytest

from system import bounded
from torch_utils import journal

WHOLE = '{"seen": 1000, "loss": 0.5}'


@pytest.mark.parametrize(
    "line",
    [
        '{"seen": ' + "9" * 400 + "}",
        '{"seen": ' + "9" * 5000 + "}",
        '{"seen": 1e400}',
        '{"seen": NaN}',
        '{"seen": -50}',
        '{"seen": 1.5}',
        '{"seen": true}',
        '{"seen": 9007199254740993}',
        '{"seen": 5, "loss": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"seen": 5, "loss": ' + '{"a": ' * 500 + "1" + "}" * 500 + "}",
        '{"seen": 5, "lo',
        '["seen", 5]',
        "\x00\xff",
        '{"seen": 5, "text": "' + "a" * journal.LONGEST_LINE + '"}',
    ],
)
def test_lines_that_no_run_writes_are_passed_over(tmp_path, line):
    stats = journal.StatsFile(tmp_path / "stats.jsonl")
    stats.path.write_text(f"{WHOLE}\n{line}\n{WHOLE}\n{line}")
    assert list(stats.read()) == [json.loads(WHOLE)] * 2
    stats.rewind(5000)
    assert stats.path.read_text() == f"{WHOLE}\n" * 2
    stats.amend(1000, {"more": 1})
    assert list(stats.read()) == [json.loads(WHOLE), json.loads(WHOLE) | {"more": 1}]


def test_numbers_that_runs_write_as_null_are_read_so():
    text = '{"a": NaN, "b": [1e400, -Infinity], "c": ' + "9" * 5000 + ', "d": -9223372036854775807, "e": 0.5}'
    assert bounded.json_object(text) == {"a": None, "b": [None, None], "c": None, "d": -(2**63) + 1, "e": 0.5}


def test_a_record_of_a_thousand_statistics_is_read(tmp_path):
    record = {f"statistic {k}": {"mean": k / 7, "std": 1.5, "count": 64} for k in range(1000)}
    stats = journal.StatsFile(tmp_path / "stats.jsonl")
    stats.append(8, record)
    assert list(stats.read()) == [{"seen": 8} | record]


@pytest.mark.parametrize("kind", ["symbolic link", "dangling symbolic link", "FIFO", "folder"])
def test_nothing_is_appended_through_what_is_no_plain_file(tmp_path, kind):
    path, secret = tmp_path / "log.txt", tmp_path / "secret.txt"
    secret.write_text("mine")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(secret if kind == "symbolic link" else tmp_path / "nowhere")
    said = f"{path} is a {kind.removeprefix('dangling ')}, expected a plain file"
    for write in (
        lambda: journal.Log(path),
        lambda: journal.StatsFile(path).append(1, {}),
        lambda: journal.appending(path),
    ):
        with pytest.raises(ValueError) as error:
            write()
        assert str(error.value).startswith(said)
    assert secret.read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_nothing_is_appended_through_a_second_name_of_a_file(tmp_path):
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "log.txt").hardlink_to(tmp_path / "secret.txt")
    with closing(journal.Log(tmp_path / "log.txt")) as log:
        log.keep("a line")
    assert (tmp_path / "secret.txt").read_text() == "mine"
    assert (tmp_path / "log.txt").read_text() == "minea line\n"


def test_a_hole_of_terabytes_is_not_read(tmp_path):
    with (tmp_path / "stats.jsonl").open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match=r"stats.jsonl is larger than 1 GiB, the limit for such a file: remove it"):
        list(journal.json_lines(tmp_path / "stats.jsonl"))


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "stats.jsonl")
    began = time.monotonic()
    with pytest.raises(ValueError, match="is a FIFO"):
        list(journal.json_lines(tmp_path / "stats.jsonl"))
    assert time.monotonic() - began < 5


class Terminal:
    """Knows ASCII alone, or takes nothing."""

    encoding = "ascii"

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.text = error, ""

    def write(self, text: str) -> None:
        if self.error:
            raise self.error
        text.encode("ascii")
        self.text += text

    def flush(self) -> None:
        pass


def test_a_terminal_of_few_letters_shows_the_rest_in_escapes(tmp_path):
    terminal = Terminal()
    log = journal.Log(tmp_path / "log.txt", terminal)
    log("files go to 猫")
    log("r\udce9sum\udce9")
    log.close()
    assert terminal.text == "files go to \\u732b\nr\\udce9sum\\udce9\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "files go to 猫\nr\\udce9sum\\udce9\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("I/O on closed file")])
def test_a_terminal_that_has_gone_ends_nothing(tmp_path, error, monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal(error))
    log = journal.Log(tmp_path / "log.txt")
    log("one")
    log("two")
    log.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
