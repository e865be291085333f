"""The journal of an interrupted conversion. Another may have written it: what is not of its form counts as cut off."""

import json
from collections.abc import Iterator
from typing import IO, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, StrictBool, StrictInt, TypeAdapter

from imaging.writing import Outcome

HEAD_LINES = 2  # the plan, and what was settled before the first picture
LONGEST_LINE = 2**28  # bytes; the second line names all broken pictures
LONGEST_PLAN = 2**20

_Count = Annotated[StrictInt, Field(ge=0, lt=2**63)]
_Side = Annotated[StrictInt, Field(ge=1, le=2**16)]
_Value = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Text = InstanceOf[str]  # names of files have bytes that are not UTF-8
_DAMAGED = ValueError("the journal of the interrupted run is damaged: begin anew with --restart")


class Line(NamedTuple):
    """A line of the journal: checksum and size of what was written, if anything was, and the outcome."""

    crc: int | None
    size: int | None
    outcome: Outcome

    @classmethod
    def read(cls, text: bytes, pictures: int) -> "Line":
        """A line as `str` writes it, of a source of so many pictures. ValueError when it is none."""
        try:
            crc, size, *outcome = _LINE.validate_python(_parsed(text))
        except ValueError:
            raise _DAMAGED from None
        found = cls(crc, size, Outcome(*outcome))
        if max(found.outcome.number, found.outcome.twin or 0) >= pictures:
            raise _DAMAGED
        return found

    def __str__(self) -> str:
        return json.dumps([self.crc, self.size, *self.outcome]) + "\n"


class _Plan(BaseModel):
    model_config = ConfigDict(extra="allow")

    options: dict[_Text, _Text | StrictInt]


class _Settled(BaseModel):
    """See `imaging.conversion`."""

    model_config = ConfigDict(extra="forbid")

    fit: tuple[_Side, _Side]
    canvas: tuple[_Side, _Side]
    mode: Literal["L", "RGB", "RGBA"]
    broken: dict[_Text, _Text]
    span: tuple[_Value, _Value] | None


_LINE: TypeAdapter[Any] = TypeAdapter(
    tuple[
        Annotated[StrictInt, Field(ge=0, lt=2**32)] | None,  # crc
        _Count | None,  # size
        _Count,  # number
        _Count | None,  # label
        Annotated[StrictInt, Field(ge=0, lt=2**64)] | None,  # digest
        StrictBool,  # enlarged
        _Text | None,  # reason
        _Count | None,  # twin
    ]
)


def read_head(journal: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan and what was settled. ValueError when the journal does not begin with them."""
    found = list(whole_lines(journal, HEAD_LINES))
    if len(found) < HEAD_LINES or len(found[0]) > LONGEST_PLAN:
        raise ValueError("the journal has no beginning")
    plan, settled = _Plan.model_validate(_parsed(found[0])), _Settled.model_validate(_parsed(found[1]))
    return plan.model_dump(), settled.model_dump()


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _DAMAGED from None


def whole_lines(journal: IO[bytes], most: int = -1) -> Iterator[bytes]:
    """The next lines of a journal, up to the first that was cut short or is too long to be one."""
    while most and (line := journal.readline(LONGEST_LINE)).endswith(b"\n"):
        yield line
        most -= 1


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """In words, what a run with the plan `before` did otherwise."""
    options, changed = before["options"], now.get("options", {})
    for name in [*options, *(name for name in changed if name not in options)]:
        if options.get(name) != changed.get(name):
            return f"with {name} {options.get(name)}, and now it is {changed.get(name)}"
    name = next((name for name in [*now, *before] if before.get(name) != now.get(name)), "plan")
    return f"whose {name} differed"
