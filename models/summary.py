"""A table of a network's modules with their parameters and output shapes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def parameter_count(network: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(p.numel() for p in network.parameters())


def summary(name: str, network: nn.Module, example: Sequence[Any], depth: int = 3) -> str:
    """The table of one network on the meta device, called with `example`: modules `depth` levels deep."""
    shapes: dict[str, str] = {}

    def note(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        shapes[path] = _shape(output)

    shown = [(path, module) for path, module in network.named_modules() if path and path.count(".") < depth]
    shown.append(("", network))
    handles = [module.register_forward_hook(partial(note, path)) for path, module in shown]
    with torch.no_grad():
        network(*example)
    for handle in handles:
        handle.remove()
    rows = [(path or "total", parameter_count(module), shapes.get(path, "")) for path, module in shown]
    rows = [row for row in rows if row[1] or row[2]]
    width = max(len(path) for path, _, _ in rows)
    lines = [f"{name:<{width + 2}}  {'parameters':>12}  output"]
    return "\n".join(lines + [f"  {path:<{width}}  {count:>12,}  {shape}" for path, count, shape in rows])


def _shape(output: Any) -> str:
    if isinstance(output, tuple):
        return " and ".join(_shape(part) for part in output)
    return "x".join(str(n) for n in output.shape) if isinstance(output, Tensor) else ""
