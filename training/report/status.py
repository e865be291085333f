"""The status line of a tick, and durations in words."""

from collections.abc import Mapping

from torch_utils.stats import Moments


def status_line(
    seen: int,
    end: int,
    speed: float,
    moments: Mapping[str, Moments],
    facts: Mapping[str, float],
    shown: Mapping[str, str],
) -> str:
    """The status line. `speed` is in images a second; `shown` names statistics and their short forms."""
    speed = max(speed, 1e-9)
    parts = [
        f"kimg {seen / 1000:<8.{1 if end >= 10_000 else 3}f}",
        f"time {duration(facts['time/seconds']):<11}",
        f"sec/kimg {1000 / speed:<8.2f}",
        f"img/s {speed:<7.1f}",
        f"ETA {duration(max(end - seen, 0) / speed):<11}",
        f"mem {facts['memory/peak bytes'] / 2**30:.1f}G ",
    ]
    parts += [f"{short} {moments[name].mean:<7.3f}" for name, short in shown.items() if name in moments]
    if facts["steps skipped"]:
        parts.append(f"skipped {facts['steps skipped']:.0f}")
    return " ".join(parts).rstrip()


def duration(seconds: float) -> str:
    """3725 -> 1h 02m 05s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02d}h {minutes:02d}m"
    return f"{hours}h {minutes:02d}m {rest:02d}s" if hours else f"{minutes}m {rest:02d}s"
