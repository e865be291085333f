"""Facts about training, data and classes in a network file, which a stranger may have written.

Networks work without these facts, so malformed facts are left out. What networks are built from is checked where they
are built.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

DEFINING = ("format", "version", "family")  # and the configuration of each part

MOST_FACTS = 1000  # about the data set
LONGEST = 2**24  # characters of a fact as JSON

Name = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class DataFacts(BaseModel):
    """The images that a network was trained on."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: Name
    fingerprint: Name
    images: Count
    class_names: list[Name]  # one for each class of the network
    class_counts: list[Count]  # likewise: images of each class


class Facts(BaseModel):
    """Facts of a known form. Other facts may be any JSON value of moderate size."""

    model_config = ConfigDict(frozen=True, strict=True)

    kimg: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]  # thousands of images seen in training
    data: dict[str, Any]  # `DataFacts`
    training: dict[str, Any]  # the configuration of the run
    source: dict[str, Any]  # of a file of another program


def checked(metadata: Mapping[str, Any], configs: Collection[str]) -> dict[str, Any]:
    """The metadata without malformed or oversized facts.

    Args:
        metadata: values from JSON.
        configs: keys of the parts' configurations.

    Returns:
        A new dict. Its `kimg`, `data`, `training` and `source` have the form of `Facts` and `DataFacts`, or are
        missing; `class_names` and `class_counts` have one entry for each class of the network.
    """
    defining = {*DEFINING, *configs}
    facts = {key: value for key, value in metadata.items() if key in defining or _fits(Facts, key, value)}
    data, classes = metadata.get("data"), _classes(metadata, configs)
    if isinstance(data, dict) and len(data) <= MOST_FACTS:
        fitting = {key: value for key, value in data.items() if _fits(DataFacts, key, value)}
        each = ("class_names", "class_counts")
        facts["data"] = {k: value for k, value in fitting.items() if k not in each or len(value) in (0, classes)}
    return facts


def _classes(metadata: Mapping[str, Any], configs: Collection[str]) -> Any:
    """The number of classes that the first such configuration states; a value of another type matches no list."""
    tables = [metadata.get(name) for name in configs]
    return next((table["classes"] for table in tables if isinstance(table, dict) and "classes" in table), 0)


def _fits(model: type[BaseModel], key: str, value: Any) -> bool:
    if not _is_moderate(value):
        return False
    try:
        if key in model.model_fields:
            _form(model, key).validate_python(value, strict=True)
    except (ValidationError, OverflowError):
        return False
    return True


@cache
def _form(model: type[BaseModel], key: str) -> TypeAdapter[Any]:
    field = model.model_fields[key]
    form: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(form)


def _is_moderate(value: Any) -> bool:
    """Whether a value is finite and short as JSON, and not nested deeply."""
    try:
        return len(json.dumps(value, allow_nan=False)) <= LONGEST
    except (ValueError, RecursionError):
        return False
