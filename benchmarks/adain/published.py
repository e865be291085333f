"""Drive a checkout of naoto0804's pytorch-AdaIN as a black box: a pair of pictures, or steps of training.

`python -m benchmarks.adain.published CHECKOUT SETTING`, run by `benchmarks.stylize`. The checkout's test.py encodes the
style of every pair, so a further content takes as long as the first. This file must not import our `models`.
"""

import importlib
import json
import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.speed import timings


def main(checkout: str, setting: str) -> None:
    a = SimpleNamespace(**json.loads(setting))
    sys.path.insert(0, checkout)  # before this project
    torch.set_num_threads(a.threads)
    net, function = (importlib.import_module(name) for name in ("net", "function"))  # of the checkout
    encoder = torch.nn.Sequential(*list(net.vgg.children())[:31])  # up to relu4_1, as its programs do
    for name, part in (("encoder", encoder), ("decoder", net.decoder)):
        part.load_state_dict(torch.load(Path(a.weights) / f"{name}.pth", weights_only=True))
    found = steps(net.Net(encoder, net.decoder), a) if a.work == "training" else pair(encoder, net, function, a)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps(found | ({"peak_bytes": peak} if a.work == "training" else {"bytes": peak})))


def pair(encoder: torch.nn.Module, net: Any, function: Any, a: SimpleNamespace) -> dict[str, float]:
    torch.manual_seed(1)
    content, style = torch.rand(2, 1, 3, a.size, a.size)
    made: list[torch.Tensor] = []

    def both(_: int) -> None:
        with torch.no_grad():
            made[:] = [net.decoder(function.adaptive_instance_normalization(encoder(content), encoder(style)))]

    seconds = timings({"pair": both}, a.iterations, torch.device("cpu"))["pair"]
    torch.save(made[0], Path(a.weights) / "published.pt")
    return {"pair": seconds, "next content": seconds}


def steps(network: Any, a: SimpleNamespace) -> dict[str, Any]:
    adam = torch.optim.Adam(network.decoder.parameters(), lr=1e-4)

    def step(_: int) -> None:
        contents, styles = torch.rand(2, a.batch, 3, a.crop, a.crop)
        content, style = network(contents, styles)
        adam.zero_grad()
        (content + 10 * style).backward()
        adam.step()

    seconds = timings({"decode": step}, a.iterations, torch.device("cpu"))
    return {"batch": a.batch, "phase_seconds": seconds, "phase_intervals": {"decode": 1}, "sample_seconds": 0}


if __name__ == "__main__":
    main(*sys.argv[1:])
