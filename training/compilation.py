"""`--compile`: the networks' passes compiled by `torch.compile`, where that works and gives the same.

`torch.compile` does not support double backward, so the phases that need it, Gpath and Dr1, stay eager.
"""

from dataclasses import replace
from typing import Any

import torch

from training.stylegan2.recipe import Passes, StyleGAN2
from training.trial import try_out


def compile_passes(recipe: StyleGAN2, backend: str = "inductor") -> str:
    """Give the recipe compiled passes, unless they fail or compute something else; returns a sentence that says so.

    Learns nothing: networks, averages and gradients are afterwards what they were.
    """

    def change() -> None:
        recipe.passes = _compiled(recipe, backend)

    def undo() -> None:
        recipe.passes = recipe.plain
        for phase in recipe.phases:
            phase.owns_gradients = False

    return try_out(recipe, "--compile", change, undo, "Gmain and Dmain run compiled")


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
