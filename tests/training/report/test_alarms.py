"""Alarms sound when they must, once, and are silent on runs that went well."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.signs import Alarm, Alarms
from training.stylegan2.config import ROWS, gamma_rule, preset_gamma
from training.stylegan2.signs import SIGNS, far_gamma

HEALTHY = Path(__file__).parents[2] / "data" / "healthy_runs.jsonl"  # of the demo faces, samples measured, to the end


def moments(mean: float, count: int = 125) -> dict[str, float]:
    return {"mean": mean, "std": 0.1, "count": count}


def record(seen: int, real: float = 0.6, fake: float = -0.6, loss: float = 1.0, **more: Any) -> dict[str, Any]:
    """A tick of an ordinary run; `more` in place of what is ordinary."""
    return {
        "seen": seen,
        "signs/real": moments(real),
        "signs/fake": moments(fake),
        "loss/D fake": moments(loss / 2),
        "loss/D real": moments(loss / 2),
        "steps skipped": 0,
        "gradients/Dmain": moments(1.0),
    } | {name.replace("__", "/").replace("_", " "): value for name, value in more.items()}


def alarms(records: list[dict[str, Any]]) -> list[Alarm]:
    watched = Alarms(SIGNS, {})
    for one in records:
        watched.feed(one)
    return watched.raised


def kinds(records: list[dict[str, Any]]) -> list[tuple[str, int, int | None]]:
    return [(alarm.kind, alarm.since, alarm.until) for alarm in alarms(records)]


def won(seen: int) -> dict[str, Any]:
    return record(seen, 0.98, -0.97, 0.04)


@pytest.mark.parametrize("run", ["64x64, float32", "32x32, float32, seed 0", "32x32, bfloat16, seed 1"])
def test_silent_on_runs_that_went_well(run):
    records = [json.loads(line) for line in HEALTHY.read_text().splitlines()]
    history = [record for record in records if record["run"] == run]
    assert len(history) >= 60 and sum("samples/diversity" in record for record in history) >= 10
    assert alarms(history) == []


def test_d_has_won():
    records = [record(4000 * i) for i in range(1, 11)] + [won(4000 * i) for i in range(11, 31)]
    (alarm,) = alarms(records)
    # D's loss falls from 1 to 0.04 at 44, and stands still over the six ticks up to 64: that is so for five ticks at 80
    assert (alarm.kind, alarm.since, alarm.until) == ("D has won", 80_000, None)
    assert alarm.text == "it knows 99 % of the reals and 98.5 % of the fakes, at a loss of 0.04"
    assert "--aug ada" in alarm.advice and "--transfer" in alarm.advice


@pytest.mark.parametrize("real, fake, loss", [(0.98, -0.9, 0.04), (0.9, -0.98, 0.04), (0.98, -0.98, None)])
def test_a_strong_d_has_not_won_yet(real, fake, loss):
    """Fakes pass for real, reals for fakes, or the loss still moves."""
    assert alarms([record(4000 * i, real, fake, loss or (1.0 if i % 2 else 0.5)) for i in range(1, 60)]) == []


def test_pairs_are_judged_by_their_loss():
    """Relativistic scores have no zero: their signs may be anything."""

    def pair(seen: int, loss: float, sign: float) -> dict[str, Any]:
        return {"seen": seen, "signs/real": sign, "signs/fake": -sign, "loss/D pair": moments(loss)}

    assert kinds([pair(4000 * i, 0.6, 1.0) for i in range(1, 30)]) == []
    assert kinds([pair(4000 * i, 0.02, -1.0) for i in range(1, 30)]) == [("D has won", 20_000, None)]


def test_an_alarm_is_raised_once_until_it_clears_and_again_after():
    ill, well = [won(4000 * i) for i in range(1, 31)], [record(4000 * i) for i in range(31, 61)]
    again = [won(4000 * i) for i in range(61, 91)]
    found = kinds(ill + well + again)
    assert [kind for kind, _, _ in found] == ["D has won"] * 2
    assert found[0][1:] == (20_000, 35 * 4000)  # five ticks of the one, five of the other
    assert found[1][1] > 61 * 4000 and found[1][2] is None


def test_a_tick_or_two_change_nothing():
    flickering = [won(4000 * i) if i % 4 else record(4000 * i) for i in range(1, 60)]
    assert kinds(flickering) == []
    ill = [record(4000 * i) if i in (40, 41) else won(4000 * i) for i in range(1, 60)]
    assert len(kinds(ill)) == 1


def snapshots(*shares: float, **more: float) -> list[dict[str, Any]]:
    others = {"samples/nearest": 0.7} | {f"samples/{name}": value for name, value in more.items()}
    return [{"seen": 5000 * i, "samples/diversity": share, **others} for i, share in enumerate(shares, start=1)]


@pytest.mark.parametrize(
    "records, text",
    [
        (snapshots(0.6, 0.9, 0.2, 0.15), "samples/diversity is 0.15 of that of reals"),
        (
            snapshots(0.9, 0.9, **{"diversity class 3": 0.1}),
            "samples/diversity class 3 is 0.10 of that of reals",
        ),
        (snapshots(0.9, 0.9, nearest=0.05), "samples/nearest is 0.05 of that of reals"),
    ],
)
def test_diversity_is_lost(records, text):
    (alarm,) = alarms(records)
    assert (alarm.kind, alarm.text) == ("the samples have lost their diversity", text)
    assert alarm.since == records[-1]["seen"]


def test_one_sheet_says_little():
    assert kinds(snapshots(0.6, 0.9, 0.2, 0.8, 0.2, 0.8)) == []
    assert kinds(snapshots(0.2, 0.2, 0.7, 0.7)) == [("the samples have lost their diversity", 10_000, 20_000)]


def test_p_at_its_ceiling():
    rising = [record(4000 * i, augment__p=moments(min(i / 20, 1.0))) for i in range(1, 40)]
    assert kinds(rising) == [("p is at its ceiling", (19 + 4) * 4000, None)]


def test_many_skipped_steps():
    few = [record(4000 * i, steps_skipped=i) for i in range(1, 40)]  # one in 126
    many = [record(4000 * i, steps_skipped=10 * i) for i in range(1, 40)]
    once = [record(4000 * i, steps_skipped=100 if i > 9 else 0) for i in range(1, 40)]
    assert kinds(few) == [] and kinds(once) == []
    (alarm,) = alarms(many)
    assert (alarm.kind, alarm.since) == ("many steps are skipped", 3 * 4000)
    assert alarm.text == "10 of the last tick's 135 had gradients that were infinite or nan"


def of(preset: str, gamma: float, size: int = 32, batch: int = 32, **loss: Any) -> dict[str, Any]:
    image = {"height": size, "width": size}
    return {"preset": preset, "generator": image, "loss": {"gamma": gamma, **loss}, "pace": {"batch": batch}}


def told(*given: Any, **loss: Any) -> str:
    return "".join(alarm.text for alarm in far_gamma(of(*given, **loss)))


def test_gamma_far_from_the_rule():
    assert gamma_rule(32, 32, 32) == pytest.approx(0.0064)
    (alarm,) = Alarms(SIGNS, of("auto", 10.0)).raised
    assert (alarm.kind, alarm.since) == ("gamma is far from the rule", 0)
    assert alarm.text == "--gamma 10 is 1,562 times the 0.0064 that suits 32x32 with --batch 32"
    assert told("auto", 0.0001) == "--gamma 0.0001 is 1/64 of the 0.0064 that suits 32x32 with --batch 32"
    assert told("auto", 0.0064 * 21) and not told("auto", 0.0064 * 19)
    assert not told("auto", 0.0)  # off on purpose
    assert not told("auto", 10.0, kind="rpgan")  # the rule is of another loss


def test_the_gamma_of_a_preset_is_meant():
    for name in [*ROWS, "demo"]:
        for size in (32, 1024):
            own = preset_gamma(name, size, size, 8)
            assert not told(name, own, size, 8) and not told(name, own * 4, size, 8)
    assert told("demo", 10_000.0)


def test_files_of_other_versions_raise_nothing():
    for config in ({}, {"loss": {"gamma": "x"}}, {"preset": "auto", "generator": 3, "loss": {"gamma": 9}}):
        assert far_gamma(config) == []
    assert alarms([{"seen": 4000 * i, "loss": i, "signs/real": None, "note": "x"} for i in range(40)]) == []


def test_feeding_tells_what_changed_and_parts_of_a_record_may_come_apart():
    """A snapshot's measures come after the statistics of its tick; a resumed run reads both at once."""
    whole = [record(5000 * i) | s for i, s in enumerate(snapshots(0.9, 0.2, 0.2, 0.9, 0.9), start=1)]
    at_once, apart = Alarms(SIGNS, {}), Alarms(SIGNS, {})
    told = []
    for line in whole:
        at_once.feed(line)
        measures = {name: value for name, value in line.items() if name.startswith(("samples/", "seen"))}
        assert apart.feed({name: value for name, value in line.items() if name not in measures or name == "seen"}) == []
        told += [(alarm.since, alarm.until) for alarm in apart.feed(measures)]
    assert at_once.raised == apart.raised
    assert told == [(15_000, None), (15_000, 25_000)]
