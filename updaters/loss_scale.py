"""Loss scales: what a loss is multiplied by, so that half-precision gradients do not underflow, and how that moves.

A loss scale is a frozen value. What moves is kept by whoever uses it, as numbers by name: `initial` gives what to begin with, and
`after` what is kept after a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Protocol

import attrs

from updaters.checks import BELOW_ONE, INSIDE_UNIT, POSITIVE, Interval
from updaters.schedules.fields import units, value_in

__all__ = ["Backoff", "GrowthInterval", "LogMax", "LossScale", "Static"]

ABOVE_ONE = Interval(low=1.0, low_closed=False)
EXPONENT = Interval(high=1024.0, low_closed=False)


class LossScale(Protocol):
    """What a loss is multiplied by, as a rule that says how it moves from step to step.

    Attributes:
        moves: whether the scale ever changes.
        needs_peak: whether `after` goes by the largest magnitude of the gradients.
    """

    @property
    def moves(self) -> bool: ...

    @property
    def needs_peak(self) -> bool: ...

    def initial(self) -> dict[str, float]:
        """What is kept before the first step, by name; `"scale"` is the scale."""
        ...

    def after(self, kept: Mapping[str, float], finite: bool, peak: float | None) -> dict[str, float]:
        """What is kept after a step.

        Args:
            kept: what was kept before it, which is only read.
            finite: whether all gradients were finite; a step whose were not is to be skipped.
            peak: the largest magnitude of all gradients once they are divided by the scale. None will do where they were not
                finite, or no peak is needed.
        """
        ...


def _within(scale: float, low: float, high: float) -> float:
    return min(max(scale, low), high)


def _check_order(value: object, *names: str) -> None:
    """Raise where the fields of these names are not in increasing order."""
    for lower, upper in pairwise(names):
        low, high = getattr(value, lower), getattr(value, upper)
        if low > high:
            raise ValueError(f"{type(value).__name__}.{lower} must be at most {upper}, got {low!r} and {high!r}")


def _by_clean_steps(
    kept: Mapping[str, float], finite: bool, lower: float, higher: float, interval: int, low: float, high: float
) -> dict[str, float]:
    """The lower scale after an overflow, the higher one once there have been `interval` steps without one."""
    clean = kept["clean"] + 1.0 if finite else 0.0
    grows = clean >= interval
    scale = (higher if grows else kept["scale"]) if finite else lower
    return {"scale": _within(scale, low, high), "clean": 0.0 if grows else clean}


@attrs.frozen
class Static:
    """A loss scale that stays as it is.

    Attributes:
        scale: the scale, above 0.

    Raises:
        TypeError, ValueError: the scale is no finite number above 0.

    Conventions:
        A power of 2 loses no digits, neither where the loss is multiplied nor where gradients are divided.

    References:
        Micikevicius et al., "Mixed Precision Training", 2018, arXiv:1710.03740.

    Example:
        >>> up.loss_scale.Static(128).initial()
        {'scale': 128.0}
    """

    moves: ClassVar[bool] = False
    needs_peak: ClassVar[bool] = False

    scale: float = value_in(POSITIVE)

    def initial(self) -> dict[str, float]:
        """The scale."""
        return {"scale": self.scale}

    def after(self, kept: Mapping[str, float], finite: bool, peak: float | None) -> dict[str, float]:
        """The scale."""
        return self.initial()


@attrs.frozen
class GrowthInterval:
    """A loss scale that falls at each overflow and grows after an interval without one.

        scale = max(scale * backoff_factor, min_scale)          where a gradient is not finite
        scale = min(scale * growth_factor, max_scale)           after growth_interval finite steps in a row, again and again

    What is kept are the scale and `clean`, the finite steps since it last moved.

    Attributes:
        initial_scale: the scale of the first step.
        growth_factor: what the scale grows by, above 1.
        backoff_factor: what an overflow multiplies the scale by, strictly between 0 and 1.
        growth_interval: how many finite steps in a row it grows after.
        min_scale: below which no overflow takes the scale, above 0.
        max_scale: above which it does not grow.

    Raises:
        TypeError, ValueError: a field is out of range; or the three scales are not in order.

    Conventions:
        The numbers are those of PyTorch's `GradScaler`, which has no bounds but float32's: enough overflows make its
        scale 0 for good. Keras's `LossScaleOptimizer` begins at 2**15 and has no bounds either, so that its scale may become
        infinite too. The upper bound is that of MXNet's `amp`, which has no lower one, and where a new scale is first used
        a step later. The lower one is that of OneFlow's `DynamicLossScale`, whose upper one is the largest float32.

    References:
        Micikevicius et al., "Mixed Precision Training", 2018, arXiv:1710.03740.

    Example:
        >>> rule = up.loss_scale.GrowthInterval(1024.0, growth_interval=2)
        >>> kept = rule.initial()
        >>> for finite in (False, True, True, True):
        ...     kept = rule.after(kept, finite, None)
        ...     print(kept["scale"])
        512.0
        512.0
        1024.0
        1024.0
    """

    moves: ClassVar[bool] = True
    needs_peak: ClassVar[bool] = False

    initial_scale: float = value_in(POSITIVE, default=2.0**16)
    growth_factor: float = value_in(ABOVE_ONE, default=2.0, kw_only=True)
    backoff_factor: float = value_in(INSIDE_UNIT, default=0.5, kw_only=True)
    growth_interval: int = units(1, default=2000, kw_only=True)
    min_scale: float = value_in(POSITIVE, default=1.0, kw_only=True)
    max_scale: float = value_in(POSITIVE, default=2.0**24, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_order(self, "min_scale", "initial_scale", "max_scale")

    def initial(self) -> dict[str, float]:
        """The initial scale, and no clean steps."""
        return {"scale": self.initial_scale, "clean": 0.0}

    def after(self, kept: Mapping[str, float], finite: bool, peak: float | None) -> dict[str, float]:
        """The scale and the count of clean steps after a step."""
        scale = kept["scale"]
        lower, higher = scale * self.backoff_factor, scale * self.growth_factor
        return _by_clean_steps(kept, finite, lower, higher, self.growth_interval, self.min_scale, self.max_scale)


@attrs.frozen
class Backoff:
    """OpenSeq2Seq's loss scale that begins at its upper bound, falls at each overflow and grows after a window without one.

        scale = max(scale / step_factor, scale_min)             where a gradient is not finite
        scale = min(scale * step_factor, scale_max)             after step_window finite steps in a row, again and again

    What is kept are the scale and `clean`, the finite steps since it last moved or was to grow.

    Attributes:
        scale_min: the lower bound, above 0.
        scale_max: the upper bound, and the scale of the first step.
        step_factor: what the scale is divided and multiplied by, above 1.
        step_window: how many finite steps in a row it grows after.

    Raises:
        TypeError, ValueError: a field is out of range; or the bounds are not in order.

    Conventions:
        It is a `GrowthInterval` whose two factors are one. OpenSeq2Seq compares the number of the step with that of the
        last overflow, which before there is one is -1, to the same effect; but TensorFlow's graph may read the number
        before or after it moves, so that a window there can be a step shorter.

    References:
        Kuchaiev et al., "Mixed-Precision Training for NLP and Speech Recognition with OpenSeq2Seq", 2018, arXiv:1805.10387.

    Example:
        >>> rule = up.loss_scale.Backoff(step_factor=4.0)
        >>> rule.initial(), rule.after(rule.initial(), False, None)
        ({'scale': 16384.0, 'clean': 0.0}, {'scale': 4096.0, 'clean': 0.0})
    """

    moves: ClassVar[bool] = True
    needs_peak: ClassVar[bool] = False

    scale_min: float = value_in(POSITIVE, default=1.0, kw_only=True)
    scale_max: float = value_in(POSITIVE, default=2.0**14, kw_only=True)
    step_factor: float = value_in(ABOVE_ONE, default=2.0, kw_only=True)
    step_window: int = units(1, default=2000, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_order(self, "scale_min", "scale_max")

    def initial(self) -> dict[str, float]:
        """The upper bound, and no clean steps."""
        return {"scale": self.scale_max, "clean": 0.0}

    def after(self, kept: Mapping[str, float], finite: bool, peak: float | None) -> dict[str, float]:
        """The scale and the count of clean steps after a step."""
        scale = kept["scale"]
        lower, higher = scale / self.step_factor, scale * self.step_factor
        return _by_clean_steps(kept, finite, lower, higher, self.step_window, self.scale_min, self.scale_max)


@attrs.frozen
class LogMax:
    """OpenSeq2Seq's loss scale that keeps the largest gradient a few standard deviations below the largest number.

        x = log2(peak)                                          log_max where a gradient is not finite
        mean = beta1 * mean + (1 - beta1) * x
        slow_mean = beta2 * slow_mean + (1 - beta2) * x
        mean_square = beta2 * mean_square + (1 - beta2) * x**2
        deviation = sqrt(max(mean_square / (1 - beta2**t) - (slow_mean / (1 - beta2**t))**2, 0))
        scale = clip(2**(log_max - mean / (1 - beta1**t) - overflow_std_dev * deviation), scale_min, scale_max)

    The peak is the largest magnitude of the gradients as they are given, once they are divided by the scale, and taken for
    log-normal; with accumulation, that of their mean. What is kept are the scale, the three averages and `steps`, the t of their
    bias corrections.

    Attributes:
        scale_min: the lower bound, above 0.
        scale_max: the upper bound.
        log_max: log2 of the largest number of the gradients' dtype, 16 for float16; above 0 and at most 1024.
        beta1: what the mean keeps at each step.
        beta2: what the slow mean and the mean square keep.
        overflow_std_dev: how many standard deviations are left free; 3.09 lets one step in a thousand overflow.

    Raises:
        TypeError, ValueError: a field is out of range; or the bounds are not in order; or `after` is given no peak of
            gradients that are finite.

    Conventions:
        Four slips of OpenSeq2Seq are mended. There an overflow enters the averages as x = 2**log_max, a number among
        logarithms, which holds the scale down for thousands of steps; the scale goes by 16, whatever `log_max` is; and a peak of
        0, whose logarithm is infinite, makes the averages and the scale NaN for good, where here such a step leaves them as they
        are; and the peak is that of clipped gradients, which says nothing of overflows. `compat.openseq2seq.AutomaticLossScaler`
        has all but the third.

    References:
        Kuchaiev et al., "Mixed-Precision Training for NLP and Speech Recognition with OpenSeq2Seq", 2018, arXiv:1805.10387.

    Example:
        >>> rule = up.loss_scale.LogMax()
        >>> kept = rule.after(rule.initial(), True, 0.125)
        >>> round(kept["scale"] / 2**16, 9), round(kept["mean"], 9)
        (0.25, -0.03)
    """

    moves: ClassVar[bool] = True
    needs_peak: ClassVar[bool] = True

    scale_min: float = value_in(POSITIVE, default=1.0, kw_only=True)
    scale_max: float = value_in(POSITIVE, default=2.0**14, kw_only=True)
    log_max: float = value_in(EXPONENT, default=16.0, kw_only=True)
    beta1: float = value_in(BELOW_ONE, default=0.99, kw_only=True)
    beta2: float = value_in(BELOW_ONE, default=0.999, kw_only=True)
    overflow_std_dev: float = value_in(default=3.09, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_order(self, "scale_min", "scale_max")

    @property
    def _ceiling(self) -> float:
        """The logarithm that the scaled gradients are to stay below."""
        return self.log_max

    @property
    def _overflowed(self) -> float:
        """What an overflow counts as in the averages."""
        return self.log_max

    def initial(self) -> dict[str, float]:
        """A scale of 1, or the bound nearest to it, and averages of nothing."""
        scale = _within(1.0, self.scale_min, self.scale_max)
        return {"scale": scale, "steps": 0.0, "mean": 0.0, "slow_mean": 0.0, "mean_square": 0.0}

    def after(self, kept: Mapping[str, float], finite: bool, peak: float | None) -> dict[str, float]:
        """The scale and the averages after a step; a peak that is not finite is an overflow."""
        if not finite:
            x = self._overflowed
        elif peak is None or peak < 0.0:
            raise ValueError(f"{type(self).__name__}.after(peak) must be the largest magnitude of the gradients, got {peak!r}")
        elif peak == 0.0:
            return {**kept, "scale": _within(kept["scale"], self.scale_min, self.scale_max)}
        else:
            x = math.log2(peak) if math.isfinite(peak) else self._overflowed
        steps = kept["steps"] + 1.0
        mean = self.beta1 * kept["mean"] + (1.0 - self.beta1) * x
        slow_mean = self.beta2 * kept["slow_mean"] + (1.0 - self.beta2) * x
        mean_square = self.beta2 * kept["mean_square"] + (1.0 - self.beta2) * (x * x)
        slow = 1.0 - self.beta2**steps
        deviation = math.sqrt(max(mean_square / slow - (slow_mean / slow) ** 2, 0.0))
        exponent = self._ceiling - mean / (1.0 - self.beta1**steps) - self.overflow_std_dev * deviation
        scale = 2.0 ** min(exponent, 1023.0)  # beyond, Python's power is an error
        return {
            "scale": _within(scale, self.scale_min, self.scale_max),
            "steps": steps, "mean": mean, "slow_mean": slow_mean, "mean_square": mean_square,
        }  # fmt: skip
