"""Run everything that needs a GPU, in at most 12 minutes, and write docs/gpu.md: `python -m benchmarks.gpu`.

Every step is a process with a time limit, and a failed step does not stop the others. Nothing is installed.
"""

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

import click
import torch

from torch_utils.cli import Command, option, say

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
SECONDS = 720.0  # for all steps
GRACE = 20.0  # seconds from Ctrl-C to the end by force
MOST_COLUMNS = 160
BUILD = "python -m custom_ops.build --device cuda"
HOW = "--resolution 256 --device cuda --precision bf16 --iterations 10 --threads 8 --batch"
TRAIN = "--device cuda --kimg 100000 --metrics swd1k --data demo:128 --preset auto --tick 4 --snap 10"
SANITIZE = "env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool {} --error-exitcode 9 " + BUILD


@dataclass
class Step:
    """One process and, when it has ended, its outcome."""

    title: str
    command: str  # as a person would type it
    limit: float  # seconds
    missing: str = ""  # why it cannot run
    lines: int = 30  # of output on the page, from the end
    stops: bool = False  # runs until it is stopped
    status: str = "not run"  # or "ran", "failed", "out of time"
    seconds: float = 0.0
    text: str = ""  # the last lines of output


def steps(official: str | None, work: Path) -> list[Step]:
    """All steps. Training comes last, as it takes the time that is left."""
    timing, missing = f"python -m benchmarks.stylegan2.step {HOW}", "{} is not installed"
    no_pytest = "" if importlib.util.find_spec("pytest") else missing.format("pytest")
    no_sanitizer = "" if shutil.which("compute-sanitizer") else missing.format("compute-sanitizer")
    no_official = "" if official else "no checkout of the official code was given by --official"
    compare = f"python -m benchmarks.stylegan2.compare --official {shlex.quote(official or 'DIR')} {HOW} 8"
    dit = "python -m benchmarks.step --model dit-s/2 --device cuda --precision bf16 --iterations 10 --batch 64"
    kernels = "python -m benchmarks.kernels --device cuda --batch 32 --features 64x256x256"
    training = f"python train.py {TRAIN} --outdir {work / 'runs'}"
    return [
        Step("Native operators beside plain PyTorch", BUILD, 300),
        Step("Tests that need a GPU", "python -m pytest -q -p no:cacheprovider -m gpu tests", 200, no_pytest),
        Step("Accesses outside of tensors", SANITIZE.format("memcheck"), 60, no_sanitizer),
        Step("Threads that miss a barrier", SANITIZE.format("racecheck"), 60, no_sanitizer),
        Step("Memory that is read before it is written", SANITIZE.format("initcheck"), 60, no_sanitizer),
        Step("Training steps, batch 8", f"{timing} 8", 90),
        Step("Training steps, batch 32 (if as slow as those of 8, Python is the limit)", f"{timing} 32", 90),
        Step("Training steps, Gmain and Dmain as CUDA graphs", f"{timing} 8 --with cuda-graphs", 90),
        Step("Training steps and sampling of a diffusion transformer", dit, 90),
        Step("Kernels beside plain copies of as many bytes", kernels, 120, lines=120),
        Step("Beside the official code", compare, 150, no_official),
        Step("Training on the demo set, stopped by Ctrl-C", training, 300, lines=60, stops=True),
    ]


@click.command(cls=Command)
@option("--official", metavar="DIR", group="Measurement", help="a checkout of the official code, to compare with")
def main(official: str | None) -> None:
    """Run everything that needs a GPU, in at most 12 minutes, and write docs/gpu.md.

    The exit status is 1 if a step failed, and 2 if there is no GPU.
    """
    if not torch.cuda.is_available():
        raise ValueError(f"PyTorch {torch.__version__} finds no CUDA device, which everything here needs")
    with tempfile.TemporaryDirectory(prefix="gpu-proof-") as work:
        every = steps(official, Path(work))
        run(every, SECONDS, Path(work))
    PAGE.write_text(page(facts(), every), encoding="utf-8")
    say(f"\nthe results are in {PAGE}")
    raise SystemExit(any(step.status not in ("ran", "not run") for step in every))


def run(every: Sequence[Step], budget: float, work: Path) -> None:
    """Run the steps one after the other, within `budget` seconds for all, and fill in their outcomes."""
    end = time.monotonic() + budget
    for step in every:
        left = end - time.monotonic()
        step.missing = step.missing or ("" if left > 0 else "no time was left")
        if not step.missing:
            _take(step, min(step.limit, left), work)
        say(f"{step.title}: {step.status}, {step.seconds:.0f} s")


def _take(step: Step, limit: float, work: Path) -> None:
    began = time.monotonic()
    words = [sys.executable if word == "python" else word for word in shlex.split(step.command)]
    timeout = ["timeout", "--signal=INT", f"--kill-after={GRACE}", *(["--preserve-status"] if step.stops else [])]
    command = [*timeout, f"{limit}", *words]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # 124 and -9 or 137: `timeout` ended the program, with Ctrl-C or by force.
    step.status = {0: "ran", 124: "out of time", 137: "out of time", -9: "out of time"}.get(done.returncode, "failed")
    step.seconds = time.monotonic() - began
    step.text = "\n".join(clean(done.stdout.decode(errors="replace"), work).splitlines()[-step.lines :])


def clean(text: str, work: Path) -> str:
    """Output for a page: without escape sequences, overwritten progress bars, empty lines and local paths."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n]*\r(?=[^\n])", "", text)
    for path, name in ((work, "WORK"), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    lines = re.sub(r"/tmp/[^\s'\"):,]+", "/tmp/...", text).expandtabs().split("\n")
    return "\n".join("".join(filter(str.isprintable, line))[:MOST_COLUMNS] for line in lines if line.strip())


def facts() -> str:
    """The device and the versions."""
    p = torch.cuda.get_device_properties(0)
    device = f"{p.name}, {p.total_memory / 2**30:.0f} GiB, compute capability {p.major}.{p.minor}"
    cuda = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    host = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    return f"{device}\nPython {platform.python_version()}, PyTorch {torch.__version__}, {cuda}\n{host}"


def page(facts: str, every: Sequence[Step]) -> str:
    """The outcomes as Markdown."""
    today = datetime.date.today().strftime("%-d %B %Y")
    rows = "\n".join(f"| {s.title} | {s.status} | {s.seconds:.0f} |" for s in every)
    parts = [
        f"# On a GPU\n\n{today}, `make gpu-proof`:\n\n```\n{facts}\n```\n",
        f"| step | outcome | seconds |\n|---|---|---:|\n{rows}\n",
    ]
    for s in every:
        command = re.sub(r"/tmp/[^\s']+", "DIR", s.command)
        output = f"Not run: {s.missing}." if s.status == "not run" else f"```\n{s.text or '(no output)'}\n```"
        parts.append(f"## {s.title}\n\n```sh\n{command}\n```\n\n{output}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
