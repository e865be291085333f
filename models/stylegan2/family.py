"""StyleGAN2 as a family, and lucidrains' generator, which has another graph: their rows in the table of families."""

from typing import Any

import torch
from torch import Tensor

from models.family import Family, Part
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.exports.formats import FORMATS
from models.stylegan2.foreign import lucidrains_file, nvidia, rosinality
from models.stylegan2.foreign.lucidrains import LucidrainsConfig, LucidrainsGenerator
from models.stylegan2.generator import Generator
from models.stylegan2.options import StyleOptions
from models.stylegan2.published import PUBLISHED
from models.stylegan2.sampler import open_styles


def _call(config: Any) -> tuple[Any, ...]:
    """Arguments of a generator: z, c, truncation_psi, truncation_cutoff, noise_mode."""
    return torch.zeros(1, config.z_dim, device="meta"), _class(config), 1.0, None, "none"


def _judge(config: Any) -> tuple[Any, ...]:
    """Arguments of a discriminator: images, c."""
    return torch.zeros(1, config.channels, config.height, config.width, device="meta"), _class(config)


def _class(config: Any) -> Tensor:
    return torch.zeros(1, config.classes, device="meta")


def _facts(config: Any) -> dict[str, str]:
    layers = f"{config.mapping_layers} layer{'s' if config.mapping_layers > 1 else ''}"
    return {"latents": f"z {config.z_dim}, w {config.w_dim} for each of {config.num_ws} layers, mapping of {layers}"}


def _use(config: Any) -> str:
    label = "torch.eye(network.config.classes)[:1]  # class 0, one-hot" if config.classes else "None"
    return f"""z, c = torch.randn(1, network.config.z_dim), {label}
images = network(z, c, truncation_psi=0.7, noise_mode="const")  # [1, channels, height, width], about -1 to 1"""


_CAPTION = "psi 1 (no truncation), the network's own noise"
_TOLD = {"gamma of R1": "loss.gamma", "augmentation": "augment.mode"}
_PICTURES: dict[str, Any] = {
    "options": StyleOptions,
    "judged": StyleOptions(noise_mode="random"),
    "open_sampler": open_styles,
}

FAMILY = Family(
    name="stylegan2",
    title="StyleGAN2",
    parts={
        "G_ema": Part("generator", GeneratorConfig, Generator, "the averaged generator", _call),
        "G": Part("generator", GeneratorConfig, Generator, "the generator as trained", _call),
        "D": Part("discriminator", DiscriminatorConfig, Discriminator, "the discriminator", _judge, optional=True),
    },
    shown=("G_ema", "G"),
    facts=_facts,
    foreign=(nvidia.OFFICIAL, rosinality.ROSINALITY),
    formats=FORMATS,
    published=PUBLISHED,
    tags=("stylegan2", "gan", "image-generation", "safetensors"),
    caption=_CAPTION,
    command="--seeds 0-15 --psi 0.7",
    use=_use,
    told=_TOLD,
    **_PICTURES,
)

LUCIDRAINS = Family(
    name="lucidrains",
    title="lucidrains' stylegan2-pytorch",
    parts={"G_ema": Part("generator", LucidrainsConfig, LucidrainsGenerator, "the averaged generator", _call)},
    shown=("G_ema",),
    facts=_facts,
    foreign=(lucidrains_file.LUCIDRAINS,),
    tags=FAMILY.tags,
    caption=_CAPTION,
    command="--seeds 0-15 --psi 0.7",
    use=_use,
    **_PICTURES,
)
