"""RAdam: Adam that waits until its second moment means something."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def radam(
    w: Any, g: Any, m: Any, v: Any, step: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any, low: Any, high: Any
) -> Any:
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    # Bounds of 1 and 1 turn the root off exactly, even an infinite one.
    return w - step * m / np.maximum(np.minimum(np.sqrt(v) + eps, high), low), m, v


@attrs.frozen(repr=False)
class RAdam(Optimizer):
    """RAdam: Adam, rectified for the few gradients that its first second moments know.

        m = beta1 * m + (1 - beta1) * g,        m_hat = m / (1 - beta1**t)
        v = beta2 * v + (1 - beta2) * g**2,     v_hat = v / (1 - beta2**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        w = w - lr * r * m_hat / (sqrt(v_hat) + epsilon)    where rho > 5, else
        w = w - lr * m_hat

    t counts the weight's own updates. Where a beta is scheduled, the product of the betas so far stands in
    for its power, and rho_inf is the current beta2's. The steps before rho exceeds 5 are divided by nothing, so
    the learning rate has to suit gradients of their size.

    Attributes:
        lr: learning rate (alpha).
        beta1: share of the first moment that is kept.
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; in units of the gradient. At 0, or where the dtype rounds it to 0, an element
            whose gradients were all 0 becomes NaN once steps are rectified.
        epsilon_hat: add epsilon to the root of v instead of v_hat.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon is where Adam has it, outside the root, after the bias correction; PyTorch adds it before,
        `epsilon_hat=True`. As there, the first steps (five, with beta2 0.999) follow the mean gradient as it is,
        and are as long as SGD's; the paper begins to rectify at rho > 4.

    References:
        Liu, Jiang, He, Chen, Liu, Gao and Han, "On the Variance of the Adaptive Learning Rate and Beyond", 2020,
        arXiv:1908.03265.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.RAdam(0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.95, -1.9 ])
    """

    lr: Schedulable = rate(1e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-8)
    epsilon_hat: bool = flag(False)

    slots: ClassVar = ("m", "v")
    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}
    formula: ClassVar = staticmethod(radam)

    def coefficients(self, state: OptimizationState, t: int, correction1: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        take1, take2 = 1 - now.beta1, 1 - now.beta2
        correction1 = corrected(correction1, now.beta1)
        correction2 = corrected(correction2, now.beta2)
        root = sqrt(correction2)
        rho_inf = 2 / take2 - 1
        rho = rho_inf - 2 * t * (1 - correction2) / correction2
        step, low, high = now.lr / correction1, 1.0, 1.0
        if rho > 5:
            low, high = 0.0, inf
            step *= root * sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        return {
            "correction1": correction1,
            "correction2": correction2,
            "step": step,
            "keep1": now.beta1,
            "take1": take1,
            "keep2": now.beta2,
            "take2": take2,
            "eps": now.epsilon if self.epsilon_hat else now.epsilon * root,
            "low": low,
            "high": high,
        }
