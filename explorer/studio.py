"""An opened network that answers the page: states go in, encoded pictures come out."""

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from explorer.ahead import near
from explorer.collage import Collage
from explorer.controls import Control, controls, draft, fitted, trials
from explorer.encoding import encode, with_settings
from explorer.keyframes import MOST_KEYS, Film, film_command
from explorer.pagestate import PageState, Scene
from explorer.threads import quickest, threads
from models.families import NetworkFile, open_sampler, read_network
from models.sampler import (
    Adjustable,
    Blending,
    Emerging,
    Layered,
    Options,
    Remembering,
    Request,
    Sampler,
    Walkable,
    learned_classes,
    mixed,
)
from sampling.classes import class_names, images_of
from system.text import printable
from torch_utils import config
from torch_utils.device import Precision, switches

LARGEST_CACHE = 2**26  # bytes of encoded pictures
BETWEEN_STEPS = 0.04  # seconds: the fastest that emerging pictures are sent
SLOW = 0.5  # seconds a picture, from which none are made ahead


class Asked(BaseModel):
    """A message of the page: a picture to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(0, ge=0, le=2**53)  # of the message, by which the page drops late answers
    slot: int = Field(0, ge=0, le=249)  # place in the page: 0 the picture, 1 .. 9 its children, from 10 further ones
    state: PageState = PageState()
    draft: bool = False  # a quick JPEG, in place of the exact PNG
    emerge: bool = False  # also pictures on the way, or a draft before the exact picture
    film: Film | None = None  # a frame of this film in place of a picture of the state, as a draft
    time: float = Field(0, ge=0, le=MOST_KEYS)  # of the frame, one key frame per unit
    network: int | None = Field(None, ge=0, le=2**31)  # number of another network in the server's list, to compare
    precision: Precision | None = None  # another one than the page's, to compare
    collage: Collage | None = None  # what to make the picture of, for a network that restyles pictures
    near: str | None = Field(None, max_length=100)  # no picture: make those near the state along this setting ahead


@dataclass(frozen=True)
class Picture:
    """An answer: an encoded picture."""

    kind: str  # MIME type
    data: bytes
    ms: float  # of computation and encoding
    exact: bool
    share: float = 1.0  # of the steps done; below 1 it is a picture on the way


@dataclass
class Studio:
    """A network and the means to make pictures of states."""

    scene: Scene
    sampler: Sampler
    precision: Precision
    controls: tuple[Control, ...]
    about: dict[str, Any]
    threads: int | None = None  # of drafts; None leaves PyTorch's own number
    steady: bool = False  # whether exact pictures can be made with these threads, too
    file: NetworkFile | None = None  # that the network was read from
    _kept: OrderedDict[Any, Picture] = field(default_factory=OrderedDict)

    def pictures(self, asked: Asked) -> Iterator[Picture]:
        """The pictures on the way, if they are asked for, and the picture itself. ValueError for an unfit state."""
        options = self.scene.build(asked.state, [control.name for control in self.controls])
        key = (asked.state.seeds, asked.state.label, asked.state.classes, asked.state.latent, options, asked.draft)
        if key in self._kept:
            self._kept.move_to_end(key)
            yield self._kept[key]
            return
        if asked.emerge and not asked.draft and not isinstance(self.sampler, Emerging):
            yield from self.pictures(asked.model_copy(update={"draft": True}))
        start, last = time.perf_counter(), None
        for share, pixels in self._made(asked, options):
            if last is None or share == 1 or time.perf_counter() - last > BETWEEN_STEPS:
                exact = share == 1 and not asked.draft
                kind, data = encode(pixels, quickly=not exact)
                ms, last = 1000 * (time.perf_counter() - start), time.perf_counter()
                made = Picture(kind, data, ms, exact, share)
                yield made
        self._keep(key, made)

    def exact(self, state: PageState) -> Picture:
        """The picture of a state, byte for byte that of generate.py."""
        *_, last = self.pictures(Asked(state=state))
        return last

    def saved(self, state: PageState) -> bytes:
        """The PNG of a state with the settings and the command line in it."""
        return with_settings(self.exact(state).data, state, self.scene.command(state))

    def told(self, asked: Asked) -> dict[str, Any]:
        """What the page shows beside an exact picture: its command line, and the controls without effect."""
        return {"command": self.scene.command(asked.state), "barred": self.barred(asked.state)}

    def barred(self, state: PageState) -> dict[str, str]:
        """The controls that no value but the present default has an effect on, and why."""
        options, found = self.scene.build(state, [control.name for control in self.controls]), {}
        self._adjust(options)
        for control in self.controls:
            if getattr(options, control.name) == control.default:
                reasons = [refusal(self.sampler, control.name, value) for value in trials(control)]
                if reasons and all(reasons):
                    found[control.name] = reasons[0]
        return found

    def ahead(self, asked: Asked) -> Iterator[None]:
        """Make the pictures where a person may go next; yields after each, and ends if they take long."""
        control = next((control for control in self.controls if control.name == asked.near), None)
        for state, quick in near(asked.state, control):
            start = time.perf_counter()
            with suppress(ValueError):  # a stop that does not fit the other options
                list(self.pictures(Asked(state=state, draft=quick)))
            if time.perf_counter() - start > SLOW:
                return
            yield

    def _made(self, asked: Asked, options: Options) -> Iterator[tuple[float, Tensor]]:
        """Share of the steps done, and pixels [C, H, W]."""
        self._adjust(draft(options) if asked.draft else options)
        request = self._request(asked.state)
        with self.switched(quickly=asked.draft), torch.no_grad():
            if asked.emerge and not asked.draft and isinstance(self.sampler, Emerging):
                yield from self.sampler.emerging(request)
            else:
                yield 1, next(self.sampler.sample([request]))

    def prepared(self, state: PageState) -> tuple[Sampler, Request]:
        """The sampler with the settings of a state, and what it is asked for."""
        self._adjust(self.scene.build(state, [control.name for control in self.controls]))
        return self.sampler, self._request(state)

    @contextmanager
    def switched(self, quickly: bool = False) -> Iterator[None]:
        """Within the block PyTorch computes in this precision, with as many threads as the pictures allow."""
        count = self.threads if quickly or self.steady else None
        with threads(count), switches(self.precision, trial=False):
            yield

    def _request(self, state: PageState) -> Request:
        classes = self.sampler.shape.classes
        if state.label is not None and state.label >= classes:
            raise ValueError(f"class {state.label}: this network has {classes} classes, counted from 0")
        (request,) = self.sampler.requests([state.seeds[0][0]], state.label)
        request = request if state.latent or state.seed is not None else mixed(request, state.seeds)
        if not state.classes:
            return request
        if not isinstance(self.sampler, Blending):
            raise ValueError("this network makes pictures of one class at a time: choose a class")
        return self.sampler.of_classes(request, state.classes)

    def _adjust(self, options: Options) -> None:
        if options != self.sampler.options:
            if not isinstance(self.sampler, Adjustable):
                raise ValueError("the options of this network cannot change in the page: start explore.py with them")
            self.sampler = self.sampler.with_options(options)

    def _keep(self, key: Any, made: Picture) -> None:
        self._kept[key] = made
        while len(self._kept) > 1 and sum(len(each.data) for each in self._kept.values()) > LARGEST_CACHE:
            self._kept.popitem(last=False)


def open_studio(
    place: str,
    values: Mapping[str, Any],
    device: torch.device,
    precision: Precision,
    more: Sequence[str] = (),
    tried: bool = True,
) -> Studio:
    """Open the network at `place` with options `values`; `more` are words that the command line repeats.

    With `tried` a few pictures are made, to find how many threads are quickest.

    Raises FileNotFoundError or ValueError as `models.families.open_sampler` does.
    """
    file = read_network(place)
    kind = file.family.options
    sampler = open_sampler(file, config.build(kind, values), device, precision)
    if isinstance(sampler, Remembering):
        sampler = sampler.remembering()
    found = [fitted(control, partial(_accepts, sampler, control.name)) for control in controls(kind)]
    settable = tuple(control.name for control in found)
    names = class_names(sampler.metadata, sampler.shape.classes)
    fixed = {name: value for name, value in values.items() if name not in settable}
    chosen = sampler.options.model_dump(mode="json", include=set(settable))
    state = PageState(
        network=Path(str(file)).name,
        options={c.name: chosen[c.name] for c in found if chosen[c.name] != c.default},
    )
    about = {
        **_told(file, sampler),
        "emerging": isinstance(sampler, Emerging),
        "walkable": isinstance(sampler, Walkable),
        "tools": file.family.open_toolbox is not None,
        "layers": sampler.layers if isinstance(sampler, Layered) else 0,
        "groups": dict(sampler.groups) if isinstance(sampler, Layered) else {},
        "blending": isinstance(sampler, Blending),
        "learned": learned_classes(sampler.metadata, sampler.shape.classes),
        "classes": [printable(name, 80) for name in names],
        "controls": [control.model_dump(mode="json") for control in found],
        "state": state.model_dump(mode="json"),
    }
    scene = Scene(place, kind, fixed, tuple(more), tuple(names))
    studio = Studio(scene, sampler, precision, tuple(found), about, file=file)
    if tried and device.type == "cpu":
        studio.threads, studio.steady = quickest(partial(_draft, studio, state))
    about["threads"] = (studio.threads, studio.steady)
    return studio


def _told(file: NetworkFile, sampler: Sampler) -> dict[str, Any]:
    height, width, channels, _ = sampler.shape
    return {
        "network": Path(str(file)).name,
        "kind": f"{file.family.title}, {images_of(file, sampler.shape)}",
        "size": [width, height],
        "channels": channels,
    }


def _accepts(sampler: Sampler, name: str, value: float) -> bool:
    return not refusal(sampler, name, int(value))


def refusal(sampler: Sampler, name: str, value: Any) -> str:
    """Why a network refuses a value of one option beside its present others; "" if it takes it."""
    try:
        options = config.build(type(sampler.options), {**dict(sampler.options), name: value})
        if isinstance(sampler, Adjustable):
            sampler.with_options(options)
    except ValueError as error:
        return str(error)
    return ""


def _draft(studio: Studio, state: PageState, count: int, seed: int) -> Tensor:
    """The pixels of a seed's draft, made with this number of threads."""
    studio.threads = count
    asked = Asked(state=state.model_copy(update={"seeds": ((seed, 1.0),)}), draft=True)
    ((_, pixels),) = studio._made(asked, studio.scene.build(state, [control.name for control in studio.controls]))
    return pixels


def header(asked: Asked, made: Picture, studio: Studio) -> bytes:
    """The first part of an answer, as JSON. Exact pictures come with their command line and the barred controls."""
    told = {"number": asked.number, "slot": asked.slot, "kind": made.kind, "ms": round(made.ms, 1)}
    told |= {"exact": made.exact, "share": made.share}
    if asked.film is not None:
        told |= {"command": film_command(studio.scene, asked.film)}
    return json.dumps(told | (studio.told(asked) if made.exact else {})).encode()
