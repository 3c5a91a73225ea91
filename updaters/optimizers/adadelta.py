"""Adadelta: steps in units of past steps."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def adadelta(w: Any, g: Any, s: Any, d: Any, lr: Any, keep: Any, take: Any, eps: Any) -> Any:
    s = keep * s + take * (g * g)
    step = g * np.sqrt(d + eps) / np.sqrt(s + eps)
    d = keep * d + take * (step * step)
    return w - lr * step, s, d


@attrs.frozen(repr=False)
class Adadelta(Optimizer):
    """Adadelta: gradients over their root mean square, times that of past steps.

        s = rho * s + (1 - rho) * g**2
        step = g * sqrt(d + epsilon) / sqrt(s + epsilon)
        d = rho * d + (1 - rho) * step**2
        w = w - lr * step

    Attributes:
        lr: factor of every step; d does not know it.
        rho: share of the mean squares that is kept.
        epsilon: what the first steps are made of; in units of the squared gradient, and of the squared step. At
            0 nothing ever moves, and an element whose gradients were all 0 becomes NaN.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        PyTorch, OneFlow and MXNet keep 0.9 of the mean squares. Keras has a learning rate of 0.001, a thousandth
        of everybody else's, and epsilon 1e-7; MXNet 1 has none. All have epsilon inside the roots.

    References:
        Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Adadelta(rho=0.75, epsilon=1e-2))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.81430466, -1.80388386])
    """

    lr: Schedulable = rate(1.0)
    rho: Schedulable = fraction(0.95)
    epsilon: Schedulable = nonnegative(1e-6)

    slots: ClassVar = ("s", "d")
    formula: ClassVar = staticmethod(adadelta)

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {"lr": now.lr, "keep": now.rho, "take": 1 - now.rho, "eps": now.epsilon}
