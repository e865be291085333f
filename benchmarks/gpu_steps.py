"""The steps of `benchmarks.gpu`: what only a GPU can show, or the same made small for a CPU."""

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PYTHON = sys.executable
AGREE = """
import sys, time, torch
from custom_ops import build, proof
torch.set_num_threads(1)
device = torch.device(sys.argv[1], 0) if sys.argv[1] == "cuda" else torch.device("cpu")
assert build.load(device), build.shortfall(device)
for _ in range(2):
    began = time.perf_counter()
    found = proof.differences(device)
    print(f"{len(found)} operators differ, {(time.perf_counter() - began) * 1e3:.0f} ms", found or "")
sys.exit(bool(found))
"""
TINY = (
    *("--data", "demo:16", "--preset", "demo", "--batch", "4", "--batch-gpu", "4"),
    *("--set", "generator.channel_base=128", "--set", "discriminator.channel_base=128"),
)
# Each tensor in an allocation of its own, so that the sanitizers see its ends.
BARE = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


@dataclass(frozen=True)
class Step:
    """One process."""

    title: str
    about: str  # a sentence for the page
    command: tuple[str, ...]
    limit: float  # seconds
    missing: str = ""  # why it cannot be run
    environment: Mapping[str, str] = field(default_factory=dict)
    lines: int = 30  # of its output that the page shows, from the end
    stops: bool = False  # runs until it is stopped

    @property
    def shown(self) -> str:
        """The command for people."""
        words = ["python" if word == PYTHON else word for word in self.command]
        words = ["'...'" if "\n" in word else shlex.quote(word) for word in words]
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), *words])


def steps(device: str, official: str | None, work: Path) -> list[Step]:
    """All of them, the training last: it takes what time is left."""
    small = device == "cpu"
    return [
        *_operators(device, small),
        *_speed(device, small, official),
        Step(
            "Resuming with --deterministic",
            "A run of 1 kimg, and one that is stopped and resumed on the way: weights must be equal to the last bit.",
            (
                PYTHON,
                "-m",
                "benchmarks.resume",
                "--device",
                device,
                *(() if not small else ("--kimg", "0.016", "--tiny")),
            ),
            limit=240 if small else 120,
        ),
        Step(
            "Training",
            "Five minutes of the demo set with metrics at every snapshot, stopped by Ctrl-C.",
            (
                *(PYTHON, "train.py", "--device", device, "--kimg", "100000", "--metrics", "swd1k"),
                *(TINY if small else ("--data", "demo:128", "--preset", "auto", "--tick", "4", "--snap", "10")),
                *(("--tick", "0.04", "--snap", "1") if small else ()),
                *("--outdir", str(work / "runs")),
            ),
            limit=60 if small else 300,
            stops=True,
            lines=8 if small else 60,
        ),
    ]


def _operators(device: str, small: bool) -> list[Step]:
    pytest = "" if importlib.util.find_spec("pytest") else "pytest is not installed"
    tested = ("tests/custom_ops/test_proof.py", "-k", "milliseconds or damaged") if small else ("-m", "gpu", "tests")
    agree = (PYTHON, "-c", AGREE, device)
    found = [
        Step(
            "Building the native operators",
            "Compiled, loaded, and compared with plain PyTorch.",
            (PYTHON, "-m", "custom_ops.build", "--device", device),
            limit=300,
        ),
        Step(
            "Native operators beside plain PyTorch",
            "What every first use on a device compares, twice: the first time loads kernels.",
            agree,
            limit=60,
        ),
        Step(
            "Tests that need a GPU" if not small else "Tests (a few, for the dry run)",
            "Operators, derivatives, training in every precision, compiled and as CUDA graphs.",
            (PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tested),
            limit=200,
            missing=pytest,
        ),
    ]
    sanitizer = "" if shutil.which("compute-sanitizer") else "compute-sanitizer is not installed"
    for tool, sees in {
        "memcheck": "accesses outside of tensors, misaligned ones",
        "racecheck": "threads that miss a barrier",
        "initcheck": "memory that is read before it is written",
    }.items():
        found.append(
            Step(
                f"compute-sanitizer {tool}",
                f"Sees {sees}, in the same comparison.",
                ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *agree),
                limit=60,
                missing="it is for GPUs" if small else sanitizer,
                environment=BARE,
            )
        )
    return found


def _speed(device: str, small: bool, official: str | None) -> list[Step]:
    size = ("--resolution", "16", "--channel-base", "64", "--mapping-layers", "2") if small else ("--resolution", "256")
    precision, iterations, threads = ("fp32", "2", "1") if small else ("bf16", "10", "8")
    how = ("--device", device, "--precision", precision, "--iterations", iterations, "--threads", threads)
    kernels = (
        *("--shape", "8x16x16", "--batch", "2", "--operator", "bias_act", "--operator", "upsample2d wavelet"),
        *("--threads", "1", "--dtype", "float32", "--layout", "NCHW"),
    )
    found = [
        Step(
            f"Training steps, batch {batch}",
            "Phase by phase. Where batch 8 and batch 32 take the same time, the host is the limit.",
            (PYTHON, "-m", "benchmarks.step", *size, *how, "--batch", str(batch)),
            limit=150 if small else 90,
        )
        for batch in (8, 32)
    ]
    found += [
        Step(
            "CUDA graphs",
            "Gmain and Dmain replayed as CUDA graphs, beside the usual way.",
            (PYTHON, "-m", "benchmarks.options", "--option", "cuda-graphs", *size, *how, "--batch", "8"),
            limit=90,
            missing="it is for GPUs" if small else "",
        ),
        Step(
            "Kernels beside plain copies",
            "Native operators, their reference, and a copy of as many bytes: `copy` is the share of its bandwidth.",
            (
                *(PYTHON, "-m", "benchmarks.kernels", "--device", device, "--rounds", "1"),
                *(kernels if small else ("--shape", "64x256x256", "--batch", "32")),
            ),
            limit=120,
            lines=120,
        ),
        Step(
            "Beside the official code",
            "Medians of runs by turns, ours / official.",
            (PYTHON, "-m", "benchmarks.compare", "--official", official or "DIR", *size, *how, "--batch", "8"),
            limit=150,
            missing="" if official else "no checkout of the official code was given by --official",
        ),
    ]
    return found
