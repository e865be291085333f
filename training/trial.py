"""Try out another way of taking Gmain and Dmain, before training begins: its gradients must be as good as the usual.

`--compile` and `--cuda-graphs` may fail on a machine, and a compiler may give wrong numbers without a word (pytorch
#167313). So both are tried first, and given up if anything is amiss.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils import distributed
from torch_utils.device import Precision, switches
from training.draws import Draws
from training.phase import Phase
from training.recipe import Pictures
from training.stylegan2.recipe import Reals, StyleGAN2

# Gradients are compared with those in fp32, as norms of differences relative to the norm of the fp32 gradient. The
# error of a gradient is the sum of independent roundings of 1e5 numbers or more, so two correct ways of rounding have
# errors of nearly the same norm, and a compiler that leaves roundings out has a smaller one: measured in bf16 on a CPU,
# compiled passes were 0.99 to 1.12 times as far off as eager ones, which were 2.7 to 11 % off. A fault adds to that.
MARGIN = 1.5
SLACK: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-3, "bf16": 5e-3, "fp16": 1e-3}  # for sums in another order
ROUNDS = 3  # CUDA graphs of `torch.compile` are recorded in the second and replayed in the third
PHASES = ("Gmain", "Dmain")  # the phases that need first derivatives only


class TrialError(Exception):
    """Why the other way is not to be used, in words that follow on its option."""


def try_out(recipe: StyleGAN2, option: str, change: Callable[[], None], undo: Callable[[], None], well: str) -> str:
    """Change a recipe if the changed one works and its gradients are as near to fp32 as before; say what came of it.

    Networks, averages and gradients are afterwards what they were.

    Args:
        recipe: with its networks on their device.
        option: of train.py, for the sentence.
        change: makes the recipe take its phases in the other way.
        undo: takes that back.
        well: the sentence if all went well.

    Returns:
        A sentence for the log.
    """
    reason, average = "", recipe.G.mapping.w_average.clone()
    try:
        with distributed.alone():
            usual, exact = gradients(recipe), _exact_gradients(recipe)
            change()
            _compare(gradients(recipe), usual, exact, SLACK[recipe.config.arithmetic])
    except TrialError as error:
        reason = str(error)
    except Exception as error:  # whatever a compiler or a driver may throw
        cause = getattr(error, "inner_exception", error)
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        reason = f"does not work here ({lines[0]})"
    recipe.G.mapping.w_average.copy_(average)
    recipe.strength.forget()
    if distributed.least(int(not reason)):
        return well
    undo()
    return f"{option} {reason or 'does not work for another process'}: training goes on without it"


def gradients(recipe: StyleGAN2) -> dict[str, Tensor]:
    """The gradients of all parameters in a row, by phase, after `ROUNDS` rounds of different inputs."""
    return {phase.name: _gradient(recipe, phase) for phase in recipe.phases if phase.name in PHASES}


def _exact_gradients(recipe: StyleGAN2) -> dict[str, Tensor]:
    """The same in fp32 without TF32."""
    arithmetic, networks = recipe.config.arithmetic, (recipe.G, recipe.D)
    if arithmetic == "fp32":
        return {}
    try:
        for network in networks:
            network.set_precision("fp32")
        with switches("fp32", recipe.config.deterministic):
            return gradients(recipe)
    finally:
        for network in networks:
            network.set_precision(arithmetic)


def inputs(recipe: StyleGAN2, phase: Phase, number: int) -> tuple[Reals, Draws]:
    """Reals and draws of a part of a batch; another number gives others."""
    config, device = recipe.config, recipe.path_mean.device
    G, batch = config.generator, config.pace.batch_gpu
    generator = torch.Generator().manual_seed(number)
    size = [batch, G.channels, G.height, G.width]
    pixels = torch.randint(256, size, dtype=torch.uint8, generator=generator).to(device)
    reals = recipe.batch(Pictures(pixels, torch.zeros(batch, dtype=torch.int64, device=device)))
    return reals, Draws(config.seed, number, phase.name, batch, 0, batch, device)


def _gradient(recipe: StyleGAN2, phase: Phase) -> Tensor:
    """Scaled as captured phases are, whose number of rounds is settled."""
    try:
        rounds = (recipe.losses(phase, *inputs(recipe, phase, number)) for number in range(ROUNDS))
        phase.differentiate(rounds, recipe.config.pace.batch // recipe.config.pace.batch_gpu)
        return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in phase.parameters])
    finally:
        phase.network.requires_grad_(False)
        phase.network.zero_grad(set_to_none=not phase.owns_gradients)


def _compare(found: dict[str, Tensor], usual: dict[str, Tensor], exact: dict[str, Tensor], slack: float) -> None:
    for name, gradient in found.items():
        goal = exact.get(name, usual[name])
        off, allowed = (float((g - goal).norm() / goal.norm()) for g in (gradient, usual[name]))
        if not off <= MARGIN * allowed + slack:  # nan is no small difference
            beside = f" (without it {allowed:.1%})" if exact else ""
            raise TrialError(f"gives gradients of {name} that are {off:.1%} off{beside}")
