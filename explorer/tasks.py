"""Work on the latents of pictures that takes longer than a picture: tasks of the page, and how they are done."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from explorer.encoding import cropped, encode
from explorer.pagestate import LATENT, PageState, latent_file
from explorer.studio import Studio
from models.families import save_network
from models.sampler import Blending, Request
from models.toolbox import Search, Toolbox
from system.text import public_command

MOST_MARKED = 100  # pictures of one kind
KEPT = ("kimg", "data")  # metadata of the network's file that a tuned one keeps
BETWEEN_PICTURES = 0.25  # seconds
MOST_PLACES = 1000  # pictures on a map
_Name = Annotated[str, Field(min_length=1, max_length=60)]
Tell = Callable[[dict[str, Any]], None]  # gets facts about the progress; raises StoppedError if the task is to end


class StoppedError(Exception):
    """The page stopped the task."""


class _Task(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Show(_Task):
    """The directions that are kept."""

    do: Literal["show"] = "show"


class Find(_Task):
    """Find directions by a method of the toolbox."""

    do: Literal["find"]
    method: _Name
    count: int = Field(10, ge=1, le=40)


class Learn(_Task):
    """A direction from pictures with less of something to pictures with more."""

    do: Literal["learn"]
    name: _Name
    more: tuple[PageState, ...] = Field(max_length=MOST_MARKED)
    less: tuple[PageState, ...] = Field(max_length=MOST_MARKED)


class Combine(_Task):
    """The sum of steps as one direction."""

    do: Literal["combine"]
    name: _Name
    steps: str = Field(max_length=4000)


class Change(_Task):
    """Another name, a star, or the end of a direction."""

    do: Literal["change"]
    name: _Name
    new: str = Field("", max_length=60)
    starred: bool | None = None
    remove: bool = False


class Place(_Task):
    """Where pictures, and the seeds from 0 on, are in the plane of two directions."""

    do: Literal["place"]
    axes: tuple[_Name, _Name]
    states: tuple[PageState, ...] = Field(max_length=MOST_PLACES)
    seeds: int = Field(0, ge=0, le=MOST_PLACES)
    shared: PageState = PageState()  # class and options of the pictures of these seeds


class Project(_Task):
    """Search for the latents of a picture, whose file follows the task."""

    do: Literal["project"]
    space: Literal["w", "w+"] = "w+"
    steps: int = Field(300, ge=1, le=5000)
    tuning: int = Field(0, ge=0, le=5000)  # steps of pivotal tuning, which makes another network


Any_Task = Project | Show | Find | Learn | Combine | Change | Place


class Task(BaseModel):
    """One task, told apart by its `do`."""

    task: Any_Task = Field(discriminator="do")


@dataclass
class Bench:
    """An opened network with its tools."""

    studio: Studio
    toolbox: Toolbox

    def perform(self, task: Any_Task, data: bytes, tell: Tell) -> dict[str, Any]:
        """Do a task; returns its result for the page. Raises ValueError in one sentence."""
        if isinstance(task, Place):
            return self._place(task)
        if isinstance(task, Project):
            return self._project(task, data, tell)
        more: dict[str, Any] = {}
        match task:
            case Show():
                pass
            case Find():
                if task.method not in self.toolbox.methods:
                    raise ValueError(f"there is no method {task.method!r}: choose {', '.join(self.toolbox.methods)}")
                for share in self.toolbox.find(task.method, task.count):
                    tell({"share": share})
            case Learn():
                self.toolbox.learn(task.name, self._requests(task.more), self._requests(task.less))
            case Combine():
                more = {"strength": round(self.toolbox.combine(task.name, task.steps), 4)}
            case Change():
                self.toolbox.change(task.name, task.new, task.starred, task.remove)
            case _:
                assert_never(task)
        found = [direction._asdict() for direction in self.toolbox.directions()]
        return {"directions": found, "methods": dict(self.toolbox.methods), **more}

    def _project(self, task: Project, data: bytes, tell: Tell) -> dict[str, Any]:
        pixels = cropped(data, self.studio.sampler.shape)
        search, whole = self.toolbox.search(pixels, task.space, task.steps), task.steps + task.tuning
        with suppress(StoppedError):
            self._watch(search, search, 0, task.steps / whole, tell)
        picture, library = search.picture(), self.studio.scene.library
        assert library is not None
        name = f"{LATENT}{hashlib.sha256(picture.numpy().tobytes() + data).hexdigest()[:8]}"
        library.parent.mkdir(parents=True, exist_ok=True)
        search.save(latent_file(library, name))
        found = {"latent": name, "likeness": round(search.likeness(picture), 2)}
        if not task.tuning:
            return found
        try:
            self._watch(search, search.tune(task.tuning), task.steps / whole, 1, tell)
        except StoppedError:  # the latents are good enough
            return found
        path = latent_file(library, name).with_suffix(".safetensors")
        self._save(search.network(), path)
        likeness = round(search.likeness(search.picture()), 2)
        return {**found, "tuned": likeness, "command": public_command("explore.py", ["--network", str(path)])}

    def _watch(self, search: Search, steps: Iterable[float], start: float, end: float, tell: Tell) -> None:
        """Take steps, and tell the page how far they are, between two shares of the whole."""
        last = 0.0
        for share in steps:
            facts: dict[str, Any] = {"share": start + share * (end - start)}
            if (now := time.perf_counter()) - last > BETWEEN_PICTURES:
                picture, last = search.picture(), now
                facts |= {"likeness": round(search.likeness(picture), 2), "seen": encode(picture, quickly=False)[1]}
            tell(facts)

    def _save(self, network: Any, path: Path) -> None:
        """Write a tuned copy of the network."""
        file = self.studio.file
        assert file is not None
        facts = {name: file.metadata[name] for name in KEPT if name in file.metadata}
        save_network(path, file.family.name, {file.shown: network}, {**facts, "tuned": {"from": str(file)}})

    def _requests(self, states: Sequence[PageState]) -> list[Request]:
        return [self.studio.prepared(state)[1] for state in states]

    def _place(self, task: Place) -> dict[str, Any]:
        points: list[tuple[float, float]] = []
        if task.seeds:
            sampler, _ = self.studio.prepared(task.shared)
            requests = sampler.requests(range(task.seeds), task.shared.label)
            if task.shared.classes and isinstance(sampler, Blending):
                requests = [sampler.of_classes(request, task.shared.classes) for request in requests]
            found = self.toolbox.places(sampler, requests, task.axes)
            points += found.points
        for state in task.states:
            sampler, request = self.studio.prepared(state)
            found = self.toolbox.places(sampler, [request], task.axes)
            points += found.points
        if not points:
            raise ValueError("the map has no pictures: ask for seeds")
        return {"points": points, "skew": found.skew}


def open_bench(studio: Studio) -> Bench:
    """The tools of a studio's network. Raise ValueError if its family has none."""
    library, opened = studio.scene.library, studio.file.family.open_toolbox if studio.file else None
    if opened is None or library is None:
        raise ValueError("this network has no directions")
    return Bench(studio, opened(studio.sampler, library))
