"""Weights & Biases as a board: `--wandb PROJECT`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from system.files import replacing

FILE = "wandb.json"  # in the run folder: the id of the run in its project


def check(project: str) -> None:
    """Check that a run can be shown in a project, before anything starts.

    Raises:
        ValueError: if the project has no name, or the package is not installed.
    """
    if not project.strip():
        raise ValueError("--wandb is empty: name a project, or leave the option out")
    _package()


def _package() -> Any:
    missing = "--wandb needs a package that is not installed: pip install wandb, or leave the option out"
    try:
        import wandb
    except ImportError as error:
        raise ValueError(missing) from error
    if not hasattr(wandb, "init"):  # a folder called wandb, as an earlier run leaves it, imports as an empty package
        raise ValueError(missing)
    return wandb


class Wandb:
    """A run in a project. A resumed run continues there.

    Args:
        folder: the run folder, whose name the run gets.
        project: where the run is listed.
        config: of the run, nested.

    Raises:
        ValueError: if the package is not installed, or cannot begin.
    """

    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
        self._wandb = _package()
        file = folder / FILE
        try:
            self._run = self._wandb.init(
                project=project,
                id=_known(file, project),
                name=folder.resolve().name,
                config=dict(config),
                dir=str(folder),
                resume="allow",
                allow_val_change=True,  # a resumed run may be longer
                settings=self._wandb.Settings(console="off"),  # there is a log already
            )
        except Exception as error:  # its errors have no common base class
            reason = str(error).strip().rstrip(".") or type(error).__name__
            raise ValueError(
                f"wandb cannot begin ({reason}): run `wandb login`, set WANDB_MODE=offline, or leave --wandb out"
            ) from error
        # The x axis is the number of images seen: a resumed run may go back a little, and wandb's own steps may not.
        self._run.define_metric("seen")
        self._run.define_metric("*", step_metric="seen")
        with replacing(file) as temporary:
            temporary.write_text(json.dumps({"project": project, "id": self._run.id}) + "\n", encoding="utf-8")

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        self._run.log({"seen": seen, **values})

    def picture(self, name: str, path: Path, seen: int) -> None:
        self._run.log({"seen": seen, name: self._wandb.Image(str(path))})

    def text(self, name: str, text: str) -> None:
        self._run.summary[name] = text

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self._run.alert(title=kind, text=text)
        self._run.summary[f"alarms/{kind}"] = f"kimg {seen / 1000:g}: {text}"

    def close(self) -> None:
        self._run.finish()


def _known(file: Path, project: str) -> str | None:
    """The id of this run in the project; None if it is new there."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return str(known["id"]) if known["project"] == project else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
