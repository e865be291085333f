"""Run everything that only a GPU can show, in 12 minutes, and write docs/gpu.md: `python -m benchmarks.gpu`.

Needs what training needs and installs nothing. Every step is a process with a time limit, and a step that fails does
not stop the others. The page says what ran, what did not, with which versions, on which device and when.
`--device cpu` tries the script itself, with everything made small.
"""

import argparse
import datetime
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_steps import PYTHON, Step, steps

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
MINUTES = 12.0
GRACE = 20.0  # seconds to end in after being asked to
LEAST = 5.0  # seconds that a step is worth beginning for
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

NOT_YET = """**No GPU has run this yet.** On a machine with one, `make gpu-proof` (or `python -m benchmarks.gpu`) builds
the CUDA operators, runs every test that needs a GPU, the sanitizers, the benchmarks and a training of 5 minutes, all in
12 minutes, and writes this page anew. `make gpu-proof OFFICIAL=DIR` also runs a checkout of the official code beside
ours. Nothing is installed. What follows is a dry run of the same script on a CPU, with everything made small: it shows
that the script works, and nothing about a GPU."""


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    step: Step
    status: str  # "ran", "failed", "out of time" or "not run"
    seconds: float
    text: str  # its last lines, or why it was not run

    @property
    def well(self) -> bool:
        return self.status == "ran"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 if all that ran went well, 1 if not, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the script")
    parser.add_argument("--official", metavar="DIR", help="a checkout of the official code, to run beside ours")
    parser.add_argument("--page", type=Path, help="where to write  [default: docs/gpu.md; with cpu out/gpu.md]")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all steps  [default: %(default)g]")
    a = parser.parse_args(arguments)
    facts = _facts()
    if a.device == "cuda" and "no CUDA device" in facts:
        print(f"there is no CUDA device that PyTorch finds ({facts.splitlines()[0]}): --device cpu tries the script")
        return 2
    page = a.page or (PAGE if a.device == "cuda" else ROOT / "out" / "gpu.md")
    with tempfile.TemporaryDirectory(prefix="gpu-proof-") as work:
        outcomes = run(steps(a.device, a.official, Path(work)), a.minutes * 60, Path(work))
    page.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if arguments is None else arguments)])
    page.write_text(written(a.device, clean(command, Path(work)), facts, outcomes), encoding="utf-8")
    print(f"\n{page} says what came of it")
    return int(not all(outcome.well or outcome.status == "not run" for outcome in outcomes))


def run(every: Sequence[Step], budget: float, work: Path) -> list[Outcome]:
    """Takes the steps one after the other, in a budget of seconds for all."""
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
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=os.environ | dict(step.environment),
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
            status = "ran"  # it was to be stopped, and ended well
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
        os.killpg(process.pid, signal.SIGKILL)  # whatever it has started


def clean(text: str, work: Path) -> str:
    """Output as a page can show it: without escapes, what progress bars overwrote, and paths of this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    text = "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)
    for path, name in ((work, "WORK"), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    text = re.sub(r"/tmp/[^\s'\"):,]+", "/tmp/...", text)
    return "\n".join(line[:MOST_COLUMNS] for line in text.split("\n"))


def _facts() -> str:
    """Versions and device, in some lines."""
    done = subprocess.run([PYTHON, "-c", FACTS], capture_output=True, text=True, cwd=ROOT)
    lines = [done.stdout.strip() or f"PyTorch does not start: {done.stderr.strip().splitlines()[-1:]}"]
    with suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.split()
        lines.append(f"driver {driver[0]}")
    lines.append(f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores")
    return "\n".join(lines)


def written(device: str, command: str, facts: str, outcomes: Sequence[Outcome]) -> str:
    """The page."""
    today = datetime.date.today().strftime("%-d %B %Y")
    lines = ["# On a GPU", ""]
    if device == "cpu":
        lines += [NOT_YET, ""]
    lines += [f"{today}, `{command}`:", "", "```", facts, "```", "", "| step | outcome | seconds |", "|---|---|---:|"]
    lines += [f"| {o.step.title} | {o.status} | {o.seconds:.0f} |" for o in outcomes]
    for o in outcomes:
        lines += ["", f"## {o.step.title}", "", o.step.about, ""]
        if o.step.command:
            lines += ["```sh", re.sub(r"/tmp/[^\s']+", "DIR", o.step.shown), "```", ""]
        lines += ["Not run: " + o.text + "."] if o.status == "not run" else ["```", o.text or "(no output)", "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
