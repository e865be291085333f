"""One picture at a time on one thread of a CPU: prepared steps beside the modules, and beside onnxruntime."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from statistics import median
from unittest.mock import patch

import click
import torch

from models.engines import open_session
from models.families import load_sampler
from models.graphformats import PACKAGES
from models.sampler import Sampler
from models.stylegan2.generator import Generator
from models.stylegan2.prepared import PreparedSynthesis
from models.stylegan2.sampler import StyleSampler
from torch_utils.cli import Command, option, progress, say

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.sampling
  python -m benchmarks.stylegan2.sampling --network ffhq256 --rounds 3
"""
PICTURES = 8  # of a round


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", type=click.Path(), default="assets/faces64.safetensors", group="Measurement", help="a StyleGAN2")
@option("--rounds", type=click.IntRange(min=1), default=30, group="Measurement", help="rounds, each of 8 pictures")
def main(network: str, rounds: int) -> None:
    """Time pictures of a StyleGAN2 by turns, in seconds of the processor: other programs disturb it less."""
    torch.set_num_threads(1)
    sampler = load_sampler(network)
    if not isinstance(sampler, StyleSampler) or not isinstance(sampler.G, Generator):
        raise ValueError(f"--network {network}: expected a network of StyleGAN2")
    ways = {"prepared": _pictures(sampler), "modules": _pictures(sampler, prepared=False)}
    if all(map(find_spec, PACKAGES)):
        ways["onnxruntime"] = _pictures(sampler.run_by(open_session))
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


def _pictures(sampler: Sampler, prepared: bool = True) -> Callable[[], object]:
    requests = sampler.requests(list(range(PICTURES)), None)

    def run() -> None:
        with nullcontext() if prepared else patch.object(PreparedSynthesis, "fits", return_value=False):
            list(sampler.sample(requests))

    return run


if __name__ == "__main__":
    main()
