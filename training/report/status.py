"""The status line of a tick, and durations in words."""

from collections.abc import Mapping

from torch_utils.stats import Moments

# What a status line shows: names in the statistics and their short forms.
SHOWN = {
    "loss/G": "G",
    "loss/D fake": "Dfake",
    "loss/D real": "Dreal",
    "loss/D pair": "Dpair",
    "loss/D r1": "r1",
    "loss/D r2": "r2",
    "path/length": "path",
    "augment/p": "p",
}


def status_line(seen: int, end: int, speed: float, moments: Mapping[str, Moments], facts: Mapping[str, float]) -> str:
    parts = [
        f"kimg {seen / 1000:<8.{1 if end >= 10_000 else 3}f}",
        f"time {duration(facts['time/seconds']):<11}",
        f"sec/kimg {1000 / max(speed, 1e-9):<8.2f}",
        f"img/s {speed:<7.1f}",
        f"ETA {duration(max(end - seen, 0) / max(speed, 1e-9)):<11}",
        f"mem {facts['memory/peak bytes'] / 2**30:.1f}G ",
    ]
    parts += [f"{short} {moments[name].mean:<7.3f}" for name, short in SHOWN.items() if name in moments]
    if facts["steps skipped"]:
        parts.append(f"skipped {facts['steps skipped']:.0f}")
    return " ".join(parts).rstrip()


def duration(seconds: float) -> str:
    """3725 -> 1h 02m 05s."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours:02d}h {minutes:02d}m"
    if hours:
        return f"{hours}h {minutes:02d}m {whole % 60:02d}s"
    return f"{minutes}m {whole % 60:02d}s"
