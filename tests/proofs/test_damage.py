"""Damaged files of every format that is read: one sentence, and neither a traceback nor a hang."""

import bz2
import gzip
import io
import json
import lzma
import random
import signal
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.dataset import DataConfig, open_dataset
from imaging.sources import source as sources
from imaging.sources.recognition import open_source
from imaging.sources.source import SequentialSource, header
from models.families import read_network
from tests.proofs.damage import damaged, odd_text
from tests.training.runs import train
from torch_utils import runs
from training.state import read_state

SECONDS = 20  # after which a file counts as a hang
COUNT = 8


@dataclass(frozen=True)
class Format:
    """A kind of file: how a whole one is damaged, what still passes for one, and what reads it to the last byte."""

    name: str
    damage: Callable[[random.Random], bytes]
    passes: Callable[[Path], bool]
    read: Callable[[Path], Any]
    suffix: str
    summed: bool = False  # every byte is vouched for, so that no damage passes


def picture(index: int, kind: str) -> bytes:
    pixels = np.random.RandomState(index).randint(0, 256, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def contents() -> dict[str, bytes]:
    kinds = ["PNG", "JPEG", "WEBP"]
    files = {f"00000/img{i:08d}.{kinds[i % 3].lower()}": picture(i, kinds[i % 3]) for i in range(COUNT)}
    return files | {"dataset.json": json.dumps(index_of(files)).encode()}


def index_of(names: Any) -> dict[str, Any]:
    return {"labels": [[name, i % 3] for i, name in enumerate(names)], "class_names": ["a", "b", "c"]}


def zipped(files: dict[str, bytes], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def damaged_zip(chance: random.Random) -> bytes:
    """Half of them in their frame, half in the files within, whose sums are right."""
    files = contents()
    if chance.random() < 0.5:
        return damaged(zipped(files, chance.random() < 0.5), chance, first=4)
    name = chance.choice(list(files))
    return zipped(files | {name: damaged(files[name], chance, first=chance.choice([0, 16]))})


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def damaged_tar(chance: random.Random) -> bytes:
    files = contents()
    if chance.random() < 0.5:
        return damaged(tarred(files), chance, first=512)
    name = chance.choice(list(files))
    return tarred(files | {name: damaged(files[name], chance)})


def damaged_packed_tar(chance: random.Random) -> bytes:
    """Damaged after packing, or before, so that what is unpacked is whole as far as the packer knows."""
    kind = chance.choice(["gz", "bz2", "xz"])
    if chance.random() < 0.5:
        return damaged(tarred(contents(), f"w:{kind}"), chance, first=20)
    return {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(damaged_tar(chance))


def damaged_shard(chance: random.Random) -> bytes:
    """Pictures and classes in turn; some classes are what nobody would write."""
    pictures = [data for name, data in contents().items() if name != "dataset.json"]
    files = {}
    for i, data in enumerate(pictures):
        files[f"{i:06d}.{['png', 'jpg', 'webp'][i % 3]}"] = data
        files[f"{i:06d}.cls"] = str(i % 3).encode()
    if chance.random() < 0.5:
        return damaged(tarred(files), chance, first=512)
    name = chance.choice(list(files))
    return tarred(files | {name: damaged(files[name], chance)})


def damaged_labels(chance: random.Random) -> bytes:
    """Valid JSON in a whole ZIP, with something strange in it; now and then no JSON at all."""
    files = contents()
    index = index_of([name for name in files if name != "dataset.json"])
    text = odd_text(index, chance) if chance.random() < 0.8 else damaged(json.dumps(index).encode(), chance)
    return zipped(files | {"dataset.json": text})


def is_labeled(path: Path) -> bool:
    try:
        json.loads(zipfile.ZipFile(path).read("dataset.json"))
    except ValueError:
        return False
    return True


def is_tensors(path: Path) -> bool:
    """Whether the list of tensors is whole, with which the file begins."""
    data = path.read_bytes()
    try:
        return bool(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))
    except ValueError:
        return False


def read_set(path: Path) -> None:
    dataset = open_dataset(DataConfig(path=str(path)))
    for index in range(len(dataset)):
        pixels, label = dataset[index]
        assert pixels.shape == (dataset.channels, dataset.height, dataset.width) and label < max(dataset.classes, 1)


def is_tar(path: Path) -> bool:
    """Whether the first header is whole."""
    try:
        with tarfile.open(path) as archive:
            return archive.next() is not None
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError):
        return False


def read_source(path: Path) -> None:
    """As dataset_tool.py does, which goes on after a picture that it cannot read."""
    source = open_source(path)
    source.labels()
    for index, name in enumerate(source.names):
        if not isinstance(source, SequentialSource):
            decoded(source.read(index), f"{name} in {path}")
    if isinstance(source, SequentialSource):
        for index, content in source.stream(range(len(source.names))):
            decoded(content, f"{source.names[index]} in {path}")


def decoded(content: Any, name: str) -> None:
    if isinstance(content, ValueError):
        raise content
    assert header(content, name).width and sources.picture(content, name, "RGB")


def read_tensors(path: Path) -> None:
    if "network" in path.name:
        for part in ("G_ema", "D"):
            read_network(path).part(part)
    else:
        read_state(runs.Resumable(path.parent, path, None))


@pytest.fixture(scope="module")
def formats(tmp_path_factory) -> list[Format]:
    run = train(tmp_path_factory.mktemp("run"), pace__kimg=0.02)
    state, network = (run / "state.safetensors").read_bytes(), next(run.glob("network-*0.safetensors")).read_bytes()

    def within(data: bytes) -> Callable[[random.Random], bytes]:
        head = 8 + int.from_bytes(data[:8], "little")  # of the list of tensors
        return lambda chance: damaged(data, chance, first=head if chance.random() < 0.7 else 0)

    return [
        Format("ZIP of images", damaged_zip, zipfile.is_zipfile, read_set, ".zip"),
        Format("tar of images", damaged_tar, is_tar, read_source, ".tar"),
        Format("packed tar of images", damaged_packed_tar, is_tar, read_source, "-packed.tar.gz"),
        Format("WebDataset shard", damaged_shard, is_tar, read_set, "-shard.tar"),
        Format("labels", damaged_labels, is_labeled, read_set, "-labels.zip"),
        Format("state of a run", within(state), is_tensors, read_tensors, "-state.safetensors", True),
        Format("network", within(network), is_tensors, read_tensors, "-network.safetensors", True),
    ]


@contextmanager
def limited(what: str) -> Iterator[None]:
    def late(*ignored: object) -> None:
        raise AssertionError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms")
def test_damaged_files_get_a_sentence(formats, tmp_path, monkeypatch, ledger):
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))
    for kind in formats:
        count, recognized, refused = ledger.of(sample=200, whole=10_000) // len(formats), 0, 0
        for number in range(count):
            path = tmp_path / f"{number}{kind.suffix}"
            path.write_bytes(kind.damage(random.Random(f"{kind.name} {number}")))
            recognized += kind.passes(path)
            with limited(f"{kind.name} {number}"):
                try:
                    kind.read(path)
                except (ValueError, OSError) as error:  # of which every program makes one sentence, and ends with 2
                    refused += 1
                    text = str(error)
                    assert "\n" not in text and path.stem in text and 20 < len(text) < 600, (number, text)
            path.unlink()
        assert recognized >= count / 2, f"{kind.name}: {recognized} of {count} are damaged past the header"
        assert refused == count if kind.summed else refused >= count / 3, "wounds are found"
        others = "" if kind.summed else ", the others could be read to the end"
        proved = f"no traceback, no hang; {refused:,} refused in a sentence{others}"
        ledger.add(f"damaged {kind.name}, {recognized:,} of them past the header", count, proved)
