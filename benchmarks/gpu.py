"""Run everything that needs a GPU, in at most 12 minutes, and write docs/gpu.md: `python -m benchmarks.gpu`.

Needs the packages that training needs, and installs nothing. Every step is a process with a time limit, and a failed
step does not stop the others. The page lists the steps with their output, the versions, the device and the date.
"""

import argparse
import datetime
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
SECONDS = 720.0  # for all steps
GRACE = 20.0  # seconds from Ctrl-C to the end by force
MOST_COLUMNS = 160
HOW = "--resolution 256 --device cuda --precision bf16 --iterations 10 --threads 8 --batch"
TRAIN = "--device cuda --kimg 100000 --metrics swd1k --data demo:128 --preset auto --tick 4 --snap 10"
SANITIZERS = {
    "memcheck": "accesses outside of tensors, misaligned accesses",
    "racecheck": "threads that miss a barrier",
    "initcheck": "memory that is read before it is written",
}


@dataclass(frozen=True)
class Step:
    """One process."""

    title: str
    about: str  # a sentence for the page
    command: str  # as a person would type it
    limit: float  # seconds
    missing: str = ""  # why it cannot run
    lines: int = 30  # of output on the page, from the end
    stops: bool = False  # runs until it is stopped


def steps(official: str | None, work: Path) -> list[Step]:
    """All steps. Training comes last, as it takes the time that is left."""
    build = "python -m custom_ops.build --device cuda"
    sanitizer = "" if shutil.which("compute-sanitizer") else "compute-sanitizer is not installed"
    return [
        Step("Native operators", "Compiled, loaded, and compared with plain PyTorch.", build, 300),
        Step(
            "Tests that need a GPU",
            "Operators, derivatives, resuming, and training in every precision, compiled and as CUDA graphs.",
            "python -m pytest -q -p no:cacheprovider -m gpu tests",
            200,
            "" if importlib.util.find_spec("pytest") else "pytest is not installed",
        ),
        *(
            Step(
                f"compute-sanitizer {tool}",
                f"Finds {faults}, in the same comparison. Each tensor gets an allocation of its own.",
                f"env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool {tool} --error-exitcode 9 {build}",
                60,
                sanitizer,
            )
            for tool, faults in SANITIZERS.items()
        ),
        Step("Training steps, batch 8", "Phase by phase.", f"python -m benchmarks.stylegan2.step {HOW} 8", 90),
        Step(
            "Training steps, batch 32",
            "If they take as long as those of 8, Python is the limit.",
            f"python -m benchmarks.stylegan2.step {HOW} 32",
            90,
        ),
        Step(
            "CUDA graphs",
            "Gmain and Dmain as graphs.",
            f"python -m benchmarks.stylegan2.step {HOW} 8 --with cuda-graphs",
            90,
        ),
        Step(
            "Kernels beside plain copies",
            "Native operators, their reference, and a copy of as many bytes; `copy` is the share of its bandwidth.",
            "python -m benchmarks.kernels --device cuda --batch 32 --features 64x256x256",
            120,
            lines=120,
        ),
        Step(
            "Beside the official code",
            "Medians of runs by turns, and the ratios ours / official.",
            f"python -m benchmarks.stylegan2.compare --official {shlex.quote(official or 'DIR')} {HOW} 8",
            150,
            "" if official else "no checkout of the official code was given by --official",
        ),
        Step(
            "Training",
            "The demo set with metrics at every snapshot, stopped by Ctrl-C.",
            f"python train.py {TRAIN} --outdir {work / 'runs'}",
            300,
            lines=60,
            stops=True,
        ),
    ]


@dataclass(frozen=True)
class Outcome:
    """The result of a step."""

    step: Step
    status: str  # "ran", "failed", "out of time" or "not run"
    seconds: float
    text: str  # its last lines of output, or why it was not run


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if no step failed, 1 if one did, 2 if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[0])
    parser.add_argument("--official", metavar="DIR", help="a checkout of the official code, to compare with")
    a = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA device, which everything here needs")
        return 2
    with tempfile.TemporaryDirectory(prefix="gpu-proof-") as work:
        outcomes = run(steps(a.official, Path(work)), SECONDS, Path(work))
    PAGE.write_text(written(facts(), outcomes), encoding="utf-8")
    print(f"\nthe results are in {PAGE}")
    return int(any(outcome.status not in ("ran", "not run") for outcome in outcomes))


def run(every: Sequence[Step], budget: float, work: Path) -> list[Outcome]:
    """Run the steps one after the other, within `budget` seconds for all."""
    end, outcomes = time.monotonic() + budget, []
    for step in every:
        left = end - time.monotonic()
        print(f"{step.title} ...", end=" ", flush=True)
        missing = step.missing or ("" if left > 0 else "no time was left")
        outcome = Outcome(step, "not run", 0.0, missing) if missing else _take(step, min(step.limit, left), work)
        print(f"{outcome.status}, {outcome.seconds:.0f} s", flush=True)
        outcomes.append(outcome)
    return outcomes


def _take(step: Step, limit: float, work: Path) -> Outcome:
    began = time.monotonic()
    words = [sys.executable if word == "python" else word for word in shlex.split(step.command)]
    timeout = ["timeout", "--signal=INT", f"--kill-after={GRACE}", *(["--preserve-status"] if step.stops else [])]
    done = subprocess.run(
        [*timeout, f"{limit}", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    # 124 and -9 or 137: `timeout` ended the program, with Ctrl-C or by force.
    status = {0: "ran", 124: "out of time", 137: "out of time", -9: "out of time"}.get(done.returncode, "failed")
    lines = [line for line in clean(done.stdout.decode(errors="replace"), work).splitlines() if line.strip()]
    return Outcome(step, status, time.monotonic() - began, "\n".join(lines[-step.lines :]))


def clean(text: str, work: Path) -> str:
    """Output for a page: without escape sequences, overwritten progress bars, and paths of this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    text = "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)
    for path, name in ((work, "WORK"), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    text = re.sub(r"/tmp/[^\s'\"):,]+", "/tmp/...", text)
    return "\n".join(line[:MOST_COLUMNS] for line in text.split("\n"))


def facts() -> str:
    """Lines with the versions and the device."""
    p = torch.cuda.get_device_properties(0)
    return (
        f"{p.name}, {p.total_memory / 2**30:.0f} GiB, compute capability {p.major}.{p.minor}\n"
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}\n"
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    )


def written(facts: str, outcomes: Sequence[Outcome]) -> str:
    """The page as Markdown."""
    today = datetime.date.today().strftime("%-d %B %Y")
    rows = "\n".join(f"| {o.step.title} | {o.status} | {o.seconds:.0f} |" for o in outcomes)
    parts = [
        f"# On a GPU\n\n{today}, `make gpu-proof`:\n\n```\n{facts}\n```\n",
        f"| step | outcome | seconds |\n|---|---|---:|\n{rows}\n",
    ]
    for o in outcomes:
        command = re.sub(r"/tmp/[^\s']+", "DIR", o.step.command)
        output = f"Not run: {o.text}." if o.status == "not run" else f"```\n{o.text or '(no output)'}\n```"
        parts.append(f"## {o.step.title}\n\n{o.step.about}\n\n```sh\n{command}\n```\n\n{output}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
