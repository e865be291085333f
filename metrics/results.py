"""The results of metrics: `metrics.jsonl` with one JSON object per line, and the best network of a run."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.imageset import ImageSet
from metrics.catalog import Metric
from system.files import replacing
from torch_utils.runs import appending, is_count, is_network_name, json_lines, rewrite

FILE = "metrics.jsonl"
BEST = "best.safetensors"


@dataclass(frozen=True)
class Judgement:
    """The results of all metrics for one network or set of pictures."""

    dataset: ImageSet  # the real images
    counts: Mapping[Metric, int]  # the number of pictures of each metric
    results: dict[str, float]
    halves: dict[str, float]  # values of metrics between two halves of the data, on rank 0
    seconds: float

    def shown(self, name: str, digits: int) -> str:
        """A result for people: `14.5 (3.2 between halves of the data)`."""
        halves = f" ({self.halves[name]:.4g} between halves of the data)" if name in self.halves else ""
        return f"{self.results[name]:.{digits}g}{halves}"

    def append_to(
        self, folder: Path, seen: int | None, network: str, seed: int, command: str, **more: Any
    ) -> dict[str, Any]:
        """Append the results to a folder's metrics.jsonl, and return the facts that all lines share.

        `seen` is the number of real images that training saw, None if that is not known; `network` is its name, or the
        place of the pictures; `command` is what the user typed; `more` are further facts.
        """
        facts = {
            "network": network,
            "data": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "seed": seed,
            "command": command,
            "seconds": round(self.seconds, 3),
            **more,
        }
        for metric, count in self.counts.items():
            own: dict[str, float] = {"count": count}
            own |= {"between_halves": self.halves[metric.name]} if metric.name in self.halves else {}
            Record(folder).append({name: self.results[name] for name in metric.results}, seen, facts | own)
        return facts


class Record:
    """The results in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE

    def append(self, results: Mapping[str, float], seen: int | None, facts: Mapping[str, Any]) -> None:
        """Append a line for each result, all at once. JSON has no nan and no infinity: they become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in results.items()}
        lines = [{"seen": seen, "metric": name, "value": finite[name], "results": finite, **facts} for name in finite]
        with appending(self.path) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))

    def read(self) -> Iterator[dict[str, Any]]:
        """The undamaged lines in order. In each, `seen` is a number of images, or None."""
        for line in json_lines(self.path) if self.path.exists() else ():
            seen = line.get("seen")
            if isinstance(line.get("metric"), str) and (seen is None or is_count(seen)):
                yield line

    def rewind(self, seen: int) -> None:
        """Drop the results after `seen` images, and damaged lines, before a run resumes."""
        if self.path.exists():
            rewrite(self.path, (line for line in self.read() if (line.get("seen") or 0) <= seen))

    def best(self, metric: Metric) -> dict[str, Any] | None:
        """The line of the best value of a metric, of equal ones the earliest; None without any.

        Only lines whose `network` is the name of a network in a run folder count: a file may have been edited.
        """
        sign = 1 if metric.lower_is_better else -1
        lines = [
            line
            for line in self.read()
            if line["metric"] == metric.results[0]
            and type(line.get("value")) in (int, float)
            and is_network_name(line.get("network"))
        ]
        return min(lines, key=lambda line: sign * line["value"], default=None)

    def keep_best(self, metric: Metric) -> str:
        """Link the best network as `best.safetensors`. Returns a message, or "" if nothing changed.

        A hard link if the file system has them, else a copy: it stays when the other networks are deleted.
        """
        line, best = self.best(metric), self.folder / BEST
        if line is None:
            best.unlink(missing_ok=True)
            return ""
        network = self.folder / line["network"]
        if network.is_symlink() or not network.is_file() or (best.is_file() and best.samefile(network)):
            return ""
        with replacing(best) as temporary:
            try:
                os.link(network, temporary)
            except OSError:
                shutil.copyfile(network, temporary)
        return f"{BEST} is {network.name} now: {metric.results[0]} {line['value']:.4g}"
