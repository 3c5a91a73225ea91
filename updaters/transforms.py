"""What can happen to a gradient between its decay and the rule: an optimizer's `transforms`.

A transform of one's own is a frozen value with two parts: `apply(w, g, *coefficients)`, which gives the new gradient
and is written as a rule's formula is, norms included, and `coefficients(now, state)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import attrs
import numpy as np

from updaters.checks import POSITIVE, Interval, choice
from updaters.optimizers.base import Reading
from updaters.optimizers.fields import hyperparameter, nonnegative
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState

__all__ = ["LARC", "ClipByNorm", "ClipByValue"]

ANY = Interval(-math.inf)


@attrs.frozen
class ClipByValue:
    """Each element of the gradient is clipped to [low, high].

    Attributes:
        low: the lower bound.
        high: the upper bound.

    Raises:
        TypeError, ValueError: a bound is no finite number or scheduler, or the lower is above the upper.

    Conventions:
        `Optimizer.grad_clip` clips to a symmetrical interval before any decay, as most systems do. TensorLayerX
        over TensorFlow clips after it, as this does.

    Example:
        >>> optimizer = up.SGD(0.1, transforms=up.transforms.ClipByValue(-1, 2))
        >>> up.normalized_gradient(optimizer, up.OptimizationState(), np.zeros(2), np.array([-5.0, 5.0]))
        array([-1.,  2.])
    """

    low: Schedulable = hyperparameter(attrs.NOTHING, ANY, kw_only=False)
    high: Schedulable = hyperparameter(attrs.NOTHING, ANY, kw_only=False)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.low, float) and isinstance(self.high, float) and self.low > self.high:
            raise ValueError(f"ClipByValue.low must be at most high, got {self.low!r} and {self.high!r}")

    @staticmethod
    def apply(w: Any, g: Any, low: Any, high: Any) -> Any:
        """The clipped gradient."""
        return np.minimum(np.maximum(g, low), high)

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The bounds at a clock."""
        return read(self.low, state, "ClipByValue.low", ANY), read(self.high, state, "ClipByValue.high", ANY)


@attrs.frozen
class ClipByNorm:
    """The gradient of each weight is shrunk to a norm of at most `bound`; below it, it stays as it is.

        g = g * bound / max(norm(g), bound)

    Attributes:
        bound: the largest norm, above 0, in units of the gradient.

    Raises:
        TypeError, ValueError: the bound is no number above 0 and no scheduler.

    Conventions:
        Each weight's own norm, as Keras's `clipnorm` and TensorFlow's `clip_by_norm` take it. The norm of all weights
        together is another thing, which PyTorch's `clip_grad_norm_` takes. Squares are summed in float64, those of
        a complex gradient over both its parts; where even these overflow, above 1e154, the gradient becomes 0.

    References:
        Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, arXiv:1211.5063.

    Example:
        >>> optimizer = up.SGD(0.1, transforms=up.transforms.ClipByNorm(1.0))
        >>> up.normalized_gradient(optimizer, up.OptimizationState(), np.zeros(2), np.array([-3.0, 4.0]))
        array([-0.6,  0.8])
    """

    bound: Schedulable = hyperparameter(attrs.NOTHING, POSITIVE, kw_only=False)

    @staticmethod
    def apply(w: Any, g: Any, bound: Any) -> Any:
        """The clipped gradient."""
        norm = np.linalg.norm(g)
        return g * np.where(norm > bound, bound / norm, 1.0)

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The bound at a clock."""
        return (read(self.bound, state, "ClipByNorm.bound", POSITIVE),)


def _larc_ratio(w: Any, g: Any, eta: Any, epsilon: Any) -> Any:
    size = np.linalg.norm(g) + epsilon
    return np.where(size > 0, eta * np.linalg.norm(w) / size, 1.0)


def _larc_clip(w: Any, g: Any, eta: Any, lr: Any, least: Any, epsilon: Any) -> Any:
    ratio = _larc_ratio(w, g, eta, epsilon)
    return g * np.where(ratio < lr, np.minimum(1.0, np.maximum(ratio / lr, least)), 1.0)  # 1 where lr is 0


def _larc_scale(w: Any, g: Any, eta: Any, lr: Any, least: Any, epsilon: Any) -> Any:
    return g * np.maximum(_larc_ratio(w, g, eta, epsilon), least)


@attrs.frozen
class LARC:
    """Layer-wise adaptive rate control: the gradient is scaled by the ratio of the weight's norm to its own.

        ratio = eta * norm(w) / (norm(g) + epsilon)
        g = g * max(ratio, min_update)                          for mode "scale"
        g = g * min(1, max(ratio / lr, min_update))             for mode "clip"

    Attributes:
        eta: the share of the weight's norm that a step may have.
        mode: `"clip"` bounds the effective learning rate by the ratio, `"scale"` multiplies by it.
        min_update: the least factor.
        epsilon: keeps the quotient finite; in units of the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        As OpenSeq2Seq has it: no decay in the ratio, and a weight of zeros gets the least factor, so a bias that
        begins at 0 hardly moves. LARS, which scales the learning rate, gives such a weight the ratio 1.

    References:
        Ginsburg, Gitman and You, "Large Batch Training of Convolutional Networks with Layer-wise Adaptive Rate
        Scaling", 2018.

    Example:
        >>> optimizer = up.SGD(0.1, transforms=up.transforms.LARC(0.01))
        >>> up.normalized_gradient(optimizer, up.OptimizationState(), np.ones(4), np.full(4, 2.0))
        array([0.1, 0.1, 0.1, 0.1])
    """

    eta: Schedulable = nonnegative(attrs.NOTHING, kw_only=False)
    mode: Literal["clip", "scale"] = choice("clip", "scale", default="clip")
    min_update: Schedulable = nonnegative(1e-7)
    epsilon: Schedulable = nonnegative(1e-7)

    @property
    def apply(self) -> Any:
        """The function that scales the gradient."""
        return _larc_clip if self.mode == "clip" else _larc_scale

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The coefficients at a clock."""
        interval = Interval()
        eta, least, epsilon = (
            read(getattr(self, name), state, f"LARC.{name}", interval) for name in ("eta", "min_update", "epsilon")
        )
        return eta, now.lr, least, epsilon
