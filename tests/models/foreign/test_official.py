"""Official PyTorch pickles: read without running anything, and equal to the recorded numbers."""

from typing import Any

import pytest
import torch

from models.families import read_network
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.foreign.nvidia import ARCHITECTURES
from tests.models.foreign import pickled
from tests.models.foreign.networks import discriminator_tensors, generator_tensors, official, open_foreign
from tests.models.foreign.pickled import Module
from tests.reference.architectures import generated, judged
from tests.reference.comparison import FORWARD, compare_forward
from tests.reference.official import load_case, official_tensors

WIDE = {"height": 16, "width": 16, "channel_base": 128}
SHARED = {"b16.fromrgb.weight", "b16.conv0.bias", "b8.skip.weight", "b16.conv1.weight"}  # some that freeze-D freezes


def recorded_file(case: str = "rgb16", flat: bool = False, **of_d: Any) -> dict[str, Any]:
    """What official training would have pickled of a recorded case."""
    G, G_ema = (pickled.generator(official_tensors(case, "G"), flat) for _ in range(2))
    return pickled.training_file(G, pickled.discriminator(official_tensors(case, "D"), **of_d), G_ema)


@pytest.mark.parametrize(
    "case, protocol, flat, frozen",
    [
        ("rgb16", 2, False, False),
        ("rgb16", 3, True, True),
        ("rgb16", 4, False, True),
        ("labels32", 2, True, False),
        ("labels32", 4, False, False),
    ],
)
def test_equality_with_recorded_numbers(tmp_path, monkeypatch, case, protocol, flat, frozen):
    mark = tmp_path / "mark"
    monkeypatch.setattr(Module, "source", f"open({str(mark)!r}, 'w').close()")
    value = recorded_file(case, flat, frozen=lambda name: frozen and name in SHARED)
    path = pickled.write(tmp_path / "network-snapshot-001200.pkl", value, protocol)
    file = read_network(path)
    recorded = load_case(case)
    recorded.G, recorded.D = file.part("G_ema"), file.part("D")
    made = compare_forward(recorded)
    assert len(made.errors) == 8 and made.worst()[0] < FORWARD, made.worst()
    for name, tensor in file.part("G").state_dict().items():
        assert torch.equal(tensor, recorded.G.state_dict()[name]), name
    assert not mark.exists()
    exec(Module.source)  # what would have been left
    assert mark.exists()


@pytest.mark.parametrize("case, flat", [("rgb16", False), ("labels32", True)])
def test_configurations_and_what_is_known_of_the_file(tmp_path, case, flat):
    path = pickled.write(tmp_path / "network-snapshot-001200.pkl", recorded_file(case, flat))
    _, metadata, tensors = open_foreign(path)
    recorded = load_case(case)
    assert GeneratorConfig(**metadata["generator"]) == recorded.G.config
    config = recorded.D.config
    config = config if config.classes else config.model_copy(update={"mapping_layers": 8})  # of no consequence
    assert DiscriminatorConfig(**metadata["discriminator"]) == config
    source = metadata["source"]
    assert source["format"] == ("StyleGAN3 pickle, configuration stylegan2" if flat else "StyleGAN2-ADA pickle")
    assert source["file"] == "network-snapshot-001200.pkl" and metadata["kimg"] == 1200
    assert {name.split(".")[0] for name in tensors} == {"G", "D", "G_ema"}


def test_one_network_alone_is_taken_for_the_averaged_generator(tmp_path):
    for value in (official()["G_ema"], {"G_ema": official()["G_ema"], "G": None}):
        path = pickled.write(tmp_path / "a.pkl", value)
        assert read_network(path).parts == ["G_ema"]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("G, D", [("skip", "skip"), ("residual", "residual"), ("plain", "plain")])
def test_architectures(tmp_path, G, D, flat):
    """The pictures and scores are those of the equations written out, from the tensors of the file."""
    g, d = generator_tensors(architecture=G, **WIDE), discriminator_tensors(architecture=D, **WIDE)
    d["b4.fc.weight"] *= 10  # so that the scores of noise differ
    value = {"G_ema": pickled.generator(g, flat), "D": pickled.discriminator(d)}
    file = read_network(pickled.write(tmp_path / "a.pkl", value))
    assert file.metadata["generator"]["architecture"] == G and file.metadata["discriminator"]["architecture"] == D
    G_ema, ws = file.part("G_ema"), torch.randn(2, 6, 4)
    wanted = generated(g, ws, ARCHITECTURES[G], 16)
    torch.testing.assert_close(G_ema.synthesis(ws, "const").double(), wanted, rtol=0, atol=1e-5)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    scores = judged(d, images, ARCHITECTURES[D], 4)
    torch.testing.assert_close(file.part("D")(images).double(), scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"channels": 1}, {"channels": 4}, {"classes": 3}, {"height": 64, "width": 64}, {"channel_max": 4}],
    ids=str,
)
def test_channels_classes_sizes_and_widths(tmp_path, settings):
    _, metadata, tensors = open_foreign(pickled.write(tmp_path / "a.pkl", official(**settings)))
    for name, value in settings.items():
        assert metadata["generator"][name] == metadata["discriminator"][name] == value
    file = read_network(tmp_path / "a.pkl")
    assert all(file.part(name) for name in ("G", "D", "G_ema")) and tensors


def test_widths_are_those_that_the_file_says_where_they_are_right(tmp_path):
    value = official(channel_base=64)  # both 8 wide: 64 and more give the same widths
    kwargs = value["G_ema"].state["_init_kwargs"]["synthesis_kwargs"]
    for said, found in ((32768, 32768), (16, 64), (None, 64)):
        kwargs["channel_base"] = said
        _, metadata, _ = open_foreign(pickled.write(tmp_path / "a.pkl", {"G_ema": value["G_ema"]}))
        assert metadata["generator"]["channel_base"] == found


def test_limits_of_low_precision_and_the_whole_batch(tmp_path):
    G = generator_tensors()
    D = discriminator_tensors(architecture="plain")
    value = {"G_ema": pickled.generator(G, conv_clamp=256), "D": pickled.discriminator(D, group=None, conv_clamp=2.5)}
    _, metadata, _ = open_foreign(pickled.write(tmp_path / "a.pkl", value))
    assert metadata["generator"]["clamp"] == 256 and metadata["discriminator"]["clamp"] == 2.5
    assert metadata["discriminator"]["mbstd_group"] == 65536
    assert metadata["discriminator"]["architecture"] == "plain"


def test_halves_and_other_layouts(tmp_path):
    """float16 is kept as it is; weights in the layout of low precision are put in order."""
    value = official()
    layer = value["G_ema"]["synthesis.b8.conv1"].state["_parameters"]
    weight = layer["weight"].data.half().to(memory_format=torch.channels_last)
    layer["weight"] = torch.nn.Parameter(weight)
    path = pickled.write(tmp_path / "a.pkl", {"G_ema": value["G_ema"]})
    taken = read_network(path).part("G_ema").state_dict()["synthesis.blocks.1.conv1.conv.weight"]
    assert torch.equal(taken, weight.float())
