"""The schedule that listens: it falls where a metric stops getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import attrs

from updaters.checks import FINITE, INSIDE_UNIT, NONNEGATIVE, choice, flag, number, scalar, whole
from updaters.protocols import Schedulable
from updaters.schedules.base import Schedule, at, clocks
from updaters.schedules.fields import Clock, inner, units, value_in
from updaters.state import OptimizationState


def _remembered(default: object) -> Any:
    return attrs.field(default=default, init=False, hash=False)


@attrs.define(repr=False, unsafe_hash=True, on_setattr=attrs.setters.frozen)
class Plateau(Schedule):
    """A schedule times a factor that falls whenever a metric has stopped getting better.

    `observe(metric)` after each epoch, or at any other time of your choosing, is the only thing that moves it. Reading it changes
    nothing: it gives `inner * factor**reductions`, and not below `floor` on that account.

    What it remembers is not among its fields: `attrs.evolve` gives one that remembers nothing.

    A metric is better than the best so far if it is beyond it by more than the threshold. After more than `patience` metrics
    in a row that are not, there is a reduction; the `cooldown` ones after it are not held against it.

    Attributes:
        inner: a schedule, any other scheduler, or a number.
        factor: what a reduction multiplies by, strictly between 0 and 1.
        patience: how many metrics in a row may be no better.
        threshold: by how much a metric must be better to count.
        relative: whether the threshold is a fraction of the best metric's magnitude, or absolute.
        mode: whether a better metric is a lower one, `"min"`, or a higher one, `"max"`.
        cooldown: how many metrics after a reduction are not counted as bad.
        floor: below which no reduction takes the value; absolute. An inner value that is lower stays as it is.
        best: the best metric so far, or None.
        bad: how many metrics in a row have been no better.
        cooling: how many metrics of the cooldown are left.
        reductions: how many there have been.

    Raises:
        TypeError, ValueError: a field is out of range; or `observe` is given what is no number.

    Conventions:
        As PyTorch's `ReduceLROnPlateau` counts: reductions come after `patience + 1` bad metrics (in Keras after `patience`),
        and the best metric is kept up to date during a cooldown (in TensorLayerX it is not). A relative threshold is right for
        negative metrics too, where theirs takes a worse one for better. A metric that is NaN or infinite is bad; a NaN that
        comes first is the best for ever in Keras and TensorLayerX.

    Example:
        >>> rate = up.learning_rate.Plateau(0.5, factor=0.5, patience=1)
        >>> for loss in (1.0, 0.8, 0.9, 0.8):
        ...     rate.observe(loss)
        >>> rate(up.OptimizationState()), rate.best, rate.reductions
        (0.25, 0.8, 1)
    """

    inner: Schedulable = inner()
    factor: float = value_in(INSIDE_UNIT, default=0.1, kw_only=True)
    patience: int = units(default=10, kw_only=True)
    threshold: float = value_in(default=1e-4, kw_only=True)
    relative: bool = flag(True)
    mode: Literal["min", "max"] = choice("min", "max", default="min")
    cooldown: int = units(default=0, kw_only=True)
    floor: float = value_in(default=0.0, kw_only=True)

    best: float | None = _remembered(None)
    bad: int = _remembered(0)
    cooling: int = _remembered(0)
    reductions: int = _remembered(0)

    def observe(self, metric: Any) -> None:
        """Take a new metric into account; a number, or an array of one, in which NaN and infinity are bad.

        Raises:
            TypeError: it is no real number.
        """
        value = _metric(metric, f"{type(self).__name__}.observe(metric)")
        better = self.is_better(value)
        bad = 0 if better else self.bad + 1
        if self.cooling:
            bad = 0
        reduced = bad > self.patience
        self._remember(
            value if better else self.best,
            0 if reduced else bad,
            self.cooldown if reduced else max(self.cooling - 1, 0),
            self.reductions + reduced,
        )

    def is_better(self, metric: float) -> bool:
        """Whether a metric would be better than the best so far."""
        if not math.isfinite(metric) or self.best is None:
            return math.isfinite(metric)
        margin = self.threshold * (abs(self.best) if self.relative else 1.0)
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        value = at(self.inner, epoch, iteration, state)
        return max(value * self.factor**self.reductions, min(value, self.floor))

    @property
    def clocks(self) -> frozenset[Clock]:
        return clocks(self.inner)

    def state_dict(self) -> dict[str, float | None]:
        """What it remembers, as numbers by name."""
        return {"best": self.best, "bad": self.bad, "cooling": self.cooling, "reductions": self.reductions}

    def load_state_dict(self, numbers: Mapping[str, Any]) -> None:
        """Remember what another one did.

        Raises:
            TypeError, ValueError: a number is missing, unknown or out of range; nothing has changed then.
        """
        name = type(self).__name__
        if not isinstance(numbers, Mapping):
            raise TypeError(f"{name}.load_state_dict must be given a mapping, got {numbers!r}")
        if numbers.keys() != self.state_dict().keys():
            raise ValueError(
                f"{name}.load_state_dict must be given {', '.join(self.state_dict())}, got {', '.join(map(str, numbers))}"
            )
        best = numbers["best"]
        self._remember(
            None if best is None else number(best, f"{name}.best", FINITE),
            *(_count(numbers[count], f"{name}.{count}") for count in ("bad", "cooling", "reductions")),
        )

    def _remember(self, best: float | None, bad: int, cooling: int, reductions: int) -> None:
        for field, value in (("best", best), ("bad", bad), ("cooling", cooling), ("reductions", reductions)):
            object.__setattr__(self, field, value)


def _count(value: Any, name: str) -> int:
    count = whole(value, name)
    number(count, name, NONNEGATIVE)  # of which a power can be taken
    return count


def _metric(metric: Any, name: str) -> float:
    metric = scalar(metric)
    if isinstance(metric, Real) and not isinstance(metric, bool):
        try:
            return float(metric)
        except OverflowError:
            return math.inf
    return number(metric, name, FINITE)
