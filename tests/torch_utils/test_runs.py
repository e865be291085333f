import json
import math
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from torch_utils import runs


def test_numbers_count_up_from_zero(tmp_path):
    assert runs.create(tmp_path / "runs", "ffhq-auto") == tmp_path / "runs" / "00000-ffhq-auto"
    (tmp_path / "runs" / "00041-old").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "00099-a-file").touch()
    assert runs.create(tmp_path / "runs", "x").name == "00042-x"


def test_runs_that_start_together_get_different_numbers(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda k: runs.create(tmp_path, f"run{k % 5}"), range(64)))
    assert sorted(int(run.name[:5]) for run in made) == list(range(64))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(run.name for run in made)


@pytest.mark.parametrize(
    ("seen", "kimg"),
    [(0, "000000.0"), (200_000, "000200.0"), (199_999, "000199.9"), (150, "000000.1"), (25_000_064, "025000.0")],
)
def test_names_bear_thousands_of_images_with_one_decimal(tmp_path, seen, kimg):
    assert runs.network_path(tmp_path, seen) == tmp_path / f"network-{kimg}.safetensors"
    assert runs.samples_path(tmp_path, seen) == tmp_path / f"fakes-{kimg}.png"


def test_latest_and_newest_network(tmp_path):
    assert runs.latest(tmp_path) is None
    assert runs.latest(tmp_path / "nowhere") is None
    assert runs.newest_network(tmp_path) is None
    for name in ("00002-b", "00010-a", "00011-empty"):
        (tmp_path / name).mkdir()
    for run, seen in (("00002-b", 900_000), ("00010-a", 20_000), ("00010-a", 100_000)):
        runs.network_path(tmp_path / run, seen).touch()
    (tmp_path / "00010-a" / "network-000100.0.safetensors.tmp").touch()
    assert runs.latest(tmp_path) == tmp_path / "00011-empty"
    assert runs.newest_network(tmp_path) == tmp_path / "00010-a" / "network-000100.0.safetensors"


def test_resolve_finds_the_state(tmp_path):
    run = runs.create(tmp_path, "a")
    state, previous = run / runs.STATE, run / runs.PREVIOUS_STATE
    state.touch()
    for text in ("latest", "Latest", str(run), str(state)):
        assert runs.resolve(text, tmp_path) == (run, state, previous)
    previous.touch()
    assert runs.resolve(str(previous), tmp_path) == (run, previous, None)
    state.unlink()  # stopped between the two renames of a saving
    assert runs.resolve("latest", tmp_path) == (run, state, previous)


def test_resolve_says_what_is_wrong(tmp_path):
    _refused("latest", tmp_path, f"there is no run in {tmp_path} to resume: give its folder, or another --outdir")
    run = runs.create(tmp_path, "a")
    message = f"{run} has no state.safetensors: give the folder of a run that has saved a state"
    _refused("latest", tmp_path, f"there is no run in {tmp_path} to resume: give its folder, or another --outdir")
    _refused(str(run), tmp_path, message)
    _refused(str(tmp_path), tmp_path, message.replace(str(run), str(tmp_path)))
    network = runs.network_path(run, 1000)
    network.touch()
    for place in ("nowhere", str(network)):
        told = f'{place} is not a run to resume: give a run folder, a state file in it, or "latest"; '
        _refused(place, tmp_path, f"{told}to start a new run from a network, give --transfer {place}")


def _refused(text, outdir, message, kind=FileNotFoundError):
    with pytest.raises(kind, match=re.escape(message) + "$"):
        runs.resolve(text, outdir)


def test_stats_are_strict_json_lines(tmp_path):
    stats = runs.StatsFile(tmp_path / "stats.jsonl")
    stats.append(4000, {"loss": 0.1, "fid": math.nan, "gamma": math.inf, "note": "é"})
    (line,) = (tmp_path / "stats.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "seen": 4000, "loss": 0.1, "fid": None, "gamma": None, "note": "é"
    }  # fmt: skip


def test_rewinding_drops_what_a_resumed_run_does_again(tmp_path):
    stats = runs.StatsFile(tmp_path / "stats.jsonl")
    stats.rewind(0)  # nothing there yet
    for seen in (1000, 2000, 3000):
        stats.append(seen, {"loss": seen / 7})
    with stats.path.open("a") as file:
        file.write('{"seen": 4000, "lo')  # killed while writing
    stats.rewind(2000)
    stats.append(2500, {"loss": 1})
    assert [(r["seen"], r["loss"]) for r in stats.read()] == [(1000, 1000 / 7), (2000, 2000 / 7), (2500, 1)]
    assert stats.path.read_bytes().count(b"\n") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["stats.jsonl"]


def test_a_moment_can_be_amended(tmp_path):
    stats = runs.StatsFile(tmp_path / "stats.jsonl")
    stats.amend(0, {"diversity": 0.1})  # a moment without a line gets one
    stats.append(1000, {"loss": 1.0})
    stats.append(2000, {"loss": 2.0})
    stats.amend(2000, {"diversity": 0.5, "note": "ü"})
    stats.amend(3000, {"diversity": 0.6})
    assert list(stats.read()) == [
        {"seen": 0, "diversity": 0.1},
        {"seen": 1000, "loss": 1.0},
        {"seen": 2000, "loss": 2.0, "diversity": 0.5, "note": "ü"},
        {"seen": 3000, "diversity": 0.6},
    ]


def test_a_log_speaks_and_keeps(tmp_path, capsys):
    for line in ("one", "zwei ü"):
        log = runs.Log(tmp_path / "log.txt")
        log(line)
        log()
        log.close()
    assert capsys.readouterr().out == "one\n\nzwei ü\n\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "one\n\nzwei ü\n\n"


@pytest.mark.parametrize("name", ["log.txt", "anything"])
@pytest.mark.parametrize("kind", ["symbolic link", "FIFO", "special file"])
def test_a_run_with_anything_but_plain_files_is_not_resumed(tmp_path, monkeypatch, name, kind):
    run = runs.create(tmp_path, "a")
    (run / runs.STATE).touch()
    (run / runs.PREVIOUS_STATE).touch()
    (run / "wandb").mkdir()
    (run / "wandb" / "latest").symlink_to("nowhere")  # what is in folders of other programs is theirs
    runs.resolve(str(run), tmp_path)
    if kind == "symbolic link":
        (run / name).symlink_to("/etc/hosts")
    elif kind == "FIFO":
        os.mkfifo(run / name)
    else:
        monkeypatch.chdir(run)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    message = f"{run / name} is a {kind}, expected a plain file: remove it, or put the file in its place"
    for text in ("latest", str(run), str(run / runs.STATE), str(run / runs.PREVIOUS_STATE)):
        _refused(text, tmp_path, message, ValueError)
