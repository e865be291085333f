"""Native operators and their reference by turns in one process."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.library import Library, get_kernel

NAMESPACE = "custom_ops"
UNSERVED = "XPU"  # a type of device that no native kernel was written for: what serves it is the reference


@contextmanager
def reference(device_type: str) -> Iterator[None]:
    """Within the block the reference serves a type of device, in the passes backward too, and native kernels rest."""
    key = device_type.upper()
    library = Library(NAMESPACE, "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*[Oo]verrid")  # for once, overriding is what is wanted
            for operator in native_operators(device_type):
                library.impl(operator, _plain(operator), key, with_keyset=True, allow_override=True)
        yield
    finally:
        library._destroy()


def native_operators(device_type: str) -> list[str]:
    """Names of the operators that have, beside their reference, native kernels for a type of device, loaded by now."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return [
        name.removeprefix(f"{NAMESPACE}::")
        for name in sorted(torch._C._dispatch_get_all_op_names())
        if name.startswith(f"{NAMESPACE}::")
        and has(name, "CompositeExplicitAutograd")
        and has(name, device_type.upper())
    ]


def _plain(operator: str) -> Callable[..., Any]:
    kernel = get_kernel(f"{NAMESPACE}::{operator}", UNSERVED)
    return lambda keys, *inputs: kernel.call_boxed(keys, *inputs)
