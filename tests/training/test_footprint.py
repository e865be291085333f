"""The memory of a step, computed on fake tensors, against that of real ones."""

import gc
from functools import cache
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.profiler import ProfilerActivity, profile

from training.batch_gpu import Ledger, footprint, rehearse
from training.stylegan2.config import StyleGAN2Config, resolve

CPU = torch.device("cpu")


def config(classes=0, batch_gpu=8, **given) -> StyleGAN2Config:
    data = {"height": 16, "width": 16, "channels": 3, "classes": classes}
    small: dict[str, Any] = {f"{network}.channel_base": 1024 for network in ("generator", "discriminator")}
    small |= {"generator.w_dim": 64, "precision": "fp32", "pace.batch": 16, "pace.batch_gpu": batch_gpu}
    return resolve("auto", data, small | given, 1)


@cache
def mixed() -> tuple[StyleGAN2Config, dict[str, int]]:
    """A configuration with all that changes memory, and what its step takes."""
    c = config(precision="bf16", classes=3, checkpoint_activations=True)
    return c, footprint(c, 16, CPU)


def held_by_real_tensors(c: StyleGAN2Config) -> dict[str, int]:
    phases: dict[str, int] = {}
    with Ledger() as ledger:

        def note(name: str) -> None:
            phases[name] = max(ledger.peak, phases.get(name, 0))
            ledger.peak = ledger.held

        rehearse(c, 16, CPU, note)
    return phases


def test_fake_tensors_take_what_real_ones_take():
    c, computed = mixed()
    real = held_by_real_tensors(c)
    assert (
        computed.keys() - {"networks", "gradients", "optimizers", "most"}
        == real.keys()
        == {"Gmain", "Gpath", "Dmain", "Dr1"}
    )
    for name, most in real.items():
        assert computed[name] == pytest.approx(most, abs=2**16), name  # the seeds of real generators


def test_the_allocator_agrees():
    """PyTorch's profiler sees each block that the CPU's allocator hands out and takes back."""
    c, computed = mixed()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        rehearse(c, 16, CPU)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    assert computed["most"] == pytest.approx(peak, rel=0.05)


def test_networks_gradients_and_adam_are_what_parameters_make_them():
    """A step reads nothing back from the device either: fake tensors have no contents, and would raise."""
    c, found = mixed()
    recipe = rehearse(c, 16, CPU)
    G, D = (sum(p.numel() for p in network.parameters()) for network in (recipe.G, recipe.D))
    in_G, in_D = (sum(b.numel() for b in network.buffers()) for network in (recipe.G, recipe.D))
    assert found["networks"] == 4 * (2 * (G + in_G) + D + in_D)
    assert found["gradients"] == 4 * (G + D)
    assert found["optimizers"] == pytest.approx(8 * (G + D), rel=1e-3)  # two moments, and counts of steps
    assert found["most"] > found["networks"] + found["gradients"] + found["optimizers"]


def fake_tensors() -> list[FakeTensor]:
    gc.collect()
    return [o for o in gc.get_objects() if type(o) is FakeTensor]


def test_it_leaves_no_trace():
    """Random states are as before, and no cached constant has become a fake tensor."""
    torch.manual_seed(5)
    before, fake_before = torch.random.get_rng_state(), set(map(id, fake_tensors()))
    footprint(mixed()[0], 16, CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not set(map(id, fake_tensors())) - fake_before


@pytest.mark.proof
def test_1024_pixels_with_the_widths_of_the_paper_fit_into_12_gib():
    """Four at once, as on each of the paper's eight GPUs, with room for the context of CUDA and cuDNN's workspaces."""
    data = {"height": 1024, "width": 1024, "channels": 3, "classes": 0}
    c = resolve("stylegan2", data, {"precision": "bf16"}, 8)
    assert (c.generator.channel_base, c.generator.channel_max, c.pace.batch_gpu) == (32768, 512, 4)
    assert footprint(c, 4, torch.device("cuda"))["most"] < 10 * 2**30
