import pytest
import torch

from tests.processes import together
from torch_utils import distributed
from torch_utils.stats import Collector


def test_alone_everything_is_a_no_op(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.start("cpu") == torch.device("cpu")
    assert (distributed.rank(), distributed.world(), distributed.is_first()) == (0, 1, True)
    assert (distributed.least(4), distributed.neighbors()) == (4, 1)
    tensor = torch.arange(3.0)
    assert distributed.mean(tensor) is tensor
    distributed.broadcast_([tensor])
    assert distributed.sum_(tensor) is tensor
    assert tensor.tolist() == [0, 1, 2]
    distributed.barrier()
    distributed.stop()


def test_too_few_devices_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = (
        r"torchrun started more processes on this machine than it has CUDA devices \(2\): give it --nproc-per-node=2"
    )
    with pytest.raises(ValueError, match=message):
        distributed.start("cuda")


def test_two_processes_agree():
    together(_process, here=1)


def _process(rank):
    assert distributed.start("cpu") == torch.device("cpu")
    assert (distributed.rank(), distributed.world(), distributed.is_first()) == (rank, 2, rank == 0)
    _check_sum(rank)
    _check_mean(rank)
    _check_broadcast(rank)
    _check_collector(rank)
    _check_least(rank)
    _check_alone(rank)
    distributed.barrier()
    distributed.stop()
    assert distributed.world() == 1


def _check_sum(rank):
    assert distributed.sum_(torch.tensor([1, 10 * rank])).tolist() == [2, 10]


def _check_mean(rank):
    """Both ways: the gradient of the mean in the mean of all losses is the mean of the gradients."""
    x = torch.full((2, 3), float(rank), requires_grad=True)
    (distributed.mean(x.t()) * (4.0 * rank)).sum().backward()
    assert distributed.mean(x.t()).unique().tolist() == [0.5]
    assert x.grad.unique().tolist() == [2.0]


def _check_broadcast(rank):
    dtypes = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.float64]
    tensors = [torch.full((3, 2), 1 - rank, dtype=dtype) for dtype in dtypes] + [torch.tensor(1.5 - rank)]
    distributed.broadcast_(tensors)
    column = torch.arange(6.0).reshape(2, 3).t() * rank
    distributed.broadcast_([column])
    assert not column.any() and column.stride() == (1, 3)
    assert all(bool((tensor == 1).all()) for tensor in tensors[:-1])
    assert tensors[-1].item() == 1.5


def _check_collector(rank):
    collector = Collector()
    collector.add("score", torch.tensor([1.0, 2.0]) + 2 * rank)
    collector.add("score", torch.tensor([5.0]))
    moments = collector.read(distributed.sum_)["score"]
    assert (moments.count, moments.mean) == (6, 20 / 6)


def _check_least(rank):
    assert distributed.least(7 - rank) == 6
    assert distributed.neighbors() == 1  # what torchrun says, whatever the number of processes elsewhere


def _check_alone(rank):
    """One process by itself may exchange as it likes: nobody is asked."""
    if rank == 0:
        with distributed.alone():
            assert (distributed.rank(), distributed.world(), distributed.neighbors()) == (0, 1, 1)
            assert distributed.sum_(torch.tensor([5.0])).item() == distributed.least(5) == 5
            distributed.barrier()
    assert distributed.world() == 2
