"""What the systems' plateaus share: ours, for a number, under their names, and with reductions that are too small to be made."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from updaters.checks import choice
from updaters.schedules.fields import value_in
from updaters.schedules.plateau import Plateau
from updaters.state import OptimizationState


def renamed(name: str) -> Any:
    """A field of `Plateau` that has another name in a system."""
    return attrs.field(init=False, default=attrs.Factory(lambda plateau: getattr(plateau, name), takes_self=True))


@attrs.define(repr=False, unsafe_hash=True, on_setattr=attrs.setters.frozen)
class RatePlateau(Plateau):
    """A `Plateau` for a number, which makes no reduction of `eps` or less.

    A subclass has a field for the number, and says so by `inner = renamed(...)`.
    """

    threshold_mode: Literal["rel", "abs"] = choice("rel", "abs", default="rel")
    min_lr: float = value_in(default=0.0, kw_only=True)
    eps: float = value_in(default=1e-8, kw_only=True)
    relative: bool = attrs.field(
        init=False, default=attrs.Factory(lambda plateau: plateau.threshold_mode == "rel", takes_self=True)
    )
    floor: float = renamed("min_lr")

    def step(self, metrics: float) -> None:
        """Take a new metric into account; a number, or an array of one, in which NaN and infinity are bad.

        Raises:
            TypeError: it is no real number.
        """
        self.observe(metrics)

    def observe(self, metric: float) -> None:
        """Do as `step` does."""
        before, reductions = self._rate(), self.reductions
        super().observe(metric)
        if before - self._rate() <= self.eps:
            self._remember(self.best, self.bad, self.cooling, reductions)

    def _rate(self) -> float:
        return self(OptimizationState())
