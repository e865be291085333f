"""Lines of a run folder, whoever wrote them: read with bounds, and appended to plain files only."""

import json
import os

import pytest

from system import untrusted
from torch_utils import runs

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
        '{"seen": 5, "text": "' + "a" * runs.LONGEST_LINE + '"}',
    ],
)
def test_lines_that_no_run_writes_are_passed_over(tmp_path, line):
    stats = runs.StatsFile(tmp_path / "stats.jsonl")
    stats.path.write_text(f"{WHOLE}\n{line}\n{WHOLE}\n{line}")
    assert list(stats.read()) == [json.loads(WHOLE)] * 2
    stats.rewind(5000)
    assert stats.path.read_text() == f"{WHOLE}\n" * 2
    stats.amend(1000, {"more": 1})
    assert list(stats.read()) == [json.loads(WHOLE), json.loads(WHOLE) | {"more": 1}]


def test_numbers_that_runs_write_as_null_are_read_so():
    text = '{"a": NaN, "b": [1e400, -Infinity], "c": ' + "9" * 5000 + ', "d": -9223372036854775807, "e": 0.5}'
    assert untrusted.json_object(text) == {"a": None, "b": [None, None], "c": None, "d": -(2**63) + 1, "e": 0.5}


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
        lambda: runs.Log(path),
        lambda: runs.StatsFile(path).append(1, {}),
        lambda: runs.appending(path),
    ):
        with pytest.raises(ValueError) as error:
            write()
        assert str(error.value).startswith(said)
    assert secret.read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_a_hole_of_terabytes_is_not_read(tmp_path):
    with (tmp_path / "stats.jsonl").open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match=r"stats.jsonl is larger than 1 GiB, the limit for such a file: remove it"):
        list(runs.json_lines(tmp_path / "stats.jsonl"))
