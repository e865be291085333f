"""What the engine does for a family with two image sets and without pictures of seeds, from `tests.families.pair`."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import convert
import evaluate
import generate
import train
from models import families
from models.families import load_network, read_network
from tests.families import pair
from tests.training.launches import launch
from tests.training.runs import stopped_at
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint
from training import courses

SETTINGS = {"device": "cpu", "precision": "fp32", "pace.batch": 4, "pace.tick": 0.02, "pace.snap": 3, "pace.kimg": 0.1}


@pytest.fixture(autouse=True, scope="module")
def _tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.FAMILIES, "pair", pair.FAMILY)
        patch.setattr(courses, "COURSES", (*courses.COURSES, pair.COURSE))
        yield


def call(script: Any, *words: object, code: int = 0) -> str:
    result = CliRunner().invoke(script.main, [str(word) for word in words])
    assert result.exit_code == code and "Traceback" not in result.output, (result.output, result.exception)
    return result.output


def styles(folder: Path, count: int = 6, side: int = 24) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        noise = np.random.RandomState(i).randint(0, 255, (side, side, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return folder


def begin(outdir: Path, painted: Path, *words: object, model: str = "pair-s/2") -> str:
    sets = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    data = ("--data", "demo:16", "--max-images", "40", "--styles", painted)
    return call(train, "--model", model, *data, "--outdir", outdir, *sets, *words)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    begin(folder / "runs", styles(folder / "styles"))
    return folder / "runs" / "00000-demo16-pair-s-2-demo"


def test_a_run_records_both_sets_and_offers_no_pictures(run):
    _, about = checkpoint.load(run / "state.safetensors")
    assert about["data"]["images"] == 40 and about["sets"]["styles"]["images"] == 6
    assert about["training"]["styles"]["path"].endswith("styles") and about["training"]["paintings"] == [24, 24, 3, 0]
    assert (run / "log.txt").read_text().rstrip().endswith("done")
    assert not list(run.glob("fakes-*")) and "Samples at kimg" not in (run / "report.html").read_text()


def test_statistics_of_the_run(run):
    records = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    rates = [record["learning rate/encode"] for record in records]
    assert rates[0] == pytest.approx(0.008) and rates[-1] == 0.01  # the last step of a tick begins at image 16 of 20
    assert {record["learning rate/judge"] for record in records} == {0.01}
    assert all(0 <= record["clipped/encode"]["mean"] <= 1 for record in records)
    counts = [sum(record.get(name, {"count": 0})["count"] for name in pair.BUCKETS) for record in records]
    assert counts == [20] * 5
    assert any(pair.BUCKETS[-1] not in record for record in records)
    assert [i for i, record in enumerate(records) if "held out/loss" in record] == [2, 4]  # ticks with a snapshot
    parts = {name: load_network(run, which=name).state_dict() for name in ("fast", "slow", "encoder")}
    near, far = (
        sum(float((parts[name][key] - t).square().sum()) for key, t in parts["encoder"].items())
        for name in ("fast", "slow")
    )
    assert 0 < near < far


def test_a_stopped_run_finds_both_sets_again(run, tmp_path):
    with stopped_at(13):
        begin(tmp_path / "runs", run.parents[1] / "styles")
    stopped = tmp_path / "runs" / run.name
    assert "pair-b/4, but this run has pair-s/2" in call(train, "--resume", stopped, "--model", "pair-b/4", code=2)
    call(train, "--resume", stopped)
    assert_equal_runs(stopped, run)


def test_a_changed_set_is_refused(tmp_path):
    painted = styles(tmp_path / "styles")
    with stopped_at(7):
        begin(tmp_path / "runs", painted)
    (stopped,) = (tmp_path / "runs").iterdir()
    painted.rename(tmp_path / "moved")
    assert "say where with --styles" in call(train, "--resume", stopped, code=2)
    Image.new("RGB", (24, 24)).save(tmp_path / "moved" / "6.png")
    moved = ("--resume", stopped, "--styles", tmp_path / "moved")
    assert f"{tmp_path / 'moved'} has changed since" in call(train, *moved, code=2)
    assert "6 images before, 7 now" in call(train, *moved, "--changed-data")
    smaller = ("--resume", stopped, "--styles", styles(tmp_path / "small", side=16), "--changed-data")
    assert "small has another size, other channels or other classes than this run learned" in call(
        train, *smaller, "--kimg", "0.2", code=2
    )


def test_pictures_and_metrics_are_refused_in_a_sentence(run, tmp_path):
    for script, words in (
        (generate, ("--seeds", "0")),
        (evaluate, ("--metrics", "swd20", "--data", "demo:16")),
    ):
        said = call(script, "--network", run, "--outdir", tmp_path / "out", *words, code=2)
        assert said.count("\n") <= 3 and "holds a network of Pair, which makes no pictures of seeds" in said
    said = call(train, "--model", "pair-s/2", "--metrics", "swd20", "--outdir", tmp_path / "runs", code=2)
    assert "--metrics does not apply to pair-s/2, which makes no pictures: give --metrics none" in said
    assert not list(tmp_path.iterdir())


def test_transfer_takes_networks_of_the_same_sizes(run, tmp_path):
    small = tmp_path / "small.safetensors"
    call(convert, "--source", run, "--only", "slow,head", "--dest", small)
    painted = run.parents[1] / "styles"
    begin(tmp_path / "runs", painted, "--transfer", small, "--set=pace.light_files=false")
    (began,) = (tmp_path / "runs").iterdir()
    assert f"the weights of fast, slow, encoder, head are those of {small}" in (began / "log.txt").read_text()
    said = call(train, "--model", "pair-b/4", "--transfer", small, "--styles", painted, "--outdir", tmp_path, code=2)
    assert f"--transfer {small}: its encoder has features 2: take" in said


def test_what_does_not_apply_is_refused(tmp_path):
    for words, said in (
        (("--model", "pair-s/2", "--compile"), "--compile does not apply to pair-s/2: leave it out"),
        (("--model", "pair-s/2", "--set", "loss.gamma=1"), "--set loss.gamma does not apply to pair-s/2, only to"),
        (("--model", "pair-s/3"), "--model got 'pair-s/3', expected one of: stylegan2, dit-ti/1 ... dit-xl/16, adm"),
    ):
        assert said in call(train, *words, "--outdir", tmp_path / "runs", code=2)
    assert not list(tmp_path.iterdir())


def test_help_lists_options_of_the_second_set_once():
    shown = call(train, "--model", "pair-b/4", "--help")
    assert shown.count("  --styles ") == shown.count("  --data ") == shown.count("  --max-styles ") == 1


def test_convert_takes_single_parts_and_describes_any_size(run, tmp_path):
    assert "RGB of any size" in call(convert, "--source", run)
    call(convert, "--source", run, "--only", "slow,head", "--dest", tmp_path / "two.safetensors")
    assert read_network(tmp_path / "two.safetensors").parts == ["slow", "head"]


def test_sizes_of_a_model(run, tmp_path):
    shown = {name: begin(tmp_path, run.parents[1] / "styles", "--dry-run", model=name) for name in pair.COURSE.models}
    for name, features in (("pair-s/2", 2), ("pair-b/4", 4)):
        assert re.findall(r" features +(\d+)", shown[name]) == [str(features)] * 2


@pytest.mark.proof
def test_two_processes_resume_exactly(tmp_path):
    """Levels of noise that one process or both never saw are part of the statistics of both."""
    base = SETTINGS | pair.STYLES | {"data.path": "demo:16", "data.max_images": 40}
    alone = begin(tmp_path / "alone", Path("demo:24"), "--max-styles", 12)
    assert "done" in alone
    for name in ("whole", "stopped"):
        with stopped_at(7 if name == "stopped" else None):
            where = ("--model", "pair-s/2", "--outdir", str(tmp_path / name))
            ended = launch(2, tmp_path / f"logs-{name}", *where, base=base)
        assert not ended.codes, ended.output
    whole, stopped = (next((tmp_path / name).iterdir()) for name in ("whole", "stopped"))
    ended = launch(2, tmp_path / "logs-resumed", "--resume", str(stopped), base=base)
    assert not ended.codes, ended.output
    assert_equal_runs(whole, stopped)
    (one,) = (tmp_path / "alone").iterdir()
    for a, b in zip(*((run / "stats.jsonl").read_text().splitlines() for run in (one, whole)), strict=True):
        mine, theirs = json.loads(a), json.loads(b)
        assert mine.keys() == theirs.keys()
        assert mine["loss/encode"]["mean"] == pytest.approx(theirs["loss/encode"]["mean"], rel=1e-4)
