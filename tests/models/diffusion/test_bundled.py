"""The diffusion transformer in `assets`."""

from pathlib import Path

import torch

from models.diffusion.choices import DenoisingOptions
from models.diffusion.sampler import DenoisingSampler
from models.families import load_network

FILE = Path(__file__).parents[3] / "assets" / "faces32-dit.safetensors"


def test_it_is_small_and_its_classes_differ():
    assert FILE.stat().st_size <= 6_000_000
    network = load_network(FILE)
    sampler = DenoisingSampler(network, DenoisingOptions(steps=8, cfg_scale=2))
    assert sampler.shape == (32, 32, 3, 5)
    faces = [torch.stack(list(sampler.sample(sampler.requests([1, 2], label)))).float() for label in range(5)]
    across = torch.stack([(a - b).abs().mean() for a in faces for b in faces if a is not b]).min()
    assert across > 2  # gray levels: the same noise with another class is another face
    assert all(face.std() > 30 for face in faces)
