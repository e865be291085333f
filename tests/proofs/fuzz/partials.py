"""What an interrupted conversion left, with odd lines and fields in its journal."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from imaging.conversion import Options, convert
from imaging.partial import PartialArchive
from imaging.partialfolder import JOURNAL, place_of
from tests.imaging.pictures import encoded, picture
from tests.proofs.fuzz import odd


@cache
def _pictures() -> tuple[bytes, ...]:
    return tuple(encoded(picture(seed=i)) for i in range(4))


def _stop(writer: Any) -> None:
    writer._sync()
    raise EOFError


def odd_journal(chance: random.Random, folder: Path) -> Path:
    """The ZIP that was to be made of the folder `in` beside it, of which a part lies there."""
    source, dest = folder / "in", folder / f"{folder.name}.zip"
    source.mkdir()
    for number, content in enumerate(_pictures()):
        (source / f"{number}.png").write_bytes(content)
    try:
        with patch.object(PartialArchive, "_finish", _stop):
            convert(source, dest, Options((16, 16)), workers=1)
    except EOFError:
        pass
    journal = place_of(dest) / JOURNAL
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    at = chance.randrange(len(lines))
    keys = list(lines[at]) if isinstance(lines[at], dict) else list(range(len(lines[at])))
    lines[at][chance.choice(keys)] = odd.value(chance)
    texts = [json.dumps(line) for line in lines]
    if chance.random() < 0.3:
        texts[at] = odd.nest(chance)
    journal.write_text("\n".join(texts) + chance.choice(["\n", ""]), encoding="utf-8", errors="surrogatepass")
    return dest


def go_on(dest: Path) -> None:
    """As dataset_tool.py does when it is started again."""
    convert(dest.with_name("in"), dest, Options((16, 16)), workers=1)
