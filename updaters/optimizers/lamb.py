"""LAMB: Adam whose step is as long, for each weight, as the weight is."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import sqrt
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import choice, flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def trust_ratio(norm_w: Any, norm_u: Any, low: Any, high: Any) -> Any:
    norm_w = np.minimum(np.maximum(norm_w, low), high)
    return np.where((norm_w > 0) & (norm_u > 0), norm_w / norm_u, 1.0)


def lamb(
    w: Any, g: Any, m: Any, v: Any, lr: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, unit: Any, eps: Any,
    decay: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    u = unit * m / (np.sqrt(v) + eps) + decay * w
    ratio = trust_ratio(np.linalg.norm(w), np.linalg.norm(u), low, high)
    return w - lr * ratio * u, m, v


def lamb_with_decay_outside(
    w: Any, g: Any, m: Any, v: Any, lr: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, unit: Any, eps: Any,
    decay: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    m = keep1 * m + take1 * g
    v = keep2 * v + take2 * (g * g)
    u = unit * m / (np.sqrt(v) + eps)
    ratio = trust_ratio(np.linalg.norm(w), np.linalg.norm(u), low, high)
    return w - lr * ratio * (u + decay * w), m, v


@attrs.frozen(repr=False)
class LAMB(Optimizer):
    """LAMB, layer-wise adaptive moments: Adam's step, scaled for each weight to the weight's own length.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = m_hat / (sqrt(v_hat) + epsilon) + weight_decay * w
        w = w - lr * (norm(w) / norm(u)) * u

    m_hat and v_hat are Adam's. The ratio of the norms is 1 where one of them, within its bounds, is 0. Norms are summed
    in float64, in an order that does not depend on the number of threads.

    Attributes:
        lr: learning rate (eta), the share of its own length that a weight moves by.
        beta1: share of the first moment that is kept.
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; in units of the gradient.
        decay: `"inside"` adds `weight_decay * w` to u as above; `"outside"` adds it after the ratio's norms are taken,
            before the ratio multiplies; `"l2"` adds it to the gradient; `"decoupled"` takes `lr * weight_decay * w` off
            the weight before all else.
        bias_correction: take m_hat and v_hat, or else m and v themselves.
        min_norm: the weight's norm counts as at least this in the ratio, or None for no bound.
        max_norm: the weight's norm counts as at most this in the ratio, or None for no bound.

    Raises:
        TypeError, ValueError: a field is out of range, or `min_norm` is above `max_norm`.

    Conventions:
        The decay is inside the norm, as in the paper and in MXNet. OneFlow's is `"outside"`, Keras's `"decoupled"`.

    References:
        You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020, arXiv:1904.00962.

    Example:
        >>> weight = np.array([3.0, 4.0])
        >>> update = up.get_updater(up.LAMB(0.1))
        >>> update("w", np.array([0.5, -0.5]), weight)
        >>> weight.round(6)
        array([2.646447, 4.353553])
    """

    lr: Schedulable = rate(1e-3)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-6)
    decay: Literal["inside", "outside", "l2", "decoupled"] = choice(  # type: ignore[assignment]  # wider than others'
        "inside", "outside", "l2", "decoupled", default="inside"
    )
    bias_correction: bool = flag(True)
    min_norm: Schedulable | None = nonnegative(None, optional=True)
    max_norm: Schedulable | None = nonnegative(None, optional=True)

    slots: ClassVar = ("m", "v")
    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}

    def __attrs_post_init__(self) -> None:
        if isinstance(self.min_norm, float) and isinstance(self.max_norm, float) and self.min_norm > self.max_norm:
            raise ValueError(f"LAMB.min_norm must be at most max_norm, got {self.min_norm!r} and {self.max_norm!r}")

    @property
    def formula(self) -> Callable[..., Any]:
        return lamb_with_decay_outside if self.decay == "outside" else lamb

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
            "lr": now.lr,
            "keep1": keep1,
            "take1": take1,
            "keep2": keep2,
            "take2": take2,
            "unit": root / correction1 if self.bias_correction else 1.0,
            "eps": now.epsilon * root,
            "decay": 0.0 if now.weight_decay is None or self.decay in ("l2", "decoupled") else now.weight_decay,
            "low": 0.0 if now.min_norm is None else now.min_norm,
            "high": math.inf if now.max_norm is None else now.max_norm,
        }
