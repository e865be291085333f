"""Both ways to the gradients of the weights, as a step computes them."""

from click.testing import CliRunner

from benchmarks.stylegan2 import gradient
from benchmarks.stylegan2.setting import Setting
from custom_ops import weight_gradient as module

FLAGS = "--resolution 16 --channel-base 512 --channel-max 32 --mapping-layers 2 --batch 4 --iterations 1 --threads 1"


def test_every_such_gradient_is_seen_whichever_way_it_is_computed(monkeypatch):
    """Of 8x8 in Dmain, which looks at fakes and reals, and once in Gmain by way of D; G has blocks of 4, 8 and 16."""
    monkeypatch.setattr(module, "_OF_AVX2", True)
    monkeypatch.setattr(module, "_LARGE", 2**13)  # some go by the library, some by products
    setting = Setting(resolution="16", channel_base=512, channel_max=32, mapping_layers=2, batch=4).resolved()
    seen = gradient.differentiated(setting)
    sizes = sorted((case.w[:2], min(case.x[2], case.gy[2]), max(case.stride)) for case in seen.elements())
    square, last = (32, 32), (32, 33)
    enlarging = [(square, 4, 2), (square, 8, 2)]
    G = [(square, size, 1) for size in (4, 8, 16)] + enlarging
    D = [(square, size, 1) for size in (16, 8)] + [(square, size, 2) for size in (8, 4)] + [(last, 4, 1)]
    assert sizes == sorted(G + 2 * D)


def test_judges_the_rule():
    run = CliRunner().invoke(gradient.main, FLAGS.split())
    assert run.exit_code == 0, run.output
    assert "slower than the faster way to each layer, in total: the rule" in run.output
    assert "4 x 32 -> 32, 3x3 down, 17x17" in run.output
