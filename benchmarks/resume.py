"""Whether a run that was stopped and resumed learns what an uninterrupted run learns, to the last bit.

`python -m benchmarks.resume --device cuda`
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.gpu_steps import TINY

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Returns the exit status: 0 if all weights are equal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume", description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--kimg", type=float, default=1.0, help="length of the run  [default: %(default)g]")
    parser.add_argument("--tiny", action="store_true", help="networks that a CPU trains in seconds")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begin = ["--device", a.device, "--deterministic", "--metrics", "none"]
        begin += TINY if a.tiny else ["--data", "demo:32", "--preset", "demo"]
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        _train(*begin, "--kimg", str(a.kimg), "--outdir", str(whole))
        _train(*begin, "--kimg", str(a.kimg / 2), "--outdir", str(parts))
        (run,) = parts.iterdir()
        _train("--resume", str(run), "--kimg", str(a.kimg))
        different, count = differing(_last_network(next(whole.iterdir())), _last_network(run))
    print(f"{len(different)} of {count} tensors differ{': ' if different else ''}{', '.join(different[:5])}")
    return int(bool(different))


def differing(a: Path, b: Path) -> tuple[list[str], int]:
    """The names of the tensors of two network files that are not equal to the last bit, and the number of all."""
    first, second = load_file(a), load_file(b)
    names = sorted(first.keys() | second.keys())
    same = {name for name in first.keys() & second.keys() if torch.equal(first[name], second[name])}
    return [name for name in names if name not in same], len(names)


def _last_network(run: Path) -> Path:
    return max(run.glob("network-*.safetensors"))


def _train(*arguments: str) -> None:
    print(f"train.py {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "train.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout[-2000:])
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
