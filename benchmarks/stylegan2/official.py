"""Drive a checkout of the official StyleGAN2-ADA PyTorch code as a black box: its four training phases and sampling.

`python -m benchmarks.stylegan2.official CHECKOUT SETTING`, with a `step.StepSetting` as JSON; run by `compare`.

On a CPU it uses its reference operators in float32. On CUDA it builds its own kernels, and precision fp16 selects its
float16 layers. This file must not import our packages `training`, `metrics` and `torch_utils`: the checkout has others.
"""

import importlib
import json
import resource
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.speed import timings

PHASES = {"Gmain": ("G", 1), "Greg": ("G", 4), "Dmain": ("D", 1), "Dreg": ("D", 16)}  # network and interval


def main(checkout: str, setting: str) -> None:
    a = SimpleNamespace(**json.loads(setting))
    a.precision = "fp32" if a.device == "cpu" else a.precision.replace("bf16", "fp16")  # it has no bfloat16
    sys.path.insert(0, checkout)  # before this project
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = a.precision == "tf32"
    device = torch.device(a.device)
    calls, sample = build(a, device)
    seconds = timings(calls, a.iterations, device)
    sampling = timings({"sampling": sample}, a.iterations, device)["sampling"]
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak
    intervals = {name: interval for name, (_, interval) in PHASES.items()}
    found = {"phase_seconds": seconds, "phase_intervals": intervals, "sample_seconds": sampling, "peak_bytes": peak}
    print(json.dumps({"batch": a.batch, **found}))


def build(a: SimpleNamespace, device: torch.device) -> tuple[dict[str, Callable[[int], None]], Callable[[int], None]]:
    """The two official networks with random weights: a call for each training phase, and one that samples."""
    theirs, losses = (importlib.import_module(f"training.{name}") for name in ("networks", "loss"))  # of the checkout
    low: dict[str, Any] = {"num_fp16_res": 4, "conv_clamp": 256} if a.precision == "fp16" else {}
    widths = {"channel_base": a.channel_base, "channel_max": a.channel_max}
    shape = {"img_resolution": a.resolution, "img_channels": 3}
    mapping = {"num_layers": a.mapping_layers}
    G = theirs.Generator(
        z_dim=512, c_dim=0, w_dim=512, mapping_kwargs=mapping, synthesis_kwargs={**widths, **low}, **shape
    )
    D = theirs.Discriminator(c_dim=0, **widths, **shape, **low)
    networks = {name: network.train().requires_grad_(False).to(device) for name, network in (("G", G), ("D", D))}
    loss = losses.StyleGAN2Loss(device=device, G_mapping=G.mapping, G_synthesis=G.synthesis, D=D, r1_gamma=1)
    # PyTorch refuses the official default of the first beta, an int 0.
    adam = {
        name: torch.optim.Adam(m.parameters(), lr=0.002, betas=(0.0, 0.99), eps=1e-8) for name, m in networks.items()
    }
    c = torch.zeros(a.batch, 0, device=device)

    def step(phase: str, name: str, interval: int, _: int) -> None:
        reals = torch.rand(a.batch, 3, a.resolution, a.resolution, device=device) * 2 - 1
        z = torch.randn(a.batch, 512, device=device)
        adam[name].zero_grad(set_to_none=True)
        networks[name].requires_grad_(True)
        loss.accumulate_gradients(phase=phase, real_img=reals, real_c=c, gen_z=z, gen_c=c, sync=True, gain=interval)
        networks[name].requires_grad_(False)
        adam[name].step()

    @torch.no_grad()
    def sample(_: int) -> None:
        G.eval()(torch.randn(a.batch, 512, device=device), c, noise_mode="const")

    return {phase: partial(step, phase, *of) for phase, of in PHASES.items()}, sample


if __name__ == "__main__":
    main(*sys.argv[1:])
