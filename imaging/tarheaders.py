"""The headers of tar files of strangers, read one by one, in bounded memory. Nothing is ever extracted."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, cast

BLOCK = 512  # bytes: tar's unit
LARGEST_HEADER = 2**20  # bytes of a long name, or of further keys of a file
MOST_SHARED = 100  # keys for all files that follow, which the library keeps


def members(file: BinaryIO, whole: bool) -> Iterator[tarfile.TarInfo]:
    """The header of each file in a tar, in order. Between two of them the content may be read.

    Args:
        file: a tar, unpacked. It is only sought forward, but for its beginning.
        whole: the mark that ends a tar must be there, without which a tar may be cut.

    Raises:
        tarfile.ReadError, or nearly anything else: for damaged headers, which the library takes for the end.
    """
    place = 0
    with tarfile.open(fileobj=cast(BinaryIO, _Short(file)), mode="r:") as tar:
        while True:
            file.seek(place)
            try:
                info = tarfile.TarInfo.fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                return
            except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
                file.seek(max(place - 1, 0))
                if whole or not file.read(1):
                    raise tarfile.ReadError("its end is missing") from None
                return
            except tarfile.HeaderError as error:
                raise tarfile.ReadError("a header is damaged") from error
            if info.size < 0 or tar.offset <= place:
                raise tarfile.ReadError("a header leads back")  # and reading would never end
            if len(tar.pax_headers) > MOST_SHARED:
                raise tarfile.ReadError("too many headers for all files")
            place = tar.offset
            yield info


class _Short:
    """A file that refuses to read more at once than a header has, even if a header claims more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header has {size} bytes")
        return self._file.read(size)
