"""convert.py from source to files, and those files where this project is not."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import convert
from models import graphformats
from models.families import read_network, save_network
from models.sampler import Shape
from models.stylegan2.foreign.lucidrains import LucidrainsGenerator
from models.stylegan2.foreign.lucidrainsconfig import LucidrainsConfig
from sampling.modelcard import plan_samples
from tests.networks import tiny_discriminator, tiny_generator
from torch_utils import checkpoint


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network(tmp_path):
    """Two classes, averaged generator and discriminator."""
    networks = {"G_ema": tiny_generator(classes=2), "D": tiny_discriminator(classes=2)}
    facts = {
        "kimg": 1.5,
        "data": {"name": "cats and dogs", "images": 8, "class_names": ["cat", "dog"]},
        "training": {"preset": "auto", "pace": {"batch": 4}, "loss": {"gamma": 2.0}},
    }
    save_network(Path("a.safetensors"), "stylegan2", networks, facts)
    return Path("a.safetensors")


def run(*arguments):
    return CliRunner().invoke(convert.main, [*map(str, arguments)], catch_exceptions=False, prog_name="convert.py")


def converted(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refusal(*arguments):
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert sorted(Path().rglob("*")) == before
    return result.output.splitlines()[-1]


def same_networks(a, b, names):
    a, b = read_network(a), read_network(b)
    assert b.parts == names
    for name in names:
        one, other = a.part(name), b.part(name)
        assert one.config == other.config
        assert all(torch.equal(t, other.state_dict()[key]) for key, t in one.state_dict().items())


def test_without_dest_the_source_is_described(network):
    lines = converted("--source", network)
    count = {name: sum(p.numel() for p in read_network(network).part(name).parameters()) for name in ("G_ema", "D")}
    assert [line.split("MiB")[0].rstrip("0123456789. ") for line in lines] == [
        "network a.safetensors",
        "  format    network of this program, version",
        "  images    16x16 RGB",
        "  classes   2 (0 cat, 1 dog)",
        "  latents   z 8, w 8 for each of 6 layers, mapping of 1 layer",
        "  training  1.5 kimg, on cats and dogs, 8 images, preset auto",
        f"  G_ema     the averaged generator: {count['G_ema']:,} parameters,",
        f"  D         the discriminator: {count['D']:,} parameters,",
    ]
    assert lines[-1].endswith("MiB in float32")
    assert [path.name for path in Path().iterdir()] == ["a.safetensors"]


def test_sources_of_other_programs_are_named(monkeypatch, network):
    file = read_network(network)
    file.metadata["source"] = {"format": "StyleGAN2-ADA pickle"}
    monkeypatch.setattr(convert, "read_network", lambda source, told: file)
    assert converted("--source", "ffhq256")[1] == "  format    StyleGAN2-ADA pickle"


def test_to_a_network_file(network):
    lines = converted("--source", network, "--dest", "out/b.safetensors")
    assert lines[-1] == "wrote out/b.safetensors: G_ema, D in float32"
    same_networks(network, "out/b.safetensors", ["G_ema", "D"])
    assert read_network("out/b.safetensors").metadata == read_network(network).metadata
    record = json.loads(Path("out/b.safetensors.json").read_text())
    assert record["command"].startswith("python convert.py")
    assert (record["network"], record["networks"]) == ("a.safetensors", ["G_ema", "D"])
    assert record["files"] == {"out/b.safetensors": "G_ema, D in float32"}
    assert record["options"]["dest"] == "out/b.safetensors" and record["options"]["dtype"] == "float32"


def test_one_network_in_half_the_bytes_and_back(network):
    converted("--source", network, "--dest", "half.safetensors", "--only", "G_ema", "--dtype", "float16")
    file = read_network("half.safetensors")
    assert file.parts == ["G_ema"] and {t.dtype for t in file.tensors.values()} == {torch.float16}
    assert "discriminator" not in file.metadata
    converted("--source", "half.safetensors", "--dest", "again.safetensors")
    again = read_network("again.safetensors")  # float16, without being asked
    assert again.metadata == file.metadata and again.tensors.keys() == file.tensors.keys()
    assert all(t.dtype == torch.float16 and torch.equal(t, again.tensors[key]) for key, t in file.tensors.items())


def test_what_is_there_is_replaced_whole(network, monkeypatch):
    Path("b.safetensors").write_text("before")
    converted("--source", network, "--dest", "b.safetensors", "--only", "D")
    assert read_network("b.safetensors").parts == ["D"]
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize("dest", ["my-model", "v1.5"])
def test_to_a_folder_of_the_hub(network, dest):
    more = ["--format", "hub"] if "." in dest else []
    lines = converted("--source", network, "--dest", dest, "--license", "mit", *more)
    assert lines[-1] == f"wrote {dest}: model.safetensors, config.json, README.md, samples.png"
    folder = Path(dest)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "samples.png",
    ]
    same_networks(network, folder, ["G_ema", "D"])
    assert json.loads((folder / "config.json").read_text()) == checkpoint.load(folder / "model.safetensors")[1]
    assert Path(f"{dest}.json").is_file()
    sheet = Image.open(folder / "samples.png")
    assert sheet.width > 8 * 16 and sheet.height > 2 * 16
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlicense: "mit"\npipeline_tag: unconditional-image-generation\ntags:\n- stylegan2\n')
    for line in (
        f"# {dest}",
        "StyleGAN2 for 16x16 RGB images in 2 classes (0 cat, 1 dog).",
        "| images seen | 1,500 |",
        "| data | cats and dogs |",
        "| gamma of R1 | 2.0 |",
    ):
        assert line in card.splitlines()


def test_weights_are_written_anew_and_the_card_is_kept(network):
    folder = Path("my-model")
    folder.mkdir()
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    (folder / "README.md").write_text("my own words")
    for only in ("G_ema", "G_ema,D"):
        lines = converted("--source", network, "--dest", folder, "--only", only)
        assert lines[-1] == "wrote my-model: model.safetensors, config.json, samples.png"
        same_networks(network, folder, only.split(","))
    assert (folder / "README.md").read_text() == "my own words"
    assert refusal("--source", network, "--dest", folder, "--license", "mit") == (
        "Error: --license goes into a new card, and my-model/README.md exists: leave it out, or remove the card"
    )
    assert (folder / ".gitattributes").is_file()


def test_samples_of_large_networks_and_of_many_classes():
    def plan(height=16, width=16, classes=0):
        plan = plan_samples(Shape(height, width, 3, classes), {}, "as they came")
        assert plan.caption.endswith(", not picked, as they came.")
        return [len(row) for row in plan.rows], plan.classes, plan.caption.split(",")[0]

    assert plan() == ([8] * 4, [], "Seeds 0-31")
    assert plan(height=1024, width=768) == ([2, 2], [], "Seeds 0-3")
    assert plan(classes=3) == ([8] * 3, [0, 1, 2], "Every row is a class; seeds 0-7")
    assert plan(classes=100, height=512, width=512) == (
        [4] * 4,
        [0, 1, 2, 3],
        "Every row is a class (the first 4 of 100); seeds 0-3",
    )


def test_refusals_of_what_does_not_apply(network):
    takers = {
        ("--dtype", "float16"): "only to a .safetensors and a folder of the Hub",
        ("--license", "mit"): "only to a folder of the Hub",
        ("--noise-mode", "none"): "only to an .onnx and a .pt2",
        ("--psi-cutoff", "0"): "only to an .onnx and a .pt2",
        ("--split",): "only to an .onnx and a .pt2",
    }
    for given, told in takers.items():
        assert refusal("--source", network, "--dest", "b.pt", *given) == (
            f"Error: {given[0]} does not apply to a .pt, {told}: leave it out"
        )
        assert refusal("--source", network, *given) == (
            f"Error: {given[0]} needs --dest, the file or folder to write: give --dest, or leave {given[0]} out"
        )
    for given in (("--only", "D"), ("--format", "hub")):
        assert refusal("--source", network, *given) == (
            f"Error: {given[0]} needs --dest, the file or folder to write: give --dest, or leave {given[0]} out"
        )


@pytest.mark.parametrize(
    ("dest", "only", "told"),
    [
        ("b.safetensors", "G", "--only G: a.safetensors has no network 'G', only G_ema, D"),
        ("b.safetensors", "D,", "--only D,: a.safetensors has no network '', only G_ema, D"),
        ("b.onnx", "D", "--only D: an .onnx holds one network that makes pictures: name G_ema or G"),
        ("b.pt2", "G_ema,D", "--only G_ema,D: a .pt2 holds one network that makes pictures: name G_ema or G"),
        ("b", "D", "a folder of the Hub needs G_ema or G, but --only names D"),
    ],
)
def test_refusals_of_networks(network, dest, only, told):
    assert refusal("--source", network, "--dest", dest, "--only", only) == f"Error: {told}"


def test_a_graph_of_a_file_without_generators():
    save_network(Path("d.safetensors"), "stylegan2", {"D": tiny_discriminator()}, {})
    assert refusal("--source", "d.safetensors", "--dest", "b.pt2") == (
        "Error: a .pt2 needs G_ema or G, but d.safetensors has only D"
    )


def test_refusals_of_places(network):
    Path("taken").write_text("")
    Path("run").mkdir()
    Path("run/config.json").write_text("")
    told = {
        "b.gif": "--dest b.gif ends in .gif, expected .safetensors, .pt, .onnx, .pt2, .pth: take one of these, or give "
        "--format hub for a folder",
        "taken/b.onnx": "--dest taken/b.onnx needs a folder, and taken is a file: choose another path",
        "taken": "taken is a file, but the Hub needs a folder: name another path",
        "run": "run holds other things, such as config.json: name a new folder, or one of the Hub",
        "a.safetensors": "--dest a.safetensors is the source itself: name another path",
        "./run/../a.safetensors": "--dest run/../a.safetensors is the source itself: name another path",
    }
    for dest, sentence in told.items():
        assert refusal("--source", network, "--dest", dest) == f"Error: {sentence}"


def test_a_folder_of_the_hub_is_not_written_over_itself(network):
    converted("--source", network, "--dest", "my-model")
    assert refusal("--source", "my-model", "--dest", "my-model") == (
        "Error: --dest my-model is the source itself: name another path"
    )


def test_numbers_too_large_for_float16():
    G = tiny_generator()
    G.synthesis.const[0, 0, 0] = 70000
    save_network(Path("a.safetensors"), "stylegan2", {"G_ema": G}, {})
    assert refusal("--source", "a.safetensors", "--dest", "b.safetensors", "--dtype", "float16") == (
        "Error: --dtype float16 ends at 65504, and G_ema.synthesis.const reaches 70000: take float32"
    )


def test_a_missing_source():
    assert refusal("--source", "none.safetensors").startswith("Error: there is no file or folder none.safetensors: ")
    assert refusal("--source", "") == "Error: --source is empty: name a file or folder"


def test_to_rosinality_and_back():
    config = {"height": 8, "width": 8, "channel_base": 32768, "channel_max": 512, "z_dim": 8, "mapping_layers": 1}
    save_network(Path("a.safetensors"), "stylegan2", {"G_ema": tiny_generator(**config)}, {})
    assert converted("--source", "a.safetensors", "--dest", "b.pt")[-1] == "wrote b.pt: G_ema"
    theirs = read_network("b.pt").part("G_ema").state_dict()
    assert theirs.keys() == tiny_generator(**config).state_dict().keys()
    assert all(torch.equal(t, theirs[key]) for key, t in tiny_generator(**config).state_dict().items())


def test_what_rosinality_cannot_hold(network):
    assert refusal("--source", network, "--dest", "b.pt").startswith(
        "Error: G_ema has no place in a file of rosinality's program: its classes is 2, expected 0"
    )


def test_networks_of_another_family():
    network = LucidrainsGenerator(LucidrainsConfig(doublings=1, capacity=2, mapping_layers=1, w_dim=4))
    save_network(Path("a.safetensors"), "lucidrains", {"G_ema": network}, {})
    for dest in ("b.pt", "b.onnx", "b.pt2"):
        assert refusal("--source", "a.safetensors", "--dest", dest) == (
            f"Error: --dest {dest} ends in {Path(dest).suffix}, expected .safetensors, the formats of lucidrains' "
            f"stylegan2-pytorch: take one of these, or give --format hub for a folder"
        )
    for dest in ("b.safetensors", "my-model"):
        converted("--source", "a.safetensors", "--dest", dest)
        same_networks("a.safetensors", dest, ["G_ema"])
    assert "lucidrains' stylegan2-pytorch for 8x8 RGB images." in Path("my-model/README.md").read_text()


def test_a_cutoff_beyond_the_last_layer(network):
    assert refusal("--source", network, "--dest", "b.pt2", "--psi-cutoff", "7") == (
        "Error: --psi-cutoff 7: expected 0 to 6, the number of layers of this network"
    )


def test_onnx_without_its_packages_is_refused_before_the_source_is_read(monkeypatch):
    monkeypatch.setattr(graphformats, "PACKAGES", ("onnx_runtime_x",))
    assert refusal("--source", "none.safetensors", "--dest", "b.onnx") == (
        "Error: ONNX needs packages that are not installed: pip install onnx_runtime_x"
    )
