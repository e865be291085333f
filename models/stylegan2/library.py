"""Directions of one network in one file, which grows: directions are added, renamed, marked with a star and removed."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.stylegan2.directionfile import Directions, check_names, fingerprint, load_directions, save_directions
from models.stylegan2.generator import Generator
from torch_utils import checkpoint

METHOD = "several"


class Library:
    """A file of directions of the network G. It is written anew with each change."""

    def __init__(self, path: Path, G: Generator) -> None:
        self.path, self.G = path, G
        self.network = fingerprint(G)

    def read(self) -> Directions | None:
        """The directions; None if there are none yet. ValueError if the file is damaged or of another network."""
        if not self.path.is_file():
            return None
        found = load_directions(self.path)
        if found.network != self.network:
            raise ValueError(f"{self.path} holds directions of another network: move it away, or name another file")
        return found

    @property
    def starred(self) -> set[str]:
        """Names of directions with a star."""
        return set(checkpoint.header(self.path).get("starred", ())) if self.path.is_file() else set()

    def add(
        self,
        names: Sequence[str],
        vectors: Tensor,
        scales: Tensor,
        layers: Sequence[Sequence[int]],
        again: bool = False,
    ) -> None:
        """Add directions [K, D]. A taken name is refused, unless the same direction has it: names keep their meaning.

        `again` allows names of removed directions, for methods that always find the same.
        """
        old, new = self.read(), list(range(len(names)))
        if old is None:
            for name in names:
                check_name(name)
            self._write(names, vectors, scales, layers, {}, ())
            return
        for k, name in enumerate(names):
            known = old.aliases.get(name, name)
            if known in old.names and _alike(old.vectors[old.names.index(known)], vectors[k]):
                new.remove(k)
            elif again and known == "":
                del old.aliases[name]
            else:
                self._check_free(name, old)
        every = torch.cat([old.vectors, vectors[new].float()]), torch.cat([old.scales, scales[new].float()])
        all_names = [*old.names, *(names[k] for k in new)]
        self._write(all_names, *every, [*old.layers, *(layers[k] for k in new)], old.aliases, self.starred)

    def rename(self, name: str, new: str) -> None:
        """Give a direction another name; its earlier names still lead to it."""
        old, place = self._find(name)
        before = old.names[place]
        if new != before:
            self._check_free(new, old)
            names = [new if k == place else other for k, other in enumerate(old.names)]
            aliases = {alias: new if to == before else to for alias, to in old.aliases.items()} | {before: new}
            starred = {new if other == before else other for other in self.starred}
            self._write(names, old.vectors, old.scales, old.layers, aliases, starred)

    def star(self, name: str, on: bool) -> None:
        """Give a direction a star, or take it away."""
        old, place = self._find(name)
        starred = self.starred - {old.names[place]} | ({old.names[place]} if on else set())
        self._write(old.names, old.vectors, old.scales, old.layers, old.aliases, starred)

    def remove(self, name: str) -> None:
        """Remove a direction. Its name is not given again, since saved pictures may refer to it."""
        old, place = self._find(name)
        gone, kept = old.names[place], [k for k in range(len(old)) if k != place]
        if not kept:
            self.path.unlink()
            return
        aliases = {alias: "" if to == gone else to for alias, to in old.aliases.items()} | {gone: ""}
        names, layers = [old.names[k] for k in kept], [old.layers[k] for k in kept]
        self._write(names, old.vectors[kept], old.scales[kept], layers, aliases, self.starred - {gone})

    def _find(self, name: str) -> tuple[Directions, int]:
        old = self.read()
        if old is None:
            raise ValueError(f"there is no direction {name!r}: find some first")
        return old, old.place(name, "directions")

    def _check_free(self, name: str, old: Directions) -> None:
        check_name(name)
        if name in old.names or name in old.aliases:
            raise ValueError(f"there is, or was, another direction {name!r}: choose another name")

    def _write(
        self,
        names: Sequence[str],
        vectors: Tensor,
        scales: Tensor,
        layers: Sequence[Sequence[int]],
        aliases: Mapping[str, str],
        starred: Collection[str],
    ) -> None:
        directions = Directions(
            names=tuple(names),
            vectors=vectors.float(),
            scales=scales.float(),
            layers=tuple(map(tuple, layers)),
            method=METHOD,
            num_ws=self.G.config.num_ws,
            network=self.network,
            aliases=dict(aliases),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_directions(self.path, directions, starred=sorted(starred))


def _alike(vector: Tensor, other: Tensor) -> bool:
    return torch.allclose(vector, other.float(), atol=1e-4)


def check_name(name: str) -> None:
    """Raise ValueError for a name that cannot be a direction's, or not within `--move`."""
    check_names([name])
    if set(name) & set(";@"):
        raise ValueError(f"{name!r} cannot name a direction: write letters, digits, spaces, dots, - and _")
