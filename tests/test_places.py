"""Networks of other programs and from elsewhere, where scripts take a network."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

import evaluate
import generate
from models.families import read_network
from models.places import Published, locate
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.family import PUBLISHED
from models.stylegan2.foreign import rosinality
from models.stylegan2.foreign.architecture import official_names
from models.stylegan2.generator import Generator
from sampling.classes import describe
from tests.commands import refused, tiny_sets, zipped
from tests.commands import run as train
from tests.models.foreign import pickled
from tests.models.foreign.networks import official
from tests.networks import ON_CPU, save_tiny, tiny_discriminator
from tests.training.runs import TINY
from training.stylegan2.course import take


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def published(monkeypatch) -> Path:
    """A network that was downloaded by its name before."""
    monkeypatch.setitem(PUBLISHED, "ffhq256", Published("https://example.org/nets/ffhq-res256.pkl"))
    folder = Path("cache", "stylegan2", "networks")
    folder.mkdir(parents=True)
    return save_tiny(folder / "ffhq-res256.pkl")


def run(script, *arguments):
    return CliRunner().invoke(script.main, list(map(str, arguments)), catch_exceptions=False)


def test_generate_takes_a_published_name_and_its_record_says_so(monkeypatch):
    kept = published(monkeypatch)
    assert locate("ffhq256", PUBLISHED) == kept.absolute()
    result = run(generate, "--network", "ffhq256", "--seeds", "3", *ON_CPU)
    assert result.exit_code == 0 and "network ffhq256: 16x16 RGB, 1.5 kimg\n" in result.output
    record = json.loads(Path("out/generate.json").read_text())
    assert record["network"] == record["options"]["network"] == "ffhq256"
    run(generate, "--network", kept, "--seeds", "3", "--outdir", "same", *ON_CPU)
    assert Path("same/seed0003.png").read_bytes() == Path("out/seed0003.png").read_bytes()
    assert json.loads(Path("same/generate.json").read_text())["network"] == str(kept)


def test_evaluate_takes_it_too(monkeypatch):
    published(monkeypatch)
    options = ["--data", str(zipped(Path("a.zip"))), "--metrics", "swd8", "--device", "cpu", "--json"]
    result = run(evaluate, "--network", "ffhq256", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["network"] == "ffhq256"


@pytest.mark.parametrize("script", [generate, evaluate], ids=lambda script: script.__name__)
def test_a_name_that_is_none_gets_the_list(script):
    options = ["--data", "demo:16"] if script is evaluate else []
    words = refused(run(script, "--network", "ffhq2560", *options))
    assert words.startswith("there is no file or folder ffhq2560, and no published network of that name: give a file,")
    assert "ffhq256, ffhq512" in words


@pytest.mark.parametrize("script", [generate, evaluate], ids=lambda script: script.__name__)
def test_an_empty_place_is_refused(script):
    assert refused(run(script, "--network", "")) == "--network is empty: name a file or folder, or leave it out"


# So small a step that the weights stay what they were.
ONE_STEP = [*tiny_sets(pace__kimg=0.004), "--set=optimizer.g_lr=1e-12", "--set=optimizer.d_lr=1e-12"]


def check_taken(theirs):
    """The run's networks are those that it started from."""
    (folder,) = Path("runs").iterdir()
    ours = read_network(folder)
    for key, tensor in theirs.tensors.items():
        if not key.startswith("G_ema") and "w_average" not in key:
            torch.testing.assert_close(ours.tensors[key], tensor, atol=1e-6, rtol=0)


def trained_elsewhere(path: Path, layers: int = 2) -> Path:
    """A rosinality file of networks with the sizes of a tiny run, without classes."""
    torch.manual_seed(0)
    sizes = {"height": 16, "width": 16, "channel_base": TINY["generator.channel_base"], "mapping_layers": layers}
    G = Generator(GeneratorConfig(**sizes, z_dim=TINY["generator.z_dim"], w_dim=TINY["generator.w_dim"]))
    D = Discriminator(DiscriminatorConfig(**sizes))
    states = {"g": G, "g_ema": G, "d": D}
    torch.save({name: rosinality.state_of(network) for name, network in states.items()} | {"g_optim": {}}, path)
    return path


def test_a_run_starts_from_a_network_of_another_program():
    path = trained_elsewhere(Path("010000.pt"))
    theirs = read_network(path)
    result = train("--data", "demo:16", "--labels", "none", "--outdir", "runs", "--transfer", str(path), *ONE_STEP)
    assert result.exit_code == 0, result.output
    assert "took G_ema, G, D from 010000.pt" in result.output
    check_taken(theirs)


def test_a_network_of_an_official_pickle_is_taken():
    theirs = read_network(trained_elsewhere(Path("010000.pt")))
    G, D = theirs.part("G"), theirs.part("D")
    tensors = [
        {name: network.state_dict()[ours].contiguous() for name, ours in names.items()}
        for network, names in ((G, official_names(G)), (D, official_names(D)))
    ]
    networks = [pickled.generator(tensors[0]), pickled.discriminator(tensors[1]), pickled.generator(tensors[0])]
    path = pickled.write(Path("network-snapshot-000200.pkl"), pickled.training_file(*networks))
    recipe = SimpleNamespace(
        networks={"G": Generator(G.config), "D": Discriminator(D.config), "G_ema": Generator(G.config)}
    )
    assert take(read_network(path), recipe) == f"took G, D, G_ema from {path}"
    for name, network in recipe.networks.items():
        assert all(torch.equal(t, theirs.tensors[f"{name}.{key}"]) for key, t in network.state_dict().items())
    words = ["--data", "demo:16", "--labels", "none", "--outdir", "runs", "--transfer", str(path)]
    words = refused(train(*words, *tiny_sets(generator__w_dim=4), "--dry-run"))
    assert words.startswith(f"{path} cannot be taken: its generator.w_dim is 8, but this run has 4: ")


def test_a_discriminator_that_cannot_be_read_starts_anew_with_the_reason():
    networks = official()
    networks["D"].state["_modules"]["b8"].class_name = "ProjectedBlock"
    file = read_network(pickled.write(Path("a.pkl"), networks))
    words = describe(file, {name: file.part(name) for name in file.parts}).splitlines()[-1]
    assert (
        words == "  D         left out: its module 'b8' is of the class 'ProjectedBlock', which StyleGAN2 does not have"
    )
    recipe = SimpleNamespace(networks={"G": file.part("G"), "D": tiny_discriminator(), "G_ema": file.part("G_ema")})
    assert take(file, recipe) == (
        "took G, G_ema from a.pkl; it has no D that can be taken (its module 'b8' is of the class 'ProjectedBlock', "
        "which StyleGAN2 does not have), which starts anew"
    )


def test_the_sizes_of_the_other_program_must_be_those_of_the_run():
    path = trained_elsewhere(Path("010000.pt"), layers=3)
    words = refused(train("--data", "demo:16", "--outdir", "runs", "--transfer", str(path), *tiny_sets()))
    assert words.startswith("010000.pt cannot be taken: its generator.mapping_layers is 3, but this run has 2")
    assert not Path("runs").exists()
