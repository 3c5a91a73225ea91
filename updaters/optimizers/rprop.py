"""Rprop: step sizes per element that grow and shrink by the signs of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.checks import INSIDE_UNIT, Interval
from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import hyperparameter, nonnegative, positive, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState

ABOVE_ONE = Interval(low=1.0, low_closed=False)


def rprop(w: Any, g: Any, gradient: Any, factor: Any, lr: Any, shrink: Any, grow: Any, low: Any, high: Any) -> Any:
    agreement = np.sign(g) * np.sign(gradient)  # of the signs, since a product of small gradients would underflow
    change = np.where(agreement > 0.0, grow, np.where(agreement < 0.0, shrink, 1.0))
    factor = np.minimum(np.maximum(factor * change, low), high)
    gradient = np.where(agreement < 0.0, 0.0, g)
    return w - lr * factor * np.sign(gradient), gradient, factor


@attrs.frozen(repr=False)
class Rprop(Optimizer):
    """Rprop: each element has a step size of its own, and of gradients only the signs count.

        factor = factor * grow              where the gradient has its last sign
        factor = factor * shrink            where it has the other sign; the gradient then counts as 0
        factor = factor within [min_step / lr, max_step / lr]
        w = w - lr * factor * sign(g)

    factor begins at 1. It stays as it is where this gradient or the last was 0 or counted as 0.

    Attributes:
        lr: the first step's size; a schedule scales all step sizes at once. At 0 nothing moves.
        shrink: what a step size is multiplied by after a change of sign (eta minus), in (0, 1).
        grow: what it is multiplied by otherwise (eta plus), above 1.
        min_step: the least step size.
        max_step: the largest step size.

    Raises:
        TypeError, ValueError: a field is out of range, or `min_step` is above `max_step`.

    Conventions:
        While the learning rate stands still this is PyTorch's, which keeps step sizes in place of factors, and
        reads the learning rate once, for the first. It is for gradients of whole data sets: those of mini-batches
        change their signs by chance.

    References:
        Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
        1993.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Rprop(0.1))
        >>> for _ in range(2):
        ...     update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.78, -1.78])
    """

    lr: Schedulable = rate(0.01)
    shrink: Schedulable = hyperparameter(0.5, INSIDE_UNIT)
    grow: Schedulable = hyperparameter(1.2, ABOVE_ONE)
    min_step: Schedulable = nonnegative(1e-6)
    max_step: Schedulable = positive(50.0)

    slots: ClassVar = ("gradient", "factor")
    formula: ClassVar = staticmethod(rprop)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.min_step, float) and isinstance(self.max_step, float) and self.min_step > self.max_step:
            raise ValueError(f"Rprop.min_step must be at most max_step, got {self.min_step!r} and {self.max_step!r}")

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"factor": 1.0}

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        low, high = (now.min_step / now.lr, now.max_step / now.lr) if now.lr else (0.0, inf)
        return {"lr": now.lr, "shrink": now.shrink, "grow": now.grow, "low": low, "high": high}
