"""Whatever of this project a program imports or loads, the program's global switches stay as they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks import save_tiny

ROOT = Path(__file__).parents[1]

# What a program may have set before it imports anything of ours.
HOSTS = {
    "old switches": """
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.deterministic = True
torch.use_deterministic_algorithms(True, warn_only=True)
""",
    "new switches": """
torch.backends.cuda.matmul.fp32_precision = "tf32"
torch.backends.cudnn.conv.fp32_precision = "ieee"
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = False
""",
}

PROGRAM = """
import importlib, locale, logging, os, pkgutil, random, signal, sys, warnings
# What others do when they are imported is not ours to answer for.
import PIL.Image, PIL.ImageFile, av, click, filelock, fsspec, numpy, pydantic, safetensors.torch, scipy.linalg
import scipy.ndimage, torch, tqdm
import torch.distributed, torch.utils.cpp_extension, torch.utils.tensorboard, torch._dynamo, torch._inductor.config
import multiprocessing

sys.path.insert(0, {root!r})
os.umask(0o027)
os.environ["XDG_CACHE_HOME"] = {cache!r}
{host}

def read(get):
    try:
        return get()
    except RuntimeError:
        return "raises"

def snapshot():
    mask = os.umask(0)
    os.umask(mask)
    b = torch.backends
    return {{
        "tf32": [read(lambda: b.cuda.matmul.allow_tf32), read(lambda: b.cudnn.allow_tf32)],
        "float32": read(torch.get_float32_matmul_precision),
        "new": [x.fp32_precision for x in (b, b.cuda.matmul, b.cudnn, b.cudnn.conv, b.cudnn.rnn, b.mkldnn)],
        "cudnn": [b.cudnn.enabled, b.cudnn.benchmark, b.cudnn.deterministic, b.cudnn.benchmark_limit],
        "mkldnn": b.mkldnn.enabled if hasattr(b.mkldnn, "enabled") else None,
        "algorithms": torch.get_deterministic_debug_mode(),
        "filled": torch.utils.deterministic.fill_uninitialized_memory,
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "defaults": [str(torch.get_default_dtype()), str(torch.get_default_device()), torch.is_grad_enabled()],
        "randomness": [torch.get_rng_state().tolist()[:99], random.getstate()[1][:9], str(numpy.random.get_state())],
        "umask": mask,
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr), id(sys.excepthook)],
        "descriptors": [os.readlink(f"/proc/self/fd/{{n}}") for n in range(3)],
        "environment": dict(os.environ),
        "signals": [str(signal.getsignal(n)) for n in signal.valid_signals() if n not in (9, 19)],
        "warnings": [str(each) for each in warnings.filters],
        "logging": [logging.root.level, str(logging.root.handlers), logging.root.manager.disable],
        "places": [os.getcwd(), sys.path, locale.setlocale(locale.LC_ALL)],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "pictures": [PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES],
        "numpy": [str(numpy.geterr()), str(numpy.get_printoptions())],
        "processes": [multiprocessing.get_start_method(allow_none=True), torch.multiprocessing.get_sharing_strategy()],
        "compiler": [torch._dynamo.config.suppress_errors, torch._dynamo.config.cache_size_limit],
    }}

before, printed = snapshot(), sys.stdout
sys.argv = ["host"]

def check(what):
    for name, value in snapshot().items():
        if value != before[name]:
            print(f"{{what}} changed {{name}}: {{before[name]}} -> {{value}}")
"""

IMPORTS = """
rooms = ("system", "custom_ops", "torch_utils", "imaging", "models", "training", "metrics", "sampling", "benchmarks")
for room in rooms:
    found = pkgutil.walk_packages([os.path.join({root!r}, room)], f"{{room}}.")
    for name in [room, *(module.name for module in found)]:
        if not name.endswith("__main__") and name not in {left_out!r}:
            importlib.import_module(name)
for script in os.listdir({root!r}):
    if script.endswith(".py"):
        importlib.import_module(script[:-3])
check("an import")
"""

LOADS = """
import hubconf
from models.families import load_network
z = torch.zeros(1, 512)
for precision in ("fp32", "bf16"):
    load_network({network!r}, "cpu", precision)
    hubconf.generator({network!r}, precision=precision)
    G = hubconf.faces64(precision=precision)
    check("loading a network")
    G(z[:, : G.config.z_dim], torch.eye(G.config.classes)[:1], noise_mode="const")
    check("a picture")
    G(z[:, : G.config.z_dim].requires_grad_(), torch.eye(G.config.classes)[:1], noise_mode="const").sum().backward()
    check("a gradient")
try:
    load_network("hf://nobody", "cpu")
except ValueError:
    check("a refusal")
"""
# Benchmarks that need what is not there by default: other people's code.
LEFT_OUT = ("benchmarks.stylegan2.official", "benchmarks.stylegan2.compare")


@pytest.mark.parametrize("host", HOSTS)
def test_the_switches_of_a_program_stay(host, tmp_path):
    program = (PROGRAM + IMPORTS + LOADS).format(
        root=str(ROOT),
        cache=str(tmp_path),
        host=HOSTS[host],
        left_out=LEFT_OUT,
        network=str(save_tiny(tmp_path / "a.safetensors")),
    )
    env = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    env["TORCH_EXTENSIONS_DIR"] = env.get("TORCH_EXTENSIONS_DIR", str(Path("~/.cache/torch_extensions").expanduser()))
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, ""), json.dumps([ended.stdout, ended.stderr[-2000:]], indent=1)
