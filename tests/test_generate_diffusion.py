"""generate.py, evaluate.py and the scripts of styles with denoising networks: guidance, solvers, and mistakes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import blend
import directions
import evaluate
import generate
import project
import style_mixing
import truncation
from tests.networks import ON_CPU, save_noisy, save_tiny

NAMES = ("cat", "dog", "cow")
EPS = {"objective": "eps", "learned_variance": True}
SOLVERS = [("ddpm",), ("ddim",), ("ddim", "--eta", "0.5"), ("euler",), ("heun",), ("dpm2m",)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A folder of tiny networks, by name."""
    folder = tmp_path_factory.mktemp("networks")
    made = {
        "dit": {"classes": 3, "class_names": NAMES},
        "worse": {"classes": 3, "seed": 1},
        "plain": {},
        "worse-plain": {"seed": 1},
        "classifier": {"model": "classifier", "classes": 3, "class_names": NAMES},
        "adm": {"model": "adm", "classes": 3, "noise": EPS},
        "adm-classifier": {"model": "classifier", "classes": 3, "noise": {"objective": "eps"}},
        "large": {"classes": 3, "width": 32},
        "large-classifier": {"model": "classifier", "classes": 3, "width": 32},
        "two-classifier": {"model": "classifier", "classes": 2},
        "v": {"classes": 3, "noise": {"objective": "v"}},
    }
    for name, settings in made.items():
        save_noisy(folder / f"{name}.safetensors", **settings)
    save_tiny(folder / "gan.safetensors")
    return folder


@pytest.fixture(autouse=True)
def elsewhere(networks, tmp_path, monkeypatch):
    """Commands run where the networks are links of the working directory."""
    monkeypatch.chdir(tmp_path)
    for network in networks.iterdir():
        Path(network.name).symlink_to(network)


def run(*words, script=generate):
    return CliRunner().invoke(script.main, [f"{w}.safetensors" if w in FILES else str(w) for w in words])


FILES = {"dit", "worse", "plain", "worse-plain", "classifier", "adm", "adm-classifier", "large", "large-classifier",
         "two-classifier", "v", "gan"}  # fmt: skip


def picture(*words, seeds="4"):
    """The bytes of the picture of seed 4, made with the pictures of `seeds`."""
    result = run("--seeds", seeds, "--steps", "4", "--outdir", "out", *words, *ON_CPU)
    assert result.exit_code == 0, (result.output, result.exception)
    return Path("out/seed0004.png").read_bytes()


@pytest.mark.parametrize("solver", SOLVERS, ids=" ".join)
@pytest.mark.parametrize("guidance", [
    ("--network", "dit", "--cfg-scale", "2", "--cfg-interval", "0.3:0.8"),
    ("--network", "dit", "--cfg-scale", "2", "--guide", "worse"),
    ("--network", "adm", "--classifier", "adm-classifier"),
], ids=["classifier-free", "autoguidance", "classifier"])  # fmt: skip
def test_a_picture_is_the_same_alone_and_in_company(guidance, solver):
    words = (*guidance, "--solver", *solver)
    assert picture(*words) == picture(*words, seeds="3-5")


def test_solvers_make_different_pictures():
    pictures = [picture("--network", "adm", "--solver", *solver) for solver in SOLVERS]
    assert len({*pictures}) == len(SOLVERS) - 1  # euler is ddim without noise
    assert picture("--network", "adm", "--solver", "ddim") == picture("--network", "adm", "--solver", "euler")


def test_classifier_free_guidance_changes_pictures_within_its_interval():
    def made(*words):
        return picture("--network", "dit", "--class", "dog", *words)

    plain = made()
    assert made("--cfg-scale", "1") == plain != made("--cfg-scale", "2") != made("--cfg-scale", "3")
    whole = made("--cfg-scale", "2")
    assert made("--cfg-scale", "2", "--cfg-interval", "0:1") == whole
    assert made("--cfg-scale", "2", "--cfg-channels", "3") == whole != made("--cfg-scale", "2", "--cfg-channels", "2")
    # Four steps visit the levels 0.25, 0.5, 0.75 and 1.
    assert made("--cfg-scale", "2", "--cfg-interval", "0.3:0.4") == plain
    part = made("--cfg-scale", "2", "--cfg-interval", "0.3:0.8")
    assert part not in (whole, plain)
    assert made("--cfg-scale", "2", "--cfg-interval", "0.5:0.75") == part
    assert plain != picture("--network", "dit", "--class", "cat")
    # Scale 0 leaves only the prediction of no class.
    assert made("--cfg-scale", "0") == picture("--network", "dit", "--class", "cat", "--cfg-scale", "0") != plain


def test_autoguidance_leads_away_from_the_guide():
    words = ("--network", "dit", "--class", "dog", "--cfg-scale", "2", "--guide")
    plain = picture("--network", "dit", "--class", "dog")
    assert picture(*words, "dit") == plain != picture(*words, "worse")
    for scale in ("0", "3"):
        assert picture("--network", "plain", "--guide", "plain", "--cfg-scale", scale) == picture("--network", "plain")
    picture(*words, "worse")
    options = json.loads(Path("out/generate.json").read_text())["options"]
    assert (options["guide"], options["cfg-scale"], options["solver"]) == ("worse.safetensors", 2, "dpm2m")


def test_a_classifier_leads_an_unconditional_network_to_a_class():
    plain = picture("--network", "plain")
    words = ("--network", "plain", "--classifier", "classifier")
    led = [picture(*words, "--class", label) for label in ("0", "1", "2")]
    assert len({plain, *led}) == 4
    assert picture(*words) == led[1]  # class 4 mod 3
    assert picture(*words, "--class", "1", "--classifier-scale", "0") == plain
    assert picture(*words, "--class", "1", "--classifier-scale", "20") != led[1]
    assert picture(*words, "--class", "dog") == picture(*words, "--class", "1")  # names are the classifier's


def test_help_shows_the_options_of_a_denoiser():
    shown = run("--network", "dit", "--help").output
    assert all(f" {flag} " in shown for flag in ("--steps", "--solver", "--cfg-scale", "--guide", "--classifier"))
    assert "--psi" not in shown and "--guide PLACE" in shown
    shown = run("--network", "dit", "--help", script=evaluate).output
    assert " --cfg-scale " in shown and "--psi" not in shown


MISTAKES = [
    ("dit", ("--psi", "0.7"), "--psi does not apply to dit.safetensors (DiT), only to StyleGAN2"),
    ("dit", ("--steps", "0"), "Invalid value for '--steps': got '0': input should be greater than or equal to 1"),
    ("dit", ("--steps", "1001"), "got '1001': input should be less than or equal to 1000"),
    ("dit", ("--solver", "newton"), "'newton' is not one of 'ddpm', 'ddim', 'euler', 'heun', 'dpm2m'"),
    ("dit", ("--eta", "0.5"), "--eta applies to --solver ddim, not to dpm2m: leave it out"),
    ("dit", ("--cfg-interval", "a:b"), "--cfg-interval: got 'a:b', expected two shares from 0 to 1"),
    ("dit", ("--cfg-interval", "0.8:0.2"), "--cfg-interval: got '0.8:0.2', expected two shares from 0 to 1"),
    ("dit", ("--cfg-interval", "0.2:0.8"), "--cfg-interval has no effect with --cfg-scale 1: give a larger"),
    ("dit", ("--cfg-channels", "4", "--cfg-scale", "2"), "--cfg-channels 4: the pictures have 3 channels"),
    ("dit", ("--class", "3"), "--class 3: expected one of 3 classes, 0 cat, 1 dog, 2 cow"),
    ("plain", ("--class", "1"), "--class 1 does not apply, because plain.safetensors has no classes: leave it out"),
    ("plain", ("--cfg-scale", "2"), "--cfg-scale 2 needs a network with classes, or a --guide"),
    ("dit", ("--guide", "worse"), "--guide has no effect with --cfg-scale 1: give a larger --cfg-scale, such as 2"),
    ("dit", ("--guide", "large", "--cfg-scale", "2"), "its width is 32, but the network's is 16: take another guide"),
    ("dit", ("--guide", "plain", "--cfg-scale", "2"), "its number of classes is 0, but the network's is 3"),
    ("dit", ("--guide", "v", "--cfg-scale", "2"), "it was trained with another noise or objective than the network"),
    ("dit", ("--guide", "gan", "--cfg-scale", "2"), "--guide gan.safetensors: it does not denoise pictures"),
    ("dit", ("--guide", "classifier", "--cfg-scale", "2"), "--guide classifier.safetensors: it does not denoise"),
    ("dit", ("--guide", "gone", "--cfg-scale", "2"), "--guide: there is no file or folder gone"),
    ("dit", ("--classifier", "worse"), "--classifier worse.safetensors: it is no classifier of noisy pictures"),
    ("dit", ("--classifier", "gan"), "--classifier gan.safetensors: it is no classifier of noisy pictures"),
    ("dit", ("--classifier", "two-classifier"), "it knows 2 classes, but the network 3: take another classifier"),
    ("dit", ("--classifier", "large-classifier"), "it judges pictures of another size or number of channels"),
    ("adm", ("--classifier", "classifier"), "it was trained with another noise than the network: take another"),
    ("dit", ("--classifier-scale", "2"), "--classifier-scale does not apply without --classifier: leave it out"),
    ("gan", ("--cfg-scale", "2"), "--cfg-scale does not apply to gan.safetensors (StyleGAN2), only to DiT and ADM"),
    ("classifier", (), "classifier.safetensors holds a network of noise classifier, which makes no pictures of seeds"),
]  # fmt: skip


@pytest.mark.parametrize(("network", "words", "sentence"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes_are_answered_in_one_sentence(network, words, sentence):
    for script in (generate, evaluate):
        if script is evaluate and "--class" in words:
            continue
        more = () if script is generate else ("--data", "demo:16", "--metrics", "swd8")
        result = run("--network", network, *words, *more, *ON_CPU, script=script)
        assert result.exit_code == 2 and "Traceback" not in result.output, result.output
        said = result.output.split("Error: ")[1].strip()
        assert sentence in said and "\n" not in said
        assert not Path("out").exists()


@pytest.mark.parametrize(("script", "words"), [
    (style_mixing, ()), (truncation, ()), (directions, ()), (project, ("--target", "gan.safetensors")),
    (blend, ("--with", "gan", "--weight", "0.5")),
])  # fmt: skip
def test_scripts_of_styles_refuse_a_denoiser(script, words):
    said = run("--network", "dit", *words, *ON_CPU, script=script)
    assert said.exit_code == 2 and "\n" not in said.output.split("Error: ")[1].strip()
    assert "dit.safetensors holds a network of DiT" in said.output


def test_path_length_is_refused_before_a_detector_is_fetched():
    words = ("--network", "plain", "--data", "demo:16", "--metrics", "swd8,ppl2_wend", *ON_CPU)
    said = run(*words, script=evaluate)
    assert said.exit_code == 2
    assert "ppl2_wend measures steps of latents w, which only networks with styles have" in said.output


def test_metrics_of_guided_pictures_are_recorded():
    words = ("--network", "plain", "--data", "demo:16", "--metrics", "swd8", "--steps", "2", "--outdir", "out", *ON_CPU)
    for more in ((), ("--cfg-scale", "2", "--guide", "worse-plain")):
        result = run(*words, *more, script=evaluate)
        assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert [line["options"] for line in lines] == [
        {"steps": 2}, {"steps": 2, "cfg_scale": 2.0, "guide": "worse-plain.safetensors"}
    ]  # fmt: skip
    assert lines[0]["value"] != lines[1]["value"]
