"""Networks in folders of the Hugging Face Hub, also where another program wrote the weights."""

import json

import pytest
import torch
from safetensors.torch import save_file

from models import networkfile
from models.families import load_network, read_network, save_network
from tests.networks import save_tiny, tiny_discriminator, tiny_generator
from torch_utils import checkpoint


@pytest.fixture
def folder(tmp_path):
    """One whose weights are without our metadata, as another program would write them."""
    path = tmp_path / "my-model"
    networks = {"G_ema": tiny_generator(classes=2), "D": tiny_discriminator(classes=2)}
    save_network(tmp_path / "a.safetensors", "stylegan2", networks, {"kimg": 2.5})
    tensors, metadata = checkpoint.load(tmp_path / "a.safetensors")
    path.mkdir()
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps(metadata))
    return path


def refusal(path):
    with pytest.raises(ValueError) as error:
        load_network(path)
    return str(error.value)


def test_weights_of_another_program_with_our_configuration(folder):
    for place in (folder, folder / "model.safetensors"):
        file = read_network(place)
        assert file.path == folder / "model.safetensors"
        assert file.parts == ["G_ema", "D"] and file.metadata["kimg"] == 2.5
        for name, network in (("G_ema", tiny_generator(classes=2)), ("D", None)):
            state = file.part(name).state_dict()
            assert all(torch.equal(t, file.tensors[f"{name}.{key}"]) for key, t in state.items())
            assert network is None or all(torch.equal(t, state[key]) for key, t in network.state_dict().items())


def test_our_own_weights_need_no_configuration(tmp_path):
    save_tiny(tmp_path / "model.safetensors")
    assert read_network(tmp_path).metadata["kimg"] == 1.5


def test_a_run_folder_is_one_whatever_else_lies_in_it(tmp_path):
    save_tiny(tmp_path / "model.safetensors")
    save_tiny(tmp_path / "network-000001.0.safetensors")
    assert read_network(tmp_path).path == tmp_path / "network-000001.0.safetensors"


def test_without_a_configuration_weights_of_another_program_are_none(folder):
    (folder / "config.json").unlink()
    assert refusal(folder) == (
        f"{folder / 'model.safetensors'} is not a network file: give a network-….safetensors of a run, or a "
        f"file of NVIDIA's StyleGAN2 or rosinality's stylegan2-pytorch or lucidrains' stylegan2-pytorch "
        "or DiT or guided-diffusion or naoto0804's pytorch-AdaIN or torchvision's VGG or naoto0804's vgg_normalised.pth"
    )


def test_configurations_of_other_networks(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert refusal(folder) == (
        f"{folder / 'model.safetensors'} is not a network file: give a network-….safetensors of a run, or a "
        f"file of NVIDIA's StyleGAN2 or rosinality's stylegan2-pytorch or lucidrains' stylegan2-pytorch "
        "or DiT or guided-diffusion or naoto0804's pytorch-AdaIN or torchvision's VGG or naoto0804's vgg_normalised.pth"
    )


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", '{"a": ' * 100_000])
def test_damaged_configurations(folder, text):
    config = folder / "config.json"
    config.write_text(text)
    assert refusal(folder) == f"{config} is damaged (it is not a table in JSON): use an older file, or make a new one"


def test_gigantic_configurations(folder, monkeypatch):
    monkeypatch.setattr(networkfile, "LARGEST_CONFIG", 10)
    assert refusal(folder) == (
        f"{folder / 'config.json'} is too large for a configuration: take the file that came with the network"
    )


def test_a_configuration_of_another_network_than_our_weights_are_of(tmp_path):
    model = save_tiny(tmp_path / "model.safetensors")
    _, metadata = checkpoint.load(model)
    (tmp_path / "config.json").write_text(json.dumps(metadata | {"kimg": 3, "note": "changed by hand"}))
    assert read_network(tmp_path).metadata["kimg"] == 1.5
    metadata["generator"]["classes"] = 3
    (tmp_path / "config.json").write_text(json.dumps(metadata))
    assert refusal(tmp_path) == (
        f"{model} and the config.json beside it disagree about generator: take both from one place, "
        f"or remove config.json"
    )


def test_damaged_weights_are_called_so(folder):
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    assert refusal(folder).startswith(f"{model} is damaged (it is cut short")
