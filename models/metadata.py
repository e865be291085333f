"""Facts about training, data and classes in a network file, which a stranger may have written.

Networks work without these facts, so malformed facts are left out. What networks are built from is checked where they
are built.
"""

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

DEFINING = ("format", "version", "family")  # and the configuration of each part

MOST_FACTS = 1000  # about the data set
LONGEST = 2**24  # characters of a fact as JSON

_Name = Annotated[str, Field(max_length=1000)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Forms = Mapping[str, TypeAdapter[Any]]

FACTS: _Forms = {  # other facts may be any JSON value of moderate size
    "kimg": TypeAdapter(Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]),  # thousands of training images
    "data": TypeAdapter(dict[str, Any]),  # `DATA_FACTS`
    "training": TypeAdapter(dict[str, Any]),  # the configuration of the run
    "source": TypeAdapter(dict[str, Any]),  # of a file of another program
}
DATA_FACTS: _Forms = {  # about the images that a network was trained on
    "name": TypeAdapter(_Name),
    "fingerprint": TypeAdapter(_Name),
    "images": TypeAdapter(_Count),
    "class_names": TypeAdapter(list[_Name]),  # one for each class of the network
    "class_counts": TypeAdapter(list[_Count]),  # likewise: images of each class
}


def checked(metadata: Mapping[str, Any], configs: Collection[str]) -> dict[str, Any]:
    """The metadata without malformed or oversized facts.

    Args:
        metadata: values from JSON.
        configs: keys of the parts' configurations.

    Returns:
        A new dict. Facts have the forms of `FACTS` and `DATA_FACTS`, or are missing; `class_names` and `class_counts`
        have one entry for each class of the network.
    """
    defining = {*DEFINING, *configs}
    facts = {key: value for key, value in metadata.items() if key in defining or _fits(FACTS, key, value)}
    tables = [metadata.get(name) for name in configs]
    classes = next((table["classes"] for table in tables if isinstance(table, dict) and "classes" in table), 0)
    if (data := facts.pop("data", None)) is not None and len(data) <= MOST_FACTS:
        each = ("class_names", "class_counts")
        fitting = {key: value for key, value in data.items() if _fits(DATA_FACTS, key, value)}
        facts["data"] = {k: value for k, value in fitting.items() if k not in each or len(value) in (0, classes)}
    return facts


def _fits(forms: _Forms, key: str, value: Any) -> bool:
    """Whether a value is finite, short as JSON, and of its form."""
    try:
        if len(json.dumps(value, allow_nan=False)) > LONGEST:
            return False
        if key in forms:
            forms[key].validate_python(value, strict=True)
    except (ValidationError, ValueError, RecursionError, OverflowError):
        return False
    return True
