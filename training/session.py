"""A plan carried out: the networks, the data and the run folder brought together, and training."""

import shlex
from contextlib import closing
from pathlib import Path

import torch

from imaging import loader
from imaging.sizes import spell
from torch_utils import config as configs
from torch_utils import distributed, runs
from torch_utils.atomic import replacing
from torch_utils.device import is_out_of_memory, keep_freed_memory, set_precision
from training.loop import fit
from training.plan import Plan
from training.presets import largest_divisor
from training.run import Run, set_damaged_state_aside
from training.samples import Samples
from training.stylegan2 import StyleGAN2
from training.transfer import transfer

FAMILY = "stylegan2"


def train(plan: Plan, command: str = "") -> Path | None:
    """Carries a plan out, and returns the run folder (None on processes that write nothing).

    Raises:
        ValueError: when memory does not suffice, or training has diverged.
    """
    folder = _folder(plan)
    try:
        return _train(plan, folder, command)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(_more_memory(plan)) from error
    finally:
        distributed.stop()


def _train(plan: Plan, folder: Path | None, command: str) -> Path | None:
    config, dataset, device, state = plan.config, plan.dataset, plan.device, plan.state
    set_precision(config.arithmetic)
    keep_freed_memory()
    torch.manual_seed(config.seed)  # of the initial weights; training itself draws statelessly
    recipe = StyleGAN2(config, torch.as_tensor(dataset.label_counts), device)
    samples = Samples(dataset, config.generator.z_dim, config.seed, config.pace.batch_gpu)
    clock = state.clock if state else None
    run = Run(folder, config.seed, device, FAMILY, plan.facts, samples, clock)
    run.stop_on_signals()
    if plan.network is not None:
        run.report.say(transfer(plan.network, recipe))
    if state is not None:
        recipe.load_state_dict(state.tree["recipe"])
        run.resume_statistics(state.tree["stats"])
    _announce(plan, run, command)
    pace = config.pace
    batches = loader.batches(
        dataset,
        pace.batch,
        config.seed,
        run.clock.seen,
        distributed.rank(),
        distributed.world(),
        config.workers,
        pin=device.type == "cuda",
    )
    try:
        with closing(batches):
            fit(recipe, batches, run, pace)
        if run.clock.seen < pace.images:
            run.report.say(f"stopped at kimg {run.clock.seen / 1000:.3f}; go on with: {_resuming_command(folder)}")
    finally:
        run.close()
    distributed.barrier()  # the first process may still have been writing
    return folder


def _folder(plan: Plan) -> Path | None:
    if not distributed.is_first():
        return None
    folder = plan.folder or runs.create(plan.outdir, f"{plan.dataset.name}-{plan.config.preset}")
    if plan.state is not None and plan.state.note:
        set_damaged_state_aside(folder)
    with replacing(folder / "config.json") as file:
        file.write_text(configs.to_json(plan.config), encoding="utf-8")
    return folder


def _resuming_command(folder: Path | None) -> str:
    world = distributed.world()
    start = "python" if world == 1 else f"torchrun --nproc-per-node={world}"
    return f"{start} train.py --resume {shlex.quote(str(folder))}"


def _announce(plan: Plan, run: Run, command: str) -> None:
    """Says what is about to happen; once, and in full, where a run begins."""
    d, say = plan.dataset, run.report.say
    if command:
        say(command)
    if plan.state is None:
        say(plan.describe())
        say()
        say(f"{len(d)} images {spell(d.height, d.width)}, {d.channels} channels, {d.classes or 'no'} classes: {d.name}")
        if run.folder is not None and run.samples is not None:
            run.samples.save(run.samples.reals(d), run.folder / "reals.png")
    for note in plan.notes:
        say(note)
    if plan.state is not None:
        say(f"resumed at kimg {run.clock.seen / 1000:.3f}")
        if run.clock.seen >= plan.config.pace.images:
            say(f"that is the end that --kimg {plan.config.pace.kimg:g} sets: give a larger one to go on")
    say(f"training to kimg {plan.config.pace.kimg:g} on {run.device} in {plan.config.precision}")
    say(f"files go to {run.folder}")


def _more_memory(plan: Plan) -> str:
    now = plan.config.pace.batch_gpu
    if now == 1:
        return "out of memory with one image at a time: take smaller networks: --set generator.channel_base=8192"
    smaller = largest_divisor(now, now - 1)
    how = "start anew, with --transfer from this run's network and" if plan.state is not None else "try"
    return f"out of memory with --batch-gpu {now}: {how} --batch-gpu {smaller}"
