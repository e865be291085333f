"""Where compiled libraries are kept: a folder for each recipe, built by one process at a time, published whole.

ROOT/cpu-TARGET-TOOLS/       sources, PyTorch and processor of the library; compilers and flags that made it
             lock            held while a library is built; the system frees it when its holder ends, however that is
             build-XXXX/     what is being compiled; one that is there while the lock is free was left by the dead
             CHECKSUM.so     the library; its name vouches for it, since loading half a file can kill the process
             CHECKSUM-MODEL.json  what a comparison with plain PyTorch on a model of device found
             build.log       what the compilers said when they last failed
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from custom_ops.build import compilation
from custom_ops.build.compilation import PATIENCE
from custom_ops.build.toolchain import Recipe, Target, UnavailableError
from system.cache import private_folder

Load = Callable[[str], object]


def roots() -> Iterator[Path]:
    """The folders that may hold libraries, the best first; the second serves where the first cannot be written."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # there is no home
        yield Path(given or Path(caches) / "torch_extensions").expanduser() / "custom_ops"
    with contextlib.suppress(OSError):
        yield private_folder("custom_ops")


def obtain(
    recipe: Recipe,
    roots: Iterable[Path],
    load: Load = torch.ops.load_library,
    patience: float = PATIENCE,
    anew: bool = False,
) -> Path:
    """Loads the library of a recipe, and builds it first where it is not there yet; returns its path.

    Args:
        recipe: what is wanted.
        roots: folders to look and to build in; a later one serves where an earlier one cannot be used.
        load: how to load a library; OSError when it does not.
        patience: seconds that a build may take, and that another process's is waited for.
        anew: builds it even when it is there.

    Raises:
        UnavailableError: when it can be neither found nor built.
    """
    failures = []
    for root in roots:
        entry = _entry(recipe, root)
        try:
            library = None if anew else _published(entry, load)
            return library or _build(recipe, entry, load, patience, anew)
        except (OSError, NotImplementedError) as error:  # a place that cannot be written, locked or loaded from
            failures.append(f"{root} cannot be used ({getattr(error, 'strerror', None) or error})")
    raise UnavailableError(
        " and ".join(failures) or "there is no folder to build in",
        "free some space, or set TORCH_EXTENSIONS_DIR to a folder that can be written",
    )


def borrow(target: Target, roots: Iterable[Path]) -> Path | None:
    """Loads a library of the same sources for the same machine, by whatever compiler, where there is one; its path."""
    for root in roots:
        for entry in sorted(root.glob(f"{target.name}-{target.key}-*")):
            if library := _published(entry, torch.ops.load_library):
                return library
    return None


def find(recipe: Recipe, roots: Iterable[Path]) -> Path | None:
    """The library of a recipe, where it is there already."""
    return next((library for root in roots for library in _whole(_entry(recipe, root))), None)


def _published(entry: Path, load: Load) -> Path | None:
    """Loads what an entry holds, if it does. Takes no lock, for a cache may be read-only."""
    for library in _whole(entry):
        with contextlib.suppress(OSError):
            load(str(library))
            return library
    return None


def _whole(entry: Path) -> Iterator[Path]:
    for library in sorted(entry.glob("*.so")):
        with contextlib.suppress(OSError):
            if _checksum(library) == library.stem:
                yield library


def _entry(recipe: Recipe, root: Path) -> Path:
    return root / f"{recipe.target.name}-{recipe.key}"


def _build(recipe: Recipe, entry: Path, load: Load, patience: float, anew: bool) -> Path:
    """Builds, publishes and loads a library, unless another process has done so while we waited."""
    entry.mkdir(parents=True, exist_ok=True)
    with _alone_in(entry, recipe, patience):
        library = None if anew else _published(entry, load)
        if library is not None:
            return library
        _sweep(entry)
        folder = Path(tempfile.mkdtemp(prefix="build-", dir=entry))
        try:
            _say(f"Compiling the {recipe.target.name.upper()} operators, once: this can take a minute ...")
            built = compilation.compile_library(recipe, folder, patience)
            if entry != _entry(recipe, entry.parent):
                raise UnavailableError("the sources changed while they were being compiled", "start again")
            library = entry / f"{_checksum(built)}.so"
            built.replace(library)
            for other in {*entry.glob("*.so"), *entry.glob("*.json")} - {library}:
                other.unlink()  # it was broken, or the user wanted another; and is compared anew
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    try:
        load(str(library))
    except OSError as error:
        raise UnavailableError(f"{library} does not load ({error})", "python -m custom_ops.build --force") from error
    return library


@contextlib.contextmanager
def _alone_in(entry: Path, recipe: Recipe, patience: float) -> Iterator[None]:
    """Holds the lock of an entry, for which it waits as long as another process may build."""
    lock = FileLock(entry / "lock")
    try:
        lock.acquire(timeout=min(2, patience))
    except Timeout:
        _say(f"Waiting for another process that compiles the {recipe.target.name.upper()} operators ...")
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise UnavailableError(
                f"another process has been compiling them in {entry} for {patience:g} seconds",
                "end it if it hangs, then start again",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _sweep(entry: Path) -> None:
    """Removes what dead builders left, in our entry and in others: a builder that lives holds the lock of its own."""
    for folder in entry.parent.glob("*/build-*"):
        alone = contextlib.nullcontext() if folder.parent == entry else FileLock(folder.parent / "lock", timeout=0)
        with contextlib.suppress(Timeout, OSError), alone:
            shutil.rmtree(folder, ignore_errors=True)


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _say(text: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)
