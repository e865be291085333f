"""How the pictures of a source are dealt out to processes: by number, or where that is not possible by content."""

from collections.abc import Iterable, Iterator

from imaging.sources.source import Content, SequentialSource, Source

Job = tuple[int, str, Content | ValueError | None]  # index, name, and what a sequential source has read of it


def jobs(source: Source, indices: Iterable[int]) -> Iterator[Job]:
    """What the processes are given: of sequential sources the contents, of others only which picture."""
    if isinstance(source, SequentialSource):
        for i, content in source.stream(map(int, indices)):
            yield i, source.names[i], content
    else:
        for i in map(int, indices):
            yield i, source.names[i], None


def content_of(source: Source | None, job: Job) -> Content:
    """What a job is about. ValueError when it cannot be read."""
    index, _, content = job
    if isinstance(content, ValueError):
        raise content
    if content is not None:
        return content
    assert source is not None
    return source.read(index)


class Work:
    """What a process does with a job. Sequential sources stay with the first process."""

    def __init__(self, source: Source) -> None:
        self.source = None if isinstance(source, SequentialSource) else source
