import pytest
import torch

from benchmarks import observer


@pytest.fixture(autouse=True)
def _same_threads():
    """Benchmarks set the number of threads; the next test has the one that was before."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained():
    """An observer of 16x16 faces that has learnt little, but something."""
    return observer.train(16, 16, torch.device("cpu"), faces=1024, rounds=3)
