"""What decides any training run: one frozen tree of settings. Flags, their help and limits come from these fields."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.dataset import DataConfig
from imaging.imageset import Latent
from models.family import Shape
from torch_utils.config import flag
from torch_utils.device import Precision
from torch_utils.launch import PATIENCE

GRAPH_DEVICES = ("auto", "cuda")  # for --cuda-graphs
MODEL = ("--model", "Training", "what is trained")
PRESET = ("--preset", "Training", "a named configuration; without it auto, or demo for the demo set")
AT_ONCE = "images computed at once in one process; fewer need less memory; auto: as many as fit"
SNAP = "ticks between snapshots of samples, networks and state"
DETERMINISTIC = "use only deterministic algorithms; slower on CUDA, no change elsewhere"
RECOMPUTE = "recompute activations in the backward pass: less memory, slower, the same result"
COMPILE = "compile the networks with torch.compile, if that works and gives the same gradients"
GRAPHS = "capture phases as CUDA graphs, if that works and gives the same gradients; takes more memory"
PRECISION = "number format of the networks' large products; auto: bf16 or fp16 on CUDA, fp32 elsewhere"
METRICS = (
    "metrics of every snapshot, with commas, such as fid50k_full,swd1k; or none; the first decides which network "
    "becomes best.safetensors (see docs/metrics.md)"
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AverageConfig(Section):
    """The average of a network in training, with which pictures are made."""

    kimg: float = Field(10.0, ge=0, description="half-life of the averaged network, in thousands of images")
    ramp: float = Field(0.0, ge=0, description="limit of the half-life as a share of the images seen; 0 sets none")


class PaceConfig(Section):
    """Length, batch, and how often something is written. Time is counted in images shown."""

    kimg: float = flag(25000.0, "--kimg", "Training", "length in thousands of images", by_preset=True, gt=0)
    batch: int = flag(32, "--batch", "Training", "images in one iteration, over all processes", by_preset=True, ge=1)
    batch_gpu: int = flag(32, "--batch-gpu", "Training", AT_ONCE, by_preset=True, word="auto", ge=1)
    tick: float = flag(4.0, "--tick", "Output", "kimg between status lines", by_preset=True, gt=0)
    snap: int = flag(50, "--snap", "Output", SNAP, by_preset=True, ge=1)
    sheet: int = Field(256, ge=1, description="most pictures on a sheet of samples")
    light_files: bool = Field(
        False, description="network files keep only the network that makes pictures, in float16; states keep all"
    )
    state_minutes: float = Field(10.0, ge=0, description="minutes between saved states; 0: only snapshots save one")

    @property
    def images(self) -> int:
        """Images shown over the whole run."""
        return round(self.kimg * 1000)


class RunConfig(Section):
    """What every training run has. A model's own class adds the sections of its networks and of how they learn."""

    model: str = flag("", *MODEL)
    preset: str = flag("auto", *PRESET)
    seed: int = flag(0, "--seed", "Training", "seed of everything random", ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda", "mps"] = flag("auto", "--device", "Machine", "where to compute")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = flag("auto", "--precision", "Machine", PRECISION)
    workers: int = flag(0, "--workers", "Machine", "processes that read images", by_preset=True, ge=0, le=256)
    patience: float = Field(
        PATIENCE, gt=0, description="minutes that a process waits for the others before it takes them for lost"
    )
    checkpoint_activations: bool = flag(False, "--checkpoint-activations", "Machine", RECOMPUTE)
    compile: bool = flag(False, "--compile", "Machine", COMPILE)
    cuda_graphs: bool = flag(False, "--cuda-graphs", "Machine", GRAPHS)
    deterministic: bool = flag(False, "--deterministic", "Machine", DETERMINISTIC)
    metrics: str = flag("swd1k", "--metrics", "Output", METRICS, by_preset=True)
    data: DataConfig = DataConfig()
    pace: PaceConfig = PaceConfig()

    @property
    def shape(self) -> Shape:
        """The images that the networks make or judge. Each model's class knows."""
        raise NotImplementedError

    @property
    def latent(self) -> Latent | None:
        """What the images are latents of; None for pixels."""
        return None

    @property
    def sets(self) -> dict[str, DataConfig]:
        """The image sets that training reads, by name; the first is "data"."""
        return {name: value for name, value in self if isinstance(value, DataConfig)}

    @property
    def shapes(self) -> dict[str, Shape]:
        """The images of each set. A model whose sets differ overrides this."""
        return dict.fromkeys(self.sets, self.shape)

    @property
    def title(self) -> str:
        """The end of the name of the run folder."""
        return f"{self.model.replace('/', '-')}-{self.preset}"

    @property
    def arithmetic(self) -> Precision:
        """The number format of a resolved configuration."""
        assert self.precision != "auto", "the precision has not been resolved"
        return self.precision

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        pace = self.pace
        if not pace.images:
            raise ValueError(f"--kimg {pace.kimg:g} is less than one image: give 0.001 or more")
        check_rounds(pace.batch_gpu, pace.batch, pace.batch)
        for other in ("checkpoint_activations", "cuda_graphs"):
            if self.compile and getattr(self, other):
                raise ValueError(f"--compile and --{other.replace('_', '-')} exclude each other: give one of them")
        if self.cuda_graphs and self.device not in GRAPH_DEVICES:
            raise ValueError(f"--cuda-graphs needs a CUDA device, and the device is {self.device}: leave it out")
        return self


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` up to `most`."""
    return next(d for d in range(min(number, most), 0, -1) if number % d == 0)


def share_of(batch: int, world: int) -> int:
    """Images of a batch for each of `world` processes. Raises ValueError if the shares are not equal."""
    if batch % world:
        raise ValueError(f"--batch {batch} is not a multiple of the {world} processes: give each the same share")
    return batch // world


def check_rounds(batch_gpu: int, share: int, batch: int) -> None:
    """Raises ValueError unless a process's share of the batch makes whole rounds of `batch_gpu` images."""
    if share % batch_gpu:
        raise ValueError(
            f"--batch-gpu {batch_gpu} does not divide the {share} images that a process has of --batch {batch}: "
            f"take {largest_divisor(share, batch_gpu)}"
        )
