"""The page of a run: one file that holds everything, for any run, and lets nothing in."""

import base64
import io
import json
import math
import os
import re
import time
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from tests.training.report.folders import COMMAND, Page, folder, record
from training.report import page
from training.report.charts import Axis, drawn, placed
from training.report.page import MOST, picture, thinned
from training.signs import Chart


def read(run: Path, state: str = "") -> Page:
    return Page(page.write(run, state).read_text(encoding="utf-8"))


def add(run: Path, *records: dict, file: str = "stats.jsonl") -> None:
    with (run / file).open("a") as opened:
        opened.writelines(json.dumps(record) + "\n" for record in records)


def curves(run: Path) -> dict[str, dict[float, float]]:
    history = page.read(run)
    return {name: curve for _, each in placed(history.stats, history.metrics, []) for name, curve in each.items()}


def test_the_curves_are_the_statistics(tmp_path):
    found = curves(folder(tmp_path))
    assert set(found) == {
        "loss/G", "scores/real", "augment/p", "something/new", "memory/peak bytes", "timing/images per second"
    }  # fmt: skip
    for name in ("loss/G", "scores/real", "augment/p"):
        assert found[name] == {i: record(1000 * i)[name]["mean"] for i in range(1, 9)}
    (path,) = [tag["d"] for tag in read(tmp_path / "00000-cats-auto").all("path") if tag.get("data-name") == "loss/G"]
    points = re.findall(r"([\d.]+) ([\d.]+)", path or "")
    assert [x for x, _ in points] == sorted((x for x, _ in points), key=float) and len(points) == 8
    assert (points[0], points[-1]) == (("70.0", "232.0"), ("576.0", "24.0"))  # corners: the loss grows


@pytest.mark.parametrize(
    "values, ticks",
    [
        ([0.0, 9.3], [0, 2, 4, 6, 8]),
        ([-3.0, 4.0], [-2, 0, 2, 4]),
        ([5.0], [3, 4, 5, 6, 7]),
        ([0.02, 3000.0], [0.1, 1, 10, 100, 1000]),
        ([0.0], [-4e-4, -2e-4, 0, 2e-4, 4e-4]),
    ],
)
def test_axes_have_round_numbers(values, ticks):
    axis = Axis(values, 100, 0, may_be_logarithmic=True)
    assert axis.ticks() == pytest.approx(ticks) and all(0 <= axis.place(value) <= 100 for value in values)


@pytest.mark.parametrize("values", [[1e299, -1e299], [5e-324, 1e299], [5e-324, 1e-323], [1e299, 1e299]], ids=str)
def test_any_numbers_can_be_drawn(values):
    shown = drawn(Chart("x", (), ""), {"a": dict(enumerate(values))})
    assert not re.search(r"\b(nan|inf)\b", shown)


def test_nothing_is_asked_of_the_network(tmp_path):
    text = page.write(folder(tmp_path)).read_text()
    found = Page(text)
    assert found.open == []
    for _, attributes in found.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "@import" not in text and "url(" not in text and "fetch(" not in text and "://" not in text


def test_every_picture_is_there(tmp_path):
    run = folder(tmp_path)
    found = read(run)
    pictures = found.all("img")
    assert [shown.get("data-kimg") for shown in pictures] == ["0", "1", "2", None]  # samples, then reals
    assert [("hidden" in shown) for shown in pictures] == [True, True, False, False]
    (slider,) = [tag for tag in found.all("input") if tag.get("id") == "time"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "2") and slider["aria-label"]
    files = [run / f"fakes-00000{i}.0.png" for i in range(3)] + [run / "reals.png"]
    for shown, file in zip(pictures, files, strict=True):
        kind, _, data = (shown["src"] or "").partition(",")
        assert kind == "data:image/webp;base64"
        decoded = Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB")
        assert decoded.size == (64, 32) == (int(shown["width"] or 0), int(shown["height"] or 0))
        assert decoded.getpixel((9, 9)) == pytest.approx(Image.open(file).getpixel((9, 9)), abs=4)


def test_what_users_wrote_is_text(tmp_path):
    evil = "00000-<img src=x onerror=alert(1)>&amp;-auto"
    run = folder(tmp_path, evil)
    add(run, {"seen": 9000, "</script><script>alert(2)//": 1.0, 'x" onload="alert(3)': 1.0})
    add(run, {"seen": 1000, "metric": "<b>fid</b>", "value": 1.0}, file="metrics.jsonl")
    found = read(run)
    assert evil in found.text and COMMAND in found.text and "<b>fid</b>" in found.text
    assert len(found.all("script")) == 1 and len(found.all("img")) == 4 and not found.all("b")
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def test_it_says_how_far_the_run_is_and_what_it_wrote(tmp_path):
    found = read(folder(tmp_path, ticks=4), state="running")
    for told in ("running", "4 of 8", "504 images/s", "0m 08s", "3 GiB", "cats.zip", "auto"):
        assert told in found.text
    assert re.search(r"left\s*0m 08s", found.text) and re.search(r"loss\.gamma +0\.003\n", found.text)
    assert "the last 9 lines" in found.text and "kimg 4.000" in found.text
    assert any(tag.get("http-equiv") == "refresh" for tag in found.all("meta"))


def test_the_state_follows_from_the_files(tmp_path):
    stopped, finished = folder(tmp_path, "a", ticks=4), folder(tmp_path, "b")
    assert [page.state_of(page.read(run)) for run in (stopped, finished)] == ["stopped", "finished"]
    with FileLock(stopped / ".lock"):
        assert page.state_of(page.read(stopped)) == "running"
    assert page.state_of(page.read(stopped)) == "stopped"


def test_metrics_have_curves_and_say_which_way_is_better(tmp_path):
    run = folder(tmp_path)
    told = [(None, 9.0), (1000, 30.0), (2000, 10.0), (3000, 20.0), (3000, 21.5)]
    add(run, *({"seen": seen, "metric": "fid5k_full", "value": value} for seen, value in told), file="metrics.jsonl")
    names = {"swd": "lower", "pr50k3_full_precision": "higher", "is50k_mean": "higher"}
    add(run, *({"seen": 1000, "metric": name, "value": 1.0} for name in names), file="metrics.jsonl")
    (run / "metrics.jsonl").open("a").write('{"seen": 4000, "metr')
    assert curves(run)["fid5k_full"] == {1.0: 30.0, 2.0: 10.0, 3.0: 21.5}
    found = placed([], page.read(run).metrics, [])
    healthy = {chart.title: chart.healthy.split()[0] for chart, _ in found}
    assert healthy == names | {"fid5k_full": "lower"}


def test_alarms_stand_on_the_page(tmp_path):
    run = folder(tmp_path, ticks=0)
    config = json.loads((run / "config.json").read_text())
    config["loss"]["gamma"] = 100.0
    (run / "config.json").write_text(json.dumps(config))
    signs = [1.0 if i < 10 else 0.5 for i in range(1, 20)]
    add(run, *({"seen": 4000 * i, "signs/real": s, "signs/fake": -s} for i, s in enumerate(signs, start=1)))
    text = re.sub(r"\s+", " ", read(run).text)
    assert "gamma is far from the rule since the beginning--gamma 100 is 62,500 times the 0.0016" in text
    assert "D has won kimg 20 to 56it knows 100 % of the reals" in text


def test_runs_of_which_little_is_left(tmp_path):
    run = tmp_path / "00000-x"
    run.mkdir()
    (run / "log.txt").write_bytes(b"one two three\xff\n")
    assert "one two three" in read(run).text
    lines = '{"seen": 1000, "loss/G": {"mean": 1.5, "std": 0, "count": 1}}\n{"seen": 2000, "loss/G": {"mean": NaN}}\n'
    (run / "stats.jsonl").write_text(lines + '{"seen": 30')
    assert curves(run) == {"loss/G": {1.0: 1.5}}
    odd = '{"loss": 3, "preset": ["x"], "new part": {"new": {"deep": [1, 2]}}, "pace": {"kimg": "long"}}'
    for text in ("{", "[]", odd):
        (run / "config.json").write_text(text)
        (run / "fakes-000001.0.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
        found = read(run)
        assert found.all("svg") and not found.all("img")
    assert "deep" in found.text and "1,2" in found.text


def test_thinned_sheets_stay_among_those_before():
    kept: list = []
    for count in range(1, 300):
        sheets = [(float(i), Path(str(i))) for i in range(count)]
        before, kept = kept, thinned(sheets)
        assert kept[0] == sheets[0] and kept[-1] == sheets[-1] and len(kept) <= MOST + 1
        assert set(kept) <= {*before, sheets[-1]} or math.log2(count - 1).is_integer() or len(before) == 0
    assert len(kept) > MOST // 2
    assert thinned([]) == []


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_large_sheets_become_smaller(tmp_path, mode):
    path = tmp_path / "fakes.png"
    Image.new(mode, (3000, 1500), 100 if mode == "L" else (1, 2, 3, 4)).save(path)
    shown = picture(path, "samples")
    assert 'width="1024" height="512"' in shown and len(shown) < 20_000


def test_curves_are_told_apart_and_say_what_is_healthy(tmp_path):
    run = folder(tmp_path)
    told = {"r1/penalty": 1.0, "r2/penalty": 2.0, "learning rate/Gmain": 0.004, "samples/diversity class 7": 0.6}
    add(run, {"seen": 9000, **told})
    text = re.sub(r"\s+", " ", read(run).text)
    assert "r1 penalty 1r2 penalty 2Healthy: steady. If they jump tenfold" in text
    assert "class 7 0.6Healthy: all classes about alike" in text and "peak 3Healthy: level after" in text
    assert "lazy regularization" in text  # StyleGAN2's own words
    assert [text.index(title) for title in ("Learning", "Machine", "More")] == sorted(
        text.index(title) for title in ("Learning", "Machine", "More")
    )


def test_a_model_that_this_version_does_not_know(tmp_path):
    run = folder(tmp_path)
    (run / "config.json").write_text(json.dumps({"model": "newer", "loss": {"gamma": 1e6}, "pace": {"kimg": 8}}))
    found = read(run)
    assert "gamma" in found.text and "Alarms" not in found.text and "newer" in found.text and found.all("svg")


def test_a_model_brings_its_own_charts():
    by_noise = Chart("Loss by noise level", ("loss/t *",), "falling.")
    stats = [{"seen": 1000, "loss/t 0-249": 1.0, "loss/t 250-499": 0.5, "loss/all": 0.7}]
    own, rest = placed(stats, [], [by_noise])
    assert own == (by_noise, {"loss/t 0-249": {1.0: 1.0}, "loss/t 250-499": {1.0: 0.5}})
    assert rest[0].title == "Losses" and list(rest[1]) == ["loss/all"]


HOSTILE = {
    "huge numbers": '{"seen": 9000, "loss/G": 1' + "0" * 400 + "}",
    "huge seen": '{"seen": 1' + "0" * 400 + "}",
    "nan": '{"seen": 9000, "loss/G": NaN, "loss/D real": Infinity, "x": 1e999}',
    "deep": '{"seen": 9000, "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "odd types": '{"seen": 9000, "loss/G": {"mean": "x", "count": [1]}, "gradients/G": {"mean": 1, "count": "x"}}',
    "odd moments": '{"seen": true, "loss/G": 1}\n{"seen": -5}\n{"seen": 1.5}\n'
    '{"seen": 9000, "timing/images per second": -1}',
    "odd letters": json.dumps({"seen": 9000, "a\udce9\x1b[31m/b\n": 1.0, "\u202e/x": 2.0}),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_statistics_that_no_run_writes(tmp_path, what):
    run = folder(tmp_path)
    with (run / "stats.jsonl").open("a") as file:
        file.write(HOSTILE[what] + "\n")
    metric = HOSTILE[what].replace("loss/G", "value").replace('{"seen"', '{"metric": "x", "seen"')
    (run / "metrics.jsonl").write_text(metric)
    text = page.write(run, "running").read_text(encoding="utf-8")
    assert 'data-name="loss/G"' in text and not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)


@pytest.mark.parametrize(
    "config",
    [
        '{"preset": "auto", "pace": {"batch": 0, "kimg": 1e308}, "generator": {"height": 16, "width": 16}}',
        '{"preset": "auto", "pace": {"kimg": -1, "tick": 1e308, "snap": 1e308}, "loss": {"gamma": 1e-320}}',
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        json.dumps({f"x{i}": i for i in range(50_000)}),
        json.dumps({"preset": "\udce9\x1b[31m" * 9999, "data": {"path": ["x"] * 9999}}),
    ],
)
def test_configurations_that_no_run_writes(tmp_path, config):
    run = folder(tmp_path)
    (run / "config.json").write_text(config)
    start = time.monotonic()
    text = page.write(run, "running").read_text(encoding="utf-8")
    assert time.monotonic() - start < 10 and 'data-name="loss/G"' in text and "\x1b" not in text
    assert len(text) < 1_000_000


@pytest.mark.parametrize("spread", [True, False], ids=["over the records", "in one record"])
def test_twenty_thousand_statistics_take_no_quadratic_time(tmp_path, spread):
    run = folder(tmp_path)
    many = {f"a{i}/b": i for i in range(20_000)}
    add(run, *([{"seen": 9000 + i, name: i} for name, i in many.items()] if spread else [{"seen": 9000} | many]))
    start = time.monotonic()
    text = page.write(run).read_text()
    assert time.monotonic() - start < 20 and 990 < text.count("data-name=") <= 1000 and 'data-name="loss/G"' in text


def test_odd_names_and_files_that_are_no_files(tmp_path):
    run = folder(tmp_path, "00000-r\udce9sum\udce9-猫-auto")
    for name in ("fakes-000007.1.png", "metrics.jsonl", "network-000008.0.safetensors"):
        os.mkfifo(run / name)  # which is not waited for
    text = page.write(run).read_text(encoding="utf-8")
    assert "猫" in text and "r\\udce9sum" in text and len(Page(text).all("img")) == 4


def test_very_long_files_are_read_in_part(tmp_path, monkeypatch):
    run = folder(tmp_path)
    size = (run / "stats.jsonl").stat().st_size
    monkeypatch.setattr(page, "MOST_BYTES", size // 3 + 1)
    assert list(curves(run)["loss/G"]) == [1, 4, 7]
