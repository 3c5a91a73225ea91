"""Nadam: Adam with Nesterov's look ahead."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.checks import BELOW_ONE
from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import fraction, hyperparameter, nonnegative, rate
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState


def nadam(
    w: Any, g: Any, m: Any, v: Any, along_m: Any, along_g: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any
) -> Any:
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    return w - (along_m * m + along_g * g) / (np.sqrt(v) + eps), m, v


@attrs.frozen(repr=False)
class Nadam(Optimizer):
    """Nadam: Adam whose step looks ahead, along a momentum that warms up.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        mu(t) = beta1 * (1 - 0.5 * 0.96**(t * momentum_decay)),  P = mu(1) * ... * mu(t)
        m_bar = mu(t + 1) * m / (1 - P * mu(t + 1)) + (1 - mu(t)) * g / (1 - P)
        w = w - lr * m_bar / (sqrt(v_hat) + epsilon),  v_hat = v / (1 - beta2**t)

    t counts the weight's own updates. Where beta2 is scheduled, the product of its values so far stands in for
    its power.

    Attributes:
        lr: learning rate (alpha).
        beta1: share of the first moment that is kept, and what mu approaches.
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; in units of the gradient. At 0, or where the dtype rounds it to 0, an element
            whose gradients were all 0 becomes NaN.
        momentum_decay: how fast mu approaches beta1 (psi).
        momentum: stands in for mu, in [0, 1), or None for the curve above. A scheduler is asked for mu(t) at the
            clock, and for mu(t + 1) at `state.ahead(1)`.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        The first moment decays with beta1, not with mu, as in all systems. P is kept per weight, as in PyTorch;
        MXNet multiplies one P for all weights once for each of them. MXNet.jl raises 0.96 to the clock's iteration,
        `momentum=momentum.Nadam(mu0=beta1)`, and its beta1 is 0.99. Keras's momentum_decay is 1.

    References:
        Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Nadam(0.1, momentum=0.5, epsilon=0))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.89333333, -1.89333333])
    """

    lr: Schedulable = rate(2e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-8)
    momentum_decay: Schedulable = nonnegative(0.004)
    momentum: Schedulable | None = hyperparameter(None, BELOW_ONE, optional=True)

    slots: ClassVar = ("m", "v")
    scalars: ClassVar = {"product": 1.0, "correction2": 0.0}
    formula: ClassVar = staticmethod(nadam)

    def coefficients(self, state: OptimizationState, t: int, product: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        if self.momentum is None:
            mu, ahead = (now.beta1 * (1 - 0.5 * 0.96 ** (k * now.momentum_decay)) for k in (t, t + 1))
        else:
            mu, ahead = now.momentum, read(self.momentum, state.ahead(1), "Nadam.momentum", BELOW_ONE)
        take1, take2 = 1 - now.beta1, 1 - now.beta2
        product *= mu
        correction2 = corrected(correction2, now.beta2)
        step = now.lr * sqrt(correction2)
        return {
            "product": product,
            "correction2": correction2,
            "along_m": step * ahead / (1 - product * ahead),
            "along_g": step * (1 - mu) / (1 - product),
            "keep1": now.beta1,
            "take1": take1,
            "keep2": now.beta2,
            "take2": take2,
            "eps": now.epsilon * sqrt(correction2),
        }
