"""Folders and ZIPs of image files."""

import hashlib
import json
from pathlib import Path

from imaging.archive import Archive, FolderArchive, open_archive
from imaging.kinds import SOURCE_SUFFIXES
from imaging.labels import Labels, take_labels
from imaging.picture import Header, read_header
from imaging.sources.source import Source


class ArchiveSource(Source):
    """The image files of an archive; `dataset.json` in it gives the labels."""

    def __init__(self, archive: Archive, kind: str) -> None:
        self.kind = kind
        self.archive = archive
        super().__init__(archive.path, archive.names)
        self.notes += archive.passed

    def read(self, index: int) -> bytes:
        return self.archive.read(self.names[index])

    def header_of(self, index: int) -> Header:
        with self.archive.open(self.names[index]) as file:  # reads far less than the whole file
            return read_header(file, self.names[index])

    def labels(self) -> Labels:
        return take_labels(self.archive, "auto")

    def identity(self) -> str:
        digest = hashlib.sha256()
        for entry in self.archive.entries.values():
            digest.update(json.dumps([entry.raw, entry.size, entry.checksum, entry.changed[0]]).encode())
        return digest.hexdigest()


def open_pictures(path: Path) -> ArchiveSource:
    """A folder or ZIP. ValueError or FileNotFoundError as `open_archive`."""
    archive = open_archive(path, SOURCE_SUFFIXES)
    return ArchiveSource(archive, "a folder" if isinstance(archive, FolderArchive) else "a ZIP")
