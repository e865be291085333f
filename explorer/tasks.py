"""Work on the latents of pictures that takes longer than a picture: tasks of the page, and how they are done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from explorer.pagestate import PageState
from explorer.studio import Studio
from models.sampler import Blending, Request
from models.toolbox import Toolbox

MOST_MARKED = 100  # pictures of one kind
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


Any_Task = Show | Find | Learn | Combine | Change | Place


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
    library = studio.scene.library
    if studio.open_toolbox is None or library is None:
        raise ValueError("this network has no directions")
    return Bench(studio, studio.open_toolbox(studio.sampler, library))
