"""Which optimizer, and which clip, each weight has: the optimizer's own, or what `overrides` say for its index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NoReturn

import attrs
import numpy as np

from updaters.checks import NONNEGATIVE, listed, number
from updaters.optimizers.base import Optimizer
from updaters.policy import FROZEN, Frozen, Override, Policy, as_clips, check_clips
from updaters.protocols import Schedulable
from updaters.rule import Group
from updaters.schedules.base import Combination
from updaters.weight_state import Index, check_index

OWN = ("lr_scale", "clip", "clip_with")
"""Settings that are no fields of an optimizer."""


def text_of(index: Index) -> str:
    """An index as globs and regular expressions see it: the parts of a tuple are joined by dots."""
    return ".".join(map(text_of, index)) if isinstance(index, tuple) else str(index)


class Choice:
    """What is done to each weight, by its index; each answer is the same object at every asking."""

    def __init__(self, optimizer: Optimizer) -> None:
        """Check the overrides.

        Raises:
            TypeError, ValueError: one is not what it may be; the message names its pattern.
        """
        self.optimizer, self.policy = optimizer, optimizer.policy or Policy()
        policy = self.policy
        self.group = Group(policy.clip)
        self._groups: dict[int, Group] = {}
        self._made: dict[tuple[int, int], tuple[Optimizer, Optimizer]] = {}
        self.matches: dict[Index, int | None] = {}
        for inner in _inner(optimizer):
            _check_alone(inner, f"{type(inner).__name__}, which is for some weights of {type(optimizer).__name__},")
        for place, override in enumerate(policy.overrides):
            name = f"overrides[{override.pattern!r}]"
            pattern = override.pattern
            if not isinstance(pattern, re.Pattern):
                check_index(pattern)
            elif not isinstance(pattern.pattern, str):
                raise TypeError(f"{name} must be a pattern of str, got one of bytes")
            self._check(override, name)
            if "clip" in override.fields:
                clips = as_clips(override.fields["clip"])
                check_clips(clips, f"{name}: clip")
                self._groups[place] = Group(clips, pattern)
            if "clip_with" in override.fields:
                self._groups[place] = self._group_of(override.fields["clip_with"], place, name)

    def _check(self, override: Override, name: str) -> None:
        if override.settings is FROZEN:
            return
        if isinstance(override.settings, Optimizer):
            for optimizer in (override.settings, *_inner(override.settings)):
                _check_alone(optimizer, name)
            return
        if not isinstance(override.settings, tuple):
            raise TypeError(f"{name} must be a mapping of settings, an optimizer or FROZEN, got {override.settings!r}")
        inner = [self.optimizer, *_inner(self.optimizer)]
        known = {field.name for optimizer in inner for field in attrs.fields(type(optimizer))} - {"policy"}
        for setting in override.fields:
            if setting not in known and setting not in OWN:
                raise ValueError(
                    f"{name}: {setting!r} is no field of {type(self.optimizer).__name__}; there are {listed({*known, *OWN})}"
                )
        for optimizer in inner:
            _changed(optimizer, override, name)
        decays = [clip for clip in self.policy.clip if getattr(clip, "decays", False)]
        if decays and "weight_decay" in override.fields and "clip" not in override.fields:
            raise ValueError(f"{name}: weight_decay has no effect beside {decays[0]!r}, a clip; give a clip too, in its place")

    def _group_of(self, pattern: Any, place: int, name: str) -> Group:
        """The group of another override, before this one."""
        if place in self._groups:
            raise ValueError(f"{name} must have either a clip or clip_with, got both")
        for other, group in self._groups.items():
            if self.policy.overrides[other].pattern == pattern:
                return group
        raise ValueError(f"{name}: clip_with must be a pattern further up that has a clip, got {pattern!r}")

    @property
    def groups(self) -> Sequence[Group]:
        """All groups."""
        return [self.group, *self._groups.values()]

    @property
    def unmatched(self) -> list[Any]:
        """The patterns that no index has matched so far, but for `"*"`, of what is left, which may be nothing."""
        met = {place for place in list(self.matches.values()) if place is not None}
        patterns = [override.pattern for place, override in enumerate(self.policy.overrides) if place not in met]
        return [pattern for pattern in patterns if pattern != "*"]

    def of(self, index: Index, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Optimizer, Group] | Frozen:
        """The optimizer and the group of a weight.

        Raises:
            TypeError, ValueError: there is none; the message names the index.
        """
        place, group = self.match(index), self.group
        override = None if place is None else self.policy.overrides[place]
        if override is None or place is None:
            chosen = self.optimizer.for_weight(index, shape, dtype)
        elif override.settings is FROZEN:
            return Frozen.FROZEN
        elif isinstance(override.settings, Optimizer):
            chosen = override.settings.for_weight(index, shape, dtype)
        else:
            group = self._groups.get(place, group)
            first = self.optimizer.for_weight(index, shape, dtype)
            if (id(first), place) not in self._made:
                self._made[id(first), place] = first, _changed(first, override, f"overrides[{override.pattern!r}]")
            _, chosen = self._made[id(first), place]
        if group.of_units is not None:
            group.of_units.check(index, shape)
        return chosen, group

    def before_shapes(self, index: Index) -> Optimizer | Frozen:
        """The optimizer of an index, which `for_weight` is yet to be asked of."""
        place = self.match(index)
        override = None if place is None else self.policy.overrides[place]
        if override is None:
            return self.optimizer
        if override.settings is FROZEN:
            return Frozen.FROZEN
        if isinstance(override.settings, Optimizer):
            return override.settings
        return _changed(self.optimizer, override, f"overrides[{override.pattern!r}]")

    def match(self, index: Index) -> int | None:
        """Which override is an index's, if one is."""
        if index not in self.matches:
            places = (place for place, override in enumerate(self.policy.overrides) if _matches(override.pattern, index))
            self.matches[index] = next(places, None)
        return self.matches[index]


def _check_alone(optimizer: Optimizer, name: str) -> None:
    """Raise where an optimizer that is for some weights only has a policy, which is for all."""
    if optimizer.policy is not None:
        raise ValueError(f"{name} must have no policy of its own, got {optimizer.policy!r}")


def _inner(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers that an optimizer has for some weights."""
    found = [value for field in attrs.fields(type(optimizer)) if isinstance(value := getattr(optimizer, field.name), Optimizer)]
    return [one for value in found for one in (value, *_inner(value))]


def _matches(pattern: Any, index: Index) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.search(text_of(index)) is not None
    if isinstance(pattern, str):
        return pattern == index or fnmatchcase(text_of(index), pattern)
    return check_index(pattern) == index


def _changed(optimizer: Optimizer, override: Override, name: str) -> Optimizer:
    """An optimizer with the settings that it has fields for."""
    fields = {field.name for field in attrs.fields(type(optimizer))}
    changes = {setting: value for setting, value in override.fields.items() if setting in fields}
    try:
        changed = attrs.evolve(optimizer, **changes)
        if "lr_scale" in override.fields:
            changed = attrs.evolve(changed, lr=_scaled(changed.lr, override.fields["lr_scale"]))  # type: ignore[call-arg,attr-defined]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    return changed


def _scaled(lr: Schedulable, by: Any) -> Schedulable:
    if isinstance(by, type) or not callable(by):
        by = number(by, "lr_scale", NONNEGATIVE, kinds=" or a scheduler")
    return Combination("*", lr, by) if callable(lr) or callable(by) else float(lr) * float(by)


class Shown(dict[Any, Any]):
    """A mapping to be read. What is written to it would change nothing."""

    def _refuse(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError("overrides are changed by update.override(pattern, settings), or all of them by update.overrides = {...}")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def as_mapping(overrides: Sequence[Override]) -> Mapping[Any, Any]:
    """Overrides by their patterns, to be read."""
    return Shown(
        (override.pattern, Shown(override.fields) if isinstance(override.settings, tuple) else override.settings)
        for override in overrides
    )
