"""Directions of the network that is open: found from its weights or its w without labels, or from labeled pictures.

Truncation plays no part: truncated w vary along the same directions as whole ones.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.sampler import Request
from models.stylegan2.attributes import apart, held_out_skill, logistic, ridge, varies
from models.stylegan2.directions import Directions, check_names, fingerprint
from models.stylegan2.factorization import principal_components, sefa, spread, style_matrix
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from sampling.stylegan2.attributefile import Attributes
from torch_utils.cli import progress

AT_ONCE = 1000  # seeds
FEWEST_LABELS = 20  # of one attribute: fewer say nothing about a w of hundreds of numbers


@dataclass(frozen=True)
class DrawnLatents:
    """w of seeds [N, D], untruncated, and the group of each [N] around whose mean it varies: its class, or 0."""

    w: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Found:
    """Directions, and facts worth recording of each."""

    directions: Directions
    facts: list[dict[str, Any]]


def draw(sampler: StyleSampler, requests: Sequence[Request], across_classes: bool = False) -> DrawnLatents:
    """The w of requests. With `across_classes` those of all classes are one group."""
    chunks = [requests[first : first + AT_ONCE] for first in range(0, len(requests), AT_ONCE)]
    w = torch.cat([_w(sampler, chunk) for chunk in progress(chunks, len(chunks), "thousand latents")])
    labels = [0 if across_classes or request.label is None else request.label for request in requests]
    return DrawnLatents(w, torch.tensor(labels))


@torch.no_grad()
def _w(sampler: StyleSampler, requests: Sequence[Request]) -> Tensor:
    """[N, D] in float64 on the CPU, computed together, because statistics do not depend on the last bit."""
    z = sampler.latents(requests)
    labels, classes = [request.label for request in requests], sampler.shape.classes
    c = F.one_hot(torch.tensor(labels), classes).to(z) if classes else None
    return sampler.G.mapping(z, c).cpu().double()


def find_sefa(G: Generator, drawn: DrawnLatents, count: int, layers: Sequence[int]) -> Found:
    """The `count` directions that change the styles of these layers most; the drawn w set the length of a step."""
    A = style_matrix(G, layers)
    vectors = sefa(A, count)
    changes = (A @ vectors.T).norm(dim=0)
    return _found(G, drawn, "sefa", None, vectors, layers, [{"style_change": float(c)} for c in changes])


def find_components(G: Generator, drawn: DrawnLatents, count: int, layers: Sequence[int]) -> Found:
    """The first `count` principal components of w."""
    vectors = principal_components(drawn.w, drawn.groups, count)
    everything = spread(drawn.w, drawn.groups, torch.eye(drawn.w.shape[1])).square().sum()
    shares = spread(drawn.w, drawn.groups, vectors).square() / everything
    return _found(G, drawn, "pca", None, vectors, layers, [{"variance": float(s)} for s in shares])


FINDERS: dict[str, Callable[[Generator, DrawnLatents, int, Sequence[int]], Found]] = {
    "sefa": find_sefa,
    "pca": find_components,
}


def find_attributes(
    G: Generator, drawn: DrawnLatents, attributes: Attributes, layers: Sequence[int], orthogonal: bool
) -> Found:
    """A direction for each attribute, by logistic regression if it has two values, else by ridge regression.

    Args:
        G: the network.
        drawn: the w of the attributes' seeds, in their order.
        attributes: values of their pictures.
        layers: layers that the directions act on.
        orthogonal: whether each direction is made orthogonal to the others.

    Raises:
        ValueError: if an attribute does not vary, has too few labels, or is a mixture of others.
    """
    check_names(attributes.names)
    normals, facts = [], []
    for name, values in zip(attributes.names, attributes.values.unbind(dim=1), strict=True):
        try:
            normal, about = _fit(drawn, values)
        except ValueError as error:
            raise ValueError(f"the attribute {name}: {error}") from error
        normals.append(normal)
        facts.append(about)
    vectors = apart(torch.stack(normals)) if orthogonal else torch.stack(normals)
    return _found(G, drawn, "labels", attributes.names, vectors, layers, facts)


def _fit(drawn: DrawnLatents, values: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The normal of one attribute, and its skill on samples that it was not fitted to."""
    known = ~values.isnan()
    count = int(known.sum())
    if count < FEWEST_LABELS:
        raise ValueError(f"{count} pictures have a value, but at least {FEWEST_LABELS} are needed: label more")
    w, y, groups = drawn.w[known], values[known], drawn.groups[known]
    levels = y.unique()
    if len(levels) == 1:
        raise ValueError(f"all {count} pictures have the value {float(y[0]):g}: label some that differ")
    if not varies(y, groups):
        raise ValueError("the class of a picture alone decides it: add --across-classes")
    binary = len(levels) == 2
    y = (y == levels[1]).double() if binary else y
    fit = logistic if binary else ridge
    skill = held_out_skill(fit, w, y, groups)
    return fit(w, y, groups), {"fit": fit.__name__, "labels": count, "held_out_correlation": skill}


def _found(
    G: Generator,
    drawn: DrawnLatents,
    method: str,
    names: Iterable[str] | None,
    vectors: Tensor,
    layers: Sequence[int],
    facts: list[dict[str, Any]],
) -> Found:
    names = tuple(names or (f"{method}{k}" for k in range(len(vectors))))
    scales = spread(drawn.w, drawn.groups, vectors)
    directions = Directions(
        names=names,
        vectors=vectors.float(),
        scales=scales.float(),
        layers=(tuple(layers),) * len(names),
        method=method,
        num_ws=G.config.num_ws,
        network=fingerprint(G),
    )
    about = [{"name": n, "scale": float(s)} | f for n, s, f in zip(names, scales, facts, strict=True)]
    return Found(directions, about)
