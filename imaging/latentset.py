"""A set of latents: for each picture the mean and the deviation that an autoencoder found.

00000/img00000000.npy   float16 or float32 [1, 2, C, H, W]: mean, deviation; [2, ...] with those of the mirror image
dataset.json            as of pictures, and "latent": what the latents stand for, such as {"height": 256, ...}
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError

from imaging.archive import INDEX, Archive, ZipArchive, open_archive
from imaging.imageset import Latent, ListedSet, run_name
from imaging.labels import take_labels
from imaging.opening import parsing
from imaging.pixels import false_colors, to_pixels
from imaging.sizes import spell

SUFFIX = ".npy"
AGAIN = "encode the pictures again with dataset_tool.py encode"


def open_latents(path: Path) -> Archive | None:
    """The ZIP of latents at `path`; None for anything else."""
    with suppress(ValueError, FileNotFoundError):
        archive = open_archive(path, (SUFFIX,))
        return archive if isinstance(archive, ZipArchive) and "latent" in archive.index else None
    return None


class LatentSet(ListedSet):
    """The latents `chosen` of an archive. Item i is (mean and deviation [2, C, H, W], class)."""

    def __init__(
        self, archive: Archive, chosen: np.ndarray, mirror: bool, labels_from: Literal["auto", "none", "folders"]
    ) -> None:
        """Raises ValueError if the latents are damaged or of different sizes, or lack mirror images."""
        self.archive, path = archive, archive.path
        try:
            latent = Latent.model_validate(archive.index["latent"])
        except ValidationError as error:
            raise ValueError(f"{INDEX} of {path} does not say what its latents stand for: {AGAIN}") from error
        labels = take_labels(archive, labels_from).of(chosen)
        self.names = tuple(archive.names[i] for i in chosen)
        entries = [archive.entries[name] for name in self.names]
        self._form: tuple[Any, ...] = ()  # shape and dtype of every file
        first = self._load(self.names[0])
        self._form = first.shape, first.dtype
        if other := next((entry for entry in entries if entry.size != entries[0].size), None):
            raise ValueError(f"{other.name} in {path} has another size than {self.names[0]}: {AGAIN}")
        if mirror and len(first) == 1:
            raise ValueError(f"--mirror: {path} holds no mirror images: {AGAIN} --mirror, or leave --mirror out")
        identity = [(entry.raw, entry.size, entry.checksum) for entry in entries]
        summary = [identity, labels.values.tolist(), labels.class_names, latent.model_dump(), mirror]
        fingerprint = hashlib.sha256(json.dumps(summary).encode()).hexdigest()
        channels, height, width = first.shape[2:]
        super().__init__(run_name(path.stem) or "latents", height, width, channels, labels, mirror, fingerprint)
        self.latent = latent
        self.notes = (*archive.passed, f"the set holds latents of {spell(latent.height, latent.width)} pictures")

    def read(self, index: int) -> np.ndarray:
        return self._load(self.names[index])[0]

    def read_mirrored(self, index: int) -> np.ndarray:
        return self._load(self.names[index])[1]

    def picture(self, index: int) -> np.ndarray:
        assert self.latent is not None, "it is set"
        mean = torch.from_numpy(self[index][0][:1].astype(np.float32))  # [1, C, H, W]
        scaled = (mean - self.latent.shift) * self.latent.scale
        images = self.decoder.decode(scaled) if self.decoder else false_colors(scaled)
        return to_pixels(images, "nearest")[0].cpu().numpy()

    @property
    def size(self) -> tuple[int, int]:
        return (self.latent.height, self.latent.width) if self.latent and self.decoder else super().size

    @property
    def shown(self) -> str:
        return self.fingerprint + (self.decoder.identity if self.decoder else "")

    def resized(self, height: int, width: int) -> str:
        return AGAIN

    def __getstate__(self) -> dict[str, Any]:
        """Processes that read for training need no decoder."""
        return self.__dict__ | {"decoder": None}

    def _load(self, name: str) -> np.ndarray:
        """Means and deviations, and those of the mirror image, [1 or 2, 2, C, H, W]."""
        data = self.archive.read(name)
        with parsing(f"{name} in {self.archive.path}", "a latent", AGAIN):
            file = io.BytesIO(data)
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if fortran or dtype not in (np.float16, np.float32) or len(shape) != 5 or shape[0] > 2 or shape[1] != 2:
                raise ValueError(f"it is {dtype} {list(shape)}, expected float16 or float32 [1 or 2, 2, C, H, W]")
            if self._form and self._form != (shape, dtype):
                raise ValueError(f"it is {dtype} {list(shape)}, and the first is {self._form[1]} {[*self._form[0]]}")
            if math.prod(shape) * dtype.itemsize != len(data) - file.tell() or not math.prod(shape):
                raise ValueError("it is cut")
            array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
            if not np.isfinite(array).all() or (array[:, 1] < 0).any():
                raise ValueError("it has numbers that are not finite, or deviations below 0")
        return array
