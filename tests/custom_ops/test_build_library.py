"""Libraries are built once, whole, and whatever a killed build has left."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from custom_ops.build import library
from custom_ops.build.library import UnavailableError
from tests.custom_ops import trial

pytestmark = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")


def obtain(folder: Path, *roots: Path) -> Path:
    """The library of some sources, in one of these folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "roots", lambda: iter(roots))
        return library.obtain("cpu", trial.sources(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A library made by the compiler."""
    folder = tmp_path_factory.mktemp("whole")
    root = folder / "root"
    file = obtain(folder / "sources", root)
    assert file == root / f"{library.key('cpu', folder / 'sources')}.so" and trial.answer(file) == 42
    assert {each.suffix for each in root.iterdir()} <= {".so", ".lock"}
    return file


@pytest.fixture
def builds(whole, monkeypatch) -> list[Path]:
    """Let `obtain` build by copying that library; the folders that it was built in."""
    folders = []

    def copy(device, sources, folder, file):
        folders.append(folder)
        shutil.copy(whole, folder / "library")
        (folder / "library").replace(file)

    monkeypatch.setattr(library, "_compile", copy)
    return folders


def test_a_library_that_exists_is_not_built_again(builds, tmp_path):
    first, second = (obtain(tmp_path / "sources", tmp_path) for _ in range(2))
    assert first == second and len(builds) == 1


def test_a_library_that_does_not_load_is_built_again_once(builds, tmp_path, monkeypatch):
    file = obtain(tmp_path / "sources", tmp_path)

    def load(path, times=1):
        if len(builds) <= times:
            raise OSError("version `GLIBC_9' not found")

    monkeypatch.setattr(torch.ops, "load_library", load)
    assert obtain(tmp_path / "sources", tmp_path) == file and len(builds) == 2
    monkeypatch.setattr(torch.ops, "load_library", lambda path: load(path, 9))
    with pytest.raises(UnavailableError, match=r"cannot be used \(version `GLIBC_9' not found\): free some space"):
        obtain(tmp_path / "sources", tmp_path)
    assert len(builds) == 3


def test_a_stale_lock_and_what_a_killed_build_left_do_not_hinder(builds, tmp_path):
    key = library.key("cpu", trial.sources(tmp_path / "sources"))
    (tmp_path / f"{key}.build").mkdir()
    (tmp_path / f"{key}.build" / "trial.o").write_bytes(b"half")
    (tmp_path / f"{key}.lock").write_text("12345")
    obtain(tmp_path / "sources", tmp_path)
    assert not list(tmp_path.glob("*.build"))


def test_another_build_that_does_not_end_is_not_waited_for_forever(builds, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "PATIENCE", 0.1)
    key = library.key("cpu", trial.sources(tmp_path / "sources"))
    with FileLock(tmp_path / f"{key}.lock"), pytest.raises(UnavailableError) as error:
        obtain(tmp_path / "sources", tmp_path)
    assert str(error.value) == (
        f"another process has been compiling them in {tmp_path} for 0.1 seconds: "
        f"end that process if it hangs, then start again"
    )
    assert not builds


def test_a_cache_that_cannot_be_written_leaves_the_folder_for_temporary_files(builds, tmp_path):
    """A file in place of the folder stops even the superuser, unlike a read-only folder."""
    (tmp_path / "file").write_text("")
    assert obtain(tmp_path / "sources", tmp_path / "file", tmp_path / "second").parent == tmp_path / "second"
    with pytest.raises(UnavailableError) as error:
        obtain(tmp_path / "sources", tmp_path / "file", tmp_path / "file" / "below")
    assert str(error.value) == (
        f"{tmp_path}/file cannot be used (File exists) and {tmp_path}/file/below cannot be used (Not a directory): "
        f"free some space, or set TORCH_EXTENSIONS_DIR to a folder that can be written"
    )


def test_the_compilers_error_is_told_and_kept(tmp_path):
    trial.sources(tmp_path / "sources", "int answer() { return wrong; }\n")
    with pytest.raises(UnavailableError) as error:
        obtain(tmp_path / "sources", tmp_path)
    (log,) = tmp_path.glob("*.log")
    assert "error: " in str(error.value) and "wrong" in str(error.value) and str(error.value).endswith(f": see {log}")
    assert "return wrong" in log.read_text() and not list(tmp_path.glob("*.build"))


def _answer(arguments) -> int:
    folder, root = arguments
    return trial.answer(obtain(folder, root))


def test_processes_at_once_build_once(tmp_path, monkeypatch):
    count = tmp_path / "count"
    monkeypatch.setenv("CXX", trial.compiler(tmp_path / "c++", f'echo "$@" >> {count}'))
    trial.sources(tmp_path / "sources")
    with multiprocessing.get_context("fork").Pool(4) as pool:
        answers = pool.map(_answer, [(tmp_path / "sources", tmp_path / "root")] * 4, chunksize=1)
    assert answers == [42] * 4
    assert len(count.read_text().splitlines()) == 2  # compiled, linked


def test_a_build_that_was_killed_is_built_again(tmp_path, monkeypatch):
    """By SIGKILL while compiling, which leaves the lock file and half a build."""
    slow = tmp_path / "slow"
    slow.touch()
    monkeypatch.setenv("CXX", trial.compiler(tmp_path / "c++", f"if [ -e {slow} ]; then echo > {slow}; sleep 100; fi"))
    program = (
        "import sys; from pathlib import Path; from tests.custom_ops.test_build_library import obtain;"
        "obtain(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    builder = subprocess.Popen([sys.executable, "-c", program, tmp_path / "sources", tmp_path / "root"])
    deadline = time.monotonic() + 100
    while not slow.stat().st_size:
        assert builder.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    builder.kill()
    builder.wait()
    (abandoned,) = (tmp_path / "root").glob("*.build")
    slow.unlink()
    assert trial.answer(obtain(tmp_path / "sources", tmp_path / "root")) == 42
    assert not abandoned.exists()


def test_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("HOME", "/home/someone")
    for name in ("TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    private = tmp_path / f"custom_ops-{os.getuid()}"
    assert list(library.roots()) == [Path("/home/someone/.cache/torch_extensions/custom_ops"), private]
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert next(library.roots()) == Path("/caches/torch_extensions/custom_ops")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/given")
    assert next(library.roots()) == Path("/given/custom_ops")
    private.chmod(0o777)  # any user could put a library there
    assert list(library.roots()) == [Path("/given/custom_ops")]
