"""What only a CUDA device can show: number formats, skipped steps, and that training never waits for the device."""

import pytest
import torch

from models.stylegan2.config import FP16_CLAMP
from models.stylegan2.layers import Conv2D
from tests.training.runs import resume, train
from torch_utils import runs
from torch_utils.stats import Collector
from training.draws import Draws
from training.presets import resolve
from training.run import read_state
from training.stylegan2 import StyleGAN2

pytestmark = pytest.mark.gpu
SMALL = {"generator.channel_base": 256, "discriminator.channel_base": 256, "pace.batch": 4}


def recipe(precision: str) -> StyleGAN2:
    data = {"height": 64, "width": 64, "channels": 3, "classes": 3}
    torch.manual_seed(0)
    config = resolve("auto", data, SMALL | {"precision": precision}, 1)
    return StyleGAN2(config, torch.ones(3), torch.device("cuda"))


def step(r: StyleGAN2, collector: Collector, iteration: int = 0) -> None:
    images = torch.linspace(-1, 1, 4 * 3 * 64 * 64, device="cuda").reshape(4, 3, 64, 64)
    reals = r.reals(images, torch.arange(4, device="cuda") % 3)
    for phase in r.phases:
        draws = Draws(0, iteration, phase.name, 4, 0, 4, torch.device("cuda"))
        phase.step([r.losses(phase, reals, draws)], 1, collector)
    r.after_step(seen=4)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_every_precision_trains(precision):
    r = recipe(precision)
    for iteration in range(3):
        step(r, Collector("cuda"), iteration)
    assert [phase.skipped() for phase in r.phases] == [0, 0, 0, 0]
    assert all(p.isfinite().all() for network in r.networks.values() for p in network.parameters())


def test_float16_is_limited_and_serves_the_highest_resolutions():
    r = recipe("fp16")
    assert [block.dtype for block in r.G.synthesis.blocks] == [torch.float32] + [torch.float16] * 4
    assert {module.clamp for module in r.D.modules() if isinstance(module, Conv2D)} >= {FP16_CLAMP}


def test_a_step_never_waits_for_the_device():
    r, collector = recipe("bf16"), Collector("cuda")
    step(r, collector)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(r, collector, iteration=1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_without_finite_gradients_changes_nothing(monkeypatch):
    r, collector = recipe("fp32"), Collector("cuda")
    step(r, collector)
    before = [p.clone() for p in r.G.parameters()]
    monkeypatch.setattr("training.gan_losses.generator_loss", lambda scores: scores * float("nan"))
    r.phases[0].step([r.losses(r.phases[0], None, Draws(0, 1, "Gmain", 4, 0, 4, torch.device("cuda")))], 1, collector)
    assert r.phases[0].skipped() == 1
    assert all(torch.equal(a, b) for a, b in zip(before, r.G.parameters(), strict=True))


def test_the_device_computes_what_the_processor_computes():
    """Float32 without TF32: forward passes and gradients agree to rounding."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    r = recipe("fp32")
    z, c = torch.randn(4, 512), torch.eye(3)[[0, 1, 2, 0]]
    on_device = r.G(z.cuda(), c.cuda(), noise_mode="const").cpu()
    on_processor = r.G.cpu()(z, c, noise_mode="const")
    torch.testing.assert_close(on_device, on_processor, atol=2e-4, rtol=1e-3)


def test_a_run_resumes_on_the_device(tmp_path):
    folder = resume(train(tmp_path, device="cuda", pace__kimg=0.1, stop_at=13))
    assert read_state(runs.resolve(str(folder), tmp_path)).clock.seen == 100
