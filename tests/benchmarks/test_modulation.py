import pytest
import torch
from click.testing import CliRunner

from benchmarks import modulation
from benchmarks.setting import Setting
from models.stylegan2.modulation import Conv2DMod

FLAGS = (
    "--resolution 16x8 --channel-base 64 --channel-max 8 --mapping-layers 2 --batches 1,2 --iterations 1 --threads 1"
)


def test_every_convolution_is_looked_at_once():
    setting = Setting(resolution="16x8", channel_base=64, channel_max=8, mapping_layers=2).resolved()
    G = setting.recipe().G
    found = modulation.convolutions(G)
    assert [layer for _, layer in found] == [m for m in G.modules() if isinstance(m, Conv2DMod)]
    assert found[0][0] == (G.config.base, torch.float32)
    assert found[-1][0] == ((8, 16), torch.float32)


@pytest.mark.parametrize("learning", [[], ["--learning"]])
def test_judges_the_rule(learning):
    run = CliRunner().invoke(modulation.main, FLAGS.split() + learning)
    assert run.exit_code == 0, run.output
    assert "over the sum of the faster form of each layer: the rule" in run.output
