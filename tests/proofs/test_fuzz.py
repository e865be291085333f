"""Structure-aware fuzzing of every format: whatever comes, one sentence within limits of time and memory."""

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from imaging.labels import read_label_file
from models.foreign import NOTHING, Told
from models.stylegan2.latents import load_latents
from tests.models.foreign import pickled
from tests.models.foreign.networks import official, tensorflow
from tests.networks import tiny_generator
from tests.proofs import torchmutation
from tests.proofs.fuzz import archives, pickles, records, servers, states
from tests.proofs.fuzz.limits import Format, verdicts
from tests.proofs.test_damage import read_set, read_source
from tests.proofs.test_hostile import read as read_parts

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


def read_pictures(path: Path) -> None:
    """As dataset_tool.py does, and as train.py does."""
    read_source(path)
    if path.is_dir() or path.suffix in (".zip", ".tar"):
        read_set(path)


def pickle_format(name: str, suffix: str, networks) -> Format:
    def make(chance: random.Random, folder: Path) -> Path:
        path = folder / f"{folder.name}{suffix}"
        path.write_bytes(pickles.grown(pickled.pickled(networks(), chance.choice([2, 3, 4])), chance))
        return path

    return Format(name, make, read_parts)


def read_labels(path: Path) -> None:
    read_label_file(path, [f"{i}.png" for i in range(4)])


def read_latents(path: Path) -> None:
    load_latents(path, tiny_generator())


def introduce(path: Path) -> None:
    """As the sampling scripts and convert.py do: what is said of a network, and a picture of it."""
    from click.testing import CliRunner

    import convert
    import generate

    for script, options in (
        (generate, ["--seeds", "0", "--device", "cpu", "--outdir", str(path.parent / "out")]),
        (convert, []),
    ):
        place = "--network" if script is generate else "--source"
        result = CliRunner().invoke(script.main, [place, str(path), *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.output.replace("\n", "").isprintable(), result.output[:500]
        if result.exit_code:
            assert result.exit_code == 2, result.output
            raise ValueError(result.output.strip().rpartition("Error: ")[2])


def torch_format(name: str, contents, told: Told = NOTHING) -> Format:
    make = partial(pickles.torch_zip, contents)
    return Format(name, make, lambda path: read_parts(path, told))


FORMATS = [
    (Format("ZIP of pictures", archives.odd_zip, read_pictures), 20, 1000),
    (Format("tar of pictures", archives.odd_tar, read_pictures), 20, 1000),
    (Format("packed tar of gigabytes", archives.tar_bomb, read_pictures), 0, 3),
    (Format("folder of pictures", archives.odd_folder, read_pictures), 10, 200),
    (Format("TFRecords", records.odd_tfrecords, read_source), 20, 1000),
    (Format("LMDB", records.odd_lmdb, read_source), 7, 500),
    (Format("parquet", records.odd_parquet, read_source), 20, 1000),
    (Format("MNIST", records.odd_mnist, read_source), 3, 100),
    (Format("CIFAR", records.odd_cifar, read_source), 10, 500),
    (Format("labels of a user", records.odd_labels, read_labels), 20, 1000),
    (Format("latents", records.odd_latents, read_latents), 15, 1000),
    (pickle_format("growing StyleGAN2-ADA pickle", ".pkl", lambda: {"G_ema": official(flat=False)["G_ema"]}), 5, 500),
    (pickle_format("growing StyleGAN3 pickle", "-3.pkl", lambda: {"D": official(flat=True)["D"]}), 5, 500),
    (pickle_format("growing TensorFlow pickle", "-tf.pkl", tensorflow), 5, 500),
    (torch_format("rosinality archive", torchmutation.rosinality_contents), 10, 500),
    (torch_format("lucidrains archive", torchmutation.lucidrains_contents), 10, 500),
    (torch_format("DiT archive", torchmutation.dit_contents, torchmutation.DIT), 10, 500),
    (torch_format("guided-diffusion archive", torchmutation.guided_contents, torchmutation.GUIDED), 10, 500),
    (Format("torch file of before 1.6", pickles.torch_legacy, read_parts), 5, 500),
    (Format("network with a right digest", states.odd_network, introduce), 7, 300),
    (Format("state with a right digest", states.odd_state, states.read_state), 5, 200),
    (Format("run folder", states.odd_run, states.read_run), 4, 100),
    (Format("server", servers.odd_server, servers.read_server, names=False), 10, 200),
]


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory) -> Iterator[None]:
    """What our own programs load at first use is loaded before memory is counted."""
    torchmutation.warm()
    states.run_folder()
    yield
    for folder in states.FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("kind", "sample", "whole"), FORMATS, ids=[kind.name for kind, _, _ in FORMATS])
def test_odd_inputs_get_a_sentence_within_limits(kind, sample, whole, tmp_path, monkeypatch, ledger):
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    count = ledger.of(sample, whole)
    found = verdicts(kind, count, tmp_path)
    broken = [(verdict.number, verdict.broken) for verdict in found if verdict.broken]
    assert not broken, f"{len(broken)} of {count}: " + "\n".join(map(str, broken[:8]))
    refused = sum(verdict.refused for verdict in found)
    proved = f"no traceback, no signal, at most 10 s and 1 GiB each; {refused:,} refused in a sentence, the others read"
    ledger.add(f"odd {kind.name}", count, proved)
