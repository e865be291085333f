"""Networks so small that a test makes pictures with them in no time."""

from pathlib import Path
from typing import Any

import torch

from models.families import save_network
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator

SIZES: dict[str, Any] = {"height": 16, "width": 16, "channel_base": 256, "channel_max": 16, "mapping_layers": 1}

ON_CPU = ["--device", "cpu"]  # where a picture is the same to the last byte in any company


def tiny_generator(**settings: Any) -> Generator:
    """A generator of random weights, always the same ones, that makes use of noise and of an average w."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G = Generator(GeneratorConfig(**SIZES | {"z_dim": 8, "w_dim": 8} | settings))
        G.mapping.w_average.normal_().mul_(0.3)
        for name, parameter in G.named_parameters():
            if name.endswith("noise.strength"):
                torch.nn.init.constant_(parameter, 0.2)
            elif name.endswith("rgb.conv.weight"):
                parameter.data.mul_(0.3)  # images within [-1, 1], for the most part
    return G.requires_grad_(False).eval()


def tiny_discriminator(**settings: Any) -> Discriminator:
    """A discriminator that fits `tiny_generator`."""
    return Discriminator(DiscriminatorConfig(**SIZES | settings)).requires_grad_(False).eval()


def save_tiny(path: Path, class_names: tuple[str, ...] = (), **settings: Any) -> Path:
    """A network file that holds a tiny generator as G_ema, and says that its training saw 1500 images."""
    facts = {"kimg": 1.5, "data": {"class_names": class_names}}
    save_network(path, "stylegan2", {"G_ema": tiny_generator(**settings)}, facts)
    return path
