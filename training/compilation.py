"""`--compile`: the networks' passes compiled by `torch.compile`, where that works and gives the same.

Compilers of PyTorch differentiate once, so the phases that need second derivatives, Gpath and Dr1, run as ever.
Compilation fails on machines without a compiler, and now and then gives wrong numbers without a word (pytorch #167313).
So it is tried out before training begins, and given up if anything is amiss.
"""

from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torch_utils import distributed
from torch_utils.device import Precision
from training.draws import Draws
from training.phase import Phase
from training.stylegan2 import Passes, StyleGAN2

# How far gradients may be from those without compilation, relative to their norm: wrong ones are off by tens of per
# cent, and rounding that is distributed differently by a tenth of this.
TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2, "fp16": 5e-2}
ROUNDS = 3  # CUDA graphs run as usual in the first, are recorded in the second and replayed in the third


class CompilationError(Exception):
    """Why compiled passes are not to be used, in words that follow on `--compile`."""


def compile_passes(recipe: StyleGAN2, backend: str = "inductor") -> str:
    """Gives the recipe compiled passes, unless they fail or compute something else; returns a sentence that says so.

    Learns nothing: networks, averages and gradients are afterwards what they were.
    """
    reason = ""
    try:
        with distributed.alone():
            wanted = _gradients(recipe)
            recipe.passes = _compiled(recipe, backend)
            _compare(_gradients(recipe), wanted, TOLERANCES[recipe.config.arithmetic])
    except CompilationError as error:
        reason = str(error)
    except Exception as error:  # whatever a compiler may throw
        cause = getattr(error, "inner_exception", error)
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        reason = f"does not work here ({lines[0]})"
    if distributed.least(int(not reason)):
        return "Gmain and Dmain run compiled"
    recipe.passes = recipe.plain
    for phase in recipe.phases:
        phase.owns_gradients = False
    return f"--compile {reason or 'does not work for another process'}: training goes on without it"


def _compiled(recipe: StyleGAN2, backend: str) -> Passes:
    """Compiled at the first call, for the shapes and the needs of differentiation that are met there."""
    plain, graphs = recipe.plain, recipe.path_mean.device.type == "cuda" and backend == "inductor"
    mode = "reduce-overhead" if graphs else None  # CUDA graphs: the host starts a whole pass at once
    options: dict[str, Any] = {"backend": backend, "mode": mode, "dynamic": False}
    compiled = [torch.compile(function, **options) for function in (plain.map, plain.render, plain.score)]
    passes = Passes(*compiled)  # type: ignore[arg-type]
    if not graphs:
        return passes
    for phase in recipe.phases:
        phase.owns_gradients = True
    return replace(passes, begin=torch.compiler.cudagraph_mark_step_begin)


def _gradients(recipe: StyleGAN2) -> dict[str, Tensor]:
    """What the phases that may be compiled differentiate, by phase: the gradients of all parameters in a row."""
    average, strength = recipe.G.mapping.w_average.clone(), copy(recipe.strength)
    phases = [phase for phase in recipe.phases if phase.name in ("Gmain", "Dmain")]
    gradients = {phase.name: _gradient(recipe, phase) for phase in phases}
    recipe.G.mapping.w_average.copy_(average)
    recipe.strength = strength
    return gradients


def _gradient(recipe: StyleGAN2, phase: Phase) -> Tensor:
    config, device = recipe.config, recipe.path_mean.device
    G, batch = config.generator, config.pace.batch_gpu
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.rand(batch, G.channels, G.height, G.width).to(device) * 2 - 1
    reals = recipe.reals(images, torch.zeros(batch, dtype=torch.int64, device=device))
    draws = Draws(config.seed, 0, phase.name, batch, 0, batch, device)
    try:
        phase.differentiate((recipe.losses(phase, reals, draws) for _ in range(ROUNDS)), ROUNDS)
        return torch.cat([p.grad.flatten() for p in phase.network.parameters() if p.grad is not None])
    finally:
        phase.network.requires_grad_(False)
        phase.network.zero_grad(set_to_none=True)


def _compare(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    for name, gradient in wanted.items():
        difference = float((found[name] - gradient).norm() / gradient.norm())
        if not difference <= tolerance:  # nan is no small difference
            raise CompilationError(f"gives gradients of {name} that are {difference:.1%} off")
