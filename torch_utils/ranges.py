"""Short forms on command lines: seeds as `0-9,15`, numbers as `-1:1:0.5`, sizes as `512x384`."""

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import click

from system.text import parse_size

MAX_ITEMS = 1_000_000
MAX_SEED = 2**32 - 1  # the largest seed of numpy's RandomState
MAX_NUMBER = 1000  # far beyond useful truncations and strengths, far below overflow


def without_separators(text: str) -> str:
    """Remove the thousands separators of a number: `5,000` and `5_000` -> `5000`. Other texts stay."""
    grouped = re.fullmatch(r"\s*([+-]?[0-9]{1,3}(?:([,_' ])[0-9]{3})(?:\2[0-9]{3})*(?:\.[0-9]*)?)\s*", text)
    return grouped[1].replace(grouped[2], "") if grouped else text


class Spelled(click.ParamType):
    """A type of options that parses texts with a function; other values (defaults) stay."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in map(str.strip, text.split(",")):
        found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part)
        if found is None:
            raise ValueError(f"got {part!r}, expected seeds such as 0-9,15")
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise ValueError(f"got {part!r}, expected the smaller seed first: {last}-{first}")
        if last > MAX_SEED:
            raise ValueError(f"got the seed {last}, expected seeds from 0 to {MAX_SEED}")
        if len(seeds) + last - first >= MAX_ITEMS:
            raise ValueError(f"got more than {MAX_ITEMS} seeds")
        seeds += range(first, last + 1)
    return seeds


def _numbers(text: str) -> list[float]:
    numbers: list[float] = []
    for part in text.split(","):
        terms = [_decimal(term, "numbers", "0.5,0.7 or -1:1:0.5") for term in part.split(":")]
        if len(terms) not in (1, 3):
            raise ValueError(f"got {part.strip()!r}, expected FROM:TO:STEP such as -1:1:0.5")
        numbers += [_float(terms[0])] if len(terms) == 1 else _steps(*terms)
        if len(numbers) > MAX_ITEMS:
            raise ValueError(f"got more than {MAX_ITEMS} numbers")
    return numbers


def _steps(start: Decimal, stop: Decimal, step: Decimal) -> list[float]:
    # Decimals, as written: 0.1 added ten times in binary is not 1.
    if step == 0 or (stop - start) * step < 0:
        raise ValueError(f"got the step {step}, expected a step that leads from {start} to {stop}")
    if abs(stop - start) > MAX_ITEMS * abs(step):
        raise ValueError(f"got the step {step}, which makes more than {MAX_ITEMS} numbers")
    return [_float(start + k * step) for k in range(math.floor((stop - start) / step) + 1)]


def _number(text: str) -> float:
    return _float(_decimal(without_separators(text), "a number", "0.7"))


def _float(number: Decimal) -> float:
    return float(number) + 0.0  # turns -0 into 0


def _decimal(text: str, kind: str, example: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number) > MAX_NUMBER:
        raise ValueError(f"got {text.strip()!r}, expected {kind} from -{MAX_NUMBER} to {MAX_NUMBER} such as {example}")
    return number


# Types of options. All numbers are from -1000 to 1000, in the order they are written.
SeedList = partial(Spelled, "seeds", _seeds)  # `0-9,15` -> [0, 1, ..., 9, 15], from 0 to 2^32 - 1
Number = partial(Spelled, "number", _number)  # `0.7` -> 0.7
FloatList = partial(Spelled, "numbers", _numbers)  # `0.5,0.7`, and FROM:TO:STEP with TO included: `-1:1:0.5`
Size = partial(Spelled, "WxH", parse_size)  # as (height, width): `512x384` -> (384, 512), `512` -> (512, 512)
