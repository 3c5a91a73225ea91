"""Curves that follow a cosine."""

from __future__ import annotations

from math import ceil, cos, expm1, log1p, pi
from random import Random
from statistics import NormalDist

import attrs

from updaters.checks import AT_LEAST_ONE, flag
from updaters.schedules.base import ROUNDING, Curve, completed
from updaters.schedules.fields import Clock, driven_by, length, units, value_in


@attrs.frozen(repr=False)
class Cosine(Curve):
    """Half a cosine, `end + (value - end) * (1 + cos(pi * T / length)) / 2`, and then `end`.

    Attributes:
        value: where it begins, at T = 0.
        length: how many epochs or iterations it takes.
        end: where it ends, and stays; absolute. By epochs, the whole of epoch `length` is there.
        periodic: go on along the cosine, which rises again after `length` units, instead of staying.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        It stays at `end`, as Keras's `CosineDecay` does, whose `alpha` is a fraction of the rate. PyTorch's, OneFlow's and
        TensorLayerX's annealing rises again (`periodic=True`). All of them begin at T = 0, and reach the end a unit later.

    References:
        Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017.

    Example:
        >>> cosine = up.learning_rate.Cosine(0.1, 1000, end=0.01, clock="iteration")
        >>> [round(cosine(up.OptimizationState(iteration=t)), 6) for t in (1, 500, 1000, 5000)]
        [0.1, 0.055, 0.01, 0.01]
    """

    value: float = value_in()
    length: float = length()
    end: float = value_in(default=0.0, kw_only=True)
    periodic: bool = flag(False)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        if t >= self.length and not self.periodic:
            return self.end
        return self.end + (self.value - self.end) * _falling(t / self.length)


@attrs.frozen(repr=False)
class CosineRestarts(Curve):
    """Cosines that begin anew at their peak, `floor + (value - floor) * peak_factor**i * (1 + cos(pi * T_i / period_i)) / 2`.

    T_i counts the units that are done since the i-th restart, and `period_i = period * period_factor**i`.

    Attributes:
        value: the first peak.
        period: how many epochs or iterations there are from the first peak to the second.
        period_factor: the ratio of one period to the one before, at least 1.
        peak_factor: the ratio of one peak's height above the floor to that of the one before.
        floor: what it falls towards; absolute.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.
        OverflowError: at a call, periods or peaks have left the range of floats.

    Conventions:
        The first unit of each period has its peak, as in all systems, and the floor itself is never reached. Each restart
        is where the periods before it add up to; Keras and OneFlow go by a logarithm alone, and rounding makes some of theirs a
        unit late. Periods are equal unless told otherwise, as in PyTorch; Keras doubles them, and its `alpha` is a fraction
        of the rate.

    References:
        Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017.

    Example:
        >>> cosine = up.learning_rate.CosineRestarts(0.1, 10, period_factor=2)
        >>> [round(cosine(up.OptimizationState(epoch=t)), 6) for t in (1, 6, 10, 11, 21, 31)]
        [0.1, 0.05, 0.002447, 0.1, 0.05, 0.1]
    """

    value: float = value_in()
    period: float = length()
    period_factor: float = length(AT_LEAST_ONE, default=1, kw_only=True)
    peak_factor: float = value_in(default=1.0, kw_only=True)
    floor: float = value_in(default=0.0, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        done = max(t - 1, 0)
        restarts, begun, period = self._period_at(done)
        peak: float = (self.value - self.floor) * self.peak_factor**restarts
        share = (done - begun) / period
        return self.floor + peak * _falling(share if 0.0 <= share <= 1.0 else round(share))  # outside by rounding alone

    def _period_at(self, done: int) -> tuple[int, float, float]:
        """How many restarts there have been after so many units, what was done at the last one, and the period from there on."""
        if self.period_factor == 1:
            restarts = completed(done, self.period)
            return restarts, restarts * self.period, self.period
        first, factor = self.period, self.period_factor
        growth = factor - 1
        rate = log1p(growth)
        restarts = int(log1p(done * growth / first) / rate)
        if type(factor) is int and type(first) is int:
            begun: float = first * ((factor**restarts - 1) // growth)
            near: float = done
        else:
            begun = first * (expm1(restarts * rate) / growth)
            near = done + (ROUNDING + 1e-14 * done)
        period = first + growth * begun
        if begun + period <= near:  # the logarithm is rounded, and one off at most
            return restarts + 1, begun + period, period * factor
        if begun > near:
            return restarts - 1, begun - period / factor, period / factor
        return restarts, begun, period


@attrs.frozen(repr=False)
class LinearCosine(Curve):
    """A cosine under a falling line, `value * ((alpha + 1 - x) * (1 + cos(2 pi * periods * x)) / 2 + beta)`.

    x is T / length, and 1 from there on.

    Attributes:
        value: the unit of the curve, which begins at `value * (alpha + 1 + beta)`.
        length: how many epochs or iterations it takes.
        periods: how many times the cosine comes back to its top.
        alpha: what is added to the line; a fraction of `value`.
        beta: what is added to the product; a fraction of `value`.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        T is 1 in the first unit; TensorFlow's `linear_cosine_decay` begins at T = 0. `alpha` and `beta` are fractions, as there.

    References:
        Bello et al., "Neural optimizer search with reinforcement learning", 2017.

    Example:
        >>> round(up.learning_rate.LinearCosine(0.1, 10)(up.OptimizationState(epoch=5)), 6)
        0.0251
    """

    value: float = value_in()
    length: float = length()
    periods: float = value_in(default=0.5, kw_only=True)
    alpha: float = value_in(default=0.0, kw_only=True)
    beta: float = value_in(default=0.001, kw_only=True)
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        return self._curve(t, 0.0)

    def _curve(self, t: int, noise: float) -> float:
        x = min(t / self.length, 1.0)
        return self.value * ((self.alpha + 1.0 - x + noise) * _falling(2.0 * self.periods * x) + self.beta)


@attrs.frozen(repr=False)
class NoisyLinearCosine(LinearCosine):
    """`LinearCosine` with Gaussian noise on the line, of variance `initial_variance / (1 + T)**variance_decay`.

    T does not grow beyond `length`. A value that the noise would make negative is 0. The noise is a function of
    `seed` and T alone, so that it is the same at the same clock, in another run too, and rests with the curve.

    Attributes:
        value: the unit of the curve.
        length: how many epochs or iterations it takes.
        periods: how many times the cosine comes back to its top.
        alpha: what is added to the line; a fraction of `value`.
        beta: what is added to the product; a fraction of `value`.
        initial_variance: the variance of the noise at T = 0.
        variance_decay: the power with which it falls.
        seed: another seed is other noise.
        clock: whether T counts epochs or iterations.

    Raises:
        ValueError: a field is out of range; or, at a call, the counter still stands at 0.

    Conventions:
        TensorFlow's `noisy_linear_cosine_decay` draws anew at each reading, and gives negative rates.

    References:
        Bello et al., "Neural optimizer search with reinforcement learning", 2017.

    Example:
        >>> noisy = up.learning_rate.NoisyLinearCosine(0.1, 10, initial_variance=0.01, seed=1)
        >>> noisy(up.OptimizationState(epoch=5)) == noisy(up.OptimizationState(epoch=5))
        True
    """

    initial_variance: float = value_in(default=1.0, kw_only=True)
    variance_decay: float = value_in(default=0.55, kw_only=True)
    seed: int = units(default=0, kw_only=True)

    def curve(self, t: int) -> float:
        t = min(t, ceil(self.length))
        variance: float = self.initial_variance / (1.0 + min(t, self.length)) ** self.variance_decay
        uniform = max(Random((self.seed << 64) + t).random(), 2**-54)  # promised to be the same in all versions of Python
        return max(self._curve(t, NormalDist().inv_cdf(uniform) * variance**0.5), 0.0)


def _falling(x: float) -> float:
    """The cosine from 1 at x = 0 to 0 at x = 1."""
    return 0.5 * (1.0 + cos(pi * x))
