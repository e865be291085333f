"""Reads an LMDB database for another process: `lmdbreader.py FILE LARGEST`.

Questions come by stdin: `k`, or `v`, with the length of a key and the key. Answers go to stdout: a status, a length,
and the next keys with the length of each (none after the last), the value of the key, or a message. It imports nothing
of this project, so that it starts quickly.
"""

import struct
import sys
from itertools import islice
from typing import Any

LENGTH, ANSWER, KEY = "<Q", "<cQ", "<H"
TOGETHER = 1000  # keys in an answer
FOUND, MISSING, FAILED = b"=", b"?", b"!"


def main() -> None:
    """Answer until stdin ends."""
    path, largest = sys.argv[1], int(sys.argv[2])
    transaction: Any = None
    keys: Any = None
    while kind := sys.stdin.buffer.read(1):
        key = sys.stdin.buffer.read(struct.unpack(LENGTH, sys.stdin.buffer.read(8))[0])
        try:
            if transaction is None:
                import lmdb

                # Nothing is written to the folder, not even a lock: data sets may lie on read-only disks.
                database = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, create=False)
                transaction = database.begin(buffers=True)
                keys = _keys(transaction)
            found = b"".join(islice(keys, TOGETHER)) if kind == b"k" else transaction.get(key)
            status, answer = (MISSING, b"") if found is None else (FOUND, found)
            if len(answer) > largest:
                raise ValueError(f"a value has {len(answer)} bytes")
            answer = bytes(answer)
        except Exception as error:  # the library's errors have no other common parent
            status, answer = FAILED, str(error).removeprefix(f"{path}: ").encode()[:200]
        sys.stdout.buffer.write(struct.pack(ANSWER, status, len(answer)) + answer)
        sys.stdout.buffer.flush()


def _keys(transaction: Any) -> Any:
    """The keys in order; damage may lead around in circles."""
    before = None
    with transaction.cursor() as cursor:
        for each in cursor.iternext(values=False):
            key = bytes(each)
            if not key or (before is not None and key <= before):
                raise ValueError("its keys are not in order")
            yield struct.pack(KEY, len(key)) + key
            before = key


if __name__ == "__main__":
    main()
