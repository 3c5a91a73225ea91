"""What can happen to a gradient: before its decay, as an updater's `clip`, or after it, as an optimizer's `transforms`.

A transform of one's own is a frozen value with two parts: `apply(w, g, *coefficients)`, which gives the new gradient
and is written as a rule's formula is, norms included, and `coefficients(now, state)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.arrays import as_reals
from updaters.checks import NONNEGATIVE, POSITIVE, Interval, choice, field_name, integer, number
from updaters.optimizers.base import Reading
from updaters.optimizers.fields import hyperparameter, nonnegative
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState

__all__ = ["AGC", "LARC", "ClipByGlobalNorm", "ClipByNorm", "ClipByValue"]

ANY = Interval(-math.inf)

BLOCK = 16_384
"""Elements whose squares are worked out at a time: what that takes comes from the heap and stays in the cache."""


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
        low, high = read(self.low, state, "ClipByValue.low", ANY), read(self.high, state, "ClipByValue.high", ANY)
        if low > high:
            raise ValueError(f"ClipByValue.low must be at most high, got {low!r} and {high!r} at {state!r}")
        return low, high


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
        together, which PyTorch's `clip_grad_norm_` takes, is `ClipByGlobalNorm`'s. Squares are summed in float64, those of
        a complex gradient over both its parts. A norm that is not finite, as where squares overflow, above 1e154, scales nothing.

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
        return g * np.where((norm > bound) & (norm < math.inf), bound / norm, 1.0)

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The bound at a clock."""
        return (read(self.bound, state, "ClipByNorm.bound", POSITIVE),)


def _as_order(p: Any) -> Any:
    return "inf" if p == math.inf else p  # which JSON has no number for


@attrs.frozen
class ClipByGlobalNorm:
    """All gradients of a step are shrunk together, to a norm of at most `bound`; below it, they stay as they are.

        norm = (sum of |g|**p over all elements of all weights)**(1 / p), or the largest |g| where p is infinite
        g = g * bound / (norm + epsilon)                             where norm + epsilon is above the bound

    It is a `clip` of `get_updater`, for `update.step`, which has all gradients. Weights whose gradient is None, and those that
    are frozen, count for nothing. Where `overrides` give some weights a clip of their own, its norm is theirs alone.

    Attributes:
        bound: the largest norm, above 0, in units of the gradient.
        p: the order of the norm, above 0; `"inf"` or `math.inf` for the largest magnitude.
        epsilon: added to the norm; in units of the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Without an epsilon it is TensorFlow's and Keras's, and an exact no-op below the bound. PyTorch and OneFlow add 1e-6,
        and MXNet 1e-8. A norm that is infinite or NaN scales nothing; what becomes of such gradients `nonfinite` says.
        Squares are summed in float64, for float64 gradients in two ranges, so that they do not overflow. Of complex gradients it
        is the modulus that counts.

    References:
        Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, arXiv:1211.5063.

    Example:
        >>> weights = [np.zeros(1), np.zeros(1)]
        >>> update = up.get_updater(up.SGD(1.0), clip=up.transforms.ClipByGlobalNorm(1.0))
        >>> update.step([np.array([3.0]), np.array([-4.0])], weights)
        >>> weights
        [array([-0.6]), array([0.8])]
    """

    bound: Schedulable = hyperparameter(attrs.NOTHING, POSITIVE, kw_only=False)
    p: float | Literal["inf"] = attrs.field(default=2.0, converter=_as_order, kw_only=False)
    epsilon: Schedulable = nonnegative(0.0)

    of_all: ClassVar[bool] = True

    @p.validator
    def _check_p(self, attribute: attrs.Attribute[Any], value: object) -> None:
        if value != "inf":
            number(value, field_name(self, attribute), POSITIVE, kinds=" or 'inf'")

    @property
    def order(self) -> float:
        """The order of the norm as a number."""
        return float(self.p)

    @staticmethod
    def apply(w: Any, g: Any, factor: Any) -> Any:
        """The clipped gradient."""
        return g * factor

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The factor that leaves gradients as they are: the one in force comes from the norm of all."""
        return (1.0,)

    def factor(self, norm: Any, state: OptimizationState) -> Any:
        """The factor for gradients of that norm, a float64 on the host or of no dimension on a device."""
        bound = read(self.bound, state, "ClipByGlobalNorm.bound", POSITIVE)
        size = norm + read(self.epsilon, state, "ClipByGlobalNorm.epsilon", NONNEGATIVE)
        with np.errstate(all="ignore"):  # where all gradients are 0
            return np.where((size > bound) & (norm < math.inf), bound / size, 1.0)


@attrs.frozen
class AGC:
    """Adaptive gradient clipping: each unit's gradient is shrunk to a share of its weight's norm.

        most = ratio * max(norm(w_i), epsilon)
        g_i = g_i * most / norm(g_i)                                where norm(g_i) is above it

    It is a `clip` of `get_updater`. It takes an array of the gradients' size for the time of an update.

    Attributes:
        ratio: the largest quotient of norms.
        epsilon: the least norm that a unit's weight is taken to have, so that zeros can begin to move.
        axis: the axis along which units lie: each index of it is one, with all elements of the other axes. A weight of one
            dimension or none is one unit.

    Raises:
        TypeError, ValueError: a field is out of range; or, at a weight's first update, it has no such axis.

    Conventions:
        Units lie along the first axis, as output features do in PyTorch; they are along the last in Keras and JAX. The authors
        leave out the last layer: `overrides={"head.*": {"clip": None}}`.

    References:
        Brock, De, Smith and Simonyan, "High-Performance Large-Scale Image Recognition Without Normalization", 2021,
        arXiv:2102.06171.

    Example:
        >>> weight = np.array([[3.0, 4.0], [0.0, 1.0]])
        >>> update = up.get_updater(up.SGD(1.0), clip=up.transforms.AGC(0.1))
        >>> update("w", np.array([[0.0, 5.0], [0.06, 0.08]]), weight)
        >>> weight
        array([[ 3.  ,  3.5 ],
               [-0.06,  0.92]])
    """

    ratio: Schedulable = hyperparameter(0.01, POSITIVE, kw_only=False)
    epsilon: Schedulable = hyperparameter(1e-3, POSITIVE)
    axis: int = attrs.field(default=0, kw_only=True)

    of_units: ClassVar[bool] = True

    @axis.validator
    def _check_axis(self, attribute: attrs.Attribute[Any], value: object) -> None:
        if integer(value) is None:
            raise TypeError(f"{field_name(self, attribute)} must be an integer, got {value!r}")

    def check(self, index: object, shape: tuple[int, ...]) -> None:
        """Raise unless a weight has the axis."""
        if len(shape) > 1 and not -len(shape) <= self.axis < len(shape):
            raise ValueError(f"weight {index!r}: AGC takes units along axis {self.axis}, got shape {shape}")

    def apply(self, w: Any, g: Any, ratio: float, epsilon: float) -> Any:
        """The factor of each unit, in float64, to be multiplied with the gradient."""
        most = ratio * np.maximum(self._norms(w), epsilon)
        norms = self._norms(g)
        return np.where((norms > most) & (norms < math.inf), most / norms, 1.0)

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The coefficients at a clock."""
        return read(self.ratio, state, "AGC.ratio", POSITIVE), read(self.epsilon, state, "AGC.epsilon", POSITIVE)

    def _norms(self, array: Any) -> Any:
        """Each unit's norm, in float64, in the shape that broadcasts with the array."""
        own = self.axis % array.ndim if array.ndim > 1 else None
        parts = as_reals(array)
        units = parts[np.newaxis] if own is None else np.moveaxis(parts, own, 0)
        others = tuple(range(1, units.ndim))
        count = units.shape[0]
        at_once = max(1, BLOCK * count // units.size) if isinstance(array, np.ndarray) else count
        sums = [np.square(units[i : i + at_once], dtype=np.float64).sum(axis=others) for i in range(0, count, at_once)]
        return np.sqrt(np.concatenate(sums)).reshape([-1 if axis == own else 1 for axis in range(array.ndim)])


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
