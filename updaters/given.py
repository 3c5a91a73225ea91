"""Gradients and weights as they are given: in two mappings, or in two sequences whose positions are the indices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from updaters.arrays import Array
from updaters.checks import listed


def as_triples(grads: Any, weights: Any) -> Iterator[tuple[Any, Array | None, Array]]:
    """Index, gradient and weight of each weight."""
    if isinstance(grads, Mapping) and isinstance(weights, Mapping):
        if grads.keys() != weights.keys():
            lone = [
                f"{what} only: {listed(keys)}"
                for what, keys in (("grads", grads.keys() - weights.keys()), ("weights", weights.keys() - grads.keys()))
                if keys
            ]
            raise ValueError(f"step takes the same indices in grads and weights; in {'; in '.join(lone)}")
        return ((index, grads[index], weight) for index, weight in weights.items())
    if all(_is_sequence(side) for side in (grads, weights)):
        if len(grads) != len(weights):
            raise ValueError(f"step takes as many grads as weights, got {len(grads)} and {len(weights)}")
        return zip(range(len(weights)), grads, weights, strict=True)
    kinds = f"{type(grads).__name__} and {type(weights).__name__}"
    raise TypeError(f"step takes grads and weights as two mappings or two sequences, got {kinds}")


def as_pairs(weights: Any) -> Iterable[tuple[Any, Array]]:
    """Index and weight of each weight."""
    if isinstance(weights, Mapping):
        return weights.items()
    if _is_sequence(weights):
        return enumerate(weights)
    raise TypeError(f"weights must be a mapping or a sequence, got {type(weights).__name__}")


def _is_sequence(side: object) -> bool:
    return isinstance(side, Sequence) and not isinstance(side, (str, bytes))
