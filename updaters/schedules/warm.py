"""Curves with a warm-up of their own, as transformers are trained with."""

from __future__ import annotations

from math import cos, pi, sqrt
from typing import Literal

import attrs

from updaters.checks import choice
from updaters.schedules.base import Curve
from updaters.schedules.fields import Clock, driven_by, length, units, value_in


@attrs.frozen(repr=False)
class Noam(Curve):
    """The rate of the transformer, `value * model_size**-0.5 * min(T**-0.5, T * warmup**-1.5)`.

    It rises in a straight line for `warmup` units, and then falls as the root of T.

    Attributes:
        value: a factor; the peak is `value / sqrt(model_size * warmup)`.
        model_size: the width of the model.
        warmup: how many epochs or iterations the rise takes.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 at the first update, as in the paper. In TensorLayerX's `NoamDecay` it is 0, and so is the first rate.

    References:
        Vaswani et al., "Attention is all you need", 2017.

    Example:
        >>> noam = up.learning_rate.Noam(model_size=512, warmup=4000)
        >>> [round(noam(up.OptimizationState(iteration=t)), 8) for t in (1, 4000, 16000)]
        [1.7e-07, 0.00069877, 0.00034939]
    """

    value: float = value_in(default=1.0, kw_only=True)
    model_size: float = length(kw_only=True)
    warmup: int = units(1, kw_only=True)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        peak = self.value / sqrt(self.model_size * self.warmup)
        return peak * _warm_root(t, self.warmup)


@attrs.frozen(repr=False)
class InverseSqrt(Curve):
    """A straight rise to `value` in `warmup` units, and then `value * sqrt(warmup / T)`.

    Attributes:
        value: the peak.
        warmup: how many epochs or iterations the rise takes.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        `value` is the peak itself; `Noam` is the same curve with the peak `value / sqrt(model_size * warmup)`.

    References:
        Vaswani et al., "Attention is all you need", 2017.

    Example:
        >>> rate = up.learning_rate.InverseSqrt(0.1, 100)
        >>> [rate(up.OptimizationState(iteration=t)) for t in (1, 100, 400)]
        [0.001, 0.1, 0.05]
    """

    value: float = value_in()
    warmup: int = units(1)
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        return self.value * _warm_root(t, self.warmup)


@attrs.frozen(repr=False)
class WarmupStableDecay(Curve):
    """A rise, a long rest and a fall: from `start` to `value` in `warmup` units, `stable` units there, and to `end` in `decay`.

    Attributes:
        value: where it stays.
        warmup: how many epochs or iterations the rise takes; 0 is none.
        stable: for how many it stays.
        decay: how many the fall takes; 0 is none.
        start: where the rise begins, at T = 0.
        end: where the fall ends, and stays.
        shape: how it falls, as a function of x, the share of the fall that is done: `"linear"` by x, `"cosine"` by
            `(1 - cos(pi * x)) / 2`, `"sqrt"` by `sqrt(x)`.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    References:
        Hu et al., "MiniCPM: Unveiling the potential of small language models with scalable training strategies", 2024;
        Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", 2024, for `"sqrt"`.

    Example:
        >>> rate = up.learning_rate.WarmupStableDecay(0.1, warmup=100, stable=800, decay=100)
        >>> [rate(up.OptimizationState(iteration=t)) for t in (50, 100, 900, 950, 1000)]
        [0.05, 0.1, 0.1, 0.05, 0.0]
    """

    value: float = value_in()
    warmup: int = units(kw_only=True)
    stable: int = units(kw_only=True)
    decay: int = units(kw_only=True)
    start: float = value_in(default=0.0, kw_only=True)
    end: float = value_in(default=0.0, kw_only=True)
    shape: Literal["linear", "cosine", "sqrt"] = choice("linear", "cosine", "sqrt", default="linear")
    clock: Clock = driven_by("iteration")

    def curve(self, t: int) -> float:
        if t < self.warmup:
            return self.start + (self.value - self.start) * (t / self.warmup)
        fallen = t - self.warmup - self.stable
        if fallen <= 0:
            return self.value
        if fallen >= self.decay:
            return self.end
        x = fallen / self.decay
        share = x if self.shape == "linear" else sqrt(x) if self.shape == "sqrt" else 0.5 * (1.0 - cos(pi * x))
        return self.value + (self.end - self.value) * share


def _warm_root(t: int, warmup: int) -> float:
    """A line from 0 to 1, and then the root of the share of the time that it took."""
    return t / warmup if t <= warmup else sqrt(warmup / t)
