"""Our diffusion transformer beside the network and sampler of the published program, from a checkout of the user's."""

from pathlib import Path
from typing import Any, Literal

import click
from pydantic import BaseModel, ConfigDict

from benchmarks import turns
from torch_utils.cli import Command, option, say
from torch_utils.config import build, flag
from torch_utils.device import resolve_device, resolve_precision
from torch_utils.flags import flags, given

FOLDER = "folder of the published program, whose requirements must be installed"
EXAMPLES = """
Examples:
  git clone https://github.com/facebookresearch/DiT
  python -m benchmarks.diffusion.compare --official DiT --precision bf16
"""


class DenoisingSetting(BaseModel):
    """One measurement: noise is predicted, its mean squared error is the loss, and DDPM steps are guided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["dit-s/2", "dit-s/4", "dit-s/8", "dit-b/2", "dit-b/4", "dit-b/8"] = flag(
        "dit-s/2", "--model", "Networks", "size of the network"
    )
    resolution: int = flag(32, "--resolution", "Networks", "pixels of a side", ge=8, le=1024)
    classes: int = flag(10, "--classes", "Networks", "classes of the images", ge=1, le=2**20)
    batch: int = flag(8, "--batch", "Measurement", "images per step", ge=1)
    steps: int = flag(10, "--steps", "Measurement", "DDPM steps of a picture", ge=2, le=250)
    cfg_scale: float = flag(1.5, "--cfg-scale", "Measurement", "classifier-free guidance", gt=1, le=100)
    iterations: int = flag(3, "--iterations", "Measurement", "timings of each; the median counts", ge=1)
    threads: int = flag(2, "--threads", "Machine", "CPU threads", ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = flag("cpu", "--device", "Machine", "compute device")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = flag("fp32", "--precision", "Machine", "format of ours")

    def resolved(self) -> "DenoisingSetting":
        """The setting with a device and a precision of this machine, or ValueError if the machine lacks them."""
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device, training=True)
        return self.model_copy(update={"device": device.type, "precision": precision})


@click.command(cls=Command, epilog=EXAMPLES)
@option("--official", "checkout", type=click.Path(path_type=Path), required=True, group="Measurement", help=FOLDER)
@option("--rounds", type=click.IntRange(min=1), default=2, group="Measurement", help="runs of each of the two")
def main(checkout: Path, rounds: int, **params: Any) -> None:
    """Time our code and the published program by turns, each in a process of its own and never both at once.

    The published program computes in float32, on CUDA in tf32 unless ours is float32.
    """
    setting = build(DenoisingSetting, given(DenoisingSetting, params)).resolved()
    if not (checkout / "models.py").is_file() or not (checkout / "diffusion").is_dir():
        raise FileNotFoundError(
            f"--official {checkout} is no checkout of DiT (it has no models.py, or no folder diffusion): "
            f"clone https://github.com/facebookresearch/DiT and give its folder"
        )
    found = turns.compare(lambda: ours(setting), lambda: theirs(setting, checkout), rounds)
    s, how = setting, f"medians of {rounds} runs by turns, each the median of {setting.iterations}"
    size = f"{s.model}, {s.resolution}x{s.resolution} pixels, {s.classes} classes, batch {s.batch}"
    machine = f"{s.device}, {s.precision}, {s.threads} threads (official: fp32, on CUDA tf32)"
    head = f"{size}\n{s.steps} DDPM steps with guidance {s.cfg_scale:g}\n{machine}\n{how}"
    say(turns.table(head, found))


def ours(setting: DenoisingSetting) -> dict[str, Any]:
    """One run of `benchmarks.step`."""
    names = ("model", "resolution", "classes", "batch", "iterations", "threads", "device", "precision")
    given = [text for name in names for text in (f"--{name}", str(getattr(setting, name)))]
    sets = {"loss.kind": "mse", "sampling.steps": setting.steps, "sampling.cfg_scale": setting.cfg_scale}
    given += [f"--set={name}={value}" for name, value in sets.items()]
    return turns.run_json("step", "--json", "--preset", "paper", *given)


def theirs(setting: DenoisingSetting, checkout: Path) -> dict[str, Any]:
    """One run of `published.py`."""
    return turns.run_json("diffusion.published", str(checkout.resolve()), setting.model_dump_json())


main.params += flags(DenoisingSetting)

if __name__ == "__main__":
    main()
