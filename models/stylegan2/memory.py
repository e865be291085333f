"""Pictures of a generator that differ little from the last ones: only what changed is computed.

The features of a block depend on the features before it, its w and its noise; its image depends on its features, the
image before it and one more w. A part whose inputs are those of before gives the tensor of before, so the pictures are
equal to the last bit. Letters: N batch, L layers, D width of w.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.stylegan2.generator import Synthesis
from models.stylegan2.prepared import PreparedSynthesis

KEPT = 2  # results of each part: two pictures that are compared by turns
LARGEST = 2**25  # bytes of a result that is kept


class _Known(NamedTuple):
    """A result, the results that it was computed from, and the w and noise."""

    before: Sequence[Any]
    inputs: Sequence[Tensor | None]
    result: Tensor | None


class Memory:
    """What the parts of a synthesis network gave last. The weights of the network must not change.

    Not for training: results have no gradients.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        self.synthesis = synthesis
        self.computed: list[str] = []  # parts of the last picture that were computed: "features 3", "image 3"
        self.pause = nn.Identity()
        self._kept: dict[str, list[_Known]] = {}

    @torch.no_grad()
    def render(self, ws: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """w [N, L, D] and the noise of each layer -> images, as of `Synthesis.render`."""
        self.computed = []
        steps = self.synthesis.steps(ws)
        # With another number of threads sums may round otherwise, so all features follow from it.
        x, image = self._result("const", (len(ws), torch.get_num_threads()), (), self._const, len(ws)), None
        for k, block in enumerate(self.synthesis.blocks):
            first = max(2 * k - 1, 0)
            w, noise = ws[:, first : 2 * k + 2], noises[first : 2 * k + 1]
            if steps is None:
                features, show = partial(block.features, x, w, *noise), block.image
            else:
                self.pause(x)  # the steps call no module, of which hooks such as the explorer's would hear
                *rows, row = (w[0] * steps.gain).split(1)
                features, show = partial(steps.features, k, x, rows, noise), partial(_shown, steps, k, row)
            x = self._result(f"features {k}", (x,), (w[:, :-1], *noise), features)
            image = self._result(f"image {k}", (x, image), (w[:, -1],), show, x, image, w)
        assert image is not None
        return image

    def _const(self, batch: int) -> Tensor:
        return self.synthesis.const.expand(batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)

    def _result(
        self,
        name: str,
        before: Sequence[Any],
        inputs: Sequence[Tensor | None],
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        """function(*arguments), or its last result for the same results `before` and equal small `inputs`."""
        kept = self._kept.setdefault(name, [])
        for place, known in enumerate(kept):
            if all(map(_is, known.before, before)) and all(map(_equal, known.inputs, inputs)):
                kept.insert(0, kept.pop(place))
                return known.result
        result = function(*arguments)
        self.computed.append(name)
        if result is None or result.nbytes <= LARGEST:
            kept.insert(0, _Known(before, [one if one is None else one.clone() for one in inputs], result))
            del kept[KEPT:]
        return result


def _shown(steps: PreparedSynthesis, k: int, row: Tensor, x: Tensor, image: Tensor | None, w: Tensor) -> Tensor:
    return steps.image(k, x, image, row)


def _is(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, int) and a == b)


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
