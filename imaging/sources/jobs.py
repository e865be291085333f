"""How the images of a source are passed to processes: by number, or by content if the source is sequential."""

from collections.abc import Iterable, Iterator

from imaging.sources.source import Content, SequentialSource, Source

Job = tuple[int, str, Content | ValueError | None]  # index, name, and the content from a sequential source


def jobs(source: Source, indices: Iterable[int]) -> Iterator[Job]:
    """The jobs for the images `indices`: with contents from sequential sources, otherwise only with numbers."""
    if isinstance(source, SequentialSource):
        for i, content in source.stream(map(int, indices)):
            yield i, source.names[i], content
    else:
        for i in map(int, indices):
            yield i, source.names[i], None


def content_of(source: Source | None, job: Job) -> Content:
    """The content of a job. ValueError if it cannot be read."""
    index, _, content = job
    if isinstance(content, ValueError):
        raise content
    if content is not None:
        return content
    assert source is not None
    return source.read(index)


class Work:
    """What a process does with a job. Sequential sources stay in the parent process."""

    def __init__(self, source: Source) -> None:
        self.source = None if isinstance(source, SequentialSource) else source
