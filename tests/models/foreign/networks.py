"""Networks so small that a test reads them in no time, with the names and in the pickles of other programs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import foreign
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import lucidrains_file, nvidia, rosinality
from models.stylegan2.foreign.architecture import official_names
from models.stylegan2.generator import Generator
from tests.models.foreign import pickled

SIZE: dict[str, Any] = {"height": 8, "width": 8, "channel_base": 32, "channel_max": 8}


def generator_tensors(**settings: Any) -> dict[str, Tensor]:
    """A generator's tensors by official names; always the same ones."""
    config = GeneratorConfig(**SIZE | {"mapping_layers": 1, "z_dim": 4, "w_dim": 4} | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Generator(config)
    ours = network.state_dict()
    return {theirs: ours[name].contiguous() for theirs, name in official_names(network).items()}


def discriminator_tensors(**settings: Any) -> dict[str, Tensor]:
    """A discriminator's tensors by official names; always the same ones."""
    config = DiscriminatorConfig(**SIZE | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Discriminator(config)
    ours = network.state_dict()
    return {theirs: ours[name].contiguous() for theirs, name in official_names(network).items()}


def official(flat: bool = False, **settings: Any) -> dict[str, Any]:
    """What official PyTorch training would have pickled; `flat` as in StyleGAN3."""
    G, G_ema = (pickled.generator(generator_tensors(**settings), flat) for _ in range(2))
    return pickled.training_file(G, pickled.discriminator(discriminator_tensors(**settings)), G_ema)


def tensorflow(**kwargs: Any) -> tuple[pickled.Network, ...]:
    """What official TensorFlow training would have pickled."""
    return pickled.tensorflow_networks(generator_tensors(), discriminator_tensors(), **kwargs)


READERS = (nvidia.OFFICIAL, rosinality.ROSINALITY, lucidrains_file.LUCIDRAINS)


def open_foreign(path: Path) -> foreign.Converted:
    found = foreign.open_foreign(path, READERS)
    assert found is not None
    return found
