"""generate.py when something is wrong: one sentence with the mend, exit code 2, and nothing written."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from pydantic import Field

import generate
from imaging import grid
from models.family import Family
from models.sampler import Options
from models.stylegan2.sampler import StyleSampler
from sampling import command
from tests.networks import ON_CPU, save_tiny


@pytest.fixture
def network(tmp_path):
    return save_tiny(tmp_path / "network.safetensors")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without runs, and no bundled network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BUNDLED", tmp_path / "assets" / "none.safetensors")


def run(*arguments):
    return CliRunner().invoke(generate.main, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def refusal(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and not Path("out").exists()
    return result.output.splitlines()[-1]


def test_no_network_at_all():
    assert refusal() == (
        "Error: no --network was given, and neither runs nor assets holds one: "
        "train one with train.py, or name a network-….safetensors file"
    )


def test_a_missing_network():
    assert refusal("--network", "a.safetensors") == (
        "Error: there is no file or folder a.safetensors: give a file, a run folder, a URL, hf://USER/NAME, or the "
        "name of a published network"
    )


def test_a_folder_without_networks():
    Path("empty").mkdir()
    assert refusal("--network", "empty") == (
        "Error: empty is a folder without networks: give the folder of a run that has one, a folder of the Hub with "
        "its model.safetensors, or a file"
    )


def test_a_damaged_network(network):
    network.write_bytes(network.read_bytes()[:-1])
    assert refusal("--network", network).startswith(f"Error: {network} is damaged (it is cut short")


def test_a_class_for_a_network_without_classes(network):
    assert refusal("--network", network, "--class", "1") == (
        f"Error: --class 1 does not apply, because {network} has no classes: leave it out"
    )


@pytest.mark.parametrize("label", ["2", "bird", "-1"])
def test_a_class_that_is_not_there(tmp_path, label):
    network = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    assert refusal("--network", network, "--class", label) == (
        f"Error: --class {label}: expected one of 2 classes, 0 cat, 1 dog"
    )


def test_classes_that_cannot_be_mixed(tmp_path, network):
    """A name with a number after a colon in it is a name."""
    named = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    for words, said in [
        (["--classes", "cat:0.5,bird:1"], "--classes bird: expected one of 2 classes, 0 cat, 1 dog"),
        (["--classes", "cat:-1"], "--classes cat:-1: expected one of 2 classes, 0 cat, 1 dog"),
        (["--classes", "cat:0,dog:0"], "class 0 has the weight 0: expected weights from 0, and one above 0"),
        (["--classes", "cat,dog", "--class", "cat"], "--class does not apply with --classes, which names the classes"),
    ]:
        assert refusal("--network", named, *words).startswith(f"Error: {said}")
    assert refusal("--network", network, "--classes", "0:1") == (
        f"Error: --classes does not apply to {network}, because it has none: leave it out"
    )


@pytest.mark.parametrize("psi", ["nan", "inf", "-inf", "abc", "1e300", "-1001", ""])
def test_psi_is_a_number_that_makes_sense(network, psi):
    said = refusal("--network", network, "--psi", psi)
    assert said.startswith(f"Error: Invalid value for '--psi' / '--trunc': got {psi!r}: input should be ")


@pytest.mark.parametrize(
    "arguments", [["--psi", "much"], ["--seeds", "9-3"], ["--seeds", "-1"], ["--psi-cutoff", "-1"], ["--batch", "0"]]
)
def test_values_that_mean_nothing_name_their_option(network, arguments):
    told = refusal("--network", network, *arguments)
    assert told.startswith("Error: Invalid value for ") and arguments[0] in told


def test_a_cutoff_beyond_the_last_layer(network):
    assert refusal("--network", network, "--psi-cutoff", "7") == (
        "Error: --psi-cutoff 7: expected 0 to 6, the number of layers of this network"
    )


def test_precisions_that_a_cpu_lacks(network):
    told = refusal("--network", network, "--device", "cpu", "--precision", "fp16")
    assert told.startswith("Error: --precision fp16: on a CPU, float16")


def test_a_grid_that_no_program_could_open(network, monkeypatch):
    monkeypatch.setattr(grid, "LARGEST_SHEET", 1000)  # pixels
    assert refusal("--network", network, "--grid", "--seeds", "0-3") == (
        "Error: --grid: 4 pictures do not fit on one sheet, which holds 3 of this size"
    )


class Denoising(Options):
    sweeps: int = Field(20, json_schema_extra={"flag": "--sweeps", "group": "Pictures"})


def test_an_option_of_another_family(network, monkeypatch):
    toy = Family(name="toy", title="Toy", parts={}, shown=(), options=Denoising)
    monkeypatch.setitem(command.FAMILIES, "toy", toy)
    assert refusal("--network", network, "--sweeps", "3") == (
        "Error: --sweeps does not apply to network.safetensors (StyleGAN2), only to Toy: leave it out"
    )
    assert refusal("--network", network, "--stepz", "3").startswith("Error: No such option '--stepz'")


def test_help_downloads_nothing_and_shows_the_options_of_a_network_that_is_here(network, monkeypatch):
    assert "--psi" in run("--network", network, "--help").output
    monkeypatch.setattr(command, "read_network", lambda place: pytest.fail("asked for a network"))
    result = run("--network", "ffhq256", "--help")
    assert result.exit_code == 0 and "--seeds" in result.output and "--psi, --trunc" not in result.output
    assert "The options of ffhq256 are not shown, because it is not on this machine." in result.output


def test_memory_that_runs_out_is_no_traceback(network, monkeypatch):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(StyleSampler, "render", exhausted)
    arguments = ["--network", network, "--device", "cpu"]
    assert refusal(*arguments) == "Error: the memory of this cpu device ran out: stop other programs"
    assert refusal(*arguments, "--batch", "8") == (
        "Error: the memory of this cpu device ran out: take a --batch smaller than 8"
    )


def test_an_output_folder_that_is_a_file(network):
    Path("taken").write_text("")
    for outdir in ("taken", "taken/deep"):
        # before the network is looked for
        assert refusal("--network", "none.safetensors", "--outdir", outdir, "--seeds", "0") == (
            f"Error: --outdir {outdir} needs a folder, and taken is a file: choose another path"
        )


@pytest.mark.parametrize("flag", ["--network", "--outdir"])
def test_empty_paths(network, flag):
    arguments = {"--network": network, "--outdir": "out"} | {flag: ""}
    assert refusal(*(text for pair in arguments.items() for text in pair)) == (
        f"Error: {flag} is empty: name a file or folder, or leave it out"
    )
