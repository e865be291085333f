"""A device that knows no float64, as `mps` on a Mac: its tensors are computed on the CPU, and float64 is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from torch_utils import seeds

NAME = "single"
_KERNELS = torch.library.Library("aten", "IMPL")  # what `torch.tensor` does on a device goes past the mode
REFUSED = (torch.float64, torch.complex128)


class Single(Tensor):
    """A tensor that says it is on the device; `held` on the CPU has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Single":
        if held.dtype in REFUSED:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def __deepcopy__(self, memo: Any) -> "Single":
        return Single(self.held.clone())

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _computed(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    """Also tensors that are made on the device, or moved to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = tree_flatten((args, kwargs))[0]
    wanted = kwargs.get("device")
    there = any(isinstance(value, Single) for value in given) if wanted is None else wanted.type == NAME
    if wanted is not None and wanted.type == NAME:
        kwargs = kwargs | {"device": torch.device("cpu")}
    own = {id(value.held): value for value in given if isinstance(value, Single)}
    held = tree_map(lambda value: value.held if isinstance(value, Single) else value, (args, kwargs))
    out = func(*held[0], **held[1])
    if not there:
        return out
    # What an operator changed in place, and gives back, is the tensor that it was given.
    return tree_map(lambda value: own[id(value)] if id(value) in own else _there(value), out)


def _there(value: Any) -> Any:
    return Single(value) if type(value) is Tensor else value


def _empty_strided(size: Any, stride: Any, **kwargs: Any) -> Single:
    return Single(torch.empty_strided(size, stride, dtype=kwargs.get("dtype")))


def _copy_from(source: Tensor, dest: Tensor, non_blocking: bool = False) -> Tensor:
    held = [tensor.held if isinstance(tensor, Single) else tensor for tensor in (source, dest)]
    held[1].copy_(held[0])
    return dest


@contextmanager
def single_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device, for the block; random numbers are those of the CPU's generators."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        backend_registration._setup_privateuseone_for_python_backend(NAME)
        _KERNELS.impl("empty_strided", _empty_strided, "PrivateUse1")
        _KERNELS.impl("_copy_from", _copy_from, "PrivateUse1")
    monkeypatch.setattr(seeds, "torch", SimpleNamespace(Generator=lambda device: torch.Generator()))
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else parameters would keep their class
    try:
        with _Device():
            yield torch.device(NAME, 0)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
