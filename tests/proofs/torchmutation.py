"""Files of `torch.save` that are nearly right: their pickle changed, or the tensors and names that it holds."""

import argparse
import encodings.cp437  # noqa: F401 (of names in archives: Python imports it when it meets the first)
import io
import random
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from custom_ops import build
from models.adm.config import UNetConfig
from models.adm.network import UNet
from models.dit.config import DiTConfig
from models.dit.network import DiT
from models.foreign import Told
from models.stylegan2.foreign import rosinality
from tests.models.foreign import test_lucidrains
from tests.networks import tiny_discriminator, tiny_generator
from tests.proofs.damage import damaged, odd
from tests.proofs.mutation import HOSTILE, instructions, is_pickle, mutated_pickle

PICKLE = "archive/data.pkl"
_BEFORE = 3  # pickles in front of the contents, in the format before 1.6

Nest = dict[str, Any]


def rosinality_contents() -> Nest:
    """A converted file: tiny networks, and the average w."""
    state = {"g_ema": rosinality.state_of(tiny_generator()), "d": rosinality.state_of(tiny_discriminator())}
    return state | {"latent_avg": torch.zeros(8), "args": {}}


def lucidrains_contents() -> Nest:
    """A training file, with the averaged generator alone."""
    return {"GAN": test_lucidrains.state(), "version": "1.9.0"}


DIT, GUIDED = Told(sets=("heads=4",)), Told(sets=("height=8", "heads=1"))  # what the next two do not say


def dit_contents() -> Nest:
    """A training file of DiT, with its options."""
    network = DiT(DiTConfig(height=8, width=8, hidden=16, depth=2, heads=4, classes=3))
    args = argparse.Namespace(model="DiT-XL/2", num_classes=3)
    return {"model": network.state_dict(), "ema": network.state_dict(), "opt": {"state": {}}, "args": args}


def guided_contents() -> Nest:
    """A U-Net of guided-diffusion, a bare state dict."""
    sizes: dict[str, Any] = {"model_channels": 32, "mult": (1, 1), "res_blocks": 1, "attention": (2,)}
    network = UNet(UNetConfig(height=8, width=8, classes=3, null_class=False, **sizes))
    return dict(network.state_dict())


def warm() -> None:
    """Has our own operators loaded, which compute the average w of a file that lacks it."""
    build.load("cpu")


def change(contents: Callable[[], Nest]) -> Callable[[random.Random], bytes]:
    """What makes changed files of one that holds `contents`."""

    def changed(chance: random.Random) -> bytes:
        zipped = chance.random() < 0.7
        if chance.random() < 0.4:
            return _saved(_changed_nest(contents(), chance), zipped)
        data = whole(contents, zipped)
        if chance.random() < 0.2:
            return damaged(data, chance)
        if not zipped:
            start = _start(data)
            return data[:start] + mutated_pickle(data[start:], chance)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        records[PICKLE] = mutated_pickle(records[PICKLE], chance)
        changed = io.BytesIO()
        kind = zipfile.ZIP_DEFLATED if chance.random() < 0.05 else zipfile.ZIP_STORED
        with zipfile.ZipFile(changed, "w", kind) as archive:
            for name, record in records.items():
                archive.writestr(name, record)
        return changed.getvalue()

    return changed


def passes(data: bytes) -> bool:
    """Whether the file is whole as far as its archive and the instructions of its pickles go."""
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return archive.testzip() is None and is_pickle(archive.read(PICKLE))
        start = _start(data)
        return bool(instructions(data[start:]))
    except Exception:  # whatever a damaged archive leads to
        return False


@cache
def whole(contents: Callable[[], Nest], zipped: bool) -> bytes:
    """The file unchanged."""
    return _saved(contents(), zipped)


def _saved(value: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _start(data: bytes) -> int:
    """Where the contents begin, in the format before 1.6."""
    start = 0
    for _ in range(_BEFORE):
        start += sum(len(code) for _, code in instructions(data[start:]))
    return start


def _changed_nest(nest: Nest, chance: random.Random) -> Any:
    """Tensors dropped, renamed, in other shapes and of other kinds; other values where tables of them should be."""
    if chance.random() < 0.15:
        return odd(nest | {"x": [1, "a"]}, chance)
    tables = [held for held in nest.values() if isinstance(held, dict) and len(held) > 3]
    table = chance.choice(tables or [nest])
    for _ in range(chance.choice([1, 1, 2, 3])):
        name = chance.choice(list(table))
        value, way = table.pop(name), chance.choice(["drop", "rename", "replace", "odd", "add"])
        if way == "rename":
            table[chance.choice([*table, "x", name + "x", chance.choice(HOSTILE)])] = value
        elif way == "replace":
            table[name] = chance.choice(_REPLACEMENTS)()
        elif way == "odd":
            table[name] = odd(3, chance)
        elif way == "add":
            table |= {name: value, chance.choice(["convs.0.x", "GE.x", "", "\0", "x" * 10_000]): torch.zeros(2)}
    return nest


_REPLACEMENTS: list[Callable[[], Any]] = [
    lambda: torch.zeros(0),
    lambda: torch.zeros(7),
    lambda: torch.zeros(8, 8),
    lambda: torch.zeros(1).expand(2**40),
    lambda: torch.full([16], float("nan")),
    lambda: torch.zeros(16, dtype=torch.complex64),
    lambda: torch.zeros(16, dtype=torch.int64),
    lambda: torch.eye(4).to_sparse(),
    lambda: torch.nn.Parameter(torch.zeros(16)),
]
