"""What the systems' functions share: errors that speak of the caller's own arguments, and words for off."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn, TypeVar

import attrs

from updaters.checks import NONNEGATIVE, Interval, number
from updaters.protocols import Schedulable
from updaters.transforms import ClipByGlobalNorm, ClipByValue

T = TypeVar("T")


@attrs.frozen
class Nonpositive(Interval):
    """The numbers of at most 0."""

    low: float = -math.inf
    high: float = 0.0

    def __str__(self) -> str:
        return "at most 0"


def build(rule: type[T], called: str, names: Mapping[str, str], /, **fields: Any) -> T:
    """An instance of `rule` with these fields; an error about a field speaks of the argument that it came from.

    Args:
        rule: a class whose errors begin with its own name and the field's.
        called: what the system calls it.
        names: the argument for each field that has another name.
        fields: the fields.
    """
    try:
        return rule(**fields)
    except (TypeError, ValueError) as error:
        what, got, value = str(error).partition(", got ")
        what = re.sub(rf"^{rule.__name__}\.", f"{called}.", what)
        what = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), what)
        raise type(error)(what + got + value) from None


def unless_zero(value: Schedulable | None) -> Schedulable | None:
    """`value`, or None where it is the number 0, with which other systems say off."""
    return None if isinstance(value, Real) and not isinstance(value, bool) and value == 0 else value


def pair(value: Any, name: str) -> tuple[Any, Any]:
    """`value` as the two that it must hold."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair, got {value!r}")
    return value[0], value[1]


def switch(value: object, name: str) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def negated(value: object, name: str) -> float:
    """The negative of `value`, which must be at most 0."""
    return -number(value, name, Nonpositive())


def doubled(value: object, name: str) -> float:
    """Twice `value`, which must be at least 0."""
    return 2 * number(value, name, NONNEGATIVE)


def are_many(value: object) -> bool:
    """Whether a first argument is parameters, and no learning rate."""
    several = isinstance(value, Iterable) and not callable(value) and not isinstance(value, str)
    return several and getattr(value, "ndim", 1) != 0


def check_no_params(called: str, params: Sequence[object]) -> None:
    """Raise unless there are groups in the place of the systems' parameters."""
    if not any(isinstance(group, Mapping) for group in params):
        raise TypeError(
            f"{called} takes no params: give each weight with its gradient to get_updater(...)(index, grad, weight); "
            "groups are dicts, whose params are patterns or indices"
        )


def lasting(several: Iterable[T], begins: Sequence[int]) -> tuple[list[T], list[int]]:
    """Those that last at all until the next one begins, and when each of them but the first begins."""
    kept = [(one, begin) for one, begin, end in zip(several, begins, (*begins[1:], math.inf), strict=True) if begin < end]
    return [one for one, _ in kept], [begin for _, begin in kept[1:]]


def refuse(name: str, value: object, why: str) -> NoReturn:
    """Raise an error about an argument that is never taken."""
    raise ValueError(f"{name} is not taken, got {value!r}: {why}")


def norm_clip(called: str, max_norm: Any, norm_type: Any, *names: str) -> ClipByGlobalNorm:
    """A clip by the norm of all gradients as PyTorch has it; `names` are those of the two arguments."""
    fields = dict(zip(("bound", "p"), names, strict=True))
    return build(ClipByGlobalNorm, called, fields, bound=max_norm, p=norm_type, epsilon=1e-6)


def value_clip(called: str, clip_value: Any) -> ClipByValue:
    """A clip of each element to an interval around 0, of which a number says how wide it is."""
    most = number(clip_value, f"{called}.clip_value", NONNEGATIVE)
    return ClipByValue(-most, most)


def not_yet(name: str, value: object, instead: str) -> NoReturn:
    """Raise an error about an argument that is yet to come."""
    raise NotImplementedError(f"{name} is not there yet, got {value!r}; leave it out, and {instead}")
