"""Adam, its AMSGrad variant, and both epsilons."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def adam(w: Any, g: Any, m: Any, v: Any, step: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any) -> Any:
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    return w - step * m / (np.sqrt(v) + eps), m, v


def amsgrad(
    w: Any, g: Any, m: Any, v: Any, v_max: Any, step: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any
) -> Any:
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    v_max = np.maximum(v_max, v)
    return w - step * m / (np.sqrt(v_max) + eps), m, v, v_max


@attrs.frozen(repr=False)
class Adam(Optimizer):
    """Adam: steps along the mean gradient, scaled per element by its root mean square.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - lr * m_hat / (sqrt(v_hat) + epsilon)
        m_hat = m / (1 - beta1**t),  v_hat = v / (1 - beta2**t)

    t counts the weight's own updates. Where a beta is scheduled, the product of the betas so far stands in
    for its power.

    Attributes:
        lr: learning rate (alpha).
        beta1: share of the first moment that is kept.
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; in units of the gradient. At 0, or where the dtype rounds it to 0, an element
            whose gradients were all 0 becomes NaN.
        amsgrad: divide by the largest second moment so far, v_max = max(v_max, v), in place of v.
        epsilon_hat: add epsilon to the root of v instead of v_hat.
        bias_correction: take m_hat and v_hat, or else m and v themselves.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon is Algorithm 1's: outside the root, after the bias correction, as in PyTorch and OneFlow.
        MXNet, Keras and TensorFlow compute lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + epsilon)
        (the "epsilon hat" that the paper mentions before section 2.1): `epsilon_hat=True`, and in Keras
        epsilon 1e-7. Weight decay, where asked for, is added to the gradient unless `decay="decoupled"`;
        Keras's is decoupled. AMSGrad compares second moments before their correction, as all do.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv:1412.6980; Reddi, Kale and
        Kumar, "On the Convergence of Adam and Beyond", 2018, arXiv:1904.09237.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Adam(0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.9, -1.9])
    """

    lr: Schedulable = rate(1e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-8)
    amsgrad: bool = flag(False)
    epsilon_hat: bool = flag(False)
    bias_correction: bool = flag(True)

    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}

    @property
    def slots(self) -> tuple[str, ...]:
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    @property
    def formula(self) -> Callable[..., Any]:
        return amsgrad if self.amsgrad else adam

    def coefficients(self, state: OptimizationState, t: int, correction1: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        keep1, keep2 = now.beta1, now.beta2
        take1, take2 = 1 - keep1, 1 - keep2
        correction1 = corrected(correction1, keep1)
        correction2 = corrected(correction2, keep2)
        root = sqrt(correction2) if self.bias_correction else 1.0
        return {
            "correction1": correction1,
            "correction2": correction2,
            "step": now.lr * root / correction1 if self.bias_correction else now.lr,
            "keep1": keep1,
            "take1": take1,
            "keep2": keep2,
            "take2": take2,
            "eps": now.epsilon if self.epsilon_hat else now.epsilon * root,
        }
