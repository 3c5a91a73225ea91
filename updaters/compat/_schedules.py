"""What the systems' schedules share: a base rate instead of an optimizer, steps from 0, and what the clock says instead."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from updaters.checks import NONNEGATIVE, integer, number
from updaters.compat._arguments import refuse, switch
from updaters.optimizers import Optimizer
from updaters.schedules.base import Curve
from updaters.schedules.compose import Delay
from updaters.schedules.fields import Clock
from updaters.updater import Updater

P = ParamSpec("P")
T = TypeVar("T")


def without_optimizer(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with an error of its own where it is given the `optimizer` that the system has first."""

    @wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        if "optimizer" in options or any(map(_is_optimizer, args)):
            names = list(signature(function).parameters)
            instead = "its place has the base rate, a number" if names[0] == "lr" else f"it begins with {names[0]}"
            raise TypeError(
                f"{function.__name__} takes no optimizer: {instead}; the schedule that comes back goes to the optimizer as its lr"
            )
        return function(*args, **options)

    return checked


def _is_optimizer(value: object) -> bool:
    return isinstance(value, (Optimizer, Updater)) or hasattr(value, "param_groups")


def check_no_optimizer(value: object, name: str) -> None:
    """Raise where an optimizer is given in the place of the base rate, as some systems take it."""
    if _is_optimizer(value):
        raise TypeError(
            f"{name} must be the base rate, not an optimizer, which takes the schedule as its learning rate, got {value!r}"
        )


def base_rate(value: object, name: str, *, kinds: str = "") -> float:
    """`value` as a learning rate to begin with."""
    check_no_optimizer(value, name)
    return number(value, name, NONNEGATIVE, kinds=kinds)


def zero_based(curve: Curve) -> Delay:
    """The curve with T = 0 at the first update, where the systems' steps begin."""
    return Delay(curve, 1)


def check_run(called: str, verbose: object = False, **last: object) -> None:
    """Raise unless those arguments that say where a run stands, and what it prints, leave it to the clock and the caller."""
    for name, value in last.items():
        if integer(value) != -1:
            refuse(f"{called}.{name}", value, "the clock says where a run stands")
    if switch(verbose, f"{called}.verbose"):
        refuse(f"{called}.verbose", verbose, "print what the schedule gives for the clock")


def check_clock(clock: object, name: str) -> Clock:
    """`clock`, which must be one of the two."""
    if clock == "epoch" or clock == "iteration":
        return clock
    raise ValueError(f"{name} must be 'epoch' or 'iteration', got {clock!r}")


def check_function(value: T, name: str) -> T:
    """`value`, which must be a function, one for all weights."""
    if not callable(value) or isinstance(value, type):
        several = ": a group of parameters has a schedule of its own" if isinstance(value, (list, tuple)) else ""
        raise TypeError(f"{name} must be a function, got {value!r}{several}")
    return value
