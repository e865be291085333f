"""What augmentation adds to a step."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks import augment


def test_the_share_weighs_phases_by_how_often_they_are_due():
    without, with_it = {"Gmain": 1.0, "Dr1": 4.0}, {"Gmain": 1.5, "Dr1": 6.0}
    assert augment.Cost(without, with_it, {"Gmain": 1, "Dr1": 16}).share == pytest.approx((1.5 + 6 / 16) / 1.25 - 1)


def test_measures_every_phase_with_and_without():
    threads = torch.get_num_threads()
    flags = (
        "--augpipe bgcfnc --resolution 16x8 --channel-base 64 --mapping-layers 2 --batch 2 --iterations 1 --threads 1"
    )
    run = CliRunner().invoke(augment.main, flags.split())
    torch.set_num_threads(threads)
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [["Gmain", "1"], ["Gpath", "4"], ["Dmain", "1"], ["Dr1", "16"]]
    assert "added to a mean iteration" in lines[-1]
