"""What weights and slots are called in a file: each index by a text that no other index has."""

from __future__ import annotations

import json
import re
from typing import Any

from updaters.weight_state import Index

DEEPEST = 200
"""How deep tuples may be within each other."""

BITS = 14_000
"""What an integer may have, that Python reads again."""

PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
"""Two surrogates in a row, which JSON takes for one character."""

_LIKE_JSON = re.compile(r'["\[]|-?[0-9]+\Z|(?s:.*)[\ud800-\udfff]')


def text_of(index: Index) -> str:
    """An index as a text that no other index has: a str as it is, unless it looks like JSON of another or is no Unicode."""
    if isinstance(index, str) and not _LIKE_JSON.match(index):
        return index
    return json.dumps(listed(index))


def slot_name(index: Index, name: str) -> str:
    """What a slot is called in a file."""
    return f"slots/{text_of(index)}/{name}"


def weight_name(index: Index) -> str:
    """What a weight is called in a file."""
    return f"weights/{text_of(index)}"


def listed(index: Index) -> Any:
    """An index as JSON can hold it.

    Raises:
        ValueError: it is more than can be read again.
    """
    try:
        return _as_list(index, 0)
    except OverflowError as error:
        try:
            name = f"{index!r:.200}"
        except (ValueError, RecursionError):
            name = "of a weight"
        raise ValueError(f"index {name} cannot be saved: {error}") from None


def _as_list(index: Index, depth: int) -> Any:
    if isinstance(index, tuple):
        if depth == DEEPEST:
            raise OverflowError(f"it is nested more than {DEEPEST} deep")
        return [_as_list(part, depth + 1) for part in index]
    if isinstance(index, str) and PAIR.search(index):
        raise OverflowError("it has two surrogates in a row, which JSON takes for one character")
    if isinstance(index, int) and index.bit_length() > BITS:
        raise OverflowError(f"it has an integer of {index.bit_length()} bits, {hex(index)[:40]}..., and {BITS} are the most")
    return index


def as_index(data: Any, where: str, depth: int = 0) -> Index:
    """An index from what `listed` gave; `where` is what the error calls its place."""
    if isinstance(data, list) and depth < DEEPEST:
        return tuple(as_index(part, where, depth + 1) for part in data)
    if isinstance(data, bool) or not isinstance(data, (str, int)):
        raise ValueError(f"{where} must have indices, got {data!r:.60}")
    return data
