"""Networks of others, made to do harm: refused by the name of what they ask for, and nothing of them runs."""

import json
import random
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from models.families import read_network, save_network
from models.foreign import NOTHING, Told
from tests.models.foreign import pickled
from tests.models.foreign.networks import official, tensorflow
from tests.networks import tiny_discriminator, tiny_generator
from tests.proofs import torchmutation
from tests.proofs.damage import damaged, odd, odd_text
from tests.proofs.mutation import is_pickle, mutated_pickle
from tests.proofs.test_damage import limited
from tests.proofs.watch import nothing_runs
from torch_utils import checkpoint

# Said before any check of what may be in a file.
MACHINE = (
    "cut short",
    "its pickle takes",
    "follow the end of its pickle",
    "not a file of torch.save",
)
MEMORY = 2**30  # bytes that no small file may take


@dataclass(frozen=True)
class Format:
    """A kind of file: a whole one, how it is changed, and whether what came of it is whole as far as its frame goes."""

    name: str
    whole: bytes
    change: Callable[[random.Random], bytes]
    passes: Callable[[bytes], bool]
    suffix: str
    told: Told = NOTHING


def read(path: Path, told: Told = NOTHING) -> list[str]:
    """Reads a file to the end: every network that it holds is built."""
    file = read_network(path, told)
    for part in file.parts:
        file.part(part)
    return file.parts


def outcome(path: Path, told: Told = NOTHING) -> str:
    """The sentence with which a file is refused; "" when it is read. Nothing else leaves, and nothing runs."""
    with nothing_runs(), limited(path.name):
        try:
            read(path, told)
        except (ValueError, FileNotFoundError) as error:
            return str(error)
    return ""


# Official pickles


@cache
def whole(part: str, flat: bool, protocol: int) -> bytes:
    return pickled.pickled({part: official(flat=flat)[part]}, protocol)


def change_pytorch(flat: bool) -> Callable[[random.Random], bytes]:
    def change(chance: random.Random) -> bytes:
        part, protocol = chance.choice(["G_ema", "D"]), chance.choice([2, 3, 4])
        if chance.random() < 0.3:
            return pickled.pickled({part: changed_modules(official(flat=flat)[part], chance)}, protocol)
        return changed(whole(part, flat, protocol), chance)

    return change


def changed(data: bytes, chance: random.Random) -> bytes:
    return damaged(data, chance, first=2) if chance.random() < 0.3 else mutated_pickle(data, chance)


def changed_modules(network: pickled.Module, chance: random.Random) -> pickled.Module:
    """Tensors dropped, renamed and in other shapes, options that nobody would give, modules in other places."""
    modules = [network]
    for module in modules:
        modules += module.state["_modules"].values()
    for _ in range(chance.choice([1, 1, 2, 3])):
        module = chance.choice(modules)
        group = module.state[chance.choice(["_parameters", "_buffers", "_modules"])]
        if not group or chance.random() < 0.3:
            module.state |= {name: odd(value, chance) for name, value in module.state.items() if name[0] != "_"}
            continue
        name = chance.choice(list(group))
        way = chance.choice(["drop", "rename", "replace", "odd"])
        value = group.pop(name)
        if way == "rename":
            group[chance.choice(["weight", "bias", "x", "conv0", "0", ""])] = value
        elif way == "replace":
            group[name] = chance.choice([torch.zeros(0), torch.zeros(7), torch.zeros(8, 8), chance.choice(modules)])
        elif way == "odd":
            group[name] = odd(3, chance)
    return network


@cache
def whole_tensorflow(protocol: int) -> bytes:
    return pickled.pickled(tensorflow(), protocol)


def change_tensorflow(chance: random.Random) -> bytes:
    protocol = chance.choice([2, 3, 4])
    if chance.random() < 0.7:
        return changed(whole_tensorflow(protocol), chance)
    networks = tensorflow()
    state = chance.choice(networks).state
    variables = state["variables"]
    at = chance.randrange(len(variables))
    name, value = variables[at]
    way = chance.choice(["drop", "rename", "replace", "kwargs", "state"])
    if way == "kwargs":
        state["static_kwargs"] = odd({"resolution": 8, "architecture": "skip", "fmap_base": 16}, chance)
    elif way == "state":
        state[chance.choice(list(state))] = odd(3, chance)
    else:
        names = [other for other, _ in variables]
        changes = {"drop": [], "rename": [(chance.choice(names), value)], "replace": [(name, odd(3, chance))]}
        variables[at : at + 1] = changes[way]
    return pickled.pickled(networks, protocol)


# Our own files


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Format:
    path = tmp_path_factory.mktemp("ours") / "network.safetensors"
    save_network(path, "stylegan2", {"G_ema": tiny_generator(), "D": tiny_discriminator()}, {})
    tensors, metadata = checkpoint.load(path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])

    def change(chance: random.Random) -> bytes:
        kind = chance.random()
        if kind < 0.25:
            return damaged(data, chance, first=chance.choice([0, 8, 8 + size]))
        if kind < 0.4:
            head = odd_text(header, chance)
            return len(head).to_bytes(8, "little") + head + data[8 + size :]
        kept, name = dict(tensors), chance.choice(list(tensors))
        tensor = kept.pop(name)
        if chance.random() < 0.7:
            kept[chance.choice([name, "D.x", "G_ema.const"])] = chance.choice(
                [tensor[None], torch.zeros(3), tensor.long()]
            )
        about, key = dict(metadata), chance.choice(list(metadata))
        about[key] = odd(about[key], chance)
        checkpoint.save(path, kept, about if chance.random() < 0.5 else metadata)
        return path.read_bytes()

    return Format("network of ours", data, change, is_safetensors, ".safetensors")


def is_safetensors(data: bytes) -> bool:
    """Whether the list of tensors is whole, with which the file begins."""
    try:
        return isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)
    except ValueError:
        return False


def torch_format(name: str, contents: Callable[[], dict[str, Any]], suffix: str, told: Told = NOTHING) -> Format:
    whole = torchmutation.whole(contents, zipped=True)
    return Format(name, whole, torchmutation.change(contents), torchmutation.passes, suffix, told)


@pytest.fixture(scope="module")
def formats(ours) -> list[Format]:
    return [
        Format("StyleGAN2-ADA pickle", whole("G_ema", False, 4), change_pytorch(flat=False), is_pickle, ".pkl"),
        Format("StyleGAN3 pickle", whole("D", True, 2), change_pytorch(flat=True), is_pickle, "-3.pkl"),
        Format("TensorFlow pickle", whole_tensorflow(4), change_tensorflow, is_pickle, "-tf.pkl"),
        torch_format("rosinality file", torchmutation.rosinality_contents, "-r.pt"),
        torch_format("lucidrains file", torchmutation.lucidrains_contents, "-l.pt"),
        torch_format("DiT file", torchmutation.dit_contents, "-d.pt", torchmutation.DIT),
        torch_format("guided-diffusion file", torchmutation.guided_contents, "-g.pt", torchmutation.GUIDED),
        ours,
    ]


def test_changed_files_get_a_sentence_and_run_nothing(formats, tmp_path, monkeypatch, ledger):
    monkeypatch.chdir(tmp_path)  # where commands in the files would leave their marks
    torchmutation.warm()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for kind in formats:
        count, reached, refused = ledger.of(sample=20, whole=10_000), 0, 0
        path = tmp_path / f"whole{kind.suffix}"
        path.write_bytes(kind.whole)
        assert read(path, kind.told), "what our own program imports on the way is imported now"
        path.unlink()
        for number in range(count):
            path = tmp_path / f"{number}{kind.suffix}"
            data = kind.change(random.Random(f"{kind.name} {number}"))
            path.write_bytes(data)
            text = outcome(path, kind.told)
            path.unlink()
            assert "\n" not in text and len(text) < 600 and (not text or path.stem in text), (number, text)
            refused += bool(text)
            reached += kind.passes(data) and not any(words in text for words in MACHINE)
        assert reached >= count / 2, f"{kind.name}: {reached} of {count} are whole and reach the checks"
        assert refused >= count / 3, "most changes matter"
        proved = f"nothing run, no traceback, no hang; {refused:,} refused in a sentence, the others read to the end"
        ledger.add(f"changed {kind.name}, {reached:,} of them whole, held against what may be in one", count, proved)
    assert not list(tmp_path.iterdir()), "a mark was left"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY
