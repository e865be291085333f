import pytest
from click.testing import CliRunner

from benchmarks import memory

TINY = ["--resolution", "16x8", "--preset", "auto"]
TINY += [
    f"--set={part}.{size}"
    for part in ("generator", "discriminator")
    for size in ("channel_base=64", "channel_max=8", "mapping_layers=1")
]


def test_computes_and_prints_every_number_of_images():
    result = CliRunner().invoke(memory.main, [*TINY, "--batch-gpu", "32"])
    assert result.exit_code == 0, result.output
    title, sizes, _, heads, plain, checkpointed = result.stdout.splitlines()
    assert title == "16x8, preset auto, bf16, cuda; GiB" and sizes.startswith("networks 0.0")
    assert heads.split()[:4] == ["at", "once", "checkpointing", "Gmain"]
    assert plain.split()[:2] == ["32", "no"] and checkpointed.split()[:2] == ["32", "yes"]


def test_prints_gibibytes():
    G = 2**30
    sizes = {"networks": G, "gradients": G // 2, "optimizers": G}
    found = sizes | {"Gmain": 3 * G, "Dmain": 4 * G, "most": 4 * G}
    assert memory.table([(4, False, found)]).splitlines() == [
        "networks 1.00, gradients 0.50, optimizers 1.00",
        "",
        "at once  checkpointing   Gmain   Dmain    most",
        "      4             no    3.00    4.00    4.00",
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
