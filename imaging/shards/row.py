"""The index of a set of shards, as JSON."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from imaging.labels import MOST_CLASSES
from imaging.shards.pattern import listed
from imaging.shards.remote import LARGEST
from imaging.sizes import parse_size
from imaging.tarheaders import BLOCK

SMALLEST_SAMPLE = 2 * BLOCK  # bytes: a header and an image

Count = Annotated[int, Field(ge=1)]
ClassNumber = Annotated[int, Field(ge=0, lt=MOST_CLASSES)]


class Row(BaseModel):
    """A shard. `labels`: class -> samples, None if unlabeled or not read; `sizes`: "96x64" -> samples; `modes`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int = Field(ge=0, le=LARGEST)
    samples: Count
    digest: str
    labels: dict[ClassNumber, Count] | None = None
    sizes: dict[str, Count] = Field(min_length=1)
    modes: dict[Literal["L", "RGB", "RGBA"], Count] = Field(min_length=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.samples > self.bytes // SMALLEST_SAMPLE:
            raise ValueError("its bytes cannot hold so many samples")
        for name, counts in (("labels", self.labels), ("sizes", self.sizes), ("modes", self.modes)):
            if counts is not None and sum(counts.values()) != self.samples:
                raise ValueError(f"its {name} do not add up to its samples")
        for size in self.sizes:
            parse_size(size)
        return self


class Index(BaseModel):
    """The shards of a set, in its order. Unknown keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal["shards 1"] = "shards 1"
    class_names: Annotated[tuple[str, ...], Field(max_length=MOST_CLASSES)] | None = None
    shards: tuple[Row, ...]

    @field_validator("class_names", mode="before")
    @classmethod
    def _as_text(cls, names: Any) -> Any:
        plain = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        return tuple(map(listed, names)) if plain else names

    def to_json(self) -> bytes:
        """The content of the file: ASCII, whatever letters the names have."""
        return json.dumps(self.model_dump(exclude_none=True), separators=(",", ":")).encode()

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The index in a file. ValidationError, which is a ValueError, says what is wrong with it."""
        return cls.model_validate_json(data)
