import pytest
import torch

from benchmarks.stylegan2 import observer


@pytest.fixture(autouse=True)
def _same_threads():
    """Benchmarks change the number of threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained():
    """An observer of 16x16 faces that has learned a little."""
    return observer.train(16, 16, torch.device("cpu"), faces=1024, rounds=3)
