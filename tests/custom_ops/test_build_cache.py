"""Libraries are built once, whole, and whatever came before."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from custom_ops.build import cache, compilation
from custom_ops.build.toolchain import UnavailableError
from tests.custom_ops import trial

pytestmark = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A library that the compiler has made."""
    folder = tmp_path_factory.mktemp("whole")
    recipe, root = trial.recipe(folder / "sources"), folder / "root"
    library = cache.obtain(recipe, [root])
    assert library.parent == root / f"cpu-{recipe.key}" and trial.answer(library) == 42
    assert sorted(file.name for file in library.parent.iterdir()) == [library.name, "lock"]
    return library


@pytest.fixture
def builds(whole, monkeypatch) -> list[Path]:
    """Lets `obtain` build by copying that library; the folders that it was built in."""
    folders = []

    def copy(recipe, folder, patience):
        folders.append(folder)
        return Path(shutil.copy(whole, folder / "library"))

    monkeypatch.setattr(compilation, "compile_library", copy)
    return folders


def test_a_library_that_is_there_is_not_built_again(builds, tmp_path):
    recipe = trial.recipe(tmp_path / "sources")
    first, second = cache.obtain(recipe, [tmp_path]), cache.obtain(recipe, [tmp_path])
    assert first == second == cache.find(recipe, [tmp_path]) and len(builds) == 1
    cache.obtain(recipe, [tmp_path], anew=True)
    assert len(builds) == 2


def test_one_that_is_there_serves_from_a_cache_that_cannot_be_locked(builds, tmp_path):
    recipe = trial.recipe(tmp_path / "sources")
    library = cache.obtain(recipe, [tmp_path])
    (library.parent / "lock").unlink()
    (library.parent / "lock").mkdir()
    assert cache.obtain(recipe, [tmp_path]) == library and len(builds) == 1


@pytest.mark.parametrize("keep", [0, 100, 5000, -1])
def test_a_truncated_one_is_never_loaded_but_built_anew(builds, tmp_path, keep):
    recipe, loaded = trial.recipe(tmp_path / "sources"), []
    library = cache.obtain(recipe, [tmp_path], loaded.append)
    library.write_bytes(library.read_bytes()[:keep])  # to load this now could be a bus error
    assert cache.obtain(recipe, [tmp_path], loaded.append) == library
    assert len(builds) == 2 and loaded == [str(library)] * 2 and trial.answer(library) == 42


def test_one_that_does_not_load_is_built_anew_once(builds, tmp_path):
    recipe = trial.recipe(tmp_path / "sources")
    library = cache.obtain(recipe, [tmp_path])

    def load(path):
        if len(builds) == 1:
            raise OSError("version `GLIBC_9' not found")

    assert cache.obtain(recipe, [tmp_path], load) == library and len(builds) == 2

    def never(path):
        raise OSError("version `GLIBC_9' not found")

    with pytest.raises(UnavailableError) as error:
        cache.obtain(recipe, [tmp_path], never)
    assert len(builds) == 3
    assert str(error.value) == (
        f"{library} does not load (version `GLIBC_9' not found): python -m custom_ops.build --force"
    )


def test_a_stale_lock_and_what_the_dead_left_do_not_hinder(builds, tmp_path):
    recipe = trial.recipe(tmp_path / "sources")
    ours, others, living = (tmp_path / f"cpu-{key}" for key in (recipe.key, "0123", "4567"))
    for entry in (ours, others, living):
        (entry / "build-dead").mkdir(parents=True)
        (entry / "build-dead" / "trial.o").write_bytes(b"half")
        (entry / "lock").write_text("12345")
    with FileLock(living / "lock"):
        cache.obtain(recipe, [tmp_path])
    assert [entry for entry in (ours, others, living) if list(entry.glob("build-*"))] == [living]


def test_a_builder_that_does_not_end_is_not_waited_for_for_ever(builds, tmp_path):
    recipe = trial.recipe(tmp_path / "sources")
    entry = tmp_path / f"cpu-{recipe.key}"
    entry.mkdir()
    with FileLock(entry / "lock"), pytest.raises(UnavailableError) as error:
        cache.obtain(recipe, [tmp_path], patience=0.1)
    assert str(error.value) == (
        f"another process has been compiling them in {entry} for 0.1 seconds: end it if it hangs, then start again"
    )
    assert not builds


def test_a_cache_that_cannot_be_written_leaves_the_folder_for_temporary_files(builds, tmp_path):
    """A file where the folder should be stops the superuser, too, whom a read-only folder does not."""
    recipe = trial.recipe(tmp_path / "sources")
    (tmp_path / "file").write_text("")
    library = cache.obtain(recipe, [tmp_path / "file", tmp_path / "second"])
    assert library.parent.parent == tmp_path / "second"
    with pytest.raises(UnavailableError) as error:
        cache.obtain(recipe, [tmp_path / "file", tmp_path / "file" / "below"])
    assert str(error.value) == (
        f"{tmp_path}/file cannot be used (Not a directory) and {tmp_path}/file/below cannot be used (Not a directory): "
        f"free some space, or set TORCH_EXTENSIONS_DIR to a folder that can be written"
    )


def test_sources_that_change_while_they_are_compiled_are_not_published(builds, tmp_path, monkeypatch):
    recipe = trial.recipe(tmp_path / "sources")
    copy = compilation.compile_library

    def meanwhile(*arguments):
        (tmp_path / "sources" / "trial.cpp").write_text("int later;")
        return copy(*arguments)

    monkeypatch.setattr(compilation, "compile_library", meanwhile)
    with pytest.raises(UnavailableError, match="the sources changed while they were being compiled: start again"):
        cache.obtain(recipe, [tmp_path / "root"])
    assert not list((tmp_path / "root").glob("*/*.so"))


def test_what_the_compiler_refuses_is_told_and_kept(tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "trial.cpp").write_text("int answer() { return wrong; }\n")
    recipe = trial.recipe(tmp_path / "sources")
    with pytest.raises(UnavailableError) as error:
        cache.obtain(recipe, [tmp_path])
    (log,) = tmp_path.glob("*/build.log")
    assert str(error.value).startswith("they do not compile (trial.cpp:1:")
    assert "wrong" in str(error.value) and str(error.value).endswith(f"): see {log}")
    assert "return wrong" in log.read_text() and not list(log.parent.glob("build-*"))


@pytest.mark.parametrize("words", ["No space left on device", "failed to map segment from shared object"])
def test_a_full_disk_and_one_that_runs_no_programs_leave_the_other(tmp_path, monkeypatch, words):
    recipe = trial.recipe(tmp_path / "sources")
    monkeypatch.setattr(compilation, "_run", lambda *_: (1, f"fatal error: error writing to -: {words}\n"))
    with pytest.raises(UnavailableError) as error:
        cache.obtain(recipe, [tmp_path / "one", tmp_path / "two"])
    assert str(error.value).startswith(
        f"{tmp_path}/one cannot be used ({words}) and {tmp_path}/two cannot be used ({words}): free some space"
    )


def _answer(arguments) -> int:
    folder, root = arguments
    return trial.answer(cache.obtain(trial.recipe(folder), [root]))


def test_eight_processes_at_once_build_once(tmp_path, monkeypatch):
    count = tmp_path / "count"
    monkeypatch.setenv("CXX", trial.compiler(tmp_path / "c++", f'echo "$@" >> {count}'))
    trial.recipe(tmp_path / "sources")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        answers = pool.map(_answer, [(tmp_path / "sources", tmp_path / "root")] * 8, chunksize=1)
    assert answers == [42] * 8
    assert len(count.read_text().splitlines()) == 2  # compiled, linked


def test_a_build_that_was_killed_is_built_anew(tmp_path, monkeypatch):
    """By SIGKILL in the middle of compiling, which leaves the lock's file and half a build behind."""
    slow = tmp_path / "slow"
    slow.touch()
    monkeypatch.setenv("CXX", trial.compiler(tmp_path / "c++", f"if [ -e {slow} ]; then echo > {slow}; sleep 100; fi"))
    recipe = trial.recipe(tmp_path / "sources")
    program = (
        "import sys; from pathlib import Path; from custom_ops.build import cache; from tests.custom_ops import trial;"
        "cache.obtain(trial.recipe(Path(sys.argv[1])), [Path(sys.argv[2])])"
    )
    builder = subprocess.Popen([sys.executable, "-c", program, tmp_path / "sources", tmp_path / "root"])
    deadline = time.monotonic() + 100
    while not slow.stat().st_size:
        assert builder.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    builder.kill()
    builder.wait()
    entry = tmp_path / "root" / f"cpu-{recipe.key}"
    (abandoned,) = entry.glob("build-*")
    slow.unlink()
    assert trial.answer(cache.obtain(recipe, [tmp_path / "root"])) == 42
    assert not abandoned.exists()


def ended(process: str) -> bool:
    """Whether a process is no more, or is only waiting to be buried."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", process.strip()], capture_output=True, text=True).stdout
    return state[:1] in ("", "Z")


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    program = f"sleep 100 & echo $! > {tmp_path}/pid; wait"
    assert compilation._run(["sh", "-c", program], dict(os.environ), 0.5) == (
        -1,
        "error: it took more than 0.5 seconds",
    )
    assert ended((tmp_path / "pid").read_text())


def test_an_interrupt_ends_the_compiler_too(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(KeyboardInterrupt):
        compilation._run(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 100"], dict(os.environ), 100)
    assert ended((tmp_path / "pid").read_text())


def test_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(cache.tempfile, "tempdir", None)
    monkeypatch.setenv("HOME", "/home/someone")
    for name in ("TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    private = tmp_path / f"custom_ops-{os.getuid()}"
    assert list(cache.roots()) == [Path("/home/someone/.cache/torch_extensions/custom_ops"), private]
    assert private.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert next(cache.roots()) == Path("/caches/torch_extensions/custom_ops")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/given")
    assert next(cache.roots()) == Path("/given/custom_ops")
    private.chmod(0o777)  # anyone could put a library there
    assert list(cache.roots()) == [Path("/given/custom_ops")]
