import torch

from benchmarks import timing


def test_the_first_round_is_not_counted(monkeypatch):
    durations = iter([100.0, 100.0, 1.0, 4.0, 3.0, 5.0, 2.0, 6.0])
    monkeypatch.setattr(timing, "timed", lambda call, device: next(durations))
    medians = timing.timings({"a": lambda i: None, "b": lambda i: None}, 3, torch.device("cpu"))
    assert medians == {"a": 2, "b": 5}
