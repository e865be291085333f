"""What decides any training run: one frozen tree of settings. Flags, their help and limits come from these fields."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.dataset import DataConfig
from models.family import Shape
from torch_utils.device import Precision
from torch_utils.distributed import PATIENCE

GRAPH_DEVICES = ("auto", "cuda")  # for --cuda-graphs


def flag(name: str, group: str, by_preset: bool = False) -> dict[str, Any]:
    """Marks a field as an option of train.py; `by_preset`: a preset decides its default."""
    return {"flag": name, "group": group, "by_preset": by_preset}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AverageConfig(Section):
    """The average of a network in training, with which pictures are made."""

    kimg: float = Field(10.0, ge=0, description="half-life of the averaged network, in thousands of images")
    ramp: float = Field(0.0, ge=0, description="limit of the half-life as a share of the images seen; 0 sets none")


class PaceConfig(Section):
    """Length, batch, and how often something is written. Time is counted in images shown."""

    kimg: float = Field(
        25000.0, gt=0, description="length in thousands of images", json_schema_extra=flag("--kimg", "Training", True)
    )
    batch: int = Field(
        32,
        ge=1,
        description="images in one iteration, over all processes",
        json_schema_extra=flag("--batch", "Training", True),
    )
    batch_gpu: int = Field(
        32,
        ge=1,
        description="images computed at once in one process; fewer need less memory; auto: as many as fit",
        json_schema_extra=flag("--batch-gpu", "Training", True) | {"word": "auto"},
    )
    tick: float = Field(
        4.0, gt=0, description="kimg between status lines", json_schema_extra=flag("--tick", "Output", True)
    )
    snap: int = Field(
        50,
        ge=1,
        description="ticks between snapshots of samples, networks and state",
        json_schema_extra=flag("--snap", "Output", True),
    )
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

    model: str = Field("", description="what is trained", json_schema_extra=flag("--model", "Training"))
    preset: str = Field(
        "auto",
        description="a named configuration; without it auto, or demo for the demo set",
        json_schema_extra=flag("--preset", "Training"),
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="seed of everything random", json_schema_extra=flag("--seed", "Training")
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where to compute", json_schema_extra=flag("--device", "Machine")
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        "auto",
        description="number format of the networks' large products; auto: bf16 or fp16 on CUDA, fp32 elsewhere",
        json_schema_extra=flag("--precision", "Machine"),
    )
    workers: int = Field(
        0, ge=0, le=256, description="processes that read images", json_schema_extra=flag("--workers", "Machine", True)
    )
    patience: float = Field(
        PATIENCE, gt=0, description="minutes that a process waits for the others before it takes them for lost"
    )
    checkpoint_activations: bool = Field(
        False,
        description="recompute activations in the backward pass: less memory, slower, the same result",
        json_schema_extra=flag("--checkpoint-activations", "Machine"),
    )
    compile: bool = Field(
        False,
        description="compile the networks with torch.compile, if that works and gives the same gradients",
        json_schema_extra=flag("--compile", "Machine"),
    )
    cuda_graphs: bool = Field(
        False,
        description="capture phases as CUDA graphs, if that works and gives the same gradients; takes more memory",
        json_schema_extra=flag("--cuda-graphs", "Machine"),
    )
    deterministic: bool = Field(
        False,
        description="use only deterministic algorithms; slower on CUDA, no change elsewhere",
        json_schema_extra=flag("--deterministic", "Machine"),
    )
    metrics: str = Field(
        "swd1k",
        description="metrics of every snapshot, with commas, such as fid50k_full,swd1k; or none; the first decides "
        "which network becomes best.safetensors (see docs/metrics.md)",
        json_schema_extra=flag("--metrics", "Output", True),
    )
    data: DataConfig = DataConfig()
    pace: PaceConfig = PaceConfig()

    @property
    def shape(self) -> Shape:
        """The images that the networks make or judge. Each model's class knows."""
        raise NotImplementedError

    @property
    def sets(self) -> dict[str, DataConfig]:
        """The image sets that training reads, by name; the first is "data"."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, DataConfig)}

    @property
    def title(self) -> str:
        """The end of the name of the run folder."""
        return f"{self.model.replace('/', '-')}-{self.preset}"

    @property
    def arithmetic(self) -> Precision:
        """The number format of a resolved configuration."""
        if self.precision == "auto":
            raise ValueError("the precision has not been resolved")
        return self.precision

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        pace = self.pace
        if not pace.images:
            raise ValueError(f"--kimg {pace.kimg:g} is less than one image: give 0.001 or more")
        if pace.batch % pace.batch_gpu:
            raise ValueError(f"--batch {pace.batch} is not a multiple of --batch-gpu {pace.batch_gpu}")
        if self.compile and self.checkpoint_activations:
            raise ValueError(
                "--compile is for speed, --checkpoint-activations for memory, and they do not go together: give one"
            )
        if self.cuda_graphs and self.compile:
            raise ValueError("--cuda-graphs and --compile both replace the passes of a phase: give one")
        if self.cuda_graphs and self.device not in GRAPH_DEVICES:
            raise ValueError(f"--cuda-graphs needs a CUDA device, and the device is {self.device}: leave it out")
        return self
