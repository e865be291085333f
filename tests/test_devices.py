"""Devices that know less than a CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

CASES = Path(__file__).with_name("single_precision.py")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this PyTorch takes no devices that are written in Python",
)
def test_nothing_asks_for_float64_where_there_is_none():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    ended = subprocess.run(command, cwd=CASES.parents[1], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
