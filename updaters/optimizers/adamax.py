"""Adamax: Adam with the largest gradient so far in place of the root mean square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def adamax(w: Any, g: Any, m: Any, u: Any, step: Any, keep1: Any, take1: Any, keep2: Any, eps: Any) -> Any:
    m = keep1 * m + take1 * g
    u = np.maximum(keep2 * u, np.abs(g))
    return w - step * m / (u + eps), m, u


def adamax_inside(w: Any, g: Any, m: Any, u: Any, step: Any, keep1: Any, take1: Any, keep2: Any, eps: Any) -> Any:
    m = keep1 * m + take1 * g
    u = np.maximum(keep2 * u, np.abs(g) + eps)
    return w - step * m / u, m, u


@attrs.frozen(repr=False)
class Adamax(Optimizer):
    """Adamax: steps along the mean gradient, scaled per element by its largest size, which is slowly forgotten.

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g|)
        w = w - lr / (1 - beta1**t) * m / (u + epsilon)

    t counts the weight's own updates. Where beta1 is scheduled, the product of its values so far stands in for
    its power.

    Attributes:
        lr: learning rate (alpha).
        beta1: share of the mean gradient that is kept.
        beta2: share of the largest size that is kept.
        epsilon: keeps the quotient finite; in units of the gradient. At 0, or where the dtype rounds it to 0, an
            element whose gradients were all 0 becomes NaN.
        epsilon_inside: u = max(beta2 * u, |g| + epsilon), and the quotient is m / u.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon is in the quotient, as in MXNet and Keras (1e-7 there, and a learning rate of 0.001); PyTorch has
        it inside the maximum, `epsilon_inside=True`.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv:1412.6980, section 7.1.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Adamax(0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.9, -1.9])
    """

    lr: Schedulable = rate(2e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-8)
    epsilon_inside: bool = flag(False)

    slots: ClassVar = ("m", "u")
    scalars: ClassVar = {"correction1": 0.0}

    @property
    def formula(self) -> Callable[..., Any]:
        return adamax_inside if self.epsilon_inside else adamax

    def coefficients(self, state: OptimizationState, t: int, correction1: float) -> dict[str, float]:
        now = self.at(state)
        take1 = 1 - now.beta1
        correction1 = corrected(correction1, now.beta1)
        return {
            "correction1": correction1,
            "step": now.lr / correction1,
            "keep1": now.beta1,
            "take1": take1,
            "keep2": now.beta2,
            "eps": now.epsilon,
        }
