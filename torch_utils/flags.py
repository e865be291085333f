"""Command-line options: their types, and options made from the fields of a configuration."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel

from system.text import parse_size, without_separators
from torch_utils.config import UNSET, Setting, flag_of, parse_set, settings, spell

MAX_ITEMS = 1_000_000
MAX_SEED = 2**32 - 1  # the largest seed of numpy's RandomState
MAX_NUMBER = 1000  # far beyond useful truncations and strengths, far below overflow

_METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
_GPU = re.compile(r"(?:(?:cuda|gpu):)?([0-9]+)", re.IGNORECASE)

# Other names -> options, separated by blanks. The first option that the command has is offered.
SYNONYMS = {
    "dataset dataroot data-dir data-path image-folder images": "--data --source --images --target",
    "input input-dir image img picture photo": "--source --target --data --images",
    "output output-dir out save-dir results logdir dest outdir": "--outdir --dest --sheet",
    "cond conditional label class-idx num-classes labels": "--labels --class",
    "guidance guidance-scale cfg-weight w": "--cfg-scale",
    "num-steps num-sampling-steps sampling-steps ddim-steps": "--steps",
    "max-samples subset limit": "--max-images",
    "xflip flip hflip horizontal-flip": "--mirror",
    "outvid video movie": "--film --format",
    "pkl network-pkl ckpt checkpoint model weights pretrained": "--network --transfer --source",
    "finetune fine-tune resume-pkl": "--transfer --network",
    "continue restore load-checkpoint": "--resume --network",
    "seed random-seed seeds row-seeds": "--seeds --seed --rows",
    "n num num-samples num-images": "--seeds --max-images",
    "truncation trunc truncation-psi psi": "--psi --psis",
    "grid-size nrow": "--grid",
    "num-frames w-frames duration": "--frames",
    "cfg config": "--preset",
    "lr learning-rate": "--lr --rate",
    "batch-size bs minibatch": "--batch",
    "size image-size img-size": "--resolution --scale",
    "epochs iterations max-steps total-kimg": "--steps --kimg",
    "snapshot save-every save-interval": "--snap",
    "r1 r1-gamma": "--gamma",
    "augment ada": "--aug",
    "metric fid": "--metrics",
    "gpu num-gpus nproc": "--gpus --device",
    "fp16 amp mixed-precision dtype": "--precision --dtype",
    "num-workers threads": "--workers",
}


class Option(click.Option):
    """An option in a group of the help text. `shown` is its default there, if it differs from the option's own."""

    def __init__(self, *args: Any, group: str = "Options", shown: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        self.shown = shown

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert a text. Numbers may have separators (5,000); a numbered GPU is refused with the way to choose it."""
        if "--device" in self.opts and (gpu := _GPU.fullmatch(str(value))):
            mend = f"give --device cuda, and choose the GPU with CUDA_VISIBLE_DEVICES={gpu[1]} before python"
            raise click.BadParameter(f"got {value!r}: {mend}", param=self)
        is_number = isinstance(self.type, click.types.IntParamType | click.types.FloatParamType)
        return super().type_cast_value(
            ctx, without_separators(value) if is_number and isinstance(value, str) else value
        )

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if self.shown is not None:
            extra["default"] = self.shown
        return extra


class Spelled(click.ParamType):
    """A type of options that parses texts with a function; other values (defaults) stay."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Limited(Spelled, click.IntRange):
    """A number with limits, which click shows in the help text."""

    def __init__(self, setting: Setting, bounds: Mapping[str, Any]) -> None:
        low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        click.IntRange.__init__(self, low, high, min_open="gt" in bounds, max_open="lt" in bounds)
        Spelled.__init__(self, "value", setting.parse)


def flags(model: type[BaseModel], names: Collection[str] | None = None) -> list[Option]:
    """Return an option for every setting (in `names`) that has a flag, in order. It is None if it is not given."""
    return [_option(setting) for setting in _flagged(model) if names is None or setting.name in names]


def given(model: type[BaseModel], params: Mapping[str, Any], sets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings that were given, by dotted name, from click's parameters and the values of `--set`.

    Raises ValueError for a setting that is given both ways, and as `parse_set`.
    """
    values = {setting.name: params.get(setting.name.replace(".", "__")) for setting in _flagged(model)}
    values = {name: value for name, value in values.items() if value is not None}
    for name, value in parse_set(model, sets).items():
        if name in values:
            raise ValueError(f"{flag_of(model, name)} and --set {name} are the same setting: give one of them")
        values[name] = value
    return values


def _flagged(model: type[BaseModel]) -> list[Setting]:
    return [setting for setting in settings(model).values() if "flag" in setting.mark]


def _option(setting: Setting) -> Option:
    flag, kind, word = setting.mark["flag"], _type(setting), setting.mark.get("word")
    metavar = "PLACE" if setting.mark.get("opens") else _METAVARS.get(_present(setting))
    name = f"{flag}/--no-{flag.removeprefix('--')}" if kind is click.BOOL else flag
    return Option(
        [name, *setting.mark.get("also", ()), setting.name.replace(".", "__")],
        type=kind,
        default=None,
        metavar=f"{metavar}|{word}" if metavar and word else metavar,
        help=setting.field.description,
        group=setting.mark.get("group", "Options"),
        shown=_shown(setting),
    )


def _type(setting: Setting) -> click.ParamType:
    kind, choices = _present(setting), get_args(_present(setting))
    if kind is bool:
        return click.BOOL
    if get_origin(kind) is Literal and all(isinstance(choice, str) for choice in choices):
        return click.Choice(choices)
    names = ("gt", "ge", "lt", "le")
    bounds = {name: getattr(item, name) for item in setting.field.metadata for name in names if hasattr(item, name)}
    return _Limited(setting, bounds) if bounds and kind in (int, float) else Spelled("value", setting.parse)


def _present(setting: Setting) -> Any:
    """The type of a setting's values other than None: `int` of `int | None`."""
    annotation = setting.field.annotation
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if get_origin(annotation) in (Union, UnionType) and len(kinds) == 1 else annotation


def _shown(setting: Setting) -> str | None:
    if setting.mark.get("by_preset"):
        return "depends on preset and data, see --dry-run"
    if setting.default in (UNSET, None):
        return None if setting.default is None else "required"
    if setting.field.annotation is bool:
        flag = setting.mark["flag"].removeprefix("--")
        return flag if setting.default else f"no-{flag}"
    return spell(setting.default) or None


def spellings(params: Sequence[click.Parameter]) -> list[str]:
    """Return all spellings of the options, including the ones that switch them off."""
    options = [param for param in params if isinstance(param, click.Option)]
    return [name for option in options for name in (*option.opts, *option.secondary_opts)]


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in map(str.strip, text.split(",")):
        found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part)
        first, last = map(int, (found[1], found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ValueError(f"got {part!r}, expected seeds such as 0-9,15, the smaller one first")
        if last > MAX_SEED:
            raise ValueError(f"got the seed {last}, expected seeds from 0 to {MAX_SEED}")
        if len(seeds) + last - first >= MAX_ITEMS:
            raise ValueError(f"got more than {MAX_ITEMS} seeds")
        seeds += range(first, last + 1)
    return seeds


def _numbers(text: str) -> list[float]:
    numbers: list[float] = []
    for part in text.split(","):
        terms = [_number(term, "numbers", "0.5,0.7 or -1:1:0.5") for term in part.split(":")]
        if len(terms) not in (1, 3):
            raise ValueError(f"got {part.strip()!r}, expected FROM:TO:STEP such as -1:1:0.5")
        start, stop, step = terms if len(terms) == 3 else (terms[0], terms[0], 1.0)
        if step == 0 or (stop - start) * step < 0:
            raise ValueError(f"got the step {step:g}, expected a step that leads from {start:g} to {stop:g}")
        more = (stop - start) / step + 1e-9
        if more + len(numbers) >= MAX_ITEMS:
            raise ValueError(f"got more than {MAX_ITEMS} numbers")
        # Rounded to a few decimals, as they would be written: 0.1 added ten times in binary is not 1.
        numbers += [start, *(round(start + k * step, 10) + 0.0 for k in range(1, math.floor(more) + 1))]
    return numbers


def _mixture(text: str) -> list[tuple[int, float]]:
    parts = [part.strip().partition(":") for part in text.split(",")]
    mixture = [(_seeds(seed), _number(weight, "weights", "0.7") if colon else 1.0) for seed, colon, weight in parts]
    if any(len(seeds) > 1 for seeds, _ in mixture):
        raise ValueError(f"got {text.strip()!r}, expected single seeds and their weights, such as 85:1,1789:0.5")
    return [(seeds[0], weight) for seeds, weight in mixture]


def _number(text: str, kind: str = "a number", example: str = "0.7") -> float:
    try:
        number = float(without_separators(text)) + 0.0  # turns -0 into 0
    except ValueError:
        number = math.nan
    if not abs(number) <= MAX_NUMBER:
        raise ValueError(f"got {text.strip()!r}, expected {kind} from -{MAX_NUMBER} to {MAX_NUMBER} such as {example}")
    return number


# Types of options. All numbers are from -1000 to 1000, in the order they are written.
SeedList = partial(Spelled, "seeds", _seeds)  # `0-9,15` -> [0, 1, ..., 9, 15], from 0 to 2^32 - 1
Mixture = partial(Spelled, "SEED:WEIGHT,...", _mixture)  # `85:1,7:0.5` -> [(85, 1.0), (7, 0.5)]
Number = partial(Spelled, "number", _number)  # `0.7` -> 0.7
FloatList = partial(Spelled, "numbers", _numbers)  # `0.5,0.7`, and FROM:TO:STEP with TO included: `-1:1:0.5`
Size = partial(Spelled, "WxH", parse_size)  # as (height, width): `512x384` -> (384, 512), `512` -> (512, 512)
