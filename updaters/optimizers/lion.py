"""Lion: steps of one size, along the sign of a moving average."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, fraction, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def lion(w: Any, g: Any, m: Any, lr: Any, keep1: Any, take1: Any, keep2: Any, take2: Any) -> Any:
    step = np.sign(keep1 * m + take1 * g)
    return w - lr * step, keep2 * m + take2 * g


@attrs.frozen(repr=False)
class Lion(Optimizer):
    """Lion: every element moves by the learning rate, along the sign of its mean gradient.

        w = w - lr * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Attributes:
        lr: learning rate (eta), the size of each step.
        beta1: share of the mean in the direction of a step.
        beta2: share of the mean that is kept.
        decay: `"decoupled"` takes `lr * weight_decay * w` off the weight before the rule; `"l2"` adds
            `weight_decay * w` to the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        The step is taken with the mean as it was, which is then brought up to date, as in Keras. The sign of 0 is
        0. Weight decay, where asked for, is decoupled, as in the paper.

    References:
        Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Lion(0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.9, -1.9])
    """

    lr: Schedulable = rate(1e-4)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.99)
    decay: Literal["l2", "decoupled"] = choice("l2", "decoupled", default="decoupled")

    slots: ClassVar = ("m",)
    formula: ClassVar = staticmethod(lion)

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {
            "lr": now.lr,
            "keep1": now.beta1,
            "take1": 1 - now.beta1,
            "keep2": now.beta2,
            "take2": 1 - now.beta2,
        }
