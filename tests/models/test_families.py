import pytest
import torch
from safetensors.torch import save_file

from models.families import load_network, read_network, save_network
from tests.networks import save_tiny, tiny_discriminator, tiny_generator
from torch_utils import checkpoint


def _state(network):
    return {name: t.clone() for name, t in network.state_dict().items()}


def test_networks_come_back_exactly(tmp_path):
    G, D = tiny_generator(classes=2), tiny_discriminator(classes=2)
    save_network(tmp_path / "a.safetensors", "stylegan2", {"G_ema": G, "D": D}, {"kimg": 2.5})
    file = read_network(tmp_path / "a.safetensors")
    assert file.parts == ["G_ema", "D"] and file.metadata["kimg"] == 2.5
    for name, network in (("G_ema", G), ("D", D)):
        loaded = file.part(name)
        assert loaded.config == network.config
        assert _state(loaded).keys() == _state(network).keys()
        assert all(torch.equal(t, _state(network)[key]) for key, t in _state(loaded).items())


def test_a_loaded_network_is_ready_for_use(tmp_path):
    G = tiny_generator()
    loaded = load_network(save_tiny(tmp_path / "a.safetensors"))
    z = torch.randn(2, 8)
    assert torch.equal(loaded(z, noise_mode="const"), G(z, noise_mode="const"))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_float16_halves_the_file_and_rounds_the_weights_once(tmp_path):
    G = tiny_generator()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_network(whole, "stylegan2", {"G_ema": G}, {})
    save_network(half, "stylegan2", {"G_ema": G}, {}, dtype=torch.float16)
    values = sum(t.numel() for t in _state(G).values())
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * values, abs=512)
    loaded = _state(load_network(half))
    for name, t in _state(G).items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], t.half().float()), name


def test_a_precision_reaches_the_blocks(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    G = load_network(path, precision="bf16")
    assert {block.dtype for block in G.synthesis.blocks} == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in G.parameters())


def test_a_network_that_the_file_lacks_is_refused_naming_those_there_are(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    with pytest.raises(ValueError) as error:
        load_network(path, which="D")
    assert str(error.value) == f"{path} has no D, only G_ema: take another network file"


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError) as error:
        load_network(path)
    assert str(error.value) == (
        f"there is no file or folder {path}: give a file, a run folder, a URL, hf://USER/NAME, or the name of a "
        f"published network"
    )


def test_files_that_are_something_else_are_called_what_they_are(tmp_path):
    for name, what in (("", "an empty file"), ("<!doctype html>", "a web page")):
        (tmp_path / "a.pkl").write_text(name)
        with pytest.raises(ValueError) as error:
            load_network(tmp_path / "a.pkl")
        assert str(error.value).startswith(f"{tmp_path / 'a.pkl'} is {what}: give a network-….safetensors of a run")


@pytest.mark.parametrize("keep", [4, 100, 0.5, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path, keep):
    path = save_tiny(tmp_path / "a.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError) as error:
        load_network(path)
    assert str(error.value) == (
        f"{path} is damaged (it is cut short, or not a safetensors file): use an older file, or make a new one"
    )


def test_a_flipped_bit_is_noticed(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    damaged = bytearray(path.read_bytes())
    damaged[-40] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(ValueError) as error:
        load_network(path)
    assert str(error.value) == (
        f"{path} is damaged (its contents do not match its digest): use an older file, or make a new one"
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"format": "training-state", "version": 1})
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == (
        f"{path} is the state of a training run and no network: give a network-….safetensors of a run, or a file of "
        f"NVIDIA's StyleGAN2, rosinality's stylegan2-pytorch or lucidrains' stylegan2-pytorch"
    )


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_other_programs_are_no_networks_rather_than_damaged(tmp_path, metadata):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == (
        f"{path} is no network of this project: give a network-….safetensors of a run, or a file of NVIDIA's "
        f"StyleGAN2, rosinality's stylegan2-pytorch or lucidrains' stylegan2-pytorch"
    )
    checkpoint.save(path, {"a": torch.zeros(1)}, {"format": "something else"})
    with pytest.raises(ValueError, match="is no network of this project"):
        read_network(path)


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "generate.py", "network"])
def test_files_of_other_kinds_are_not_called_damaged(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"something else altogether")
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == (
        f"{path} is no network file: give a network-….safetensors of a run, or a file of NVIDIA's StyleGAN2, "
        f"rosinality's stylegan2-pytorch or lucidrains' stylegan2-pytorch"
    )


def test_of_a_run_folder_the_newest_network_is_taken(tmp_path):
    for name in ("network-000009.0", "network-000010.0", "network-000002.0"):
        save_tiny(tmp_path / f"{name}.safetensors")
    assert read_network(tmp_path).path == tmp_path / "network-000010.0.safetensors"
    save_tiny(tmp_path / "network-1000000.0.safetensors")
    assert read_network(tmp_path).path == tmp_path / "network-1000000.0.safetensors"


def test_a_folder_without_networks_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_network(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is a folder without networks: give the folder of a run that has one, a folder of the Hub with its "
        f"model.safetensors, or a file"
    )


@pytest.mark.parametrize("change", [{"version": "1"}, {"version": None}, {"family": 3}])
def test_files_that_do_not_say_what_they_are_are_refused(tmp_path, change):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    checkpoint.save(path, tensors, metadata | change)
    with pytest.raises(ValueError, match="its metadata lack a version or a family"):
        read_network(path)


@pytest.mark.parametrize("settings", [None, [], {"height": 16, "colour": 3}, {"height": 7, "width": 7}])
def test_configurations_that_are_none_are_refused(tmp_path, settings):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    checkpoint.save(path, tensors, metadata | {"generator": settings})
    with pytest.raises(ValueError, match="the configuration of G_ema is invalid"):
        read_network(path).part("G_ema")


@pytest.mark.parametrize("size", ["height", "width", "classes", "z_dim", "w_dim", "channel_base", "channel_max"])
def test_sizes_beyond_all_measure_are_refused(tmp_path, size):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    checkpoint.save(path, tensors, metadata | {"generator": metadata["generator"] | {size: 2**70}})
    with pytest.raises(ValueError) as error:
        load_network(path)
    assert str(error.value).startswith(
        f"{path} is damaged (the configuration of G_ema is invalid: --set {size}: got {2**70}, expected a whole number "
    )


@pytest.mark.parametrize("change", [{"family": "stylegan9"}, {"version": 2}])
def test_families_and_versions_to_come_are_refused(tmp_path, change):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    metadata |= change
    checkpoint.save(path, tensors, metadata)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == (
        f"{path} holds networks of the family '{metadata['family']}' in format {metadata['version']}, for which this "
        f"program is too old: update it"
    )


@pytest.mark.parametrize("what", ["shape", "missing", "left over"])
def test_tensors_that_do_not_fit_the_configuration_are_refused(tmp_path, what):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    name = "G_ema.synthesis.const"
    if what == "shape":
        tensors[name] = tensors[name][:-1]
    elif what == "missing":
        del tensors[name]
    else:
        tensors["G_ema.synthesis.extra"] = tensors[name]
    checkpoint.save(path, tensors, metadata)
    with pytest.raises(ValueError) as error:
        load_network(path)
    assert str(error.value) == (
        f"{path} is damaged (the tensors of G_ema do not fit its configuration): use an older file, or make a new one"
    )


def test_unknown_settings_of_a_network_are_refused(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    metadata["generator"]["wings"] = 2
    checkpoint.save(path, tensors, metadata)
    with pytest.raises(ValueError, match="wings"):
        load_network(path)


def test_files_of_the_time_of_one_family_are_read(tmp_path):
    path = save_tiny(tmp_path / "a.safetensors")
    tensors, metadata = checkpoint.load(path)
    assert metadata["format"] == "network"
    checkpoint.save(path, tensors, metadata | {"format": "stylegan2-network"})
    assert load_network(path).config.height == 16
