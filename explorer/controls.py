"""Controls of the page, made from the fields of a family's options: name, kind, limits, help."""

import math
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from models.sampler import Options
from torch_utils import config
from torch_utils.config import Setting

Kind = Literal["number", "whole", "choice", "switch", "pair", "styles", "moves"]  # the last are texts with an editor


class Control(BaseModel):
    """A control as the page gets it."""

    name: str  # of the field
    flag: str  # of the option, with which errors begin: "--psi"
    title: str
    help: str
    kind: Kind
    default: Any
    optional: bool = False  # whether the control can be off: the value None
    choices: tuple[str, ...] = ()
    low: float | None = None  # limits of what can be typed
    high: float | None = None
    slider: tuple[float, float] | None = None  # the usual range
    step: float = 1
    sheet: tuple[str, ...] = ()  # a script that makes sheets of such pictures, and the settings that it takes


def controls(model: type[Options]) -> list[Control]:
    """The controls of a family's options.

    Places of files and networks have none: the page must not choose what this machine opens.
    """
    made = [_control(setting) for setting in config.settings(model).values() if "flag" in setting.mark]
    return [control for control in made if control is not None]


def _control(setting: Setting) -> Control | None:
    mark, (kind, optional) = setting.mark, _kind(setting)
    if kind is None or mark.get("opens") or mark.get("instead_of"):
        return None
    bounds = {key: getattr(item, key) for item in setting.field.metadata for key in ("ge", "le") if hasattr(item, key)}
    slider = mark.get("slider")
    return Control(
        name=setting.name,
        flag=mark["flag"],
        title=mark["flag"].removeprefix("--").replace("-", " "),
        help=setting.field.description or "",
        kind=kind,
        default=setting.default,
        optional=optional,
        choices=get_args(setting.field.annotation) if kind == "choice" else (),
        low=bounds.get("ge"),
        high=bounds.get("le"),
        slider=slider,
        sheet=tuple(mark.get("sheet", ())),
        step=1 if kind not in ("number", "pair") else 10.0 ** round(math.log10(_width(slider) / 100)),
    )


def _width(slider: tuple[float, float] | None) -> float:
    return slider[1] - slider[0] if slider else 1.0


def _kind(setting: Setting) -> tuple[Kind | None, bool]:
    """The kind of control of a field, None for texts without a slider, and whether None is one of its values."""
    annotation: Any = setting.field.annotation
    optional = get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)
    if optional:
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return "choice", optional
    if annotation is str and setting.mark.get("editor"):
        return setting.mark["editor"], optional
    if annotation is str and setting.mark.get("slider"):
        return "pair", optional
    return {bool: "switch", int: "whole", float: "number"}.get(annotation), optional  # type: ignore[return-value]


def fitted(control: Control, accepts: Callable[[float], bool]) -> Control:
    """A control of whole numbers whose slider ends at the largest value that the network accepts."""
    if control.kind != "whole" or control.slider is None or control.high is not None:
        return control
    low, high = (int(end) for end in control.slider)
    if not accepts(low):
        return control
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if accepts(middle) else (low, middle - 1)
    return control.model_copy(update={"slider": (control.slider[0], low), "high": low})


def draft(options: Options) -> Options:
    """The options for a quick preview: values beyond the field's `draft` are brought down to it."""
    marks = {name: setting.mark.get("draft") for name, setting in config.settings(type(options)).items()}
    values = {name: (getattr(options, name), most) for name, most in marks.items() if most is not None}
    lower = {name: type(value)(most) for name, (value, most) in values.items() if value is not None and value > most}
    return options.model_copy(update=lower)


def trials(control: Control) -> list[Any]:
    """Values to try whether a control has an effect: others than the default."""
    if control.kind == "choice":
        return [choice for choice in control.choices if choice != control.default]
    if control.kind == "switch":
        return [not control.default]
    if control.slider is None:
        return []
    low, high = control.slider
    if control.kind == "pair":
        return [f"{low + (high - low) / 4:g}:{high:g}"]
    kind = int if control.kind == "whole" else float
    return [kind(value) for value in (high, low) if value != control.default]
