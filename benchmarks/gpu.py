"""Run everything that needs a GPU, in 12 minutes, and write docs/gpu.md: `python -m benchmarks.gpu`.

Needs the packages that training needs, and installs nothing. Every step is a process with a time limit, and a failed
step does not stop the others. The page lists the steps with their output, the versions, the device and the date.
`--device cpu` tries the script itself, with small networks.
"""

import argparse
import datetime
import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
MINUTES = 12.0
GRACE = 20.0  # seconds from a signal to the next stronger one
LEAST = 5.0  # seconds that must be left for a step to start
MOST_COLUMNS = 160
FACTS = """
import platform, torch
print("Python", platform.python_version(), "| PyTorch", torch.__version__, "| CUDA", torch.version.cuda)
if torch.cuda.is_available():
    p = torch.cuda.get_device_properties(0)
    size, capability = f"{p.total_memory / 2**30:.0f} GiB", f"{p.major}.{p.minor}"
    print(f"{p.name}, {size}, {p.multi_processor_count} SMs, compute capability {capability}")
    print("cuDNN", torch.backends.cudnn.version(), "| bfloat16", torch.cuda.is_bf16_supported())
else:
    print("no CUDA device")
"""

NOT_YET = """**No GPU has run this yet.** On a machine with a GPU, `make gpu-proof` (`python -m benchmarks.gpu`) builds
the CUDA operators, runs every test that needs a GPU, the sanitizers, the benchmarks and a training of 5 minutes, all in
12 minutes, and overwrites this page. `make gpu-proof OFFICIAL=DIR` also compares with a checkout of the official code.
Nothing is installed. The rest of this page is a dry run of the script on a CPU, with small networks. It shows that the
script works, and nothing about a GPU."""

OF_GPUS = "it is for GPUs"
TINY = (
    "--data demo:16 --preset demo --batch 4 --batch-gpu 4 "
    "--set generator.channel_base=128 --set discriminator.channel_base=128"
)


@dataclass(frozen=True)
class Step:
    """One process."""

    title: str
    about: str  # a sentence for the page
    command: str  # as a person would type it
    limit: float  # seconds
    missing: str = ""  # why it cannot run
    environment: str = ""  # NAME=VALUE
    lines: int = 30  # of output on the page, from the end
    stops: bool = False  # runs until it is stopped


def steps(device: str, official: str | None, work: Path) -> list[Step]:
    """All steps. Training comes last, as it takes the time that is left."""
    small = device == "cpu"
    run = f"{TINY} --tick 0.04 --snap 1" if small else "--data demo:128 --preset auto --tick 4 --snap 10"
    training = Step(
        "Training",
        "Five minutes of the demo set with metrics at every snapshot, stopped by Ctrl-C.",
        f"python train.py --device {device} --kimg 100000 --metrics swd1k {run} --outdir {work / 'runs'}",
        60 if small else 300,
        lines=8 if small else 60,
        stops=True,
    )
    return [*_operators(device, small), *_speed(device, small, official), training]


def _operators(device: str, small: bool) -> list[Step]:
    build = f"python -m custom_ops.build --device {device}"
    tests = "tests/custom_ops/test_proof.py -k milliseconds" if small else "-m gpu tests"
    sanitizer = "" if shutil.which("compute-sanitizer") else "compute-sanitizer is not installed"
    sees = {
        "memcheck": "accesses outside of tensors, misaligned accesses",
        "racecheck": "threads that miss a barrier",
        "initcheck": "memory that is read before it is written",
    }
    return [
        Step("Native operators", "Compiled, loaded, and compared with plain PyTorch.", build, 300),
        Step(
            "Tests (one, for the dry run)" if small else "Tests that need a GPU",
            "Operators, derivatives, resuming, and training in every precision, compiled and as CUDA graphs.",
            f"python -m pytest -q -p no:cacheprovider {tests}",
            200,
            "" if importlib.util.find_spec("pytest") else "pytest is not installed",
        ),
        *(
            Step(
                f"compute-sanitizer {tool}",
                f"Finds {faults}, in the same comparison.",
                f"compute-sanitizer --tool {tool} --error-exitcode 9 {build}",
                60,
                OF_GPUS if small else sanitizer,
                "PYTORCH_NO_CUDA_MEMORY_CACHING=1",  # each tensor gets an allocation of its own
            )
            for tool, faults in sees.items()
        ),
    ]


def _speed(device: str, small: bool, official: str | None) -> list[Step]:
    how = f"--resolution 256 --device {device} --precision bf16 --iterations 10 --threads 8"
    kernels = "--shape 64x256x256 --batch 32"
    if small:
        how = f"--resolution 16 --channel-base 64 --mapping-layers 2 --device {device} --iterations 2 --threads 1"
        kernels = "--shape 8x16x16 --batch 2 --operator bias_act --threads 1 --dtype float32 --layout NCHW"
    return [
        *(
            Step(
                f"Training steps, batch {batch}",
                "Phase by phase. If batch 8 and batch 32 take the same time, Python is the limit.",
                f"python -m benchmarks.stylegan2.step {how} --batch {batch}",
                150 if small else 90,
            )
            for batch in (8, 32)
        ),
        Step(
            "CUDA graphs",
            "Gmain and Dmain with and without CUDA graphs.",
            f"python -m benchmarks.stylegan2.options --option cuda-graphs {how} --batch 8",
            90,
            OF_GPUS if small else "",
        ),
        Step(
            "Kernels beside plain copies",
            "Native operators, their reference, and a copy of as many bytes; `copy` is the share of its bandwidth.",
            f"python -m benchmarks.kernels --device {device} --rounds 1 {kernels}",
            120,
            lines=120,
        ),
        Step(
            "Beside the official code",
            "Medians of runs by turns, and the ratios ours / official.",
            f"python -m benchmarks.stylegan2.compare --official {shlex.quote(official or 'DIR')} {how} --batch 8",
            150,
            "" if official else "no checkout of the official code was given by --official",
        ),
    ]


@dataclass(frozen=True)
class Outcome:
    """The result of a step."""

    step: Step
    status: str  # "ran", "failed", "out of time" or "not run"
    seconds: float
    text: str  # its last lines of output, or why it was not run

    @property
    def well(self) -> bool:
        return self.status == "ran"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if no step failed, 1 if one did, 2 if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the script")
    parser.add_argument("--official", metavar="DIR", help="a checkout of the official code, to compare with")
    parser.add_argument("--page", type=Path, help="where to write  [default: docs/gpu.md; with cpu out/gpu.md]")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all steps  [default: %(default)g]")
    a = parser.parse_args(arguments)
    facts = _facts()
    if a.device == "cuda" and "no CUDA device" in facts:
        print(f"PyTorch finds no CUDA device ({facts.splitlines()[0]}): --device cpu tries the script")
        return 2
    page = a.page or (PAGE if a.device == "cuda" else ROOT / "out" / "gpu.md")
    with tempfile.TemporaryDirectory(prefix="gpu-proof-") as work:
        outcomes = run(steps(a.device, a.official, Path(work)), a.minutes * 60, Path(work))
    page.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if arguments is None else arguments)])
    page.write_text(written(a.device, clean(command, Path(work)), facts, outcomes), encoding="utf-8")
    print(f"\nthe results are in {page}")
    return int(not all(outcome.well or outcome.status == "not run" for outcome in outcomes))


def run(every: Sequence[Step], budget: float, work: Path) -> list[Outcome]:
    """Run the steps one after the other, within `budget` seconds for all."""
    end, outcomes = time.monotonic() + budget, []
    for step in every:
        left = end - time.monotonic()
        print(f"{step.title} ...", end=" ", flush=True)
        if step.missing:
            outcome = Outcome(step, "not run", 0.0, step.missing)
        elif left < LEAST:
            outcome = Outcome(step, "not run", 0.0, "no time was left")
        else:
            outcome = _take(step, min(step.limit, left), work)
        print(f"{outcome.status}, {outcome.seconds:.0f} s", flush=True)
        outcomes.append(outcome)
    return outcomes


def _take(step: Step, limit: float, work: Path) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        words = [sys.executable if word == "python" else word for word in shlex.split(step.command)]
        name, _, value = step.environment.partition("=")
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | ({name: value} if name else {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(limit)
            status = "ran" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            _end(process)
        if status == "out of time" and step.stops and process.returncode == 0:
            status = "ran"  # it runs until it is stopped, and ended well
        file.seek(0)
        output = file.read().decode(errors="replace")
    lines = [line for line in clean(output, work).splitlines() if line.strip()]
    return Outcome(step, status, time.monotonic() - began, "\n".join(lines[-step.lines :]))


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        os.kill(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the processes that it started


def clean(text: str, work: Path) -> str:
    """Output for a page: without escape sequences, overwritten progress bars, and paths of this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    text = "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)
    for path, name in ((work, "WORK"), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    text = re.sub(r"/tmp/[^\s'\"):,]+", "/tmp/...", text)
    return "\n".join(line[:MOST_COLUMNS] for line in text.split("\n"))


def _facts() -> str:
    """Lines with the versions and the device."""
    done = subprocess.run([sys.executable, "-c", FACTS], capture_output=True, text=True, cwd=ROOT)
    lines = [done.stdout.strip() or f"PyTorch does not start: {done.stderr.strip().splitlines()[-1:]}"]
    with suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.split()
        lines.append(f"driver {driver[0]}")
    lines.append(f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores")
    return "\n".join(lines)


def written(device: str, command: str, facts: str, outcomes: Sequence[Outcome]) -> str:
    """The page as Markdown."""
    today = datetime.date.today().strftime("%-d %B %Y")
    lines = ["# On a GPU", ""]
    if device == "cpu":
        lines += [NOT_YET, ""]
    lines += [f"{today}, `{command}`:", "", "```", facts, "```", "", "| step | outcome | seconds |", "|---|---|---:|"]
    lines += [f"| {o.step.title} | {o.status} | {o.seconds:.0f} |" for o in outcomes]
    for o in outcomes:
        lines += ["", f"## {o.step.title}", "", o.step.about, ""]
        command = re.sub(r"/tmp/[^\s']+", "DIR", f"{o.step.environment} {o.step.command}".strip())
        lines += ["```sh", command, "```", ""]
        lines += ["Not run: " + o.text + "."] if o.status == "not run" else ["```", o.text or "(no output)", "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
