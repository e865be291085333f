"""What a run of style transfer begins with: an encoder's sizes and scale, the settings of the paper, a full VGG."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.adain.config import StyleConfig
from models.adain.encoders import RARE
from models.adain.network import AdaIN, variation
from models.families import read_network, save_network
from tests.models.test_encoders import means, torchvision
from tests.training.adain.test_learning import TINY, paintings  # noqa: F401 (a fixture)
from tests.training.runs import finish
from tests.training.test_resume import assert_equal_runs
from torch_utils import runs
from training import plan as plans
from training.adain.recipe import StyleTransfer
from training.course import Facts
from training.recipe import Draws

OWN = {name: value for name, value in TINY.items() if not name.startswith("style.")}


@pytest.fixture
def vgg(tmp_path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    net = torchvision((6, "M", 8, 8, "M"))
    torch.save({f"features.{name}": tensor for name, tensor in net.state_dict().items()}, path)
    return path


def test_the_encoder_of_torchvision_is_scaled_on_the_data(vgg, tmp_path):
    plan = plans.begin({**OWN, "encoder": str(vgg), "pace.kimg": 0.08}, tmp_path / "runs")
    assert plan.config.style.widths == (6, 8) and plan.config.style.depths == (1, 1)
    assert any("are divided by their means on --data" in note for note in plan.notes)
    data = plan.dataset
    run = finish(plan)
    network = read_network(runs.newest_in(run) or run).part("adain")
    assert isinstance(network, AdaIN)
    for mean in means(network.encoder, [torch.from_numpy(data.read(i))[None] / 255 for i in range(data.count)]):
        torch.testing.assert_close(
            mean[mean > RARE], torch.ones(int((mean > RARE).sum())).double(), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(ValueError, match=r"it lacks 2.weight of the shape \[5, 3, 3, 3\]: leave out --set style"):
        finish(plans.begin({**OWN, "encoder": str(vgg), "style.widths": (5, 8)}, tmp_path / "other"))


def test_an_encoder_and_a_trained_network_exclude_each_other(vgg, tmp_path):
    network = AdaIN(plans.begin(TINY, tmp_path / "x").config.style)
    save_network(tmp_path / "own.safetensors", "adain", {"adain": network}, {})
    save_network(tmp_path / "half.safetensors", "adain", {"encoder": network.encoder}, {})
    for encoder, transfer, said in (
        (str(vgg), "own.safetensors", "--encoder does not apply to --transfer"),
        ("", "half.safetensors", "it is an encoder alone: give it as --encoder"),
    ):
        with pytest.raises(ValueError, match=said):
            plans.begin({**TINY, "encoder": encoder}, tmp_path / "runs", tmp_path / transfer)
    plan = plans.begin(TINY, tmp_path / "runs", tmp_path / "own.safetensors")
    assert not any("random weights" in note for note in plan.notes)
    plan = plans.begin({**OWN, "encoder": str(tmp_path / "half.safetensors")}, tmp_path / "runs")
    assert plan.config.style.widths == (6, 8)
    with pytest.raises(ValueError, match=r"needs an encoder, but .* holds a network of StyleGAN2"):
        plans.begin({**OWN, "encoder": "assets/faces64.safetensors"}, tmp_path / "runs")


def test_the_encoder_gives_all_of_its_sizes(tmp_path):
    config = StyleConfig(widths=(6, 8), depths=(2, 1), patch=2, colored=False)
    save_network(tmp_path / "patches.safetensors", "adain", {"adain": AdaIN(config)}, {})
    given = {**OWN, "encoder": str(tmp_path / "patches.safetensors"), "pace.kimg": 0.08, "loss.variation": 2.0}
    plan = plans.begin(given, tmp_path / "runs")
    assert plan.config.style == config
    run = finish(plan)
    network = read_network(runs.newest_in(run) or run).part("adain")
    assert isinstance(network, AdaIN) and network.config == config


def test_the_variation_has_its_weight(tmp_path):
    plan = plans.begin({**TINY, "loss.variation": 3.0, "style.widths": (6, 8)}, tmp_path / "runs")
    recipe = StyleTransfer(plan.config, Facts(torch.ones(0), plan.sets), plan.device)
    batch = recipe.batch(*((torch.randint(0, 256, (4, 3, side, side)).byte(), torch.zeros(4)) for side in (16, 24)))
    ((loss, told),) = recipe.losses(recipe.phases[0], batch, Draws(0, 0, "decode", 4, 0, 4, plan.device))
    ramp = torch.arange(5.0).expand(1, 3, 4, 5)  # neighbors differ by 1 to the right, and by nothing down
    assert variation(ramp) == 1 and variation(ramp[..., :4] + 2 * ramp[..., :4].mT) == 3
    terms = told["loss/content"] + 10 * told["loss/style"] + 3 * told["loss/variation"]
    torch.testing.assert_close(loss, terms)
    assert told["loss/variation"] > 0


def test_the_settings_of_the_paper(paintings, tmp_path):  # noqa: F811
    both = {"data.path": str(paintings), "styles.path": str(paintings)}
    config = plans.begin({"model": "adain", "preset": "paper", "device": "cpu", **both}, tmp_path).config
    assert (config.data.resize, config.data.crop, config.styles.resize, config.styles.crop) == (512, 256, 512, 256)
    assert (config.optimizer.lr, config.optimizer.decay) == (1e-4, 5e-5)
    assert (config.pace.batch, config.pace.kimg) == (8, 1280.0)  # 160,000 iterations
    assert (config.loss.content, config.loss.style) == (1.0, 10.0)
    assert config.style.widths == (64, 128, 256, 512) and not config.style.unbiased


def test_the_full_vgg_learns_and_resumes_to_the_same_bits(tmp_path):
    vgg = {name: value for name, value in OWN.items() if name != "preset"}
    vgg |= {"data.path": "demo:64", "styles.path": "demo:64", "data.max_images": 20, "styles.max_images": 20}
    vgg |= {"pace.batch": 2, "pace.kimg": 0.008, "pace.tick": 0.002, "pace.snap": 4, "pace.sheet": 1}
    whole = finish(plans.begin(vgg, tmp_path / "whole"))
    stopped = finish(plans.begin(vgg, tmp_path / "stopped"), 2)
    finish(plans.resume(str(stopped), {}, stopped.parent))
    assert_equal_runs(stopped, whole)
    network = read_network(runs.newest_in(whole) or whole).part("adain")
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == 19
