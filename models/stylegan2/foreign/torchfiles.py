"""Files that other programs wrote with `torch.save`, told apart by what they hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.stylegan2.foreign import lucidrains_file, rosinality
from models.stylegan2.foreign.converted import Converted
from system.text import shown
from torch_utils import torchfile

LISTED_AT_MOST = 8  # names in a sentence
MOST_IN_A_ROW = 16


def read(path: Path) -> Converted:
    """The networks of a file of rosinality's or lucidrains' program, in our names.

    Raises:
        ValueError: when it is refused, or is of neither: the reason alone, without the path.
    """
    contents, size = _arranged(torchfile.read(path)), path.stat().st_size
    if any(key in contents for key in rosinality.KEYS):
        return rosinality.from_rosinality(contents, size)
    if lucidrains_file.KEY in contents:
        return lucidrains_file.from_lucidrains(contents, size, lucidrains_file.read_options(path))
    names = [shown(name) for name in list(contents)[:LISTED_AT_MOST]]
    more = ", ..." if len(contents) > LISTED_AT_MOST else ""
    raise ValueError(
        f"a file of torch.save is read where it holds {rosinality.KEYS[0]}, as rosinality's, or {lucidrains_file.KEY}, "
        f"as lucidrains', and this one holds {', '.join(names) or 'nothing'}{more}"
    )


def _arranged(contents: Any) -> Mapping[Any, Any]:
    """What a file holds as its program would have put it: networks alone and in a row get the keys that they lack."""
    if isinstance(contents, list | tuple):
        return _told_apart(contents)
    if not isinstance(contents, Mapping):
        raise ValueError(f"a file of torch.save is read where it holds networks, and this one holds {shown(contents)}")
    kind = _kind(contents)
    if kind:
        return {kind: contents}
    return {key: value for key, value in contents.items() if value is not None or key not in rosinality.KEYS}


def _told_apart(values: Sequence[Any]) -> dict[str, Any]:
    """Networks in a row, by what they are. Of two generators the last is the averaged one."""
    rows = [value for value in values[:MOST_IN_A_ROW] if value is not None]
    kinds = [_kind(value) if isinstance(value, Mapping) else "" for value in rows]
    averaged = rosinality.KEYS[0]
    if len(values) > MOST_IN_A_ROW or not rows or "" in kinds or kinds.count(averaged) > 2:
        raise ValueError(f"a file of torch.save is read where it holds networks, and this one holds {shown(values)}")
    found = {kind: value for kind, value in zip(kinds, rows, strict=True)}  # noqa: C416 (the last of a kind)
    if kinds.count(averaged) == 2:
        found["g"] = rows[kinds.index(averaged)]
    if len(found) < len(rows):
        raise ValueError(
            "a file of torch.save is read where it holds one network of each kind, and this one holds more"
        )
    return found


def _kind(state: Mapping[Any, Any]) -> str:
    """The key under which its program keeps such a state dict; "" for what is none."""
    if lucidrains_file.SIGN in state:
        return lucidrains_file.KEY
    return next((key for key, sign in rosinality.SIGNS.items() if sign in state), "")
