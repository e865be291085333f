"""hubconf.py as torch.hub takes it: from any folder, by the path of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest

import hubconf
from models.families import save_network
from tests.networks import tiny_discriminator, tiny_generator

ROOT = Path(__file__).parents[1]


def python(cwd, program):
    """Runs a program in a process that knows nothing of this project."""
    return subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)


def test_networks_by_torch_hub(tmp_path):
    networks = {"G_ema": tiny_generator(), "D": tiny_discriminator()}
    save_network(tmp_path / "a.safetensors", "stylegan2", networks, {})
    done = python(
        tmp_path,
        f"""
import torch
repository = {str(ROOT)!r}
G = torch.hub.load(repository, "generator", source="local", network="a.safetensors")
D = torch.hub.load(repository, "discriminator", source="local", network="a.safetensors")
images = G(torch.randn(3, G.config.z_dim), noise_mode="const")
print(tuple(images.shape), tuple(D(images).shape))
assert torch.hub.load(repository, "network", source="local", place="a.safetensors", part="D").config == D.config
sampler = torch.hub.load(repository, "sampler", source="local", place="a.safetensors", psi=0.5)
print([tuple(picture.shape) for picture in sampler.sample(sampler.requests([0, 1], None))])
faces = torch.hub.load(repository, "faces64", source="local", precision="bf16")
print(tuple(faces(torch.randn(1, 128), torch.eye(5)[:1]).shape))
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "(3, 3, 16, 16) (3, 1)",
        "[(3, 16, 16), (3, 16, 16)]",
        "(1, 3, 64, 64)",
    ]


def test_other_packages_of_our_names_are_told_of(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    done = python(
        tmp_path,
        f"""
import sys, models
sys.path.append({str(ROOT)!r})
import hubconf
try:
    hubconf.faces64()
except ImportError as error:
    print(error)
""",
    )
    assert done.stdout.strip() == (
        f"this process has loaded another models, {tmp_path.resolve() / 'models'}: load the network in a process "
        f"of its own, or export it with convert.py"
    )


def test_what_torch_hub_lists():
    entries = [name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")]
    assert entries == ["discriminator", "faces64", "generator", "network", "sampler"]


def test_a_discriminator_is_no_generator():
    with pytest.raises(ValueError, match=r"^which is 'D', expected G_ema or G$"):
        hubconf.generator("a.safetensors", which="D")
