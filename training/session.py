"""Carries a plan out: brings networks, data and run folder together, and trains."""

import json
import shlex
import shutil
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from custom_ops import build
from imaging.grid import save_image
from imaging.sizes import spell
from system.files import replacing
from system.text import INSTALLED, program, public_command
from torch_utils import config as configs
from torch_utils import distributed, launch, runs
from torch_utils.cli import counted
from torch_utils.device import is_out_of_memory, switches
from torch_utils.terminal import clean
from training.course import Facts
from training.plan import FOLDER_NOTICE, Plan
from training.recipe import Recipe
from training.report.boards import Wandb
from training.run import Judge, Run, fit, reading
from training.trial import capture_phases, compile_passes


def train(plan: Plan, command: str = "", judge: Judge | None = None, wandb: str = "") -> Path | None:
    """Carry a plan out, and return the run folder (None on processes that write nothing).

    `command` is what the user typed, for the log; `judge` judges the networks at every snapshot; `wandb` is a project
    of Weights & Biases, "" for none. Raises ValueError if memory is short, or training has diverged.
    """
    folder, config = None, plan.config
    if distributed.is_first():
        folder = plan.folder or runs.create(plan.outdir, f"{plan.dataset.name}-{config.title}")
        if launch.together():
            launch.leave_note(FOLDER_NOTICE, str(folder.resolve()))
    try:
        with ExitStack() as held:
            if note := _lock(folder, held):
                plan.notes += (note,)
            held.enter_context(switches(config.arithmetic, config.deterministic))
            if folder is not None:
                if plan.state is not None and plan.state.note and (damaged := folder / runs.STATE).exists():
                    # set aside, so that the next save does not move it over the intact previous state
                    damaged.replace(folder / "state-damaged.safetensors")
                with replacing(folder / "config.json") as file:
                    file.write_text(json.dumps(configs.to_dict(config), indent=2) + "\n", encoding="utf-8")
            _train(plan, folder, command, judge, wandb)
        distributed.stop()  # not after an error: it would wait for the others
        return folder
    except Exception as error:
        if folder is not None and not (plan.folder or plan.started):
            shutil.rmtree(folder, ignore_errors=True)  # it holds nothing to resume from
        told = _in_words(error, plan)
        if told is error:
            raise
        raise told from error


def _in_words(error: Exception, plan: Plan) -> Exception:
    """The error that the user sees."""
    if isinstance(error, FloatingPointError):
        return ValueError(str(error))
    if is_out_of_memory(error):
        ways = [] if plan.folder else ["--batch-gpu auto", "a smaller --batch-gpu", plan.course.smaller]
        if not (plan.config.checkpoint_activations or plan.config.compile):  # the two exclude each other
            ways.append("--checkpoint-activations")
        ways = ways or ["a new run with --transfer from this run's network and a smaller --batch-gpu"]
        return ValueError(f"out of memory with --batch-gpu {plan.config.pace.batch_gpu}: try {', or '.join(ways)}")
    return distributed.lost(error) or error


def _train(plan: Plan, folder: Path | None, command: str, judge: Judge | None, wandb: str) -> None:
    recipe, facts, clock = build_recipe(plan), plan.facts, plan.state.clock if plan.state else None
    board = Wandb(folder, wandb, facts["training"]) if wandb and folder is not None else None
    run = Run(folder, plan.config, plan.device, facts, plan.dataset, clock, board)
    try:
        _learn(plan, recipe, run, command, judge)
    except Exception as error:
        first = launch.first_error(_in_words(error, plan))
        with suppress(OSError):  # the disk may be full
            run.report.keep(f"process {first.process}: {first.text}" if launch.together() else first.text)
        run.report.page("stopped")
        raise
    finally:
        run.close()
    distributed.barrier()  # the first process may still have been writing


def build_recipe(plan: Plan) -> Any:
    """The recipe of a plan with fresh weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(plan.config.seed)  # initial weights; training itself draws statelessly
        facts = Facts(torch.as_tensor(plan.dataset.label_counts), plan.sets, plan.folder is not None)
        return plan.course.recipe(plan.config, facts, plan.device)


def _learn(plan: Plan, recipe: Recipe, run: Run, command: str, judge: Judge | None) -> None:
    config, say = plan.config, run.report.say
    run.stop_on_signals()
    if plan.network is not None and plan.course.take is not None:
        say(plan.course.take(plan.network, recipe))
    if plan.state is not None:
        recipe.load_state_dict(plan.state.tree["recipe"])
        run.resume_statistics(plan.state.tree["stats"])
    if judge is not None and (sampler := recipe.judged()) is not None:
        judge.check(sampler)
    # Free the loaded state: it is as large as the run's own, and maps a file that the next save replaces.
    plan.network = plan.state = None
    _announce(plan, run, command)
    if config.compile:
        say("compiling the networks, which takes minutes")
        say(compile_passes(recipe))
    if config.cuda_graphs:
        say(capture_phases(recipe))
    run.report.tick_began = time.monotonic()  # the first tick's speed is that of training
    plan.started = True
    with closing(reading(plan.sets, config.pace, run, config.workers)) as batches:
        fit(recipe, batches, run, config.pace, judge)
    seen = run.clock.seen
    if seen < config.pace.images:
        say(f"stopped at kimg {seen / 1000:.3f}; resume with: {_resuming_command(run.folder)}")
    elif run.folder is not None:
        network, script = runs.network_path(run.folder, seen), plan.course.family.script
        newest = network if network.is_file() else runs.newest_in(run.folder)
        command = shlex.join([*program(script), "--network", str(newest)])
        how = f"; make pictures with: {command}" if newest and script else ""
        say(f"done{how}")
    run.report.page("stopped" if seen < config.pace.images else "finished")


def _lock(folder: Path | None, held: ExitStack) -> str:
    """Keep a second program from training in the same run folder; return a note if the disk has no locks."""
    try:
        if folder is not None:
            held.enter_context(FileLock(folder / ".lock", timeout=0))
    except Timeout as error:
        raise ValueError(f"{folder} is being trained by another process: wait, or start another run") from error
    except (OSError, NotImplementedError):
        return f"the disk of {folder} has no locks: make sure that no other process trains there"
    return ""


def _resuming_command(folder: Path | None) -> str:
    world, here = distributed.world(), distributed.neighbors()
    command = public_command("train.py", ["--resume", str(folder)])
    if world == 1:
        return command
    if launch.started_here():
        return f"{command} --gpus {world}{'' if torch.cuda.is_available() else ' --device cpu'}"
    started = f"--no-python {command}" if INSTALLED else command.removeprefix("python ")
    return f"torchrun --nnodes={world // here} --nproc-per-node={here} {started}"


def _announce(plan: Plan, run: Run, command: str) -> None:
    """Print how the run begins; the log of a new run gets all tables."""
    d, pace, say = plan.dataset, plan.config.pace, run.report.say
    if command:
        say(command)
    if not plan.folder:
        run.report.keep(plan.describe())
        size, channels = spell(d.height, d.width), counted(d.channels, "channel")
        say(f"{counted(len(d), 'image')} {size}, {channels}, {d.classes or 'no'} classes: {d.name}")
    if run.folder is not None and run.sheet is not None and not (path := run.folder / runs.REALS).exists():
        save_image(run.sheet.reals(d), path)  # a resumed run keeps its own, with which its samples were compared
        run.report.picture("reals", path, run.clock.seen)
    for note in plan.notes:
        say(note)
    if plan.folder:
        say(f"resumed at kimg {run.clock.seen / 1000:.3f}")
        if run.clock.seen >= pace.images:
            say(f"that is the end that --kimg {pace.kimg:g} sets: give a larger one to go on")
    operators = run.facts["operators"]
    say(f"training to kimg {pace.kimg:g} on {run.device} in {plan.config.precision}, {operators} operators")
    if why := build.shortfall(run.device):
        run.report.keep(f"native operators are off: {why}")  # the terminal showed it already
    say(f"files go to {run.folder}; its log.txt lists all settings and layers")
    run.report.begin({"command": clean(command), "config": clean(configs.table(plan.config))})
