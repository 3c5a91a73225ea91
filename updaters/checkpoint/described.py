"""Configurations as checkpoints have them: complete where to_config would refuse, with what moves in them, and compared."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from updaters.config import SETTINGS, VERSION, check_depth, fields_of, has_fields, kind_named, written, written_fields
from updaters.optimizers import Optimizer
from updaters.policy import Policy

UNREGISTERED = "unregistered"
HEADS = ("type", "function", UNREGISTERED)


def described(optimizer: Optimizer) -> dict[str, Any]:
    """What `to_config` says of an optimizer; where that would refuse, a class is its name and its fields, and all else a name."""
    if optimizer.policy == Policy():  # which does nothing, as none does
        optimizer = attrs.evolve(optimizer, policy=None)
    data: dict[str, Any] = written(optimizer, "optimizer", 0, _unregistered)
    return {"version": VERSION, **data}


def _unregistered(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if isinstance(value, (float, np.floating)):  # infinite or NaN
        return {UNREGISTERED: repr(float(value))}
    if isinstance(value, list):
        return [written(member, f"{path}[{i}]", depth + 1, _unregistered) for i, member in enumerate(value)]
    if not has_fields(kind) or isinstance(value, type):
        return {UNREGISTERED: getattr(value, "__qualname__", kind.__qualname__)}
    fields = written_fields(value, path, depth, _unregistered)
    moving = remembered(value, path) if _moves(value) else {}
    return {UNREGISTERED: kind.__qualname__, **{name: field for name, field in fields.items() if name not in moving}}


def unchecked(data: Any, path: str) -> Iterator[str]:
    """The places in a description of which no more is known than a name."""
    if isinstance(data, Mapping):
        if data.keys() == {UNREGISTERED}:
            yield path
        for name, value in data.items():
            yield from unchecked(value, f"{path}.{name}")
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from unchecked(value, f"{path}[{i}]")


def _moves(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict"))


def remembered(value: Any, path: str) -> Mapping[str, Any]:
    """What something that moves remembers, by name."""
    numbers = value.state_dict()
    if not isinstance(numbers, Mapping):  # it could be saved, and then not be loaded
        raise TypeError(f"{path}: state_dict() must give a mapping, got {numbers!r:.60}")
    return numbers


def moving(value: Any, path: str = "optimizer", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All that remembers something in an optimizer, as a `Plateau` does, by its place: what has the two methods for it."""
    check_depth(path, depth)
    if _moves(value):
        yield path, value
    if isinstance(value, (tuple, list)):
        for i, member in enumerate(value):
            yield from moving(member, f"{path}[{i}]", depth + 1)
    elif has_fields(type(value)) and not isinstance(value, type):
        kind: Any = type(value)
        for field in fields_of(kind):
            inner, place = getattr(value, field.attribute), f"{path}.{field.argument}"
            if (kind, field.argument) == SETTINGS and isinstance(inner, tuple):
                for name, setting in inner:
                    yield from moving(setting, f"{place}.{name}", depth + 1)
            else:
                yield from moving(inner, place, depth + 1)


@attrs.frozen
class Difference:
    """Where a file and what is here are not of one kind, as text."""

    where: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.where}: {self.there} in the file, {self.here} here"


def differences(there: Any, here: Any, apart: Collection[str] = (), path: str = "optimizer") -> Iterator[Difference]:
    """Where two descriptions differ, but for places that are seen to apart.

    A field that is not there counts as its default, since it may be newer than the file.
    """
    if path in apart:
        return
    if path == "optimizer.policy":  # to have none is to have one that does nothing
        none = written(Policy(), path, 0, _unregistered)
        there, here = (none if one is None else one for one in (there, here))
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        heads = [{head: data[head] for head in HEADS if head in data} for data in (there, here)]
        if heads[0] != heads[1]:
            yield Difference(path, _short(there), _short(here))
            return
        defaults = _defaults(here)
        for name in [*here, *(name for name in there if name not in here)]:
            if name in there or name not in defaults:
                yield from differences(there.get(name, _ABSENT), here.get(name, _ABSENT), apart, f"{path}.{name}")
            else:
                yield from differences(defaults[name], here[name], apart, f"{path}.{name}")
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from differences(one, other, apart, f"{path}[{i}]")
    elif isinstance(there, bool) is not isinstance(here, bool) or there != here:
        yield Difference(path, _short(there), _short(here))


def _defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields of a class are where they are not given, as data."""
    kind = kind_named(data.get("type"))
    fields = () if kind is None else fields_of(kind)
    return {
        field.argument: written(field.default, field.argument, 0, _unregistered)
        for field in fields
        if field.default is not attrs.NOTHING
    }


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 60


def _short(data: Any) -> str:
    """A part of a description for a message."""
    if isinstance(data, Mapping):
        head = next((data[head] for head in HEADS if head in data), None)
        return str(head)[:60] if isinstance(head, str) else "a mapping"
    return _shortener.repr(data)
