"""Groups of parameters, as PyTorch and OneFlow have them, as an updater's `overrides`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from inspect import signature
from numbers import Real
from typing import Any, ParamSpec, Protocol, TypeVar, overload

import attrs

from updaters.checks import NONNEGATIVE, integer, listed, number
from updaters.compat._arguments import are_many, check_no_params
from updaters.optimizers.base import Optimizer
from updaters.overrides import as_mapping
from updaters.policy import FROZEN, Override, Policy
from updaters.transforms import ClipByGlobalNorm
from updaters.updater import Updater
from updaters.weight_state import check_index

P = ParamSpec("P")
R = TypeVar("R", bound=Optimizer, covariant=True)

REST = "*"


class TakesGroups(Protocol[P, R]):
    """A function that may be given groups in front of its own arguments."""

    @overload
    def __call__(self, *args: P.args, **options: P.kwargs) -> R: ...
    @overload
    def __call__(self, params: Iterable[Mapping[str, Any]], /, *args: P.args, **options: P.kwargs) -> R: ...


def check_updater(update: object) -> None:
    """Raise unless this is an updater."""
    if not isinstance(update, Updater):
        raise TypeError(f"update must be an Updater, as get_updater gives it, got {type(update).__name__}")


@attrs.frozen(eq=False)
class ParameterGroups:
    """How one system's functions take groups of parameters, and how groups are read from an updater.

    Attributes:
        system: the system's name.
        names: the argument that each field comes from, where it has another name.
        read_back: from a field's value to its argument's, where that is another.
        clip: the two arguments of a clip by norm, where the system has them.
        keys: what a group may have that is no argument.
        functions: those that take groups.
    """

    system: str
    names: Mapping[str, str]
    read_back: Mapping[str, Callable[[Any], Any]]
    clip: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    functions: list[Callable[..., Optimizer]] = attrs.field(factory=list, init=False)

    def taken_by(self, function: Callable[P, R]) -> TakesGroups[P, R]:
        """The function, which takes groups of parameters first."""
        self.functions.append(function)
        called = f"{self.system}.{function.__name__}"

        @wraps(function)
        def checked(*args: Any, **options: Any) -> R:
            by_name = "params" in options
            first = options.pop("params") if by_name else args[0] if args else None
            if not by_name and not are_many(first):
                return function(*args, **options)
            groups = list(first) if isinstance(first, Iterable) and not isinstance(first, Mapping) else []
            check_no_params(called, groups)
            rest = args if by_name else args[1:]
            arguments = signature(function).bind(*rest, **options).arguments
            base = function(*rest, **options)
            overrides: list[Override] = []
            for place, group in enumerate(groups):
                overrides += self._overrides(function, arguments, group, f"params[{place}]", overrides)
            if all(override.pattern != REST for override in overrides):
                overrides.append(Override(REST, FROZEN))
            return attrs.evolve(base, policy=attrs.evolve(base.policy or Policy(), overrides=overrides))

        return checked

    def add(self, update: Updater, group: Mapping[str, Any]) -> None:
        """Give an updater another group, before what is left."""
        check_updater(update)
        function, arguments = self._read(update.optimizer)
        before = update.policy.overrides
        if isinstance(group, Mapping) and group.get("params") == REST:  # which is what stood still so far
            before = tuple(override for override in before if (override.pattern, override.settings) != (REST, FROZEN))
        new = self._overrides(function, arguments, group, "group", before)
        place = next((i for i, override in enumerate(before) if override.pattern == REST), len(before))
        update.overrides = as_mapping([*before[:place], *new, *before[place:]])

    def of(self, update: Updater) -> list[dict[str, Any]]:
        """The groups of an updater, by the system's names."""
        check_updater(update)
        function, arguments = self._read(update.optimizer)
        groups = []
        for overrides in merged(update.policy.overrides):
            arguments_here = self._of_override(function, arguments, update.optimizer, overrides[0])
            groups.append({"params": [override.pattern for override in overrides], **arguments_here})
        return groups

    def _of_override(
        self, function: Callable[..., Optimizer], arguments: Mapping[str, Any], optimizer: Optimizer, override: Override
    ) -> dict[str, Any]:
        if isinstance(override.settings, Optimizer):
            return self._read(override.settings)[1]
        fields = {name: value for name, value in override.fields.items() if name not in ("clip", "clip_with", "lr_scale")}
        found = {**arguments, **self.arguments_of(function, attrs.evolve(optimizer, **fields))}
        if "clip" in override.fields:
            found |= self._clip_arguments(override.fields["clip"] or ()) or dict.fromkeys(self.clip)
        return found | {key: override.fields[key] for key in self.keys if key in override.fields}

    def _overrides(
        self, function: Callable[..., Optimizer], arguments: Mapping[str, Any], group: object, name: str,
        others: Sequence[Override],
    ) -> list[Override]:  # fmt: skip
        """What a group says, for each of its patterns."""
        if not isinstance(group, Mapping):
            raise TypeError(f"{name} must be a dict, got {group!r}")
        known = signature(function).parameters
        for key in group:
            if key not in known and key not in ("params", *self.keys):
                called = f"{self.system}.{function.__name__}"
                raise ValueError(f"{name}: {key!r} is no argument of {called}; there are {listed([*known, *self.keys])}")
        if "params" not in group:
            raise ValueError(f"{name} has no 'params', the patterns or indices of its weights")
        patterns: list[Any] = []
        for pattern in _patterns(group["params"], f"{name}: params"):
            if pattern in (*patterns, *(other.pattern for other in others)):
                raise ValueError(f"{name}: params has {pattern!r}, which is in a group already")
            patterns.append(pattern)
        own = {key: value for key, value in group.items() if key in known}
        base = function(**arguments)
        try:
            changed = function(**{**arguments, **own})
            scale = {key: _scale(group[key], key) for key in self.keys if key in group}
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        if type(changed) is not type(base):
            return [Override(pattern, attrs.evolve(changed, policy=None)) for pattern in patterns]
        given = [field for argument in own for field in self.fields_of(function, argument, changed).values()]
        settings = {field: getattr(changed, field) for field in given} | scale
        clips = _clips(changed)
        first = settings | ({"clip": clips} if clips or _clips(base) else {})
        others_of_it = settings | ({"clip_with": patterns[0]} if "clip" in first else {})
        return [Override(pattern, tuple((others_of_it if place else first).items())) for place, pattern in enumerate(patterns)]

    def _read(self, optimizer: Optimizer) -> tuple[Callable[..., Optimizer], dict[str, Any]]:
        """The function that an optimizer comes from, and its arguments."""
        plain = attrs.evolve(optimizer, policy=None)
        for function in self.functions:
            if isinstance(function(), type(optimizer)):
                with suppress(TypeError, ValueError):
                    arguments = self.arguments_of(function, optimizer)
                    if function(**arguments) == plain:
                        return function, arguments | self._clip_arguments(_clips(optimizer))
        raise TypeError(f"update must have an optimizer of updaters.compat.{self.system}, got {plain!r}")

    def arguments_of(self, function: Callable[..., Optimizer], optimizer: Optimizer) -> dict[str, Any]:
        """An optimizer's fields as arguments."""
        found: dict[str, Any] = {}
        for name, parameter in signature(function).parameters.items():
            fields = self.fields_of(function, name, optimizer)
            values: Any = tuple(getattr(optimizer, field) for field in fields.values())
            if not fields:
                continue
            if name in fields:
                (value,) = values
                values = 0 if value is None and isinstance(parameter.default, Real) else value
            found[name] = self.read_back[name](values) if name in self.read_back else values
        return found

    def fields_of(self, function: Callable[..., Optimizer], argument: str, optimizer: Optimizer) -> dict[str, str]:
        """The fields that come from an argument, by what errors call it."""
        known = signature(function).parameters
        found = {}
        for field in attrs.fields(type(optimizer)):
            name = self.names.get(field.name, field.name)
            if name.partition("[")[0] not in known:
                name = field.name
            if name.partition("[")[0] == argument:
                found[name] = field.name
        return dict(sorted(found.items()))

    def _clip_arguments(self, clips: tuple[Any, ...]) -> dict[str, Any]:
        """A clip by the norm of a group as arguments."""
        values = [(clip.bound, clip.p) for clip in clips if isinstance(clip, ClipByGlobalNorm)]
        return dict(zip(self.clip, values[0], strict=True)) if self.clip and values else {}


def merged(overrides: Sequence[Override]) -> list[list[Override]]:
    """Overrides as groups: those that follow one another and say the same are one. The last has what is left."""
    groups: list[list[Override]] = []
    if all(override.pattern != REST for override in overrides):
        overrides = (*overrides, Override(REST, ()))
    for override in overrides:
        if override.settings is FROZEN:
            continue
        last = groups[-1][0] if groups else None
        shared = "clip_with" in override.fields
        if last is not None and (shared or (override.settings == last.settings and "clip" not in override.fields)):
            groups[-1].append(override)
        else:
            groups.append([override])
    return groups


def _clips(optimizer: Optimizer) -> tuple[Any, ...]:
    """The clips that an optimizer brings along."""
    return () if optimizer.policy is None else optimizer.policy.clip


def _patterns(params: Any, name: str) -> list[Any]:
    """What says which weights: a pattern or an index, or several."""
    if isinstance(params, (str, tuple, re.Pattern)) or integer(params) is not None:
        params = [params]
    if not isinstance(params, Iterable) or hasattr(params, "dtype") or isinstance(params, (set, frozenset)):
        raise TypeError(f"{name} must be a pattern or an index of weights, or a list of these, got {type(params).__name__}")
    found = []
    for pattern in params:
        try:
            found.append(pattern if isinstance(pattern, re.Pattern) else check_index(pattern))
        except TypeError:
            kind = type(pattern).__name__
            raise TypeError(
                f"{name} must be patterns or indices of weights, which are given to the updater, got {kind}"
            ) from None
    if not found:
        raise ValueError(f"{name} must be at least one pattern or index, got none")
    return found


def _scale(value: Any, name: str) -> Any:
    """A factor of the learning rate."""
    if callable(value) and not isinstance(value, type):
        return value
    return number(value, name, NONNEGATIVE, kinds=" or a scheduler")
