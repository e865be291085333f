"""Configurations: a tree of frozen pydantic models, whose fields bear dotted names such as `loss.gamma`.

The models stand beside what they configure. A field that deserves an option of its own says so:

    gamma: float = Field(10, ge=0, description="...", json_schema_extra={"flag": "--gamma", "group": "Training"})

and any other is reached by its dotted name, through `--set`. `"by_preset": True` marks one that a preset decides, and
`"word": "auto"` one for which the user may say that word; whoever resolves the configuration puts a value in its place.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from system.text import printable
from system.urls import public, public_values
from torch_utils.wanted import said, wanted

Model = TypeVar("Model", bound=BaseModel)
UNSET = PydanticUndefined  # the default of a setting that has none


@dataclass(frozen=True)
class Setting:
    """One leaf of the tree: a field that is no model itself."""

    name: str  # dotted
    field: FieldInfo
    default: Any  # as its parent has it; UNSET where it must be given

    @property
    def mark(self) -> dict[str, Any]:
        """What the field says of itself: `flag`, `group`, `by_preset`."""
        extra = self.field.json_schema_extra
        return dict(extra) if isinstance(extra, dict) else {}

    @property
    def spelling(self) -> str:
        """How a user gives it: `--gamma`, or `--set loss.gamma`."""
        return self.mark.get("flag") or f"--set {self.name}"

    @property
    def type(self) -> Any:
        """Its type with its limits."""
        annotation: Any = self.field.annotation
        return Annotated[(annotation, *self.field.metadata)] if self.field.metadata else annotation

    @property
    def wanted(self) -> str:
        """In words, what it takes: "a number of at least 0"."""
        return wanted(self.field.annotation, self.field.metadata) + (f" or {self.word}" if self.word else "")

    @property
    def word(self) -> str:
        """What a user may give instead of a value."""
        return self.mark.get("word", "")

    def parse(self, text: str) -> Any:
        """The value that `text` spells, or its word. Raises ValueError ("got ..., wanted ...") when it spells none."""
        if text == self.word != "":
            return text
        try:
            value: Any = TypeAdapter(self.type).validate_python(said(text, self.field.annotation))
        except ValidationError as error:
            raise ValueError(f"got {text!r}, wanted {self.wanted}") from error
        if not _finite(value):
            raise ValueError(f"got {text!r}, wanted {self.wanted}")
        return value


def settings(model: type[BaseModel]) -> dict[str, Setting]:
    """All settings of the tree by dotted name, in the order they are written."""
    return {setting.name: setting for setting in _walk(model, "", None)}


def parse_set(model: type[BaseModel], texts: Sequence[str]) -> dict[str, Any]:
    """What `--set` was given: `["generator.channel_base=16384"]` -> `{"generator.channel_base": 16384}`.

    Lists are written with commas, "none" is None. Raises ValueError for an unknown name, with the nearest ones, for
    a name given twice, and for a text that does not spell a value of the field.
    """
    known, values = settings(model), {}
    for text in texts:
        name, equals, spelled = text.partition("=")
        name = name.strip()
        if name not in known and (equals or not _alike(name, known)):
            raise ValueError(f"--set {printable(name, 80)}: {_unknown(name, known)}")
        if not equals:
            setting = known[name if name in known else _alike(name, known)[0]]
            raise ValueError(f"--set got {printable(text, 80)!r}, wanted NAME=VALUE, such as {_example(setting)}")
        if name in values:
            raise ValueError(f"--set {name} was given twice: give it once")
        try:
            values[name] = known[name].parse(spelled.strip())
        except ValueError as error:
            raise ValueError(f"--set {name}: {error}") from error
    return values


def build(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The configuration with `values` (by dotted name) in place of the defaults.

    Raises ValueError in one sentence that names the flag: what came, what was wanted.
    """
    known = settings(model)
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name}: {_unknown(name, known)}")
        if not _finite(value):
            raise ValueError(f"{known[name].spelling}: got {value!r}, wanted {known[name].wanted}")
    defaults = {name: setting.default for name, setting in known.items() if setting.default is not UNSET}
    try:
        return model.model_validate(unflatten(defaults | dict(values)))
    except ValidationError as error:
        raise ValueError(_sentence(error, known)) from error


def flatten(config: BaseModel) -> dict[str, Any]:
    """Every value by its dotted name, in the order the fields are written."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            flat |= {f"{name}.{below}": inner for below, inner in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"loss.gamma": 1}` -> `{"loss": {"gamma": 1}}`."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, leaf = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested


def differences(old: BaseModel, new: BaseModel) -> list[tuple[str, Any, Any]]:
    """(dotted name, old value, new value) of every setting in which two configurations of one kind differ."""
    assert type(old) is type(new), "configurations of two kinds"
    before, after = flatten(old), flatten(new)
    return [(name, before[name], after[name]) for name in before if before[name] != after[name]]


def flag_of(model: type[BaseModel], name: str) -> str:
    """How a user gives the setting `name`: `--gamma`, or `--set loss.gamma`."""
    return settings(model)[name].spelling


def to_dict(config: BaseModel) -> dict[str, Any]:
    """The configuration as nested values that JSON can say, for the metadata of a file, without the secrets of URLs."""
    return dict(public_values(config.model_dump(mode="json")))


def from_dict(model: type[Model], nested: Mapping[str, Any]) -> Model:
    """The configuration that `to_dict` gave. Raises ValueError for unknown names and unfit values, as `build` does."""
    return build(model, dict(_leaves(nested, "", settings(model))))


def to_json(config: BaseModel) -> str:
    """The configuration as a JSON text for people to read."""
    return json.dumps(to_dict(config), indent=2) + "\n"


def table(config: BaseModel) -> str:
    """The resolved configuration as an aligned table: a head for each part of the tree, then name, value, option."""
    known, values = settings(type(config)), flatten(config)
    rows = [(*name.rpartition(".")[::2], public(spell(value)), known[name].spelling) for name, value in values.items()]
    rows.sort(key=lambda row: row[0] != "")  # the settings of the root come first; the sort keeps the rest in order
    names, spelled = (max((len(row[column]) for row in rows), default=0) for column in (1, 2))
    lines, head = [], ""
    for part, name, value, spelling in rows:
        if part != head:
            lines += ["", part]
            head = part
        lines.append(f"  {name:<{names}}  {value:<{spelled}}  {spelling}")
    return "\n".join(lines)


def spell(value: Any) -> str:
    """A value as a user would type it."""
    if isinstance(value, list | tuple):
        return ",".join(spell(item) for item in value)
    if isinstance(value, bool | None):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _walk(model: type[BaseModel], prefix: str, parent: BaseModel | None) -> Iterator[Setting]:
    # A default of the parent, `loss: Loss = Loss(gamma=5)`, outranks that of the field in Loss.
    for name, field in model.model_fields.items():
        default = getattr(parent, name) if parent is not None else field.get_default(call_default_factory=True)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.", None if default is UNSET else default)
        else:
            yield Setting(prefix + name, field, default)


def _leaves(nested: Mapping[str, Any], prefix: str, known: Mapping[str, Setting]) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in known:
            yield from _leaves(value, f"{name}.", known)
        else:
            yield name, value


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    below = [other for other in known if other.startswith(f"{name}.")]
    if below:
        return f"this is a group of settings: name one of {', '.join(below)}"
    near = _alike(name, known) or difflib.get_close_matches(name, known, n=1)
    guess = f": did you mean {' or '.join(near)}?" if near else ""
    return f"there is no such setting{guess} (--dry-run lists all)"


def _alike(name: str, known: Mapping[str, Setting]) -> list[str]:
    """Settings that may be meant: spelled nearly so, of that last name, or with that word in it, as lr in g_lr."""
    leaf = name.rpartition(".")[2]
    alike = difflib.get_close_matches(name, known, n=3, cutoff=0.85)
    alike += [other for other in known if other.rpartition(".")[2] == leaf]
    if not alike:
        alike = [other for other in known if leaf in other.rpartition(".")[2].split("_")]
    return list(dict.fromkeys(alike))


def _example(setting: Setting) -> str:
    """`loss.gamma=10 (or --gamma 10)`: how a setting is given, by its default."""
    value = "..." if setting.default is UNSET or setting.default == "" else spell(setting.default)
    if "flag" not in setting.mark:
        return f"{setting.name}={value}"
    if isinstance(setting.default, bool):
        return f"{setting.name}=true (or {setting.spelling})"
    return f"{setting.name}={value} (or {setting.spelling} {value})"


def _sentence(error: ValidationError, known: Mapping[str, Setting]) -> str:
    """The first thing that pydantic found wrong, in one sentence."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    # Within a union or a tuple the place goes deeper than the setting.
    name = next((".".join(place[:n]) for n in range(len(place), 0, -1) if ".".join(place[:n]) in known), "")
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])
        return f"{known[name].spelling}: {text}" if name else text
    if not name:
        return f"{'.'.join(place)}: {first['msg']}"
    if first["type"] == "missing" and name == ".".join(place):
        return f"{known[name].spelling} is missing: give {known[name].wanted}"
    return f"{known[name].spelling}: got {first['input']!r}, wanted {known[name].wanted}"
