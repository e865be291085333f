"""Timing on CUDA, on an imitated device whose clock the test moves."""

from contextlib import nullcontext

import pytest
import torch

from benchmarks import timing

GPU = torch.device("cuda", 0)


class Machine:
    """Kernels take their seconds when they run, Python takes `host` seconds to start one; graphs start many at once."""

    def __init__(self, host: float) -> None:
        self.now, self.host, self.capturing = 0.0, host, None

    def run(self, seconds: float) -> None:
        if self.capturing is not None:
            self.capturing.append(seconds)
        else:
            self.now += max(seconds, self.host)


@pytest.fixture
def machine(monkeypatch):
    it, empty = Machine(host=50e-6), torch.empty

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = it.now

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return (other.at - self.at) * 1e3

    class Graph:
        def __init__(self):
            self.kernels = []

        def replay(self):
            it.now += sum(self.kernels)

    class Capture:
        def __init__(self, graph, stream):
            self.graph = graph

        def __enter__(self):
            it.capturing = self.graph.kernels

        def __exit__(self, *error):
            it.capturing = None

    class Room:
        def zero_(self):
            it.run(100e-6)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *a: None)
    monkeypatch.setattr(torch, "empty", lambda size, **more: Room() if more["device"] == GPU else empty(size, **more))
    monkeypatch.setattr(timing, "own_stream", lambda device: nullcontext())
    return it


@pytest.mark.parametrize("kernel", [3e-6, 30e-6, 3e-3])
def test_neither_the_host_nor_the_emptied_cache_is_timed(machine, kernel):
    calls = []

    def call():
        calls.append(kernel)
        machine.run(kernel)

    assert timing.graph_seconds(call, GPU) == pytest.approx(kernel, rel=1e-6)
    assert timing.fastest(call, 0.1, GPU) == pytest.approx(kernel, rel=1e-6)
    assert 5 <= len(calls) <= 4 * (timing.MOST_CALLS + 5)


def test_what_cannot_be_captured_is_timed_with_the_host_and_said(machine, monkeypatch):
    def call():
        if machine.capturing is not None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        machine.run(3e-6)

    with pytest.warns(
        UserWarning, match="the time of Python is included: operation not permitted when stream is capturing$"
    ):
        assert timing.graph_seconds(call, GPU) == pytest.approx(50e-6, rel=1e-6)


def test_on_a_cpu_nothing_changes():
    with timing.own_stream(torch.device("cpu")):
        assert timing.fastest(lambda: None, 0.0, torch.device("cpu")) < 0.1


@pytest.mark.gpu
def test_on_a_gpu():
    x, y = (torch.empty(2**28, dtype=torch.uint8, device="cuda") for _ in range(2))
    with timing.own_stream(x.device):
        calls = (lambda: y.copy_(x), lambda: y[:16].copy_(x[:16]))
        copy, nothing = (timing.graph_seconds(call, x.device) for call in calls)
        w = torch.randn(64, requires_grad=True, device="cuda")
        z = (w * 2).sum()
        timing.graph_seconds(lambda: torch.autograd.grad(z, w, retain_graph=True), x.device)
    assert nothing < copy / 3 and 2 * 2**28 / copy < 2e13  # bytes a second


def test_the_first_round_is_not_counted(monkeypatch):
    durations = iter([100.0, 100.0, 1.0, 4.0, 3.0, 5.0, 2.0, 6.0])
    monkeypatch.setattr(timing, "timed", lambda call, device: next(durations))
    medians = timing.timings({"a": lambda i: None, "b": lambda i: None}, 3, torch.device("cpu"))
    assert medians == {"a": 2, "b": 5}


def test_timing_calls_at_least_once_after_warming_up():
    calls = []
    assert timing.fastest(lambda: calls.append(1), 0.0, torch.device("cpu")) < 1
    assert len(calls) == 3
    assert timing.timed(lambda: calls.append(1), torch.device("cpu")) >= 0
