from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.families import FAMILIES, load_network, load_sampler, read_network, save_network
from models.networkfile import wanted
from tests.networks import save_tiny, tiny_discriminator, tiny_generator
from torch_utils import checkpoint

WANTED = wanted(FAMILIES)
assert WANTED.startswith("give a network-….safetensors of a run, or a file of NVIDIA's StyleGAN2 or rosinality's ")


def _state(network):
    return {name: t.clone() for name, t in network.state_dict().items()}


def _refusal(path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_network(path)
    return str(error.value)


def test_networks_come_back_exactly(tmp_path):
    G, D = tiny_generator(classes=2), tiny_discriminator(classes=2)
    save_network(tmp_path / "a.safetensors", "stylegan2", {"G_ema": G, "D": D}, {"kimg": 2.5, "generator": "no fact"})
    file = read_network(tmp_path / "a.safetensors")
    assert file.parts == ["G_ema", "D"] and file.metadata["kimg"] == 2.5 and file.shown == "G_ema"
    for name, network in (("G_ema", G), ("D", D)):
        loaded = file.part(name)
        assert loaded.config == network.config
        assert _state(loaded).keys() == _state(network).keys()
        assert all(torch.equal(t, _state(network)[key]) for key, t in _state(loaded).items())


def test_a_loaded_network_is_ready_for_use(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    loaded, z = load_network(path), torch.randn(2, 8)
    assert torch.equal(loaded(z, noise_mode="const"), tiny_generator()(z, noise_mode="const"))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    low = load_network(path, precision="bf16")
    assert {block.dtype for block in low.synthesis.blocks} == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in [*loaded.parameters(), *low.parameters()])


def test_a_sampler_takes_the_options_of_its_family(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    pictures = [load_sampler(path, **options) for options in ({}, {"psi": 0.0})]
    first, average = (list(sampler.sample(sampler.requests([0, 1], None))) for sampler in pictures)
    assert not torch.equal(first[0], first[1]) and torch.equal(average[0], average[1])
    with pytest.raises(ValueError, match="steps"):
        load_sampler(path, steps=3)


def test_float16_halves_the_file_and_rounds_the_weights_once(tmp_path):
    G = tiny_generator()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_network(whole, "stylegan2", {"G_ema": G}, {})
    save_network(half, "stylegan2", {"G_ema": G}, {}, dtype=torch.float16)
    values = sum(t.numel() for t in _state(G).values())
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * values, abs=512)
    for name, t in _state(load_network(half)).items():
        assert t.dtype == torch.float32 and torch.equal(t, _state(G)[name].half().float()), name


def test_a_network_that_the_file_lacks_is_refused_naming_those_there_are(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    with pytest.raises(ValueError) as error:
        load_network(path, which="D")
    assert str(error.value) == f"{path} has no D, only G_ema: take another network file"


def test_networks_of_another_family_are_refused_by_title(tmp_path):
    file = read_network(save_tiny(tmp_path / "a.safetensors"))
    file.require(FAMILIES["stylegan2"], "--transfer")
    with pytest.raises(ValueError) as error:
        file.require(FAMILIES["lucidrains"], "--transfer")
    assert str(error.value) == (
        f"--transfer needs a network of lucidrains' stylegan2-pytorch, but {file} holds a network of StyleGAN2"
    )


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    assert _refusal(path) == (
        f"there is no file or folder {path}: give a file, a run folder, a URL, hf://USER/NAME, or the name of a "
        f"published network"
    )


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.pkl", b"", "an empty file"),
        ("a.pkl", b"<!doctype html>", "a web page"),
        *((name, b"something else altogether", "not a network file") for name in ("a.pkl", "a.pt", "a.py", "network")),
    ],
)
def test_files_of_other_kinds_are_called_what_they_are(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    assert _refusal(tmp_path / name) == f"{tmp_path / name} is {what}: {WANTED}"


def test_states_and_safetensors_of_other_programs_are_no_networks(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"format": "training-state", "version": 1})
    assert _refusal(path) == f"{path} is the state of a training run and no network: {WANTED}"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"format": "something else"})
    assert _refusal(path) == f"{path} is not a network file: {WANTED}"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(1)}, path, metadata)
        assert _refusal(path) == f"{path} is not a network file: {WANTED}"


def test_of_a_run_folder_the_newest_network_is_taken(tmp_path):
    assert _refusal(tmp_path) == (
        f"{tmp_path} is a folder without networks: give the folder of a run that has one, a folder of the Hub with its "
        f"model.safetensors, or a file"
    )
    for name in ("network-000009.0", "network-000010.0", "network-000002.0"):
        save_tiny(tmp_path / f"{name}.safetensors")
    assert read_network(tmp_path).path == tmp_path / "network-000010.0.safetensors"
    save_tiny(tmp_path / "network-1000000.0.safetensors")
    assert read_network(tmp_path).path == tmp_path / "network-1000000.0.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(
            ({name: value}, "its metadata lack a version or a family")
            for name, value in {"version": "1", "family": 3}.items()
        ),
        *(
            ({"generator": settings}, "the configuration of G_ema is invalid")
            for settings in list[Any]((None, [], {"height": 16, "color": 3}, {"height": 7, "width": 7}))
        ),
        (
            {"family": "stylegan9"},
            "holds networks of the family 'stylegan9' in format 1, for which this program is",
        ),
        ({"version": 2}, "holds networks of the family 'stylegan2' in format 2, for which this program is too old"),
    ],
    ids=str,
)
def test_metadata_that_build_no_network_are_refused(tmp_path, change, words):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    checkpoint.save(path, tensors, metadata | change)
    assert words in _refusal(path)


@pytest.mark.parametrize("size", ["height", "classes", "z_dim", "channel_base", "channel_max"])
def test_sizes_beyond_all_measure_are_refused(tmp_path, size):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    checkpoint.save(path, tensors, metadata | {"generator": metadata["generator"] | {size: 2**70}})
    assert _refusal(path).startswith(
        f"{path} is damaged (the configuration of G_ema is invalid: --set {size}: got {2**70}: "
    )


@pytest.mark.parametrize("what", ["shape", "missing", "left over"])
def test_tensors_that_do_not_fit_the_configuration_are_refused(tmp_path, what):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    const = tensors.pop("G_ema.synthesis.const")
    tensors |= {"shape": {"G_ema.synthesis.const": const[:-1]}, "left over": {"G_ema.synthesis.x": const}}.get(what, {})
    checkpoint.save(path, tensors, metadata)
    assert _refusal(path).startswith(f"{path} is damaged (the tensors of G_ema do not fit its configuration)")


def test_files_of_the_time_of_one_family_are_read(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    assert metadata["format"] == "network"
    checkpoint.save(path, tensors, metadata | {"format": "stylegan2-network"})
    assert load_network(path).config.height == 16
