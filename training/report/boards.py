"""Boards that show a run's curves: TensorBoard's files in the run folder, and Weights & Biases (`--wandb PROJECT`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from system.files import replacing
from system.text import harmless
from system.untrusted import json_object

FILE = "wandb.json"  # in the run folder: the id of the run in its project


class TensorBoard:
    """Event files in the run folder. `seen` images of a resumed run: what was written after them is dropped."""

    name = "TensorBoard"

    def __init__(self, folder: Path, seen: int = 0) -> None:
        self.events = SummaryWriter(str(folder), purge_step=seen + 1 if seen else None)

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        """Add a point to each of several curves."""
        for name, value in values.items():
            self.events.add_scalar(name, value, seen)
        self.events.flush()

    def picture(self, name: str, path: Path, seen: int) -> None:
        """Show the bytes of a picture file as they are, since encoding them anew takes long."""
        assert self.events.file_writer is not None  # until `close`
        with Image.open(path) as image:
            size = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
        shown = Summary.Image(encoded_image_string=path.read_bytes(), **size)
        self.events.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), seen)

    def text(self, name: str, text: str, seen: int) -> None:
        """Show a text. TensorBoard reads Markdown, which leaves indented lines as they are."""
        self.events.add_text(name, "\n".join(f"    {line}" for line in harmless(text).splitlines()), seen)

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self.events.add_text("alarms", f"**{kind}**: {text}", seen)

    def close(self) -> None:
        self.events.close()


class Wandb:
    """A run in a project of Weights & Biases, named after its folder. A resumed run continues there.

    Raises ValueError if the package is not installed, or cannot begin.
    """

    name = "wandb"

    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
        self._wandb, file = check_wandb(project), folder / FILE
        known = json_object(file.read_bytes()[:1000]) if file.is_file() else None
        try:
            self._run = self._wandb.init(
                project=project,
                id=known.get("id") if known and known.get("project") == project else None,
                name=folder.resolve().name,
                config=dict(config),
                dir=str(folder),
                resume="allow",
                allow_val_change=True,  # a resumed run may be longer
                settings=self._wandb.Settings(console="off"),  # there is a log already
            )
        except Exception as error:  # its errors have no common base class
            reason = str(error).strip().rstrip(".") or type(error).__name__
            ways = "run `wandb login`, set WANDB_MODE=offline, or leave --wandb out"
            raise ValueError(f"wandb cannot begin ({reason}): {ways}") from error
        # The x axis is the number of images seen: a resumed run may go back a little, and wandb's own steps may not.
        self._run.define_metric("seen")
        self._run.define_metric("*", step_metric="seen")
        with replacing(file) as temporary:
            temporary.write_text(json.dumps({"project": project, "id": self._run.id}) + "\n", encoding="utf-8")

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        self._run.log({"seen": seen, **values})

    def picture(self, name: str, path: Path, seen: int) -> None:
        self._run.log({"seen": seen, name: self._wandb.Image(str(path))})

    def text(self, name: str, text: str, seen: int) -> None:
        self._run.summary[name] = text

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self._run.alert(title=kind, text=text)
        self._run.summary[f"alarms/{kind}"] = f"kimg {seen / 1000:g}: {text}"

    def close(self) -> None:
        self._run.finish()


def check_wandb(project: str) -> Any:
    """The package wandb for a project of `--wandb`. Raises ValueError if it is not installed, or the name is empty."""
    if not project.strip():
        raise ValueError("--wandb is empty: name a project, or leave the option out")
    try:
        import wandb

        wandb.init  # noqa: B018  # a folder called wandb, as an earlier run leaves it, imports as an empty package
    except (ImportError, AttributeError) as error:
        missing = "--wandb needs a package that is not installed: pip install wandb, or leave the option out"
        raise ValueError(missing) from error
    return wandb
