"""AdaBelief: Adam that trusts gradients as far as it has foreseen them."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def adabelief(
    w: Any, g: Any, m: Any, s: Any, step: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, added: Any, eps: Any
) -> Any:
    surprise = keep1 * (g - m)  # g less the new m, without its rounding
    m = keep1 * m + take1 * g
    s = keep2 * s + take2 * (surprise * surprise) + added
    return w - step * m / (np.sqrt(s) + eps), m, s


@attrs.frozen(repr=False)
class AdaBelief(Optimizer):
    """AdaBelief: steps along the mean gradient, scaled per element by how far gradients stray from it.

        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m)**2 + epsilon
        w = w - lr * m_hat / (sqrt(s_hat) + epsilon)
        m_hat = m / (1 - beta1**t),  s_hat = s / (1 - beta2**t)

    t counts the weight's own updates. Where a beta is scheduled, the product of the betas so far stands in
    for its power.

    Attributes:
        lr: learning rate (alpha).
        beta1: share of the first moment that is kept.
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; the same number in units of the squared gradient, in s at every
            update, and of the gradient, in the quotient.
        epsilon_hat: add the quotient's epsilon to the root of s instead of s_hat.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Both epsilons are the paper's. MXNet, whose epsilon is 1e-6, adds the quotient's before the bias correction,
        `epsilon_hat=True`.

    References:
        Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020,
        arXiv:2010.07468.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.AdaBelief(0.1, beta1=0.5))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.8, -1.8])
    """

    lr: Schedulable = rate(1e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-16)
    epsilon_hat: bool = flag(False)

    slots: ClassVar = ("m", "s")
    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}
    formula: ClassVar = staticmethod(adabelief)

    def coefficients(self, state: OptimizationState, t: int, correction1: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        take1, take2 = 1 - now.beta1, 1 - now.beta2
        correction1 = corrected(correction1, now.beta1)
        correction2 = corrected(correction2, now.beta2)
        root = sqrt(correction2)
        return {
            "correction1": correction1,
            "correction2": correction2,
            "step": now.lr * root / correction1,
            "keep1": now.beta1,
            "take1": take1,
            "keep2": now.beta2,
            "take2": take2,
            "added": now.epsilon,
            "eps": now.epsilon if self.epsilon_hat else now.epsilon * root,
        }
