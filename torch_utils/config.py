"""Configurations: trees of frozen pydantic models whose leaves, the settings, have dotted names like `loss.gamma`."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from system.text import printable, public, public_values, without_separators

Model = TypeVar("Model", bound=BaseModel)
UNSET = PydanticUndefined  # the default of a required setting


def flag(
    default: Any,
    name: str,
    group: str,
    description: str,
    by_preset: bool = False,
    word: str = "",
    also: Sequence[str] = (),
    opens: bool = False,
    instead_of: str = "",
    slider: tuple[float, float] | None = None,
    draft: float | None = None,
    editor: str = "",
    sheet: Sequence[str] = (),
    serves: str = "",
    **limits: Any,
) -> Any:
    """Make a pydantic field that has a command-line option `name`, such as `--gamma`, and further names `also`.

    Args:
        default: the default value; `UNSET` for a required setting. With `by_preset` a preset decides.
        word: a word such as `auto` that users may give, and code that resolves the configuration replaces by a value.
        opens: True if the value is the place of a network, which is opened with the options of pictures.
        instead_of: the parameter of a script, such as seeds, whose place the option takes.
        slider: the usual range of values, for a slider. A text with a slider is two numbers, such as 0.2:0.8.
        draft: the largest value for quick previews.
        editor: the part of the explorer's page that edits a text, such as styles.
        serves: the setting that alone needs this one, the place of a file, which the explorer makes if it is missing.
        sheet: a script that makes sheets of such pictures, and the names of the settings that it takes.
        limits: pydantic's `ge`, `gt`, `le`, `lt`.
    """
    extra: Any = {"flag": name, "group": group, "by_preset": by_preset, "word": word, "also": list(also)}
    extra |= ({"opens": True} if opens else {}) | ({"instead_of": instead_of} if instead_of else {})
    extra |= ({"slider": slider} if slider else {}) | ({"draft": draft} if draft else {})
    extra |= ({"editor": editor} if editor else {}) | ({"sheet": list(sheet)} if sheet else {})
    extra |= {"serves": serves} if serves else {}
    return Field(default, description=description, json_schema_extra=extra, **limits)


@dataclass(frozen=True)
class Setting:
    """A leaf of the tree: a field that is not a model."""

    name: str  # dotted
    field: FieldInfo
    default: Any  # of its parent model; UNSET for a required setting

    @property
    def mark(self) -> dict[str, Any]:
        """What `flag` stored in the field; empty for other fields."""
        extra = self.field.json_schema_extra
        return dict(extra) if isinstance(extra, dict) else {}

    @property
    def spelling(self) -> str:
        """How a user gives the setting: `--gamma`, or `--set loss.gamma`."""
        return self.mark.get("flag") or f"--set {self.name}"

    def parse(self, text: str) -> Any:
        """Return the value of a text, or the word itself. Raises ValueError ("got ...: input should be ...")."""
        if text and text == self.mark.get("word"):  # such as `auto`
            return text
        kind: Any = self.field.annotation
        prepared = _prepared(text, kind)
        kind = Annotated[(kind, *self.field.metadata)] if self.field.metadata else kind
        try:
            return TypeAdapter(kind, config={"allow_inf_nan": False}).validate_python(prepared)
        except ValidationError as error:
            raise ValueError(self.refused(text, error.errors()[0]["msg"])) from error

    def refused(self, value: Any, message: str) -> str:
        """Return pydantic's message on a value as the end of a sentence."""
        word = self.mark.get("word")
        return f"got {value!r}: {message[0].lower()}{message[1:]}" + (f", or {word}" if word else "")


def settings(model: type[BaseModel], prefix: str = "", parent: BaseModel | None = None) -> dict[str, Setting]:
    """Return all settings of a tree by dotted name, in the order of the fields.

    A default of `parent`, as in `loss: Loss = Loss(gamma=5)`, takes precedence over the default of the field in Loss.
    """
    found: dict[str, Setting] = {}
    for name, field in model.model_fields.items():
        default = getattr(parent, name) if parent is not None else field.get_default(call_default_factory=True)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= settings(inner, f"{prefix}{name}.", None if default is UNSET else default)
        else:
            found[prefix + name] = Setting(prefix + name, field, default)
    return found


def parse_set(model: type[BaseModel], texts: Sequence[str]) -> dict[str, Any]:
    """Parse the values of `--set`: `["generator.channel_base=16384"]` -> `{"generator.channel_base": 16384}`.

    Lists have commas, None is "none". Raises ValueError for a name that is unknown or repeated, and a wrong value.
    """
    known, values = settings(model), {}
    for text in texts:
        name, equals, spelled = text.partition("=")
        name = name.strip()
        if not equals:
            raise ValueError(f"--set got {printable(text, 80)!r}, expected NAME=VALUE")
        if name not in known:
            raise ValueError(f"--set {printable(name, 80)}: {_unknown(name, known)}")
        if name in values:
            raise ValueError(f"--set {name} was given twice: give it once")
        try:
            values[name] = known[name].parse(spelled.strip())
        except ValueError as error:
            raise ValueError(f"--set {name}: {error}") from error
    return values


def build(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return the configuration with `values`, by dotted name, in place of the defaults. ValueError in one sentence."""
    known = settings(model)
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name}: {_unknown(name, known)}")
        if any(
            isinstance(part, float) and not math.isfinite(part)
            for part in (value if isinstance(value, list | tuple) else [value])
        ):
            finite = "Input should be a finite number"
            raise ValueError(f"{known[name].spelling}: {known[name].refused(value, finite)}")
    defaults = {name: setting.default for name, setting in known.items() if setting.default is not UNSET}
    try:
        return model.model_validate(unflatten(defaults | dict(values)))
    except ValidationError as error:
        raise ValueError(_sentence(error, known)) from error


def flatten(config: BaseModel) -> dict[str, Any]:
    """Return every value by dotted name, in the order of the fields."""
    return dict(_leaves(config.model_dump(), "", settings(type(config))))


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest values by dotted name: `{"loss.gamma": 1}` -> `{"loss": {"gamma": 1}}`."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, leaf = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested


def flag_of(model: type[BaseModel], name: str) -> str:
    """Return how a user gives the setting `name`: `--gamma`, or `--set loss.gamma`."""
    return settings(model)[name].spelling


def to_dict(config: BaseModel) -> dict[str, Any]:
    """Return the configuration as nested JSON values for a file's metadata, without the secrets of URLs."""
    return dict(public_values(config.model_dump(mode="json")))


def from_dict(model: type[Model], nested: Mapping[str, Any]) -> Model:
    """Undo `to_dict`. Raises ValueError for unknown names and unfit values, as `build` does."""
    return build(model, dict(_leaves(nested, "", settings(model))))


def table(config: BaseModel) -> str:
    """Return an aligned table with a heading for each part of the tree; columns: name, value, option."""
    known, values = settings(type(config)), flatten(config)
    rows = [(*name.rpartition(".")[::2], public(spell(value)), known[name].spelling) for name, value in values.items()]
    rows.sort(key=lambda row: row[0] != "")  # settings of the root first; the sort is stable
    names, spelled = (max((len(row[column]) for row in rows), default=0) for column in (1, 2))
    lines, head = [], ""
    for part, name, value, spelling in rows:
        lines += ["", part] if part != head else []
        lines.append(f"  {name:<{names}}  {value:<{spelled}}  {spelling}")
        head = part
    return "\n".join(lines)


def spell(value: Any) -> str:
    """Return a value as a user would type it."""
    if isinstance(value, list | tuple):
        return ",".join(map(spell, value))
    if isinstance(value, bool | None):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _leaves(nested: Mapping[str, Any], prefix: str, known: Mapping[str, Setting]) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in known:
            yield from _leaves(value, f"{name}.", known)
        else:
            yield name, value


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    if below := [other for other in known if other.startswith(f"{name}.")]:
        return f"this is a group of settings: name one of {', '.join(below)}"
    leaf = name.rpartition(".")[2]
    near = [other for other in known if other.endswith(f".{leaf}")] or difflib.get_close_matches(name, known, n=1)
    guess = f": did you mean {' or '.join(near)}?" if near else ""
    return f"there is no such setting{guess} (--dry-run lists all)"


def _sentence(error: ValidationError, known: Mapping[str, Setting]) -> str:
    """Return the first error of pydantic as one sentence."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    # Within a union or a tuple the place goes deeper than the setting.
    setting = next((setting for name, setting in known.items() if f"{place}.".startswith(f"{name}.")), None)
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])
        return f"{setting.spelling}: {text}" if setting else text
    if setting is None:
        return f"{place}: {first['msg']}"
    if first["type"] == "missing" and setting.name == place:
        return f"{setting.spelling} is missing: give a value"
    return f"{setting.spelling}: {setting.refused(first['input'], first['msg'])}"


def _prepared(text: str, annotation: Any) -> Any:
    """Prepare a text for pydantic: split lists at commas, turn "none" into None, ignore case and separators (5,000)."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return next((choice for choice in arguments if str(choice).lower() == text.lower()), text)
    if annotation in (int, float):
        return without_separators(text)
    if origin in (Union, UnionType):
        if NoneType in arguments and text.lower() == "none":
            return None
        origin = next((kind for argument in arguments if (kind := get_origin(argument)) in (tuple, list)), None)
    if origin in (tuple, list):
        return [part.strip() for part in text.split(",")] if text else []
    return text
