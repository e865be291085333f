"""`--compile`: the networks' passes compiled by `torch.compile`, if that works and gives the same gradients.

`torch.compile` does not support double backward, so phases that need it stay eager.
"""

from functools import partial

import torch

from training.trial import Compilable, try_out


def compile_passes(recipe: Compilable, backend: str = "inductor") -> str:
    """Give a recipe compiled passes, unless they fail or compute something else; return a sentence about it.

    Networks, averages and gradients are afterwards as before.
    """
    graphs = recipe.phases[0].skips.device.type == "cuda" and backend == "inductor"

    def change() -> None:
        # CUDA graphs: the host starts a whole pass at once. Compilation happens at the first call.
        mode = "reduce-overhead" if graphs else None
        compiled = partial(torch.compile, backend=backend, mode=mode, dynamic=False)
        recipe.use_passes(compiled, torch.compiler.cudagraph_mark_step_begin if graphs else lambda: None)
        for phase in recipe.phases:
            phase.owns_gradients = graphs

    def undo() -> None:
        recipe.use_passes(None)
        for phase in recipe.phases:
            phase.owns_gradients = False

    return try_out(recipe, "--compile", change, undo, "run compiled")
