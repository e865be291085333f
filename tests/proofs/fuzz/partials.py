"""The work file of an interrupted conversion, with odd values."""

import json
import random
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from imaging.conversion import Options, convert
from imaging.workfile import place_of
from tests.imaging.pictures import encoded, picture
from tests.proofs.fuzz import odd


@cache
def _pictures() -> tuple[bytes, ...]:
    return tuple(encoded(picture(seed=i)) for i in range(4))


def odd_work_file(chance: random.Random, folder: Path) -> Path:
    """The ZIP that was to be made of the folder `in` beside it; its work file has three of four images."""
    source, dest = folder / "in", folder / f"{folder.name}.zip"
    source.mkdir()
    for number, content in enumerate(_pictures()):
        (source / f"{number}.png").write_bytes(content)

    def stopping(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == 3:
                raise EOFError
            yield item

    with suppress(EOFError):
        convert(source, dest, Options((16, 16)), workers=1, track=stopping)
    with closing(sqlite3.connect(place_of(dest))) as database, database:
        if chance.random() < 0.5:
            key = chance.choice(["plan", "settled"])
            value = json.loads(database.execute("SELECT value FROM about WHERE key = ?", [key]).fetchone()[0])
            value[chance.choice(list(value))] = odd.value(chance)
            text = odd.nest(chance) if chance.random() < 0.3 else json.dumps(value)
            database.execute("UPDATE about SET value = ?", [text.encode("utf-8", "surrogatepass")])
        else:
            column = chance.choice(["number", "data", "digest", "enlarged", "reason"])
            value = chance.choice([None, -1, 2**40, b"", b"\0" * 99, "x", '"\\u001b[2J"', 1e300, "[" * 9999])
            with suppress(sqlite3.IntegrityError):
                database.execute(f"UPDATE done SET {column} = ? WHERE number = 1", [value])
    return dest


def go_on(dest: Path) -> None:
    """As dataset_tool.py does when it is started again."""
    convert(dest.with_name("in"), dest, Options((16, 16)), workers=1)
