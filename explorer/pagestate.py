"""What the page shows, as one JSON value: its address, a step of its history, the settings in a PNG, a command line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.sampler import Options
from sampling.classes import find_class
from system.text import printable, public_command
from torch_utils import config
from torch_utils.flags import MAX_NUMBER, MAX_SEED

MOST_SEEDS = 64
MOST_CLASSES = 16  # of a mixture
# Texts of editors name seeds, and no files: 85@coarse;7:1,9:0.5/2@7-9@0.5.
_SOURCES = re.compile(r"(?:(?:[0-9][-0-9:.,e/]*|photo-[0-9a-f]{8})@[-A-Za-z0-9,]+(?:@[-+.0-9e]+)?(?:;(?!$)|$))*")
LATENT = "photo-"  # how the names of latents begin
_LATENT = re.compile(r"photo-[0-9a-f]{8}(?=@)")
Model = TypeVar("Model", bound=BaseModel)
_Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
_Weight = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=MAX_NUMBER, allow_inf_nan=False)]
_Value = bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=4000)] | None


class PageState(BaseModel):
    """One picture: between which seeds it is, its class, and the options that differ from the family's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = Field("", max_length=1000)  # name of the file, so that saved pictures tell it
    seeds: tuple[tuple[_Seed, _Weight], ...] = Field(((0, 1.0),), min_length=1, max_length=MOST_SEEDS)
    label: Annotated[int, Field(ge=0)] | None = None  # None: of the first seed
    classes: tuple[tuple[Annotated[int, Field(ge=0)], _Share], ...] = Field((), max_length=MOST_CLASSES)  # a mixture
    latent: Annotated[str, Field(pattern=r"^(photo-[0-9a-f]{8})?$")] = ""  # in place of the seeds: one that was found
    options: dict[Annotated[str, Field(max_length=100)], _Value] = Field({}, max_length=100)

    @property
    def seed(self) -> int | None:
        """The seed, if the picture comes from one seed alone."""
        if self.latent:
            return None
        return self.seeds[0][0] if len(self.seeds) == 1 and self.seeds[0][1] > 0 else None


class Sheet(BaseModel):
    """A sheet of pictures: each row's with the styles of each column in some layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: PageState  # class and options of all its pictures
    rows: tuple[_Seed, ...] = Field(min_length=1, max_length=10)
    cols: tuple[_Seed, ...] = Field(min_length=1, max_length=10)
    layers: str = Field(pattern=r"^[a-z0-9,-]{1,200}$")


def read_state(text: str | bytes) -> PageState:
    """Parse the JSON of a state. Raise ValueError in one sentence."""
    return parsed(PageState, text, "the settings")


def parsed(model: type[Model], text: str | bytes, whole: str) -> Model:
    """Parse JSON; ValueError names the field that is wrong, or calls it `whole`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or whole
        raise ValueError(f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


@dataclass(frozen=True)
class Scene:
    """What every state of the page shares: the network as a user names it, and what the command line said of it."""

    place: str  # for --network
    options: type[Options]  # of the family
    fixed: Mapping[str, Any] = field(default_factory=dict)  # options that the page cannot change, such as files
    more: Sequence[str] = ()  # further words of the command line: --device cpu
    names: Sequence[str] = ()  # of the classes

    def command(self, state: PageState) -> str:
        """The command line that makes the same picture, without secrets: `python generate.py --network x --seeds 7`."""
        words = ["--network", self.place, *self.more]
        for name, value in self.given(state).items():
            words += typed(config.settings(self.options)[name], value)
        if state.seed is not None:
            words += ["--seeds", str(state.seed)]
        elif not state.latent:
            words += ["--mix", ",".join(f"{seed}:{spelled(weight)}" for seed, weight in state.seeds)]
        if state.classes:
            shares = [(k, weight) for k, weight in state.classes if weight] or state.classes
            words += ["--classes", ",".join(f"{self._class(k, ',:')}:{spelled(weight)}" for k, weight in shares)]
        elif state.label is not None:
            words += ["--class", self._class(state.label)]
        for name, value in self.placed(state).items():
            words += typed(config.settings(self.options)[name], value)
        return public_command("generate.py", words)

    def sheet(self, sheet: "Sheet") -> str:
        """The command line of the script that makes a sheet of styles. ValueError for a state that it cannot make."""
        state, known = sheet.state, config.settings(self.options)
        script, *taken = next((s.mark["sheet"] for s in known.values() if s.mark.get("sheet")), [""])
        if unfit := [name for name in (*state.options, *self.given(state)) if name not in taken] or state.classes:
            what = "mixtures of classes" if state.classes else known[str(unfit[0])].spelling
            raise ValueError(f"{script or 'no script'} makes no sheet of this picture, because of {what}: leave it out")
        words = ["--network", self.place, *self.more]
        for flag, seeds in (("--rows", sheet.rows), ("--cols", sheet.cols)):
            words += [flag, ",".join(map(str, seeds))]
        words += ["--styles", sheet.layers]
        words += ["--class", self._class(state.label)] if state.label is not None else []
        for name, value in {**self.given(state), **state.options}.items():
            words += typed(known[name], value)
        return public_command(script, words)

    def _class(self, label: int, marks: str = "") -> str:
        """A class by name, or by number where the name leads elsewhere, or has one of `marks` in it."""
        name = self.names[label] if label < len(self.names) else str(label)
        try:
            named = find_class(name, self.names) == label and not name.startswith("-") and not set(name) & set(marks)
        except ValueError:
            named = False
        return name if named else str(label)

    def build(self, state: PageState, settable: Sequence[str]) -> Options:
        """The family's options of a state. Raise ValueError for a value that does not fit, or is not the page's."""
        known = config.settings(self.options)
        for name, value in state.options.items():
            if name not in settable:
                raise ValueError(f"{name!r} is no setting of this page: leave it out")
            if known[name].mark.get("editor") == "styles" and not _SOURCES.fullmatch(str(value)):
                raise ValueError(
                    f"{known[name].spelling}: got {printable(str(value), 80)!r}, expected seeds: leave it out"
                )
        return config.build(self.options, {**self.given(state), **self.placed(state)})

    @property
    def library(self) -> Path | None:
        """The file of directions that the page reads and writes."""
        marks = {name: setting.mark for name, setting in config.settings(self.options).items()}
        return next((Path(value) for name, value in self.fixed.items() if marks[name].get("serves")), None)

    def given(self, state: PageState) -> dict[str, Any]:
        """The options of the command line that a state needs."""
        marks = {name: setting.mark for name, setting in config.settings(self.options).items()}
        served = {name: mark.get("serves") for name, mark in marks.items()}
        found = {n: v for n, v in self.fixed.items() if not served[n] or state.options.get(served[n] or "")}
        if state.latent:
            name = next((n for n, mark in marks.items() if mark.get("instead_of") == "seeds"), None)
            if name is None:
                raise ValueError("this network makes no pictures of latents: take a seed")
            found[name] = self._file(state.latent)
        return found

    def placed(self, state: PageState) -> dict[str, Any]:
        """The options of a state, with files in place of latents."""
        marks = {name: setting.mark for name, setting in config.settings(self.options).items()}
        styles = [name for name in state.options if marks.get(name, {}).get("editor") == "styles"]
        texts = {n: _LATENT.sub(lambda found: str(self._file(found[0])), str(state.options[n])) for n in styles}
        return {**state.options, **texts}

    def _file(self, latent: str) -> Path:
        """The file of latents with a name that the page gave it."""
        path = latent_file(self.library, latent) if self.library else Path(latent)
        if not path.is_file():
            raise ValueError(f"the latents {latent} are no longer in {path.parent}: find them again")
        return path


def latent_file(library: Path, latent: str) -> Path:
    """Where latents of a name are kept, beside the file of directions."""
    return library.with_name(f"{library.stem.removesuffix('-directions')}-{latent}.npz")


def typed(setting: config.Setting, value: Any) -> list[str]:
    """An option with its value as words of a command line; none for the value that the option has without it."""
    flag = setting.mark["flag"]
    if value is None or value == setting.default:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    return [flag, spelled(value) if isinstance(value, float) else config.spell(value)]


def spelled(value: float) -> str:
    """A number in its shortest exact spelling."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
