import json

import pytest
import torch

from imaging.demo import DemoSet
from metrics.catalog import parse
from metrics.features import Made, open_eyes
from metrics.in_loop import prepare
from metrics.suite import RealStatistics, Suite
from models.families import load_network
from models.stylegan2.choices import StyleOptions
from models.stylegan2.sampler import StyleSampler
from tests.training.runs import finish, tiny
from training import plan as plans
from training import session

DEMO = DemoSet(16, 16, 60)
CPU = torch.device("cpu")


def _judged(plan, stop_at=None, names="swd60", wrong=None):
    """Carries a plan out with a judge, as train.py does; `wrong` takes the place of its evaluation."""
    since = plan.state.clock.seen if plan.state else None
    judge = prepare(names, {}, DEMO, CPU, 4, "python train.py", plan.course.family.judged, since)

    with pytest.MonkeyPatch.context() as patch:
        if wrong:
            patch.setattr(Suite, "evaluate", wrong)
        honest = session.train
        patch.setattr(session, "train", lambda plan: honest(plan, judge=judge))
        return finish(plan, stop_at)


def _begin(outdir, **more):
    return plans.begin(
        tiny(pace__kimg=0.4, pace__tick=0.1, pace__snap=1, pace__batch=20, metrics="swd60", **more), outdir
    )


def _lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _judged(_begin(tmp_path_factory.mktemp("whole")))


def test_every_snapshot_is_judged_and_the_best_kept(whole):
    lines = _lines(whole)
    assert [line["seen"] for line in lines] == [100, 200, 300, 400]
    assert lines[1]["network"] == "network-000000.2.safetensors"
    facts = {"metric": "swd60", "data": "demo16", "fingerprint": DEMO.fingerprint, "count": 60, "seed": 0}
    assert facts.items() <= lines[1].items() and lines[1]["command"] == "python train.py" and lines[1]["seconds"] > 0
    best = min(lines, key=lambda line: line["value"])
    assert (whole / "best.safetensors").samefile(whole / best["network"])
    load_network(whole / "best.safetensors")
    log = (whole / "log.txt").read_text()
    assert f"best.safetensors is {best['network']} now: swd60 {best['value']:.4g}" in log


def test_the_value_is_that_of_the_networks_own_file(whole):
    """As evaluate.py takes it: from the file, with the same seed."""
    last = _lines(whole)[-1]
    G = load_network(whole / last["network"])
    source = Made(StyleSampler(G, StyleOptions(noise_mode="random")), DEMO.label_counts, last["seed"])
    suite = Suite([parse("swd60")], open_eyes(["patches"], {}, CPU, False), RealStatistics(DEMO, CPU, 8))
    found = suite.evaluate(source)
    assert found["swd60"] == pytest.approx(last["value"], rel=1e-3)


def test_training_is_the_same_with_and_without_a_judge(whole, tmp_path):
    without = finish(_begin(tmp_path))
    name = "network-000000.4.safetensors"
    a, b = (load_network(folder / name).state_dict() for folder in (whole, without))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_resumed_run_has_the_same_results_and_the_same_best(whole, tmp_path):
    """Killed after a snapshot was judged and before its state was saved: what lies after the state is taken anew."""
    folder = _judged(_begin(tmp_path), stop_at=12)
    invented = _lines(folder)[-1] | {"seen": 300, "value": 0.001, "network": "network-000000.3.safetensors"}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(invented) + "\n")
    resumed = _judged(plans.resume(str(folder), {}, tmp_path))
    assert resumed == folder
    keys = ("seen", "metric", "value", "network")
    found, expected = ([[line[key] for key in keys] for line in _lines(run)] for run in (folder, whole))
    assert found == expected
    best = [path for path in folder.glob("network-*") if path.samefile(folder / "best.safetensors")]
    (same,) = [path for path in whole.glob("network-*") if path.samefile(whole / "best.safetensors")]
    assert [path.name for path in best] == [same.name]


def test_metrics_that_fail_do_not_end_the_training(tmp_path):
    def wrong(*arguments):
        raise ValueError("a picture is gone")

    folder = _judged(_begin(tmp_path), stop_at=6, wrong=wrong)
    assert (
        "the metrics could not be computed, training continues: a picture is gone" in (folder / "log.txt").read_text()
    )
    assert not (folder / "metrics.jsonl").exists() and (folder / "state.safetensors").exists()


def test_an_error_of_ours_is_not_hidden(tmp_path):
    def wrong(*arguments):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        _judged(_begin(tmp_path), wrong=wrong)


def test_the_speed_that_is_told_is_that_of_training(whole):
    ticks = [json.loads(line) for line in (whole / "stats.jsonl").read_text().splitlines()]
    judged = [line["seconds"] for line in _lines(whole)]
    told = sum(tick["timing/seconds per kimg"] * 0.1 for tick in ticks)
    assert told < ticks[-1]["time/seconds"] - 0.9 * sum(judged[:-1])


def test_nothing_is_judged_without_metrics_and_a_detector_does_not_apply_then():
    assert prepare("none", {}, DEMO, CPU, 4, "", StyleOptions()) is None
    with pytest.raises(ValueError, match=r"^--detector does not apply, since --metrics is none: leave it out$"):
        prepare("none", {"vgg16": "x"}, DEMO, CPU, 4, "", StyleOptions())
    with pytest.raises(ValueError, match=r"^there is no metric 'fidd'"):
        prepare("fidd", {}, DEMO, CPU, 4, "", StyleOptions())
