"""Directions found in the network that is open: without labels from its weights or its w, or from labelled pictures.

Truncation takes no part in it: w drawn towards the average differ along the same directions as whole ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.stylegan2.attributes import apart, held_out_skill, logistic, ridge, varies
from models.stylegan2.directions import Directions, check_names, fingerprint
from models.stylegan2.factorisation import principal_components, sefa, spread, style_matrix
from models.stylegan2.latents import seeds_to_z
from sampling.sampler import Sampler
from sampling.stylegan2.attributefile import Attributes
from torch_utils.cli import progress

AT_ONCE = 1000  # seeds
SCRIPT = "directions.py"  # which works on the inside of a StyleGAN2
FEWEST_LABELS = 20  # of one attribute: fewer say nothing about a w of hundreds of numbers


@dataclass(frozen=True)
class Samples:
    """w of seeds [N, D], untruncated, and the group of each [N] around whose mean it varies: its class, or 0."""

    w: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Found:
    """Directions, and what is worth telling of each."""

    directions: Directions
    facts: list[dict[str, Any]]


def draw_samples(sampler: Sampler, seeds: Sequence[int], across_classes: bool = False) -> Samples:
    """The w of seeds. With `across_classes` those of all classes are one group."""
    chunks = [seeds[first : first + AT_ONCE] for first in range(0, len(seeds), AT_ONCE)]
    w = torch.cat([_w(sampler, chunk) for chunk in progress(chunks, len(chunks), "thousand latents")])
    by_class = bool(sampler.G.config.classes) and not across_classes
    return Samples(w, torch.tensor(sampler.labels(seeds)) if by_class else torch.zeros(len(w), dtype=torch.long))


@torch.inference_mode()
def _w(sampler: Sampler, seeds: Sequence[int]) -> Tensor:
    """[N, D] in float64 on the CPU, computed together, as statistics do not mind the last bit."""
    config = sampler.G.config
    z = seeds_to_z(seeds, config.z_dim).to(sampler.device)
    c = F.one_hot(torch.tensor(sampler.labels(seeds)), config.classes).to(z) if config.classes else None
    return sampler.G.mapping(z, c).cpu().double()


def find_sefa(sampler: Sampler, samples: Samples, count: int, layers: Sequence[int]) -> Found:
    """The `count` directions that change the styles of these layers most; the samples say how far a step goes."""
    A = style_matrix(sampler.stylegan2(SCRIPT), layers)
    vectors = sefa(A, count)
    changes = (A @ vectors.T).norm(dim=0)
    return _found(sampler, samples, "sefa", None, vectors, layers, [{"style_change": float(c)} for c in changes])


def find_components(sampler: Sampler, samples: Samples, count: int, layers: Sequence[int]) -> Found:
    """The first `count` principal components of w."""
    vectors = principal_components(samples.w, samples.groups, count)
    everything = spread(samples.w, samples.groups, torch.eye(samples.w.shape[1])).square().sum()
    shares = spread(samples.w, samples.groups, vectors).square() / everything
    return _found(sampler, samples, "pca", None, vectors, layers, [{"variance": float(s)} for s in shares])


def find_attributes(
    sampler: Sampler, samples: Samples, attributes: Attributes, layers: Sequence[int], orthogonal: bool
) -> Found:
    """A direction for each attribute: of those with two values by logistic, of others by ridge regression.

    Args:
        sampler: the network.
        samples: the w of the attributes' seeds, in their order.
        attributes: what is known of their pictures.
        layers: those that the directions act on.
        orthogonal: whether each loses what it shares with the others.

    Raises:
        ValueError: when an attribute does not vary, has too few labels, or is a mixture of others.
    """
    check_names(attributes.names)
    normals, facts = [], []
    for name, values in zip(attributes.names, attributes.values.unbind(dim=1), strict=True):
        try:
            normal, about = _fit(samples, values)
        except ValueError as error:
            raise ValueError(f"the attribute {name}: {error}") from error
        normals.append(normal)
        facts.append(about)
    vectors = apart(torch.stack(normals)) if orthogonal else torch.stack(normals)
    return _found(sampler, samples, "labels", attributes.names, vectors, layers, facts)


def _fit(samples: Samples, values: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The normal of one attribute, and how well it tells those that it was not fitted to."""
    known = ~values.isnan()
    count = int(known.sum())
    if count < FEWEST_LABELS:
        raise ValueError(f"{count} pictures have a value, and at least {FEWEST_LABELS} are wanted: label more")
    w, y, groups = samples.w[known], values[known], samples.groups[known]
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
    sampler: Sampler,
    samples: Samples,
    method: str,
    names: Iterable[str] | None,
    vectors: Tensor,
    layers: Sequence[int],
    facts: list[dict[str, Any]],
) -> Found:
    names = tuple(names or (f"{method}{k}" for k in range(len(vectors))))
    scales = spread(samples.w, samples.groups, vectors)
    directions = Directions(
        names=names,
        vectors=vectors.float(),
        scales=scales.float(),
        layers=(tuple(layers),) * len(names),
        method=method,
        num_ws=sampler.G.config.num_ws,
        network=fingerprint(sampler.stylegan2(SCRIPT)),
    )
    about = [{"name": n, "scale": float(s)} | f for n, s, f in zip(names, scales, facts, strict=True)]
    return Found(directions, about)
