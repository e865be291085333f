import json

import pytest
from click.testing import CliRunner

from benchmarks import memory

TINY = ["--resolution", "16x8", "--preset", "auto"]
TINY += [f"--set={network}.channel_base=64" for network in ("generator", "discriminator")]


def test_tells_what_every_number_of_images_takes():
    result = CliRunner().invoke(memory.main, [*TINY, "--batch-gpu", "4", "--batch-gpu", "8", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["batch_gpu"], row["checkpoint_activations"]) for row in rows] == [
        (4, False),
        (8, False),
        (4, True),
        (8, True),
    ]
    for row in rows:
        found = row["footprint"]
        assert min(found["phases"].values()) > found["networks"] + found["gradients"] + found["adam"] > 2**20
    four, eight = (max(row["footprint"]["phases"].values()) for row in rows[:2])
    assert four < eight


def test_prints_a_table():
    result = CliRunner().invoke(memory.main, [*TINY, "--batch-gpu", "4"])
    assert result.exit_code == 0, result.output
    first, second, _, head, without, with_ = result.output.splitlines()
    assert first == "16x8, preset auto, bf16, cuda; GiB"
    assert second.startswith("networks 0.0")
    assert head.split() == ["at", "once", "checkpointing", "Gmain", "Gpath", "Dmain", "Dr1", "most"]
    assert without.split()[:2] == ["4", "no"] and with_.split()[:2] == ["4", "yes"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--batch-gpu 3", "--batch-gpu 3 does not divide the 32 images that a process has of --batch 32: take 2"),
        ("--resolution 65", "a network cannot have the size 65x65"),
        ("--set loss.gama=1", "loss.gamma"),
    ],
)
def test_refuses_in_one_sentence(flags, words):
    result = CliRunner().invoke(memory.main, flags.split())
    assert result.exit_code == 2
    assert words in result.output and "Traceback" not in result.output
