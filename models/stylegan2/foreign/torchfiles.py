"""Files that other programs wrote with `torch.save`, told apart by what they hold."""

from collections.abc import Mapping
from pathlib import Path

from models.stylegan2.foreign import lucidrains_file, rosinality
from models.stylegan2.foreign.converted import Converted
from torch_utils import torchfile

LISTED_AT_MOST = 8  # names in a sentence


def read(path: Path) -> Converted:
    """The networks of a file of rosinality's or lucidrains' program, in our names.

    Raises:
        ValueError: when it is refused, or is of neither: the reason alone, without the path.
    """
    contents, size = torchfile.read(path), path.stat().st_size
    if isinstance(contents, Mapping) and rosinality.KEY in contents:
        return rosinality.from_rosinality(contents, size)
    if isinstance(contents, Mapping) and lucidrains_file.KEY in contents:
        return lucidrains_file.from_lucidrains(contents, size, lucidrains_file.read_options(path))
    names = [repr(name)[:40] for name in contents] if isinstance(contents, Mapping) else [type(contents).__name__]
    more = ", ..." if len(names) > LISTED_AT_MOST else ""
    raise ValueError(
        f"a file of torch.save is read where it holds {rosinality.KEY}, as rosinality's, or {lucidrains_file.KEY}, as "
        f"lucidrains', and this one holds {', '.join(names[:LISTED_AT_MOST])}{more}"
    )
