"""Drive a checkout of the published DiT program as a black box: a training step of its network, and guided sampling.

`python -m benchmarks.diffusion.published CHECKOUT SETTING`, with the settings as JSON; run by `compare`. It computes in
float32, on CUDA in tf32 if ours is not float32. This file must not import our `models` and `training`: the checkout has
modules of these names.
"""

import importlib
import json
import resource
import sys
from types import SimpleNamespace

import torch

from benchmarks.speed import timings


def main(checkout: str, setting: str) -> None:
    a = SimpleNamespace(**json.loads(setting))
    sys.path.insert(0, checkout)  # before this project
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = a.precision != "fp32"
    device = torch.device(a.device)
    networks, processes = (importlib.import_module(name) for name in ("models", "diffusion"))  # of the checkout
    size = {"input_size": a.resolution, "in_channels": 3, "num_classes": a.classes}
    network = networks.DiT_models[published_name(a.model)](**size).to(device)
    adamw = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas).cumprod(0).float().to(device)

    def step(_: int) -> None:
        x, noise = (torch.randn(a.batch, 3, a.resolution, a.resolution, device=device) for _ in range(2))
        t, y = (torch.randint(n, (a.batch,), device=device) for n in (1000, a.classes))
        share = kept[t].reshape(-1, 1, 1, 1)
        output = network(share.sqrt() * x + (1 - share).sqrt() * noise, t, y)
        loss = (output[:, :3] - noise).square().mean()  # the variances learn nothing, in ours neither
        adamw.zero_grad()
        loss.backward()
        adamw.step()

    def sample(_: int) -> None:
        network.eval()
        process = processes.create_diffusion(str(a.steps))
        z = torch.randn(a.batch, 3, a.resolution, a.resolution, device=device).repeat(2, 1, 1, 1)
        y = torch.arange(a.batch, device=device) % a.classes
        told = {"y": torch.cat([y, torch.full_like(y, a.classes)]), "cfg_scale": a.cfg_scale}
        with torch.no_grad():
            process.p_sample_loop(
                network.forward_with_cfg, z.shape, z, clip_denoised=False, model_kwargs=told, device=device
            )

    seconds = timings({"denoise": step}, a.iterations, device)
    sampling = timings({"sampling": sample}, a.iterations, device)["sampling"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak
    found = {"phase_seconds": seconds, "phase_intervals": {"denoise": 1}, "sample_seconds": sampling}
    print(json.dumps({"batch": a.batch, **found, "peak_bytes": peak}))


def published_name(model: str) -> str:
    """ "dit-s/2" -> "DiT-S/2"."""
    return model.upper().replace("DIT", "DiT")


if __name__ == "__main__":
    main(*sys.argv[1:])
