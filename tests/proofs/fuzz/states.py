"""States, run folders and networks whose digests are right and whose contents are odd."""

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from tests.networks import save_tiny
from tests.proofs.damage import odd as odd_nest
from tests.proofs.fuzz import odd
from tests.training.runs import resume, train
from torch_utils import checkpoint, runs

FOLDERS: list[Path] = []


@cache
def run_folder() -> Path:
    """A run of a few steps, made once."""
    FOLDERS.append(Path(mkdtemp(prefix="fuzzed-run-")))
    return train(FOLDERS[-1], 5, pace__kimg=0.04)


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(run_folder(), folder / run_folder().name))


def odd_state(chance: random.Random, folder: Path) -> Path:
    """A state with one to three odd tensors or values; the digest is made anew."""
    run = _copy(folder)
    path = run / runs.STATE
    (run / runs.PREVIOUS_STATE).unlink(missing_ok=True)
    tensors, metadata = checkpoint.load(path)
    for _ in range(chance.choice([1, 1, 2, 3])):
        if chance.random() < 0.6:
            _spoil_tensors(tensors, chance)
        else:
            metadata = _spoiled(metadata, chance)
    checkpoint.save(path, tensors, metadata)
    return run


def _spoil_tensors(tensors: dict[str, torch.Tensor], chance: random.Random) -> None:
    name = chance.choice(list(tensors))
    tensor = tensors[name]
    way = chance.choice(["drop", "rename", "shape", "type", "values", "add", "exchange"])
    if way == "drop":
        del tensors[name]
    elif way == "rename":
        tensors[chance.choice([name + "x", "x", name.upper(), "__proto__"])] = tensors.pop(name)
    elif way == "shape":
        shapes = [
            tensor.reshape(-1)[:1],
            tensor[None],
            tensor.new_zeros(0),
            tensor.reshape(-1),
            tensor.new_zeros([3, 5]),
        ]
        tensors[name] = chance.choice(shapes).clone()
    elif way == "type":
        kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
        tensors[name] = tensor.to(chance.choice(kinds[:-1]))
    elif way == "values":
        value = chance.choice([float("nan"), float("inf"), -1.0, 1e30, 0.0])
        tensors[name] = torch.full_like(tensor, value) if tensor.is_floating_point() else torch.full_like(tensor, -1)
    elif way == "add":
        tensors[chance.choice(["x", name + ".x", "phases.G.optimizer.state.999.exp_avg"])] = torch.zeros(7)
    else:
        other = chance.choice(list(tensors))
        tensors[name], tensors[other] = tensors[other], tensors[name]


def _spoiled(metadata: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.3:
        nest = odd_nest(metadata, chance)
        return nest if isinstance(nest, dict) else {}
    found: Any = json.loads(json.dumps(metadata))
    at = found
    while isinstance(at, dict) and at:
        key = chance.choice(list(at))
        if not isinstance(at[key], dict) or chance.random() < 0.3:
            at[key] = odd.value(chance)
            break
        at = at[key]
    return found


def read_state(run: Path) -> None:
    """Resume, and go one step on."""
    resume(run, 6)


FILES = ["stats.jsonl", "config.json", "metrics.jsonl", "log.txt", "fakes-000000.0.png", "reals.png"]


def odd_run(chance: random.Random, folder: Path) -> Path:
    """A run folder one of whose files is odd, a link, a pipe or a folder."""
    run = _copy(folder)
    path = run / chance.choice(FILES)
    way = chance.choice(["lines", "lines", "lines", "link", "pipe", "folder", "hole", "many"])
    if way in ("link", "pipe", "folder", "hole"):
        path.unlink(missing_ok=True)
        _special[way](path, chance)
        return run
    if path.name == "config.json":
        nest = json.loads(path.read_text())
        path.write_text(odd.nest(chance) if chance.random() < 0.3 else json.dumps(_spoiled(nest, chance)))
        return run
    lines = [json.dumps({chance.choice(_KEYS): odd.value(chance) for _ in range(4)} | {"seen": 100}) for _ in range(3)]
    lines.append(
        chance.choice(
            [odd.nest(chance).replace("\n", " "), '{"seen": ' + "9" * 5000 + "}", '{"seen": -50, "loss/G": 1}']
        )
    )
    if way == "many":
        lines = [json.dumps({"seen": 100 * i, **{f"x{k}": k for k in range(20_000)}}) for i in range(8)]
    chance.shuffle(lines)
    with path.open("a", encoding="utf-8", errors="surrogatepass") as file:
        file.write("\n".join(lines) + chance.choice(["\n", ""]))
    return run


_KEYS = [
    "seen",
    "kimg",
    "network",
    "loss/G",
    "swd1k",
    "speed",
    "time",
    "iteration",
    "p",
    "diversity/0",
    "best",
    "metric",
    "results",
]
_special: dict[str, Callable[[Path, random.Random], Any]] = {
    "link": lambda path, chance: path.symlink_to(chance.choice(["/dev/zero", "/etc/passwd", "nowhere", "../.."])),
    "pipe": lambda path, chance: os.mkfifo(path),
    "folder": lambda path, chance: path.mkdir(),
    "hole": lambda path, chance: _hole(path, chance.choice([2**20, 2**33])),
}


def _hole(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def read_run(run: Path) -> None:
    """Draw the report, then resume."""
    from training.report import page

    page.write(run)
    resume(run, 6)


def odd_network(chance: random.Random, folder: Path) -> Path:
    """A network with odd metadata, now and then with odd tensors."""
    path = save_tiny(folder / f"{folder.name}.safetensors", class_names=("a", "b"), classes=2)
    tensors, metadata = checkpoint.load(path)
    for _ in range(chance.choice([1, 1, 2])):
        metadata = _spoiled(metadata, chance)
        way = chance.random()
        if way < 0.4:
            metadata[chance.choice(["data", "training", "source", "kimg", "config", "options", "x"])] = odd.value(
                chance
            )
        elif way < 0.6:
            metadata["data"] = {
                chance.choice(["class_names", "name", "path", "fingerprint", "images"]): odd.value(chance)
            }
        elif way < 0.7:
            _spoil_tensors(tensors, chance)
    checkpoint.save(path, tensors, metadata)
    return path
