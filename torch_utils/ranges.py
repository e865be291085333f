"""What command lines say in short: seeds as `0-9,15`, numbers as `-1:1:0.5`, sizes as `512x384`."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import click

MAX_ITEMS = 1_000_000
MAX_SEED = 2**32 - 1  # numpy's RandomState takes no larger one
MAX_SIDE = 65_536
MAX_NUMBER = 1000  # far beyond any truncation that shows something, far below what overflows


def without_separators(text: str) -> str:
    """A number without the separators of its thousands: `5,000` and `5_000` -> `5000`; any other text as it is."""
    grouped = re.fullmatch(r"\s*([+-]?[0-9]{1,3}(?:([,_' ])[0-9]{3})(?:\2[0-9]{3})*(?:\.[0-9]*)?)\s*", text)
    return grouped[1].replace(grouped[2], "") if grouped else text


class _Spelled(click.ParamType):
    """A type that `read` makes from a text; values that are no text (defaults) pass as they are."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def read(self, text: str) -> Any:
        raise NotImplementedError


class SeedList(_Spelled):
    """`0-9,15` -> [0, 1, ..., 9, 15]: seeds of 0 .. 2^32 - 1, in the order they are written."""

    name = "seeds"

    def read(self, text: str) -> list[int]:
        seeds: list[int] = []
        for part in text.split(","):
            found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part.strip())
            if found is None:
                raise ValueError(f"got {part.strip()!r}, wanted seeds such as 0-9,15")
            first, last = int(found[1]), int(found[2] or found[1])
            if first > last:
                raise ValueError(f"got {part.strip()!r}, wanted the smaller seed first: {last}-{first}")
            if last > MAX_SEED:
                raise ValueError(f"got the seed {last}, wanted seeds from 0 to {MAX_SEED}")
            _check_count(len(seeds) + last - first + 1, "seeds")
            seeds += range(first, last + 1)
        return seeds


class Number(_Spelled):
    """`0.7` -> 0.7: a number of -1000 .. 1000."""

    name = "number"

    def read(self, text: str) -> float:
        return _float(_decimal(without_separators(text), f"a number from -{MAX_NUMBER} to {MAX_NUMBER} such as 0.7"))


class FloatList(_Spelled):
    """`0.5,0.7` -> [0.5, 0.7], and `-1:1:0.5` -> [-1.0, -0.5, 0.0, 0.5, 1.0]: from, to (included), step.

    All are numbers of -1000 .. 1000.
    """

    name = "numbers"

    def read(self, text: str) -> list[float]:
        numbers: list[float] = []
        wanted = f"numbers from -{MAX_NUMBER} to {MAX_NUMBER} such as 0.5,0.7 or -1:1:0.5"
        for part in text.split(","):
            terms = [_decimal(term, wanted) for term in part.split(":")]
            if len(terms) == 1:
                numbers.append(_float(terms[0]))
            elif len(terms) == 3:
                start, stop, step = terms
                numbers += _steps(start, stop, step, len(numbers))
            else:
                raise ValueError(f"got {part.strip()!r}, wanted FROM:TO:STEP such as -1:1:0.5")
        return numbers


class Size(_Spelled):
    """`512x384` -> (384, 512), and `512` -> (512, 512): width by height in the text, (height, width) as the value."""

    name = "WxH"

    def read(self, text: str) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?", text.strip())
        if found is None:
            raise ValueError(f"got {text!r}, wanted WIDTHxHEIGHT such as 512x384, or one number for a square")
        width, height = int(found[1]), int(found[2] or found[1])
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise ValueError(f"got {text!r}, wanted sides from 1 to {MAX_SIDE}")
        return height, width


def _steps(start: Decimal, stop: Decimal, step: Decimal, already: int) -> list[float]:
    # In decimals, as they are written: 0.1 added ten times in binary is not 1.
    if step == 0 or (stop - start) * step < 0:
        raise ValueError(f"got the step {step}, wanted one that leads from {start} to {stop}")
    if abs(stop - start) > MAX_ITEMS * abs(step):
        raise ValueError(f"got the step {step}, wanted one that makes at most {MAX_ITEMS} numbers")
    count = math.floor((stop - start) / step) + 1
    _check_count(already + count, "numbers")
    return [_float(start + k * step) for k in range(count)]


def _float(number: Decimal) -> float:
    return float(number) + 0.0  # which turns -0 into 0


def _decimal(text: str, wanted: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number) > MAX_NUMBER:
        raise ValueError(f"got {text.strip()!r}, wanted {wanted}")
    return number


def _check_count(count: int, what: str) -> None:
    if count > MAX_ITEMS:
        raise ValueError(f"got {count} {what}, wanted at most {MAX_ITEMS}")
