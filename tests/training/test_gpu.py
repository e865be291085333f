"""What only a CUDA device can show: number formats, skipped steps, and that training never waits for the device."""

import pytest
import torch

from models.family import Shape
from models.stylegan2.config import FP16_CLAMP
from models.stylegan2.layers import Conv2D
from tests.training.runs import resume, train
from tests.training.test_resume import assert_equal_networks
from torch_utils import runs
from torch_utils.device import set_precision
from torch_utils.stats import Collector
from training.batch_gpu import candidates, footprint, largest, rehearse
from training.course import Asked
from training.recipe import Draws, Pictures
from training.state import read_state
from training.stylegan2.config import resolve
from training.stylegan2.course import settle
from training.stylegan2.recipe import StyleGAN2
from training.trial import capture_phases, compile_passes

pytestmark = pytest.mark.gpu
SMALL = {"generator.channel_base": 256, "discriminator.channel_base": 256, "pace.batch": 4}


def recipe(precision: str, **more: object) -> StyleGAN2:
    data = {"height": 64, "width": 64, "channels": 3, "classes": 3}
    torch.manual_seed(0)
    config = resolve("auto", data, SMALL | {"precision": precision} | more, 1)
    return StyleGAN2(config, torch.ones(3), torch.device("cuda"))


def step(r: StyleGAN2, collector: Collector, iteration: int = 0) -> None:
    pixels = torch.linspace(0, 255, 4 * 3 * 64 * 64, device="cuda").reshape(4, 3, 64, 64).byte()
    reals = r.batch(Pictures(pixels, torch.arange(4, device="cuda") % 3))
    for phase in r.phases:
        draws = Draws(0, iteration, phase.name, 4, 0, 4, torch.device("cuda"))
        phase.step([r.terms(phase, reals, draws)], 1, collector)
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
    assert {module.low_clamp for module in r.D.modules() if isinstance(module, Conv2D)} >= {FP16_CLAMP}


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
    monkeypatch.setattr("training.stylegan2.losses.generator_loss", lambda scores: scores * float("nan"))
    r.phases[0].step([r.terms(r.phases[0], None, Draws(0, 1, "Gmain", 4, 0, 4, torch.device("cuda")))], 1, collector)
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


def test_with_deterministic_algorithms_a_run_resumes_to_the_last_bit(tmp_path):
    options = {"device": "cuda", "precision": "bf16", "deterministic": True, "pace__kimg": 0.1}
    try:
        whole = train(tmp_path / "whole", **options)
        assert_equal_networks(whole, resume(train(tmp_path / "parts", stop_at=13, **options)))
    finally:
        set_precision("fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_passes_and_cuda_graphs_learn_the_same(precision):
    compiled, plain = recipe(precision), recipe(precision)
    assert compile_passes(compiled) == "Gmain and Dmain run compiled"
    collectors = Collector("cuda"), Collector("cuda")
    for iteration in range(5):
        for r, collector in zip((compiled, plain), collectors, strict=True):
            step(r, collector, iteration)
    a, b = (collector.read() for collector in collectors)
    assert a["loss/D real"].mean == pytest.approx(b["loss/D real"].mean, rel=0.05)
    assert a["gradients/Gmain"].mean == pytest.approx(b["gradients/Gmain"].mean, rel=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("aug", ["none", "ada"])
def test_phases_as_cuda_graphs_learn_the_same(precision, aug):
    replayed, plain = (recipe(precision, **{"augment.mode": aug}) for _ in range(2))
    assert capture_phases(replayed) == "Gmain and Dmain run as CUDA graphs"
    collectors = Collector("cuda"), Collector("cuda")
    for iteration in range(5):
        for r, collector in zip((replayed, plain), collectors, strict=True):
            step(r, collector, iteration)
    a, b = (collector.read() for collector in collectors)
    assert a["loss/D real"].mean == pytest.approx(b["loss/D real"].mean, rel=0.05)
    assert a["gradients/Gmain"].mean == pytest.approx(b["gradients/Gmain"].mean, rel=0.1)


def test_the_number_of_images_at_once_is_found_by_trial():
    """With a part of the device's memory fewer fit; nothing stays behind."""
    asked = Asked("auto", Shape(64, 64, 3, 0), SMALL | {"precision": "bf16", "pace.batch": 1024})
    configs = candidates(settle, asked)
    device, before = torch.device("cuda", 0), torch.cuda.memory_allocated()
    torch.cuda.manual_seed(1)
    state = torch.cuda.get_rng_state()
    whole = largest(configs, device).pace.batch_gpu
    reserve = torch.cuda.get_device_properties(0).total_memory * 0.05
    some = next(c for c in configs if c.pace.batch_gpu == 64)
    share = (max(footprint(some, 1024, device).values()) * 1.3 + reserve) / torch.cuda.get_device_properties(
        0
    ).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        part = largest(configs, device).pace.batch_gpu
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 16 <= part <= 128 and part < whole
    assert torch.cuda.memory_allocated() == before
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_what_is_computed_is_what_the_device_holds():
    """The most that tensors hold, against the allocator's own count."""
    data = {"height": 64, "width": 64, "channels": 3, "classes": 0}
    config = resolve("auto", data, {"precision": "bf16", "pace.batch": 8}, 1)
    rehearse(config, 8, torch.device("cuda", 0))
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    rehearse(config, 8, torch.device("cuda", 0))
    held = torch.cuda.max_memory_allocated() - before
    assert max(footprint(config, 8, torch.device("cuda", 0)).values()) == pytest.approx(
        held, rel=0.2
    )  # cuDNN's workspaces
