"""The whole engine on the smallest configuration of every family, and on the toy family that no table names.

A family that is added to both tables is tested here without further work: add its smallest settings to `SMALLEST`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import convert
import evaluate
import generate
import train
from models import families
from models.families import FAMILIES, load_network, read_network
from sampling import formats
from tests.families import pair, toy
from tests.families.smallest import COMMON, SMALLEST, Case
from tests.training.runs import stopped_at
from tests.training.test_resume import assert_equal_runs
from torch_utils import runs
from torch_utils.config import settings
from training import courses
from training import plan as plans
from training.report import __main__ as report

PICTURED = {name: case for name, case in SMALLEST.items() if case.option}


@pytest.fixture(autouse=True)
def _tables(monkeypatch):
    for added in (toy, pair):
        monkeypatch.setitem(families.FAMILIES, added.FAMILY.name, added.FAMILY)
    own = [course for course in courses.COURSES if course.title not in ("Toy", "Pair")]
    monkeypatch.setattr(courses, "COURSES", (*own, toy.COURSE, pair.COURSE))


@pytest.fixture(params=list(SMALLEST.values()), ids=list(SMALLEST))
def case(request) -> Case:
    return request.param


@pytest.fixture(params=list(PICTURED.values()), ids=list(PICTURED))
def pictured(request) -> Case:
    return request.param


def call(script: Any, *words: Any) -> Result:
    return CliRunner().invoke(script.main, [str(word) for word in words])


def succeeded(script: Any, *words: Any) -> str:
    result = call(script, *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(script: Any, *words: Any) -> str:
    result = call(script, *words)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.output


def strangers(case: Case) -> list[Case]:
    """The models that do not have this model's option."""
    own = {setting.spelling for setting in settings(courses.find(case.model).config).values()}
    return [other for other in SMALLEST.values() if other.own not in own]


def begin(case: Case, outdir: Path, *more: Any, **changed: Any) -> list[str]:
    """A command line of train.py."""
    told = case.settings | COMMON | {name.replace("__", "."): value for name, value in changed.items()}
    words = [f"--set={name}={_spelled(value)}" for name, value in told.items() if not name.startswith("data.")]
    return ["--model", case.model, "--data", "demo:16", "--max-images", "40", "--outdir", str(outdir), *words, *more]


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def judging(case: Case) -> tuple[str, ...]:
    return ("--metrics", "swd20") if case.option else ()


def latest(outdir: Path) -> Path:
    (run,) = outdir.glob("00000-*")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains each model once, by train.py; a function of the case."""
    made: dict[str, Path] = {}

    def run(case: Case) -> Path:
        if case.model not in made:
            outdir = tmp_path_factory.mktemp(case.model.replace("/", "-"))
            succeeded(train, *begin(case, outdir, *judging(case)))
            made[case.model] = latest(outdir)
        return made[case.model]

    return run


def test_every_course_is_on_trial():
    on_trial = {case.model for case in SMALLEST.values()}
    assert all(on_trial & course.models.keys() for course in courses.COURSES)
    assert {course.family.name for course in courses.COURSES} <= FAMILIES.keys()


def test_a_stopped_run_resumes_to_the_same_bits(case, trained, tmp_path):
    with stopped_at(13):
        succeeded(train, *begin(case, tmp_path, *judging(case)))
    stopped = latest(tmp_path)
    assert "resumes" in (stopped / "log.txt").read_text()
    succeeded(train, "--resume", stopped)
    assert_equal_runs(stopped, trained(case))
    config = json.loads((stopped / "config.json").read_text())
    assert config["model"] == case.model


def test_an_option_that_contradicts_the_run_is_refused(case, trained):
    assert f"{case.own} is" in refused(train, "--resume", trained(case), f"{case.own}=0.25", "--kimg", "0.2")


def test_options_of_other_models_are_refused(case, tmp_path):
    for other in strangers(case):
        said = refused(train, *begin(case, tmp_path), f"{other.own}=0.25")
        _, _, after = said.partition(f"{other.own} does not apply to {case.model}, only to ")
        assert courses.find(other.model).title in after.partition(": leave it out")[0], said
        assert not list(tmp_path.iterdir())


def test_help_shows_the_options_of_the_model(case):
    shown = succeeded(train, "--model", case.model, "--help")
    assert f"  {case.own} " in shown
    assert not any(f" {other.own} " in shown for other in strangers(case))


def test_dry_run_lists_settings_and_networks(case, tmp_path):
    shown = succeeded(train, *begin(case, tmp_path, "--dry-run"))
    for part in courses.find(case.model).family.parts.values():
        assert part.config_name.capitalize() in shown
    assert "total" in shown and not list(tmp_path.iterdir())


def test_batch_gpu_auto_answers(case, tmp_path, monkeypatch):
    plan = plans.begin(
        {**case.settings, **COMMON, "model": case.model, "pace.batch_gpu": "auto", "data.path": "demo:16"}, tmp_path
    )
    assert 4 % plan.config.pace.batch_gpu == 0
    assert any(note.startswith("--batch-gpu auto: ") for note in plan.notes)


def test_a_network_file_comes_back(case, trained):
    place = runs.newest_in(trained(case))
    file, family = read_network(place), courses.find(case.model).family
    assert file.family is family
    assert set(file.parts) == {name for name, part in family.parts.items() if not part.optional} | set(file.parts)
    network = load_network(place)
    assert type(network) is type(family.parts[file.shown].build(network.config))
    assert all(t.equal(file.tensors[f"{file.shown}.{name}"]) for name, t in network.state_dict().items())


def test_pictures_are_the_same_alone_and_in_company(pictured, trained, tmp_path):
    network = ("--network", trained(pictured), "--device", "cpu")
    succeeded(generate, *network, "--seeds", "0-3", "--grid", "--outdir", tmp_path / "all")
    succeeded(generate, *network, "--seeds", "2", "--outdir", tmp_path / "one")
    succeeded(generate, *network, "--seeds", "2", pictured.option, "--outdir", tmp_path / "other")
    all_, one, other = ((tmp_path / name / "seed0002.png").read_bytes() for name in ("all", "one", "other"))
    assert all_ == one != other
    record = json.loads((tmp_path / "other" / "generate.json").read_text())
    name, _, value = pictured.option.lstrip("-").partition("=")
    assert float(record["options"][name]) == float(value)


def test_generate_takes_the_options_of_the_network_alone(pictured, trained, tmp_path):
    shown = succeeded(generate, "--network", trained(pictured), "--help")
    assert f" {pictured.option.split('=')[0]} " in shown
    for other in PICTURED.values():
        option, family = other.option.split("=")[0], courses.find(other.model).family
        if family.options is not courses.find(pictured.model).family.options:
            assert f" {option} " not in shown
            said = refused(generate, "--network", trained(pictured), other.option, "--outdir", tmp_path)
            assert f"{option} does not apply to " in said and family.title in said


def test_evaluate_repeats_the_number_of_the_run(pictured, trained, tmp_path):
    run = trained(pictured)
    in_run = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    options = in_run.get("options", {})
    assert ("steps" in options) == ("sampling.steps" in pictured.settings)
    known = settings(read_network(run).family.options)
    words = [f"{known[name].spelling}={value}" for name, value in options.items()]
    words += ["--batch", COMMON["pace.batch"]]  # another one would round pixels otherwise
    succeeded(evaluate, "--network", run, "--metrics", "swd20", "--device", "cpu", "--outdir", tmp_path, *words)
    judged = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert judged["value"] == pytest.approx(in_run["value"], rel=1e-6)
    assert judged.get("options", {}) == options


def test_the_report_draws_the_statistics_of_the_model(case, trained):
    succeeded(report, trained(case))
    page = (trained(case) / "report.html").read_text()
    assert case.curve in page and ("swd20" in page) == bool(case.option)
    assert ("Samples at kimg" in page) == bool(list(trained(case).glob("fakes-*.png")))
    records = (trained(case) / "stats.jsonl").read_text().splitlines()
    others = {other.curve for other in SMALLEST.values()} - json.loads(records[-1]).keys() - {case.curve}
    assert not any(f'"{curve}"' in page for curve in others)


def test_describe_convert_and_publish(case, trained, tmp_path):
    network = runs.newest_in(trained(case))
    family = courses.find(case.model).family
    shown = succeeded(convert, "--source", network)
    assert all(family.parts[name].role in shown for name in read_network(network).parts)
    small = tmp_path / "small.safetensors"
    succeeded(convert, "--source", network, "--dest", small, "--dtype", "float16")
    assert read_network(small).family is family
    succeeded(convert, "--source", network, "--dest", tmp_path / "published")
    card = (tmp_path / "published" / "README.md").read_text()
    assert family.title in card and ("generate.py" in card) == bool(case.option)
    assert (tmp_path / "published" / "samples.png").is_file() == bool(case.option)
    assert load_network(tmp_path / "published").state_dict().keys() == load_network(network).state_dict().keys()
    if case.option:
        succeeded(generate, "--network", tmp_path / "published", "--seeds", "0", "--outdir", tmp_path / "pictures")


def test_an_option_opens_a_second_network(trained, tmp_path):
    network = trained(SMALLEST["toy"])
    guide = network / "network-000000.1.safetensors"
    worse = tmp_path / "worse.safetensors"
    with torch.no_grad():
        denoiser = load_network(network)
        denoiser.gain.mul_(0.5)
        families.save_network(worse, "toy", {"denoiser": denoiser}, {})
    assert "--guide PLACE" in succeeded(generate, "--network", network, "--help")
    pictures = {}
    for name, place in (("plain", None), ("self", guide), ("worse", worse)):
        words = () if place is None else ("--guide", place)
        out = tmp_path / name
        succeeded(generate, "--network", network, "--seeds", "3", "--device", "cpu", "--outdir", out, *words)
        pictures[name] = (out / "seed0003.png").read_bytes()
        assert json.loads((out / "generate.json").read_text())["options"]["guide"] == str(place or "")
    assert pictures["plain"] == pictures["self"] != pictures["worse"]
    judge = ("--network", network, "--metrics", "swd20", "--device", "cpu", "--outdir", tmp_path / "judged")
    succeeded(evaluate, *judge, "--guide", worse)
    assert json.loads((tmp_path / "judged" / "metrics.jsonl").read_text())["options"] == {"guide": str(worse)}
    sampler = families.load_sampler(network, guide=str(worse))
    assert len(list(sampler.sample(sampler.requests([0, 1], None)))) == 2


def test_a_second_network_that_does_not_fit_is_refused(trained, tmp_path):
    words = ("--network", trained(SMALLEST["toy"]), "--outdir", tmp_path / "out", "--guide")
    assert f"--guide: there is no file or folder {tmp_path / 'gone'}" in refused(generate, *words, tmp_path / "gone")
    said = refused(generate, *words, trained(SMALLEST["pair"]))
    assert "it is no denoiser of the same shape: take another network" in said
    assert not list(tmp_path.iterdir())


def test_convert_is_told_what_a_foreign_file_does_not_say(tmp_path, monkeypatch):
    added = [flag for flag in formats.source_flags() if flag.name == "height"]
    monkeypatch.setattr(convert, "_SOURCE", added)
    monkeypatch.setattr(convert.main, "params", [*convert.main.params, *added])
    source, dest = tmp_path / "toy.pt", tmp_path / "toy.safetensors"
    torch.save({"gain": torch.ones(3 * 4 * 6), "bias": torch.zeros(2, 3, 4, 6)}, source)
    succeeded(convert, "--source", source, "--dest", dest, "--height", "4", "--set", "classes=2")
    assert load_network(dest).config.model_dump() == {"height": 4, "width": 6, "channels": 3, "classes": 2}
    said = refused(convert, "--source", source, "--set", "heads=3")
    assert f"{source} is refused: --set heads: there is no such setting" in said
    assert "so options about its networks do not apply" in refused(convert, "--source", dest, "--set", "classes=2")
