"""Our ZIPs against the standard library: the same bytes, and readable where 32 bits do not suffice."""

import io
import zipfile

import imaging.storedzip as storedzip
from imaging.storedzip import Entry, header, write_directory

FILES = {"00000/img00000000.png": b"abc", "a.png": b"", "ä.png": bytes(range(256)) * 40}


def ours(files):
    buffer, entries, place = io.BytesIO(), [], 0
    for name, data in files.items():
        entries.append(Entry.of(name, data, place))
        buffer.write(header(entries[-1]) + data)
        place = entries[-1].end
    write_directory(buffer, entries, place)
    return buffer.getvalue()


def test_the_bytes_are_those_of_the_standard_library():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        for name, data in FILES.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            container.writestr(info, data)
    assert ours(FILES) == buffer.getvalue()


def test_more_files_than_sixteen_bits_can_count():
    files = {f"{i}.png": b"" for i in range(66_000)}
    with zipfile.ZipFile(io.BytesIO(ours(files))) as container:
        assert container.namelist() == list(files)


def test_more_bytes_than_thirty_two_bits_can_count(tmp_path):
    first, far = Entry.of("a.png", b"first", 0), Entry.of("b.png", b"last", 2**32 + 99)
    with (tmp_path / "a.zip").open("wb") as file:  # mostly a hole, which takes no place on the disk
        file.write(header(first) + b"first")
        file.seek(far.place)
        file.write(header(far) + b"last")
        write_directory(file, [first, far], far.end)
    with zipfile.ZipFile(tmp_path / "a.zip") as container:
        assert container.read("a.png") == b"first" and container.read("b.png") == b"last"
        assert container.infolist()[1].header_offset == far.place


def test_the_limits_are_those_of_the_format():
    assert storedzip.FULL == 2**32 - 1 and storedzip.FULL_COUNT == 2**16 - 1
