"""Stand-ins for published weights: their names and shapes, filled with numbers that can be drawn again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

DATA = Path(__file__).parents[1] / "data"
INCEPTION: dict[str, list[int]] = json.loads((DATA / "inception-2015-12-05.json").read_text())
LPIPS = {f"lin{k}.model.1.weight": [1, width, 1, 1] for k, width in enumerate((64, 128, 256, 512, 512))}

_CONVOLUTIONS = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
_CONVOLUTIONS += [(17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)]
VGG16: dict[str, list[int]] = {f"features.{i}.weight": [outputs, inputs, 3, 3] for i, inputs, outputs in _CONVOLUTIONS}
VGG16 |= {f"features.{i}.bias": [outputs] for i, _, outputs in _CONVOLUTIONS}
VGG16 |= {
    "classifier.0.weight": [4096, 25088],
    "classifier.3.weight": [4096, 4096],
    "classifier.6.weight": [1000, 4096],
}
VGG16 |= {"classifier.0.bias": [4096], "classifier.3.bias": [4096], "classifier.6.bias": [1000]}


def drawn(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Weights that let signals through: a stream of its own for each tensor."""
    tensors = {}
    for seed, (name, shape) in enumerate(sorted(shapes.items())):
        normal = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        if len(shape) > 1:
            tensors[name] = normal * (2 / normal[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            tensors[name] = 1 + 0.1 * normal.clamp(-3, 3)
        else:
            tensors[name] = 0.1 * normal
    return tensors


def flat(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The same shapes, each filled with one number, which takes no room in a file."""
    return {name: torch.full([1], 0.01).expand(shape) for name, shape in shapes.items()}
