"""Where a person may go next from a state, so that pictures can be made before they are asked for."""

from collections.abc import Iterator

from explorer.controls import Control
from explorer.pagestate import PageState
from torch_utils.flags import MAX_SEED

STOPS = 8  # of a slider, to each side


def near(state: PageState, control: Control | None) -> Iterator[tuple[PageState, bool]]:
    """The seeds beside, and the next stops of a setting's slider to both sides, which are asked for as drafts."""
    if state.seed is not None:
        for seed in (state.seed + 1, state.seed - 1):
            yield state.model_copy(update={"seeds": ((seed % (MAX_SEED + 1), 1.0),)}), False
    value = state.options.get(control.name, control.default) if control else None
    if control is None or control.slider is None or isinstance(value, str | bool | None):
        return
    for far in range(1, STOPS + 1):
        for step in (far * control.step, -far * control.step):
            stop = round(value + step, 6)  # the number that the slider has there
            if control.slider[0] <= stop <= control.slider[1]:
                moved = {**state.options, control.name: int(stop) if control.kind == "whole" else stop}
                yield state.model_copy(update={"options": moved}), True
