"""`metrics.jsonl`: a JSON object a line for each result, and the best network of a run."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metrics.names import Metric
from system.files import replacing
from torch_utils.journal import appending, is_count, json_lines, rewrite
from torch_utils.runs import is_network_name

FILE = "metrics.jsonl"
BEST = "best.safetensors"


class Record:
    """The results in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE

    def append(self, results: Mapping[str, float], seen: int | None, facts: Mapping[str, Any]) -> None:
        """A line for each result, all at once.

        Args:
            results: numbers by name; JSON has no nan and no infinity, they become null.
            seen: real images that the network's training saw; None where that is not known.
            facts: further fields of every line: `network`, `data`, `fingerprint`, `count`, `seed`, `command`,
                `seconds`.
        """
        said = {name: value if math.isfinite(value) else None for name, value in results.items()}
        lines = [
            json.dumps({"seen": seen, "metric": name, "value": value, "results": said, **facts})
            for name, value in said.items()
        ]
        with appending(self.path) as file:
            file.write("".join(line + "\n" for line in lines))

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines that are whole, in order. In each, `seen` is a count of images, or None."""
        found = json_lines(self.path) if self.path.exists() else iter(())
        return (line for line in found if isinstance(line.get("metric"), str) and _is_count_or_none(line.get("seen")))

    def rewind(self, seen: int) -> None:
        """Drops the results after `seen` images, and a line cut short, since a resumed run will come by there again."""
        if self.path.exists():
            rewrite(self.path, (line for line in self.read() if (line.get("seen") or 0) <= seen))

    def best(self, metric: Metric) -> dict[str, Any] | None:
        """The line of the best value of a metric, of equal ones the earliest; None without any.

        Only lines whose `network` is the name of a network in a run folder count: a file may have been edited.
        """
        sign = 1 if metric.lower_is_better else -1
        lines = [line for line in self.read() if line["metric"] == metric.results[0] and _is_number(line.get("value"))]
        lines = [line for line in lines if is_network_name(line.get("network"))]
        return min(lines, key=lambda line: sign * line["value"], default=None)

    def keep_best(self, metric: Metric) -> str:
        """Link the best network as `best.safetensors`. Returns a message, or "" if nothing changed.

        A hard link where the disk knows such, else a copy: it stays when the other networks are deleted.
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


def _is_count_or_none(value: Any) -> bool:
    return value is None or is_count(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
