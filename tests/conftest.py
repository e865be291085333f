"""What all tests share."""

import signal

import hypothesis
import pytest
import torch

from tests.torch_utils.servers import serving


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="run the long proofs whole")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # tests run side by side
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("untimed", deadline=None)  # on a busy machine any example may take its time
    hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = {"gpu": "needs a CUDA device"} if not torch.cuda.is_available() else {}
    if not config.getoption("--proof"):
        without["proof"] = "long: make proof"
    for item in items:
        for mark, reason in without.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def server():
    """A web server on this machine."""
    with serving() as server:
        yield server
