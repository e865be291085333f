import json

import pytest
from click.testing import CliRunner

from benchmarks import memory

TINY = ["--resolution", "16x8", "--preset", "auto"]
TINY += [
    f"--set={part}.{size}"
    for part in ("generator", "discriminator")
    for size in ("channel_base=64", "channel_max=8", "mapping_layers=1")
]


def test_tells_what_every_number_of_images_takes():
    result = CliRunner().invoke(memory.main, [*TINY, "--batch-gpu", "32", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["batch_gpu"], row["checkpoint_activations"]) for row in rows] == [(32, False), (32, True)]
    for row in rows:
        assert min(row["phases"].values()) > 2**20


def test_prints_a_table():
    G = 2**30
    found = {"Gmain": 3 * G, "Dmain": 4 * G}
    rows = [memory.Row(4, False, found), memory.Row(16, True, found)]
    assert memory.table(rows, resolution=(8, 16), preset="auto", precision="bf16", device="cuda").splitlines() == [
        "16x8, preset auto, bf16, cuda; GiB",
        "",
        "at once  checkpointing   Gmain   Dmain    most",
        "      4             no    3.00    4.00    4.00",
        "     16            yes    3.00    4.00    4.00",
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--batch-gpu 3", "--batch-gpu 3 does not divide the 32 images that a process has of --batch 32: take 2"),
        ("--resolution 65", "StyleGAN2 cannot have the size 65x65"),
        ("--set loss.gama=1", "loss.gamma"),
    ],
)
def test_refuses_in_one_sentence(flags, words):
    result = CliRunner().invoke(memory.main, flags.split())
    assert result.exit_code == 2
    assert words in result.output and "Traceback" not in result.output
