"""Yogi: Adam whose second moment grows and falls by steps of its own."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def yogi(w: Any, g: Any, m: Any, v: Any, step: Any, keep1: Any, take1: Any, take2: Any, eps: Any) -> Any:
    square = g * g
    m = keep1 * m + take1 * g
    v = v - take2 * np.sign(v - square) * square
    return w - step * m / (np.sqrt(v) + eps), m, v


@attrs.frozen(repr=False)
class Yogi(Optimizer):
    """Yogi: Adam whose second moment changes by no more than the square that comes in.

        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g**2) * g**2
        w = w - lr * m / (sqrt(v) + epsilon)

    v begins at `initial_accumulator`. With `bias_correction`, as in Adam, m and v are divided by 1 - beta1**t
    and 1 - beta2**t; t counts the weight's own updates. Where a beta is scheduled, the product of the betas so
    far stands in for its power.

    Attributes:
        lr: learning rate (eta).
        beta1: share of the first moment that is kept.
        beta2: 1 less the share of each square that the second moment takes.
        epsilon: keeps the quotient finite; in units of the gradient.
        initial_accumulator: what v begins at.
        bias_correction: make up for moments that begin at 0, as Adam does.
        epsilon_hat: with `bias_correction`, add epsilon to the root of v instead of the corrected one's.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Nothing is corrected, as in the paper; TensorFlow Addons corrects, and adds epsilon to the root of v:
        `bias_correction=True, epsilon_hat=True`.

    References:
        Zaheer, Reddi, Sachan, Kale and Kumar, "Adaptive Methods for Nonconvex Optimization", 2018.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Yogi(0.1, beta2=0.75, epsilon=0.0, initial_accumulator=0.0))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.98, -1.98])
    """

    lr: Schedulable = rate(1e-2)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-3)
    initial_accumulator: Schedulable = nonnegative(1e-6)
    bias_correction: bool = flag(False)
    epsilon_hat: bool = flag(False)

    slots: ClassVar = ("m", "v")
    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}
    formula: ClassVar = staticmethod(yogi)

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"v": self.at(state).initial_accumulator}

    def coefficients(self, state: OptimizationState, t: int, correction1: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        take1, take2 = 1 - now.beta1, 1 - now.beta2
        correction1 = corrected(correction1, now.beta1)
        correction2 = corrected(correction2, now.beta2)
        root = sqrt(correction2) if self.bias_correction else 1.0
        return {
            "correction1": correction1,
            "correction2": correction2,
            "step": now.lr * root / correction1 if self.bias_correction else now.lr,
            "keep1": now.beta1,
            "take1": take1,
            "take2": take2,
            "eps": now.epsilon if self.epsilon_hat else now.epsilon * root,
        }
