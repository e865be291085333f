"""The autoencoder of latent diffusion (Rombach et al. 2022): pictures to latents and back, by an AutoencoderKL.

A codec is a folder that the package diffusers wrote. It is read from the disk only, its weights from safetensors.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.imageset import ImageSet, Latent
from imaging.opening import open_file, parsing
from imaging.pixels import to_images
from imaging.sizes import spell
from models.diffusion.config import NoisyConfig
from system.untrusted import json_object
from torch_utils import download

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
FOLDER = "give the folder of an AutoencoderKL, as save_pretrained of diffusers writes it"
LARGEST_CONFIG = 2**20  # bytes
AT_ONCE = 2**18  # pixels decoded together


class Codec:
    """An AutoencoderKL on its device, in float32.

    Args:
        network: of diffusers.
        path: of its folder, for sentences.
        identity: equal for codecs that give equal pictures.
    """

    def __init__(self, network: Any, path: str, identity: str) -> None:
        self.network, self.path, self.identity = network, path, identity
        config = network.config
        self.channels: int = config.latent_channels
        self.pictures: int = config.out_channels  # channels of a picture
        self.factor: int = 2 ** (len(config.block_out_channels) - 1)  # pixels of a picture beside one of a latent
        self.scale, self.shift = float(config.scaling_factor), float(getattr(config, "shift_factor", None) or 0.0)

    def latent(self, dataset: ImageSet) -> Latent:
        """What latents of these pictures stand for. Raises ValueError if the codec cannot encode them."""
        height, width, codec = dataset.height, dataset.width, f"--codec {self.path}"
        if dataset.channels != self.pictures:
            raise ValueError(f"{codec} encodes {self.pictures} channels, but the pictures have {dataset.channels}")
        if height % self.factor or width % self.factor:
            near = (max(round(side / self.factor), 1) * self.factor for side in (height, width))
            raise ValueError(
                f"{codec} encodes pictures whose sides are multiples of {self.factor} pixels, and these have "
                f"{spell(height, width)}: {dataset.resized(*near)}"
            )
        return Latent(height=height, width=width, channels=self.pictures, scale=self.scale, shift=self.shift)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Means and deviations [N, 2, C, H, W] of the latents of pixels uint8 [N, C, H, W], not scaled."""
        found = self.network.encode(to_images(pixels.to(self.network.device))).latent_dist
        return torch.stack([found.mean, found.std], 1)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents as networks see them [N, C, H, W] -> images [N, C, H, W] in about [-1, 1], on their device."""
        z = latents.to(self.network.device, torch.float32) / self.scale + self.shift
        parts = z.split(max(AT_ONCE // (math.prod(z.shape[2:]) * self.factor**2), 1))
        return torch.cat([self.network.decode(part).sample for part in parts]).to(latents.device)

    def of(self, config: NoisyConfig) -> "Codec":
        """The codec with the scale that a network was trained with. Raises ValueError if it is of other latents."""
        size = (config.height * self.factor, config.width * self.factor)
        mend = "take the codec that encoded the pictures"
        if self.channels != config.channels:
            made = f"--codec {self.path} has latents of {self.channels} channels"
            raise ValueError(f"{made}, and the network's have {config.channels}: {mend}")
        if (latent := config.latent) is not None:
            if (latent.height, latent.width, latent.channels) != (*size, self.pictures):
                made = f"--codec {self.path} would make pictures of {spell(*size)} with {self.pictures} channels"
                had = f"{spell(latent.height, latent.width)} with {latent.channels} channels"
                raise ValueError(f"{made}, and the network's pictures are {had}: {mend}")
            self.scale, self.shift = latent.scale, latent.shift
        return self


def open_codec(path: str, device: torch.device) -> Codec:
    """Read a codec from its folder. Raises ValueError if it is no AutoencoderKL, or diffusers is missing."""
    folder, name = Path(path), f"--codec {path}"
    missing = next((file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()), "")
    if missing:
        raise ValueError(f"{name} has no {missing}: {FOLDER}")
    with open_file(folder / CONFIG) as file:
        config = json_object(file.read(LARGEST_CONFIG)) or {}
    if config.get("_class_name") != "AutoencoderKL":
        raise ValueError(f"{name} is not an AutoencoderKL by its {CONFIG}: {FOLDER}")
    try:
        from diffusers import AutoencoderKL
        from diffusers.utils import logging
    except ImportError as error:
        raise ValueError(f"{name} needs the package diffusers: pip install diffusers") from error
    logging.set_verbosity_error()  # what it warns of is checked below
    with parsing(name, "a whole AutoencoderKL", FOLDER):
        network, about = AutoencoderKL.from_pretrained(
            folder,
            torch_dtype=torch.float32,  # in 16 bits some of these autoencoders overflow
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
        if wrong := [key for kind in ("missing_keys", "mismatched_keys") for key in about[kind]]:
            raise ValueError(f"its weights lack {wrong[0]}")
        codec = Codec(network.to(device).eval().requires_grad_(False), path, download.sha256(folder / WEIGHTS))
        if not 0 < codec.scale < math.inf or not math.isfinite(codec.shift):
            raise ValueError("its scaling_factor is not a number above 0")
        if config.get("in_channels") != codec.pictures or codec.pictures not in (1, 3, 4):
            raise ValueError("it does not encode and decode 1, 3 or 4 channels")
    return codec
