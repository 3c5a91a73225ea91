"""What the systems' plateaus share: ours, for a number, that makes no reduction too small to matter."""

from __future__ import annotations

from math import copysign, isfinite
from typing import Any, TypeVar

import attrs

from updaters.checks import NONNEGATIVE, number
from updaters.compat._arguments import build
from updaters.compat._schedules import base_rate, check_no_optimizer
from updaters.schedules.fields import value_in
from updaters.schedules.plateau import Plateau
from updaters.state import OptimizationState


@attrs.define(repr=False, unsafe_hash=True, on_setattr=attrs.setters.frozen)
class RatePlateau(Plateau):
    """A `Plateau` for a number, which makes no reduction of `eps` or less, with the systems' names for what it does."""

    eps: float = value_in(default=1e-8, kw_only=True)

    def __attrs_post_init__(self) -> None:
        number(self.inner, f"{type(self).__name__}.inner", NONNEGATIVE)

    @property
    def in_cooldown(self) -> bool:
        """Whether the next metric is not held against the rate."""
        return self.cooling > 0

    def step(self, metrics: Any) -> None:
        """Take a new metric into account; a number, or an array of one, in which NaN and infinity are bad.

        Raises:
            TypeError: it is no real number.
        """
        self.observe(metrics)

    def observe(self, metric: Any) -> None:
        """Do as `step` does."""
        anywhere = OptimizationState()
        rate, reductions = self(anywhere), self.reductions
        Plateau.observe(self, metric)
        if rate - self(anywhere) <= self.eps:
            self._remember(self.best, self.bad, self.cooling, reductions)

    def is_better(self, metric: float) -> bool:
        """Whether a metric would be better than the best so far."""
        if not self.relative or self.best is None or not isfinite(metric):
            return Plateau.is_better(self, metric)
        margin = copysign(self.threshold, self.best)  # PyTorch's product, as a difference may be rounded the other way
        return metric < self.best * (1.0 - margin) if self.mode == "min" else metric > self.best * (1.0 + margin)


Kind = TypeVar("Kind", bound=RatePlateau)


def rate_plateau(kind: type[Kind], called: str, names: dict[str, str], lr: object, threshold_mode: object, **fields: Any) -> Kind:
    """A plateau from a system's arguments, of which `names` has those that are called otherwise there."""
    name = f"{called}.{names['inner']}"
    check_no_optimizer(lr, name)
    if callable(lr) and not isinstance(lr, type):
        raise TypeError(f"{name} must be a number, got {lr!r}; updaters.learning_rate.Plateau takes a schedule")
    if threshold_mode not in ("rel", "abs"):
        raise ValueError(f"{called}.threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
    names = {"floor": "min_lr", **names}
    return build(kind, called, names, inner=base_rate(lr, name), relative=threshold_mode == "rel", **fields)
