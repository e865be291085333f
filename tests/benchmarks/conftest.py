import pytest
import torch

from benchmarks import observer


@pytest.fixture(scope="session")
def trained():
    """An observer of 16x16 faces that has learnt little, but something."""
    return observer.train(16, 16, torch.device("cpu"), faces=1024, rounds=3)
