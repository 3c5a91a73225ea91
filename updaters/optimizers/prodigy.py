"""Prodigy: Adam that estimates its own learning rate from the distance a weight has to go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.checks import AT_LEAST_ONE, BELOW_ONE
from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import choice, flag, fraction, hyperparameter, nonnegative, positive, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


@attrs.frozen(repr=False)
class Prodigy(Optimizer):
    """Prodigy: Adam at a rate that is estimated, for each weight, from how far it has to go (d).

        r = beta3 * r + (d / d0) * d * lr * <g, w0 - w>
        s = beta3 * s + (d / d0) * d * lr * g
        m = beta1 * m + (1 - beta1) * d * g
        v = beta2 * v + (1 - beta2) * (d * g)**2
        w = w - d * lr * (m / (sqrt(v) + d * epsilon) + weight_decay * w)
        d = max(d, d_coefficient * r / sum(abs(s)))

    w0 is the weight before its first update. d and r are float64 numbers on the weight's device, and the sums are
    the same whatever the number of threads.

    Attributes:
        lr: a factor on the estimated rate (gamma); 1, or a schedule that falls from 1.
        beta1: share of the first moment that is kept.
        beta2: share of the second moment that is kept.
        beta3: share of r and s that is kept, or None for the root of beta2.
        epsilon: keeps the quotient finite; in units of the gradient.
        d0: the first estimate of the distance, far below what is expected.
        d_coefficient: a factor on every estimate, the one thing to tune.
        growth_rate: d grows by at most this factor in an update after its first growth, or None for no bound.
        bias_correction: multiply lr by Adam's sqrt(1 - beta2**t) / (1 - beta1**t).
        safeguard_warmup: leave lr out of s, so that a warm-up from small rates does not inflate the estimate.
        decay: `"inside"` is as above; `"l2"` adds the decay to the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Each weight has a distance of its own. The authors' code has one for all weights of a model, and with a
        single weight gives these numbers but for epsilon, which it multiplies by the new d and the paper by the old.

    References:
        Mishchenko and Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2024, arXiv:2306.06101.

    Example:
        >>> weight = np.array([3.0, 4.0])
        >>> update = up.get_updater(up.Prodigy())
        >>> for _ in range(100):
        ...     update("w", weight - 1.0, weight)
        >>> bool(abs(weight - 1.0).max() < 0.1)
        True
    """

    lr: Schedulable = rate(1.0)
    beta1: Schedulable = fraction(0.9)
    beta2: Schedulable = fraction(0.999)
    beta3: Schedulable | None = hyperparameter(None, BELOW_ONE, optional=True)
    epsilon: Schedulable = nonnegative(1e-8)
    d0: Schedulable = positive(1e-6)
    d_coefficient: Schedulable = positive(1.0)
    growth_rate: Schedulable | None = hyperparameter(None, AT_LEAST_ONE, optional=True)
    bias_correction: bool = flag(False)
    safeguard_warmup: bool = flag(False)
    decay: Literal["inside", "l2"] = choice("inside", "l2", default="inside")  # type: ignore[assignment]  # others' differ

    slots: ClassVar = ("m", "v", "s", "start")
    numbers: ClassVar = ("d", "d_max", "r")
    scalars: ClassVar = {"correction1": 0.0, "correction2": 0.0}

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        d0 = self.at(state).d0
        return {"start": "w", "d": d0, "d_max": d0}

    @staticmethod
    def formula(
        w: Any, g: Any, m: Any, v: Any, s: Any, start: Any, d: Any, d_max: Any, r: Any, lr: Any, lr_of_s: Any,
        keep1: Any, take1: Any, keep2: Any, take2: Any, keep3: Any, eps: Any, decay: Any, d0: Any, factor: Any, growth: Any,
    ) -> Any:  # fmt: skip
        r = keep3 * r + d / d0 * d * lr * np.vdot(g, start - w)
        s = keep3 * s + d / d0 * d * lr_of_s * g
        m = keep1 * m + d * take1 * g
        v = keep2 * v + d * d * take2 * (g * g)
        w = w - d * lr * (m / (np.sqrt(v) + d * eps) + decay * w)
        size = np.sum(np.abs(s))
        estimate = np.where(size > 0, factor * r / size, d)
        d_max = np.maximum(d_max, estimate)
        d = np.minimum(d_max, growth * np.where(d == d0, np.maximum(d, estimate), d))
        return w, m, v, s, start, d, d_max, r

    def coefficients(self, state: OptimizationState, t: int, correction1: float, correction2: float) -> dict[str, float]:
        now = self.at(state)
        keep1, keep2 = now.beta1, now.beta2
        take1, take2 = 1 - keep1, 1 - keep2
        correction1 = corrected(correction1, keep1)
        correction2 = corrected(correction2, keep2)
        lr = now.lr * (math.sqrt(correction2) / correction1 if self.bias_correction else 1.0)
        return {
            "correction1": correction1,
            "correction2": correction2,
            "lr": lr,
            "lr_of_s": 1.0 if self.safeguard_warmup else lr,
            "keep1": keep1,
            "take1": take1,
            "keep2": keep2,
            "take2": take2,
            "keep3": math.sqrt(keep2) if now.beta3 is None else now.beta3,
            "eps": now.epsilon,
            "decay": now.weight_decay if self.decay == "inside" and now.weight_decay is not None else 0.0,
            "d0": now.d0,
            "factor": now.d_coefficient,
            "growth": math.inf if now.growth_rate is None else now.growth_rate,
        }
