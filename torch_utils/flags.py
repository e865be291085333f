"""Options of the command line that are made from the fields of a configuration, so that the two cannot drift."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel

from torch_utils.config import UNSET, Setting, parse_set, settings, spell
from torch_utils.mending import spelled
from torch_utils.ranges import without_separators
from torch_utils.wanted import limits

_METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


_GPU = re.compile(r"(?:(?:cuda|gpu):)?(?!(?<=:)0$)([0-9]+)", re.IGNORECASE)  # cuda:0 is cuda


class Option(click.Option):
    """An option that belongs to a group of the help text, and may show a default that it does not have itself."""

    def __init__(self, *args: Any, group: str = "Options", shown: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        self.shown = shown

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Choices are taken in upper and lower case and as other programs call them, numbers with separators."""
        return super().type_cast_value(ctx, tuple(map(self._read, value)) if self.multiple else self._read(value))

    def _read(self, value: Any) -> Any:
        if "--device" in self.opts and (gpu := _GPU.fullmatch(str(value))):
            mend = f"give --device cuda, and choose the GPU with CUDA_VISIBLE_DEVICES={gpu[1]} before python"
            raise click.BadParameter(f"got {value!r}: {mend}", param=self)
        if isinstance(self.type, click.Choice):
            return spelled(value, self.type.choices)
        if isinstance(value, str) and isinstance(self.type, click.types.IntParamType | click.types.FloatParamType):
            return without_separators(value)
        return value

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if self.shown is not None:
            extra["default"] = self.shown
        return extra


class SettingType(click.ParamType):
    """Reads a setting as `--set` does, so that both take and refuse the same texts in the same words."""

    name = "value"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.setting.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class WholeType(SettingType, click.IntRange):
    """A whole number with limits, which click shows in the help text."""

    def __init__(self, setting: Setting) -> None:
        click.IntRange.__init__(self, **_range(setting))
        self.setting = setting


class NumberType(SettingType, click.FloatRange):
    """A number with limits, which click shows in the help text."""

    def __init__(self, setting: Setting) -> None:
        click.FloatRange.__init__(self, **_range(setting))
        self.setting = setting


def flags(model: type[BaseModel], names: Collection[str] | None = None) -> list[Option]:
    """One option for every setting that bears a flag, in order; its value is None when it was not given.

    `names` restricts them to these settings.
    """
    return [_option(setting) for setting in _flagged(model) if names is None or setting.name in names]


def given(model: type[BaseModel], params: Mapping[str, Any], sets: Sequence[str] = ()) -> dict[str, Any]:
    """Of click's parameters, and of the texts after `--set`, those settings that were given, by dotted name.

    Raises ValueError when one came both ways, and as `parse_set` does.
    """
    values = {
        setting.name: params[_parameter(setting)]
        for setting in _flagged(model)
        if params.get(_parameter(setting)) is not None
    }
    for name, value in parse_set(model, sets).items():
        if name in values:
            raise ValueError(
                f"{settings(model)[name].spelling} and --set {name} are the same setting: give one of them"
            )
        values[name] = value
    return values


def _flagged(model: type[BaseModel]) -> list[Setting]:
    return [setting for setting in settings(model).values() if "flag" in setting.mark]


def _parameter(setting: Setting) -> str:
    # click hands parameters over as keyword arguments: no dots.
    return setting.name.replace(".", "__")


def _option(setting: Setting) -> Option:
    flag, kind = setting.mark["flag"], _type(setting)
    return Option(
        [
            f"{flag}/--no-{flag.removeprefix('--')}" if kind is click.BOOL else flag,
            *setting.mark.get("also", ()),
            _parameter(setting),
        ],
        type=kind,
        default=None,
        metavar=_metavar(setting),
        help=setting.field.description,
        group=setting.mark.get("group", "Options"),
        shown=_shown(setting),
    )


def _metavar(setting: Setting) -> str | None:
    metavar = _METAVARS.get(_present(setting))
    return f"{metavar}|{setting.word}" if metavar and setting.word else metavar


def _type(setting: Setting) -> click.ParamType:
    annotation, limited = _present(setting), bool(limits(setting.field.metadata))
    if annotation is bool:
        return click.BOOL
    if get_origin(annotation) is Literal and all(isinstance(choice, str) for choice in get_args(annotation)):
        return click.Choice(get_args(annotation))
    if limited and annotation is int:
        return WholeType(setting)
    if limited and annotation is float:
        return NumberType(setting)
    return SettingType(setting)


def _present(setting: Setting) -> Any:
    """The type of a setting's values other than None: `int` of `int | None`."""
    annotation = setting.field.annotation
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if get_origin(annotation) in (Union, UnionType) and len(kinds) == 1 else annotation


def _range(setting: Setting) -> dict[str, Any]:
    bounds = limits(setting.field.metadata)
    return {
        "min": bounds.get("ge", bounds.get("gt")),
        "max": bounds.get("le", bounds.get("lt")),
        "min_open": "gt" in bounds,
        "max_open": "lt" in bounds,
    }


def _shown(setting: Setting) -> str | None:
    if setting.mark.get("by_preset"):
        return "set by the preset, see --dry-run"
    if setting.default is UNSET:
        return "required"
    if setting.default is None:
        return None
    if setting.field.annotation is bool:
        flag = setting.mark["flag"]
        return (flag if setting.default else f"--no-{flag.removeprefix('--')}").removeprefix("--")
    return spell(setting.default) or None
