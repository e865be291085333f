"""StyleGAN2 as a family, and lucidrains' generator, which has another graph: their rows in the table of families."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from models.family import Family, Part
from models.places import Published
from models.stylegan2 import discriminator, generator, sampler, styletools
from models.stylegan2.choices import StyleOptions
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.exports import FORMATS, web_graphs
from models.stylegan2.foreign import lucidrains, lucidrains_file, nvidia, rosinality
from models.stylegan2.foreign.lucidrainsconfig import LucidrainsConfig


def _call(config: Any) -> tuple[Any, ...]:
    """Arguments of a generator: z, c, truncation_psi, truncation_cutoff, noise_mode."""
    return _meta(config.z_dim), _meta(config.classes), 1.0, None, "none"


def _judge(config: Any) -> tuple[Any, ...]:
    """Arguments of a discriminator: images, c."""
    return _meta(config.channels, config.height, config.width), _meta(config.classes)


def _meta(*shape: int) -> torch.Tensor:
    return torch.zeros(1, *shape, device="meta")


def _facts(config: Any) -> dict[str, str]:
    layers = f"{config.mapping_layers} layer{'s' if config.mapping_layers > 1 else ''}"
    return {"latents": f"z {config.z_dim}, w {config.w_dim} for each of {config.num_ws} layers, mapping of {layers}"}


def _use(config: Any) -> str:
    label = "torch.eye(network.config.classes)[:1]  # class 0, one-hot" if config.classes else "None"
    return f"""z, c = torch.randn(1, network.config.z_dim), {label}
images = network(z, c, truncation_psi=0.7, noise_mode="const")  # [1, channels, height, width], about -1 to 1"""


def _generator(config: GeneratorConfig) -> torch.nn.Module:
    return generator.Generator(config)


_CDN = "https://nvlabs-fi-cdn.nvidia.com"
_ADA = f"{_CDN}/stylegan2-ada-pytorch/pretrained"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files"
_LATER = (  # networks of both programs that were published again with StyleGAN3
    *("afhqcat-512x512", "afhqdog-512x512", "afhqv2-512x512", "afhqwild-512x512", "brecahad-512x512"),
    *("celebahq-256x256", "cifar10-32x32", "ffhq-256x256", "ffhq-512x512", "ffhq-1024x1024", "ffhqu-256x256"),
    *("ffhqu-1024x1024", "lsundog-256x256", "metfaces-1024x1024", "metfacesu-1024x1024"),
)
_FILES = {  # folder -> name -> file
    f"{_ADA}/transfer-learning-source-nets": {  # by the names that StyleGAN2-ADA's --resume takes
        "ffhq256": "ffhq-res256-mirror-paper256-noaug",
        "ffhq512": "ffhq-res512-mirror-stylegan2-noaug",
        "ffhq1024": "ffhq-res1024-mirror-stylegan2-noaug",
        "celebahq256": "celebahq-res256-mirror-paper256-kimg100000-ada-target0.5",
        "lsundog256": "lsundog-res256-paper256-kimg100000-noaug",
    },
    _ADA: {name: name for name in ("ffhq", "metfaces", "afhqcat", "afhqdog", "afhqwild", "cifar10", "brecahad")},
    f"{_CDN}/stylegan2/networks": {  # in TensorFlow
        name: name for name in (f"stylegan2-{data}-config-f" for data in ("ffhq", "car", "cat", "church", "horse"))
    },
    _NGC: {name: name for name in (f"stylegan2-{data}" for data in _LATER)},
}
PUBLISHED = {name: Published(f"{at}/{file}.pkl") for at, files in _FILES.items() for name, file in files.items()}
# NVIDIA publishes no digests. The digest of ffhq256 is of a file that was downloaded and opened here.
PUBLISHED["ffhq256"] = PUBLISHED["ffhq256"]._replace(
    digest="7aa4ddeee38e007ce92a1a0bccd386fc6abba6b5c8692bdbe813d3f1987c0722"
)

FAMILY = Family(
    name="stylegan2",
    title="StyleGAN2",
    parts={
        "G_ema": Part("generator", GeneratorConfig, _generator, "the averaged generator", _call),
        "G": Part("generator", GeneratorConfig, _generator, "the generator as trained", _call),
        "D": Part(
            "discriminator",
            DiscriminatorConfig,
            lambda config: discriminator.Discriminator(config),
            "the discriminator",
            _judge,
            optional=True,
        ),
    },
    shown=("G_ema", "G"),
    facts=_facts,
    options=StyleOptions,
    judged=StyleOptions(noise_mode="random"),
    open_sampler=lambda networks, options, metadata: sampler.open_styles(networks, options, metadata),
    open_toolbox=lambda shown, file: styletools.StyleTools(shown, file),
    foreign=(nvidia.OFFICIAL, rosinality.ROSINALITY),
    formats=FORMATS,
    web=web_graphs,
    published=PUBLISHED,
    tags=("stylegan2", "gan", "image-generation", "safetensors"),
    caption="psi 1 (no truncation), the network's own noise",
    command="--seeds 0-15 --psi 0.7",
    use=_use,
    told={"gamma of R1": "loss.gamma", "augmentation": "augment.mode"},
)

LUCIDRAINS = replace(
    FAMILY,
    name="lucidrains",
    title="lucidrains' stylegan2-pytorch",
    parts={
        "G_ema": Part(
            "generator",
            LucidrainsConfig,
            lambda config: lucidrains.LucidrainsGenerator(config),
            "the averaged generator",
            _call,
        )
    },
    shown=("G_ema",),
    open_toolbox=None,
    foreign=(lucidrains_file.LUCIDRAINS,),
    formats=(),
    web=None,
    published={},
    told={},
)
