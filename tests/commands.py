"""train.py called as from a shell, on data sets of a few pictures."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

import train
from tests.training.runs import tiny


def run(*arguments: str) -> Result:
    return CliRunner().invoke(train.main, arguments, prog_name="train.py")


def tiny_sets(**more) -> list[str]:
    return [f"--set={name}={value}" for name, value in tiny(**more).items() if not name.startswith("data.")]


def refused(result: Result) -> str:
    """The sentence of a refusal: exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output.split("Error: ", 1)[1].strip()


def picture(size: int = 16, value: int = 0, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.full([size, size, 3], value, np.uint8)).convert(mode)


def zipped(path: Path, count: int = 8, labels: list | None = None, broken: int | None = None, **more) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            buffer = io.BytesIO()
            picture(value=i * 20 % 256, **more).save(buffer, "PNG")
            data = buffer.getvalue()
            archive.writestr(f"00000/img{i:08d}.png", data[:50] if i == broken else data)
        if labels is not None:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


def train_on(path: Path, tmp_path: Path, *more: str, **settings) -> Result:
    sets = tiny_sets(**{"pace__kimg": 0.02, **settings})
    return run("--data", str(path), "--outdir", str(tmp_path / "runs"), *sets, *more)
