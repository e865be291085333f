"""States of the page: the command line of each makes the same bytes, and nothing else can be asked for."""

import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import directions
import generate
import style_mixing
from explorer.pagestate import PageState, Scene, Sheet, read_state
from explorer.studio import Studio, open_studio
from models.stylegan2.choices import StyleOptions
from tests.networks import save_noisy, save_tiny

NAMES = ("cat", "dog", "-x", "0", "a b")


@pytest.fixture(scope="module")
def studios(tmp_path_factory) -> dict[str, Studio]:
    """A StyleGAN2 and a DiT with classes, and a StyleGAN2 without, whose command lines name --device cpu."""
    folder = tmp_path_factory.mktemp("networks")
    files = {
        "styles": save_tiny(folder / "styles.safetensors", classes=5, class_names=NAMES),
        "plain": save_tiny(folder / "plain.safetensors"),
        "noisy": save_noisy(folder / "noisy.safetensors", classes=5, class_names=NAMES),
    }
    return {name: open_studio(str(file), {}, torch.device("cpu"), "fp32", CPU) for name, file in files.items()}


CPU = ("--device", "cpu")
STATES = [
    ("styles", {}),
    ("styles", {"seeds": [[7, 1]], "label": 1, "options": {"psi": 0.7}}),
    ("styles", {"seeds": [[7, 0.8], [9, 0.6]], "label": 3, "options": {"psi": -0.5, "psi_cutoff": 3}}),
    ("styles", {"seeds": [[4294967295, 0.7], [0, -0.333], [12345, 0.1]], "options": {"noise_mode": "random"}}),
    ("styles", {"seeds": [[7, -1]], "label": 2}),
    ("styles", {"seeds": [[7, 1]], "classes": [[1, 0.7], [2, 0.3], [4, 0.05]]}),
    ("styles", {"seeds": [[7, 0.8], [9, 0.6]], "classes": [[3, 1], [0, 1e-05]], "options": {"centers": 2, "psi": 0.5}}),
    ("styles", {"options": {"psi": 0.5, "psi_from": 2, "psi_cutoff": 5, "noise_strength": 1.75}}),
    ("styles", {"options": {"noise_mode": "random", "noise_seed": 12, "noise_strength": 0.5}}),
    ("styles", {"options": {"styles_of": "9@coarse;3/2@4-5@0.25;4:1,8:-0.5/0:1,1:0.5@0", "psi": 0.6}}),
    ("plain", {"seeds": [[3, 1]], "options": {"centers": 2, "psi": 0.1 + 0.2}}),
    ("noisy", {"seeds": [[3, 1]], "label": 4, "options": {"steps": 3, "cfg_scale": 2, "cfg_interval": "0.2:0.8"}}),
    ("noisy", {"seeds": [[3, 0.9], [8, 0.4]], "options": {"steps": 3, "solver": "ddim", "eta": 0.5}}),
]


@pytest.mark.parametrize(("name", "given"), STATES)
def test_the_command_line_makes_the_bytes_of_the_page(studios, tmp_path, monkeypatch, name, given):
    studio, state = studios[name], PageState.model_validate(given)
    monkeypatch.chdir(tmp_path)
    python, script, *words = shlex.split(studio.scene.command(state))
    assert (python, script) == ("python", "generate.py")
    result = CliRunner().invoke(generate.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (file,) = Path("out").glob("*.png")
    assert file.read_bytes() == studio.exact(state).data


def test_the_cells_of_a_sheet_are_the_bytes_of_style_mixing(studios, tmp_path, monkeypatch):
    studio, options = studios["styles"], {"psi": 0.7, "noise_mode": "random"}
    monkeypatch.chdir(tmp_path)
    sheet = Sheet(state=PageState(label=3, options=options), rows=(5, 9), cols=(7,), layers="1,4-5")
    python, script, *words = shlex.split(studio.scene.sheet(sheet))
    assert (python, script) == ("python", "style_mixing.py")
    result = CliRunner().invoke(style_mixing.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for row in sheet.rows:
        cell = PageState(seeds=((row, 1),), label=3, options=options | {"styles_of": "7/3@1,4-5"})
        assert Path(f"out/{row}-7.png").read_bytes() == studio.exact(cell).data
    with pytest.raises(ValueError, match="makes no sheet of this picture, because of --centers: leave it out"):
        studio.scene.sheet(Sheet(state=PageState(options={"centers": 2}), rows=(1,), cols=(2,), layers="1"))
    with pytest.raises(ValueError, match="because of mixtures of classes"):
        studio.scene.sheet(Sheet(state=PageState(classes=((1, 1.0),)), rows=(1,), cols=(2,), layers="1"))


def test_moved_pictures_are_those_of_generate_and_directions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = str(save_tiny(tmp_path / "a.safetensors"))
    found = CliRunner().invoke(directions.main, ["--network", network, "--method", "sefa", "--count", "2", *CPU])
    assert found.exit_code == 0, found.output
    file = Path("out/directions.safetensors")
    studio = open_studio(network, {"directions": file}, torch.device("cpu"), "fp32", CPU)
    assert "--directions" not in studio.scene.command(PageState())
    state = PageState(seeds=((7, 1),), options={"psi": 0.7, "move": "sefa1:1.5@0-3", "styles_of": "4@5"})
    _, _, *words = shlex.split(studio.scene.command(state))
    assert CliRunner().invoke(generate.main, [*words, "--outdir", "made"]).exit_code == 0
    assert Path("made/seed0007.png").read_bytes() == studio.exact(state).data
    alone = PageState(seeds=((7, 1),), options={"move": "sefa1:-2"})
    words = ["--network", network, "--apply", str(file), "--direction", "sefa1", "--seeds", "7", "--strengths", "-2"]
    assert CliRunner().invoke(directions.main, [*words, "--outdir", "applied", *CPU]).exit_code == 0
    assert Path("applied/seed0007-sefa1-2.png").read_bytes() == studio.exact(alone).data
    for text, said in [("x:1", "--move: got 'x', expected some of 0 sefa0, 1 sefa1"), ("sefa0", "--move: got 'sefa0'"),
                       ("sefa0:1@9", "--move: got '9'"), ("sefa0:1e9", "--move: got '1e9'")]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            studio.exact(PageState(options={"move": text}))


def test_the_command_line_is_short(studios):
    state = PageState(seeds=((7, 1),), label=1, options={"psi": 1.0, "psi_cutoff": None, "noise_mode": "const"})
    place = studios["styles"].scene.place
    assert (
        studios["styles"].scene.command(state)
        == f"python generate.py --network {place} --device cpu --seeds 7 --class dog"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the settings: invalid JSON"),
        ("[]", "the settings: input should be an object"),
        ('{"seeds": []}', "seeds: tuple should have at least 1 item"),
        ('{"seeds": [[-1, 1]]}', "seeds.0.0: input should be greater than or equal to 0"),
        ('{"seeds": [[4294967296, 1]]}', "seeds.0.0: input should be less than or equal to 4294967295"),
        ('{"seeds": [[1, NaN]]}', "seeds.0.1: input should be a finite number"),
        ('{"seeds": [[1, 1e9]]}', "seeds.0.1: input should be less than or equal to 1000"),
        ('{"label": -1}', "label: input should be greater than or equal to 0"),
        ('{"options": {"psi": [1]}}', "options.psi"),
        ('{"latent": "../x"}', "latent: string should match pattern"),
        ('{"path": "/etc/passwd"}', "path: extra inputs are not permitted"),
        ('{"seeds": [' + ",".join(["[1, 1]"] * 65) + "]}", "seeds: tuple should have at most 64 items"),
    ],
)
def test_what_is_no_state_is_refused_in_a_sentence(text, said):
    with pytest.raises(ValueError) as error:
        read_state(text)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("styles", {"options": {"latents": "/etc/passwd"}}, "'latents' is no setting of this page"),
        ("noisy", {"options": {"guide": "http://127.0.0.1/x"}}, "'guide' is no setting of this page"),
        ("noisy", {"options": {"classifier": "x"}}, "'classifier' is no setting of this page"),
        ("noisy", {"options": {"codec": "/etc"}}, "'codec' is no setting of this page"),
        ("styles", {"options": {"nonsense": 1}}, "'nonsense' is no setting of this page"),
        ("styles", {"options": {"styles_of": "/etc/x.npz@0"}}, "--styles-of: got '/etc/x.npz@0', expected seeds"),
        ("styles", {"options": {"styles_of": "1@0;a.npy@0"}}, "--styles-of: got '1@0;a.npy@0', expected seeds"),
        ("styles", {"latent": "photo-01234567"}, "the latents photo-01234567 are no longer in"),
        ("noisy", {"latent": "photo-01234567"}, "this network makes no pictures of latents"),
        ("styles", {"options": {"styles_of": "7@9"}}, "--styles-of: got '9', but this network has the layers 0-5"),
        ("styles", {"options": {"psi": 1e9}}, "--psi: got 1000000000.0: input should be less than or equal to 1000"),
        ("styles", {"options": {"psi_cutoff": 9}}, "--psi-cutoff 9: expected 0 to 6"),
        ("styles", {"label": 5}, "class 5: this network has 5 classes"),
        ("plain", {"label": 0}, "class 0: this network has 0 classes"),
        ("styles", {"classes": [[5, 1]]}, "class 5: this network has 5 classes"),
        ("styles", {"classes": [[1, 0]]}, "class 1 has the weight 0: expected weights from 0, and one above 0"),
        ("noisy", {"classes": [[1, 1]]}, "this network makes pictures of one class at a time"),
        ("styles", {"options": {"psi_from": 9}}, "--psi-from 9: expected 0 to 6"),
        ("styles", {"options": {"noise_seed": 3}}, "--noise-seed 3 applies to --noise-mode random alone"),
        ("noisy", {"options": {"eta": 0.5}}, "--eta applies to --solver ddim, not to dpm2m"),
        ("plain", {"seeds": [[1, 0], [2, 0]]}, "the weights of all seeds are 0"),
    ],
)
def test_what_does_not_fit_the_network_is_refused_in_a_sentence(studios, name, given, said):
    with pytest.raises(ValueError) as error:
        studios[name].exact(PageState.model_validate(given))
    assert str(error.value).startswith(said)


def test_the_command_line_has_no_secrets():
    scene = Scene("https://user:hush@example.org/a.safetensors?key=hush", StyleOptions)
    assert "hush" not in scene.command(PageState()) and "example.org/a.safetensors" in scene.command(PageState())


def test_classes_are_named_where_the_name_leads_to_the_class():
    scene = Scene("x", StyleOptions, names=("1", "0", "happy", "Happy", "-x"))
    commands = [scene.command(PageState(label=k)).partition("--class ")[2] for k in range(5)]
    assert commands == ["1", "0", "happy", "Happy", "4"]
