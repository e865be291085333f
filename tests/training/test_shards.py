"""Training on shards: a run that is stopped and resumed, dealt to two processes, or whose shards changed meanwhile."""

import functools
import http.server
import threading

import pytest

from imaging.demo import DemoSet
from imaging.pixels import to_pil
from imaging.setwriter import ShardWriter
from tests.commands import refused, run, tiny_sets
from tests.training import runs
from tests.training.test_processes import AT_ONCE, assert_same_learning, together
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint

COUNT = 40  # images; 10 steps of 4


def write(dest, **options):
    demo = DemoSet(16, 16, count=COUNT)
    with ShardWriter(dest, **options) as writer:
        for i in range(COUNT):
            writer.add(to_pil(demo.read(i)), demo.label(i))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path):
    write(tmp_path / "x-%04d.tar", shard_size=9)
    data = {"data.path": str(tmp_path / "x-{0000..0004}.tar"), "data.max_images": 0, "data.mirror": True}
    return data | {"pace.kimg": 0.016, "pace.tick": 0.004, "pace.snap": 2}


@pytest.mark.parametrize("workers", [0, 2])
def test_four_steps_are_two_and_two(tmp_path, settings, workers):
    whole = runs.train(tmp_path / "whole", **settings, workers=workers)
    parts = runs.resume(runs.train(tmp_path / "parts", stop_at=2, **settings, workers=workers))
    assert_equal_runs(whole, parts)
    assert (whole / "reals.png").exists() and whole.name == "00000-x-demo"


def test_the_sequence_is_that_of_one_process_without_workers(tmp_path, settings):
    """Nor does it matter whether the run continues with another number of workers."""
    whole = runs.train(tmp_path / "whole", **settings)
    parts = runs.resume(runs.train(tmp_path / "parts", stop_at=3, **settings), workers=2)
    a, b = (checkpoint.load(folder / "state.safetensors")[0] for folder in (whole, parts))
    assert a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)


def test_shards_that_changed_between_stop_and_resume(tmp_path, settings):
    folder = runs.train(tmp_path / "runs", stop_at=2, **settings)
    first = tmp_path / "x-0000.tar"
    old = first.read_bytes()
    again = ["--resume", str(folder)]
    first.write_bytes((tmp_path / "x-0001.tar").read_bytes())
    assert refused(run(*again)).startswith(f"{first} has changed since its contents were listed: restore the old shard")
    for path in tmp_path.glob("x-*"):
        path.unlink()
    pattern = settings["data.path"]
    assert refused(run(*again)) == f"the data of this run are no longer at {pattern}: say where with --data"
    write(tmp_path / "x-%04d.tar", shard_size=10)
    assert "x-0004.tar does not exist (1 of 5 shards are missing): restore it" in refused(run(*again))
    write_other = tmp_path / "moved"
    write(write_other / "x-{0000..0004}.tar")
    changed = refused(run(*again, "--data", str(write_other / "x-*.tar")))
    assert "x-*.tar has changed since this run was stopped, or is another set: bring the old data back" in changed
    write(tmp_path / "same" / "x-%04d.tar", shard_size=9)
    assert (tmp_path / "same" / "x-0000.tar").read_bytes() == old
    done = run(*again, "--data", str(tmp_path / "same" / "x-*.tar"))
    assert done.exit_code == 0, done.output


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_the_command_streams_from_a_server(tmp_path):
    pytest.importorskip("aiohttp")
    write(tmp_path / "served" / "x-{0..3}.tar")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "served")
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/x-{{0..3}}.tar"
        sets = [each for each in tiny_sets(pace__kimg=0.008) if "max_images" not in each]
        arguments = ("--outdir", str(tmp_path / "runs"), *sets)
        done = run("--data", url, *arguments)
        assert done.exit_code == 0, done.output
        assert "40 images 16x16, 3 channels, 5 classes: x" in done.output
        assert f'"path": "{url}"' in (tmp_path / "runs" / "00000-x-demo" / "config.json").read_text()
        done = run("--resume", "latest", "--kimg", "0.012", "--outdir", str(tmp_path / "runs"))
        assert done.exit_code == 0, done.output
        server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--data", "{p}/y-{{0..3}}.tar"],
            "/y-0.tar does not exist (4 of 4 shards are missing): restore it",
        ),
        (["--data", "{p}/x-{{0..3}}.tar", "--labels", "folders"], "shards have no sub-folders: use --labels auto"),
        (["--data", "{p}/x-{{3..0}}.tar"], "x-{3..0}.tar does not name shards: write {0000..0999}"),
        (["--data", "{p}/x-0.tar.gz"], "shards are plain .tar files"),
        (["--data", "nosuch://host/x.tar"], "cannot be opened"),
    ],
)
def test_what_is_refused(tmp_path, arguments, sentence):
    write(tmp_path / "x-{0..3}.tar")
    given = [argument.format(p=tmp_path) for argument in arguments]
    assert sentence in refused(run(*given, "--outdir", str(tmp_path / "runs")))
    assert not (tmp_path / "runs").exists()


def test_two_processes_share_the_batch_of_one(tmp_path, settings):
    options = {name.replace("__", "."): value for name, value in AT_ONCE.items()} | settings
    one, two = runs.train(tmp_path / "alone", **options), together(tmp_path, 2, **options)
    assert_same_learning(one, two)
    assert (one / "reals.png").read_bytes() == (two / "reals.png").read_bytes()
