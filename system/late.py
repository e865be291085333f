"""Late imports: PyTorch and this project's modules run when they are first used, since --help needs few of them.

In a program (`system.start`) `import torch` and `from imaging import grid` find a module, and the first attribute that
is asked of it, as in `grid.sheet(...)`, runs it. `from imaging.grid import sheet` runs it at once, and so does an
annotation, unless the module begins with `from __future__ import annotations`. Packages of the project run at once.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PREFIX = __name__.rpartition("system")[0]  # "image_workshop." where the package is installed
SLOW = "torch"  # the one package of others that runs late


class _Late(ModuleType):
    """A module that has not run yet, or is running."""

    def __getattribute__(self, name: str) -> Any:
        held = object.__getattribute__(self, "__dict__")
        # Names such as __file__ and __class__ are known before a module runs, and `inspect` asks all modules for them.
        # The import system asks for __path__ to find a submodule.
        if name == "__path__" or not (name.startswith("__") and (name in held or hasattr(ModuleType, name))):
            held["__spec__"].loader.run(self)
        return ModuleType.__getattribute__(self, name)


class _Once(Loader):
    """Runs a module when an attribute of it is first asked for, in one thread while others wait."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._lock, self._began = inner, RLock(), False

    def __getattr__(self, name: str) -> Any:  # such as `get_source`, for tracebacks
        return getattr(self._inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Late

    def run(self, module: ModuleType) -> None:
        with self._lock:  # the module's own code may pass while it runs
            if self._began:
                return
            self._began = True
            try:
                self._inner.exec_module(module)
            except BaseException:
                self._began = False
                raise
            module.__class__ = ModuleType


class _Present(Loader):
    """Finds a module again that was imported while its package ran."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.startswith(f"{SLOW}.") and name in sys.modules:
            return ModuleSpec(name, _Present(sys.modules[name]))
        folder = ROOT.joinpath(*name.removeprefix(PREFIX).split(".")[:-1])
        own = path is not None and name.startswith(PREFIX) and folder in map(Path, path)
        if not own and name != SLOW:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and (name == SLOW or spec.submodule_search_locations is None):
            spec.loader = _Once(spec.loader)
        return spec


def install() -> None:
    """Import late from now on."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
