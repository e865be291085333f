"""One picture at a time on one thread of a CPU: prepared steps beside the modules, and beside onnxruntime."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from unittest.mock import patch

import click
import numpy as np
import torch

from models.families import load_sampler
from models.stylegan2.generator import Generator
from models.stylegan2.prepared import PreparedSynthesis
from torch_utils.cli import Command, option, progress, say

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.sampling
  python convert.py --source assets/faces64.safetensors --dest faces64.onnx
  python -m benchmarks.stylegan2.sampling --onnx faces64.onnx
"""
PICTURES = 8  # of a round


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", type=click.Path(), default="assets/faces64.safetensors", group="Measurement", help="a StyleGAN2")
@option("--onnx", type=click.Path(path_type=Path), group="Measurement", help="the network, as convert.py exports it")
@option("--rounds", type=click.IntRange(min=1), default=30, group="Measurement", help="rounds, each of 8 pictures")
def main(network: str, onnx: Path | None, rounds: int) -> None:
    """Time pictures of a StyleGAN2 by turns, in seconds of the processor: other programs disturb it less."""
    torch.set_num_threads(1)
    ways = {"prepared": _of_sampler(network, True), "modules": _of_sampler(network, False)}
    if onnx is not None:
        ways["onnxruntime"] = _of_graph(onnx)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for k in progress(range(rounds + 1), rounds + 1, "rounds"):
        for name, run in ways.items():
            began = time.thread_time()
            run()
            if k:  # the first is slower
                found[name].append((time.thread_time() - began) / PICTURES * 1000)
    for name, each in found.items():
        ratio = median(found["modules"]) / median(each)
        say(f"{name:<12} {median(each):6.2f} ms a picture, at best {min(each):.2f}; {ratio:.2f} x modules")


def _of_sampler(network: str, prepared: bool) -> Callable[[], object]:
    sampler = load_sampler(network)
    G = getattr(sampler, "G", None)
    if not isinstance(G, Generator):
        raise ValueError(f"--network {network}: expected a network of StyleGAN2")
    requests = sampler.requests(list(range(PICTURES)), None)

    def run() -> None:
        with nullcontext() if prepared else patch.object(PreparedSynthesis, "fits", return_value=False):
            list(sampler.sample(requests))

    return run


def _of_graph(path: Path) -> Callable[[], object]:
    import onnxruntime  # an optional package

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shapes = {each.name: [1 if isinstance(side, str) else side for side in each.shape] for each in session.get_inputs()}
    inputs = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return lambda: [session.run(None, inputs) for _ in range(PICTURES)]


if __name__ == "__main__":
    main()
