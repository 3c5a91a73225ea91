"""Every schedule in several configurations, each with its values by other algebra than its own."""

from __future__ import annotations

import cmath
import math
from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import chain, repeat
from typing import Any

import numpy as np

from updaters import learning_rate, momentum
from updaters.learning_rate import (
    Cosine,
    CosineRestarts,
    Cyclic,
    Delay,
    Exp,
    Inv,
    InverseSqrt,
    Lambda,
    Linear,
    LinearCosine,
    MultiStep,
    NaturalExp,
    Noam,
    NoisyLinearCosine,
    OneCycle,
    PerStep,
    Piecewise,
    Plateau,
    Polynomial,
    Repeat,
    Sequence,
    Step,
    Warmup,
    WarmupStableDecay,
)
from updaters.momentum import Fixed, Nadam, Null

Curve = Callable[[int], float]


def times(start: float, ratio: float, count: int) -> float:
    """`start` multiplied by `ratio`, so many times."""
    return reduce(lambda value, _: value * ratio, range(count), start)


def between(points: list[tuple[float, float]]) -> Curve:
    """Straight lines between points, and flat outside."""
    return lambda t: float(np.interp(t, *zip(*points, strict=True)))


def eased(points: list[tuple[float, float]]) -> Curve:
    """Between points as a squared sine goes from 0 to 1, and flat outside."""
    xs, ys = zip(*points, strict=True)

    def curve(t: int) -> float:
        k = min(max(bisect_left(xs, t), 1), len(xs) - 1)
        share = max(min((t - xs[k - 1]) / (xs[k] - xs[k - 1]), 1.0), 0.0)
        return float(ys[k - 1] * math.cos(share * math.pi / 2) ** 2 + ys[k] * math.sin(share * math.pi / 2) ** 2)

    return curve


def listed(*runs: tuple[int, float]) -> Curve:
    """Values for so many units each, the last one for ever."""
    values = list(chain.from_iterable(repeat(value, count) for count, value in runs))
    return lambda t: values[min(t, len(values)) - 1]


def swing(x: float) -> float:
    """(1 + cos(pi * x)) / 2."""
    return (cmath.exp(0.5j * math.pi * x) ** 2).real / 2 + 0.5


def restarting(periods: list[int], peaks: list[float], floor: float) -> Curve:
    """Cosines of whole periods, listed unit by unit."""
    values = [
        floor + (peak - floor) * math.cos(math.pi * k / period / 2) ** 2
        for period, peak in zip(periods, peaks, strict=True)
        for k in range(period)
    ]
    return lambda t: values[t - 1]


def waves(*heights: float, up: int, down: int) -> Curve:
    """The heights of triangles, listed unit by unit from the first one on; the last triangle goes on."""
    one = [k / up for k in range(1, up + 1)] + [1 - k / down for k in range(1, down + 1)]
    return lambda t: heights[min((t - 1) // len(one), len(heights) - 1)] * one[(t - 1) % len(one)]


def restarting_by(period: int, factor: Fraction, peak: float) -> Curve:
    """Cosines whose periods grow by a fraction, which begin exactly where they should."""

    def curve(t: int) -> float:
        begun, length = Fraction(0), Fraction(period)
        while begun + length <= t - 1:
            begun, length = begun + length, length * factor
        return peak * swing(float((t - 1 - begun) / length))

    return curve


RAMP = Linear(0.0, 10, end=0.5, clock="iteration")
FALL = Cosine(0.4, 20, end=0.1, clock="iteration")

HALVES = [0.5**k for k in range(600)]

# A schedule, and its value at T = 1, 2, ..., where T is the count that drives it.
CURVES: list[tuple[Any, Curve]] = [
    (Fixed(0.1), lambda t: 0.1),
    (Null(), lambda t: 0.0),
    (Exp(0.1), lambda t: times(0.1, 0.9, t)),
    (Exp(0.5, gamma=0.75), lambda t: times(0.5, 0.75, t)),
    (Exp(3.0, gamma=0.999), lambda t: 3 * math.exp(t * math.log(0.999))),
    (Exp(0.1, gamma=1.01), lambda t: times(0.1, 1.01, t)),
    (Exp(0.1, gamma=0.5, every=4), lambda t: 0.1 / math.sqrt(math.sqrt(math.ldexp(1, t)))),
    (Exp(0.1, gamma=0.5, every=4, staircase=True), lambda t: times(0.1, 0.5, len(range(4, t, 4)))),
    (Exp(0.1, gamma=0.8, begin=3, floor=0.02), lambda t: max(times(0.1, 0.8, max(t - 3, 0)), 0.02)),
    (Exp(0.1, gamma=0.8, begin=2, every=3, staircase=True), lambda t: times(0.1, 0.8, len(range(5, t, 3)))),
    (NaturalExp(0.1, rate=0.3), lambda t: times(0.1, math.exp(-0.3), t)),
    (NaturalExp(0.1, rate=0.3, every=7), lambda t: 0.1 * math.exp(-t * 3 / 70)),
    (NaturalExp(0.1, rate=0.3, every=7, staircase=True), lambda t: times(0.1, math.exp(-0.3), len(range(7, t, 7)))),
    (Inv(0.1), lambda t: 0.1 / math.sqrt(1 + 0.9 * t)),
    (Inv(0.1, gamma=0.25, power=1), lambda t: 0.4 / (4 + t)),
    (Inv(2.0, gamma=0.5, power=2), lambda t: 8 / ((2 + t) * (2 + t))),
    (Inv(0.3, power=0), lambda t: 0.3),
    (Inv(0.3, gamma=2, power=1, every=5), lambda t: 1.5 / (5 + 2 * t)),
    (Inv(0.3, gamma=2, power=1, every=5, staircase=True), lambda t: 0.3 / (1 + 2 * len(range(5, t, 5)))),
    (Step(0.5, 3), lambda t: times(0.5, 0.1, len(range(3, t, 3)))),
    (Step(0.5, 1, gamma=0.9), lambda t: times(0.5, 0.9, t - 1)),
    (MultiStep(0.5, (2, 5, 5, 9), gamma=0.5), listed((2, 0.5), (3, 0.25), (4, 0.0625), (1, 0.03125))),
    (MultiStep(0.5, ()), lambda t: 0.5),
    (Piecewise((0.1, 0.5, 0.2), (2, 9)), listed((2, 0.1), (7, 0.5), (1, 0.2))),
    (Piecewise([0.3], []), lambda t: 0.3),
    (Linear(0.3, 8), between([(0, 0.3), (8, 0)])),
    (Linear(0.1, 7, end=0.5), between([(0, 0.1), (7, 0.5)])),
    (Polynomial(0.3, 8), between([(0, 0.3), (8, 0)])),
    (Polynomial(0.5, 8, end=0.1, power=3), lambda t: 0.1 + 0.4 * times(1, max(8 - t, 0) / 8, 3)),
    (Polynomial(0.1, 8, end=0.5, power=2), lambda t: 0.5 - 0.4 * (max(8 - t, 0) ** 2 / 64)),
    (Polynomial(0.5, 8, power=0), lambda t: 0.5),
    (Polynomial(0.5, 4, end=0.1, cycle=True), lambda t: 0.1 + 0.4 * (-t % 4) / (t + -t % 4)),
    (Polynomial(0.5, 4, power=2, cycle=True), lambda t: 0.5 * (-t % 4) ** 2 / (t + -t % 4) ** 2),
    (Cosine(0.5, 8), lambda t: 0.5 * swing(min(t, 8) / 8)),
    (Cosine(0.5, 8, end=0.1), eased([(0, 0.5), (8, 0.1)])),
    (Cosine(0.1, 8, end=0.5), eased([(0, 0.1), (8, 0.5)])),
    (Cosine(0.5, 8, end=0.1, periodic=True), lambda t: 0.1 + 0.4 * swing(t / 8)),
    (CosineRestarts(0.5, 5), restarting([5] * 220, [0.5] * 220, 0)),
    (
        CosineRestarts(0.5, 3, period_factor=2, peak_factor=0.5, floor=0.1),
        restarting([3 * 2**i for i in range(9)], [0.1 + 0.4 * 0.5**i for i in range(9)], 0.1),
    ),
    (CosineRestarts(0.5, 1, period_factor=7), restarting([7**i for i in range(5)], [0.5] * 5, 0)),
    (CosineRestarts(0.5, 4, period_factor=1.5), restarting_by(4, Fraction(3, 2), 0.5)),
    (LinearCosine(0.5, 8), lambda t: 0.5 * (max(8 - t, 0) / 8 * swing(min(t, 8) / 8) + 0.001)),
    (
        LinearCosine(0.5, 8, periods=2, alpha=0.25, beta=0.125),
        lambda t: 0.5 * ((1.25 - min(t, 8) / 8) * swing(min(t, 8) / 2) + 0.125),
    ),
    (
        NoisyLinearCosine(0.5, 8, periods=2, alpha=0.25, initial_variance=0),
        lambda t: 0.5 * ((1.25 - min(t, 8) / 8) * swing(min(t, 8) / 2) + 0.001),
    ),
    (Noam(model_size=64, warmup=4), lambda t: min(1 / math.sqrt(t), t / 8) / 8),
    (Noam(value=2.0, model_size=0.25, warmup=9), lambda t: 4 * min(1 / math.sqrt(t), t / 27)),
    (InverseSqrt(0.5, 4), lambda t: 0.5 * min(t / 4, 2 / math.sqrt(t))),
    (WarmupStableDecay(0.5, warmup=2, stable=1, decay=4), between([(0, 0), (2, 0.5), (3, 0.5), (7, 0)])),
    (
        WarmupStableDecay(0.5, warmup=2, stable=1, decay=4, start=0.1, end=0.2, shape="cosine"),
        lambda t: between([(0, 0.1), (2, 0.5)])(t) if t < 3 else eased([(3, 0.5), (7, 0.2)])(t),
    ),
    (
        WarmupStableDecay(0.5, warmup=0, stable=3, decay=4, end=0.1, shape="sqrt"),
        lambda t: 0.5 - 0.2 * math.sqrt(min(max(t - 3, 0), 4)),
    ),
    (WarmupStableDecay(0.5, warmup=0, stable=2, decay=0), listed((2, 0.5), (1, 0.0))),
    (Cyclic(0.1, 0.5, up=4), lambda t: 0.1 + 0.4 * waves(1, up=4, down=4)(t)),
    (Cyclic(0.1, 0.5, up=3, down=2), lambda t: 0.1 + 0.4 * waves(1, up=3, down=2)(t)),
    (
        Cyclic(0.1, 0.5, up=3, down=1, mode="triangular2"),
        lambda t: 0.1 + 0.4 * waves(*HALVES, up=3, down=1)(t),
    ),
    (Cyclic(0.1, 0.5, up=4, mode="exp_range", gamma=0.9), lambda t: 0.1 + times(0.4, 0.9, t) * waves(1, up=4, down=4)(t)),
    (momentum.Cyclic(up=4), lambda t: 0.9 - 0.1 * waves(1, up=4, down=4)(t)),
    (
        momentum.Cyclic(0.5, 0.75, up=2, down=3, mode="exp_range", gamma=0.8),
        lambda t: 0.75 - times(0.25, 0.8, t) * waves(1, up=2, down=3)(t),
    ),
    (momentum.Cyclic(0.5, 0.75, up=2, mode="triangular2"), lambda t: 0.75 - 0.25 * waves(*HALVES, up=2, down=2)(t)),
    (OneCycle(0.5, 10), eased([(0, 0.02), (3, 0.5), (10, 0.000002)])),
    (OneCycle(0.5, 10, start=0.1, end=0.05, rise=0.2, shape="linear"), between([(0, 0.1), (2, 0.5), (10, 0.05)])),
    (OneCycle(0.5, 10, three_phase=True), eased([(0, 0.02), (3, 0.5), (6, 0.02), (10, 0.000002)])),
    (OneCycle(0.5, 10, rise=0.0, end=0.1), eased([(0, 0.5), (10, 0.1)])),
    (OneCycle(0.5, 10, rise=1.0, start=0.1), lambda t: eased([(0, 0.1), (10, 0.5)])(t) if t < 10 else 0.00001),
    (OneCycle(0.5, 10, rise=0.5, three_phase=True, shape="linear", start=0.1, end=0.1), between([(0, 0.1), (5, 0.5), (10, 0.1)])),
    (momentum.OneCycle(10), eased([(0, 0.95), (3, 0.85), (10, 0.95)])),
    (
        momentum.OneCycle(10, low=0.5, high=0.75, rise=0.2, shape="linear", three_phase=True),
        between([(0, 0.75), (2, 0.5), (4, 0.75), (10, 0.75)]),
    ),
    (Lambda(0.5, math.sqrt), lambda t: 0.5 * t**0.5),
    (PerStep(math.exp2), lambda t: math.ldexp(0.5, t)),
    (PerStep(math.sqrt, first=1), lambda t: t**0.5),
    (Nadam(), lambda t: 0.99 - 0.495 * math.exp(0.004 * t * math.log(0.96))),
    (Nadam(mu0=0.8, delta=1, gamma=0.25, alpha=0.5), lambda t: 0.8 - times(0.2, 0.5, t)),
    (Nadam(mu0=0.9, delta=0.5, gamma=1, alpha=0.81), lambda t: 0.9 - times(0.9, 0.9, t)),
    (Nadam(mu0=0.9, gamma=0), lambda t: 0.9),
    (Nadam(mu0=0.9, alpha=0), lambda t: 0.9),
    (Nadam(mu0=0.9, delta=0), lambda t: 0.45),
]

# Compositions, driven by iterations.
COMPOSED: list[tuple[Any, Curve]] = [
    (Warmup(0.5, 4), between([(0, 0), (4, 0.5)])),
    (Warmup(FALL, 10), lambda t: between([(0, 0), (10, 0.4)])(t) if t < 10 else eased([(10, 0.4), (30, 0.1)])(t)),
    (Warmup(FALL, 10, start=0.6), lambda t: between([(0, 0.6), (10, 0.4)])(t) if t < 10 else eased([(10, 0.4), (30, 0.1)])(t)),
    (Warmup(Warmup(0.5, 4, start=0.1), 2), between([(0, 0), (2, 0.1), (6, 0.5)])),
    (
        Warmup(Step(0.5, 3, gamma=0.5, clock="iteration"), 4),
        lambda t: 0.125 * t if t < 4 else times(0.5, 0.5, max(t - 5, 0) // 3),
    ),
    (Warmup(lambda state: 0.5 / state.iteration, 2), lambda t: 0.25 if t == 1 else 0.5 / max(t - 2, 1)),
    (Sequence([RAMP, FALL], [10]), lambda t: between([(0, 0), (10, 0.5)])(t) if t <= 10 else eased([(10, 0.4), (30, 0.1)])(t)),
    (
        Sequence((RAMP, 0.5, lambda state: 1 / state.iteration, RAMP), (3, 5, 8)),
        lambda t: 0.05 * t if t <= 3 else 0.5 if t <= 5 else 1 / (t - 5) if t <= 8 else min((t - 8) * 0.05, 0.5),
    ),
    (Sequence([0.1, 0.2], [5], clock="iteration"), listed((5, 0.1), (1, 0.2))),
    (Delay(FALL, 7), eased([(7, 0.4), (27, 0.1)])),
    (Delay(RAMP, 0), between([(0, 0), (10, 0.5)])),
    (Delay(Delay(RAMP, 2), 3), between([(5, 0), (15, 0.5)])),
    (Repeat(RAMP, 4), lambda t: 0.05 * ((t - 1) % 4 + 1)),
    (Repeat(RAMP, 4, times=2), lambda t: 0.05 * t if t <= 4 else min(0.05 * (t - 4), 0.5)),
    (Repeat(Sequence([RAMP, 0.3], [2]), 3), lambda t: (0.3, 0.05, 0.1)[t % 3]),
    (0.5 * FALL, eased([(0, 0.2), (20, 0.05)])),
    (FALL * RAMP, lambda t: eased([(0, 0.4), (20, 0.1)])(t) * min(t / 20, 0.5)),
    (FALL + 1, eased([(0, 1.4), (20, 1.1)])),
    (1 + RAMP, between([(0, 1), (10, 1.5)])),
    (1 - RAMP, between([(0, 1), (10, 0.5)])),
    (RAMP - 0.75, between([(0, -0.75), (10, -0.25)])),
    (-RAMP, between([(0, 0), (10, -0.5)])),
    (RAMP / 4, between([(0, 0), (10, 0.125)])),
    (1 / (RAMP + 1), lambda t: 20 / (20 + min(t, 10))),
    (np.float64(2) * RAMP, between([(0, 0), (10, 1)])),
    (RAMP * (lambda state: 1 / (state.iteration - state.held)), lambda t: min(0.05, 0.5 / t)),
    (RAMP.clamp(0.1, 0.3), lambda t: min(max(0.05 * t, 0.1), 0.3)),
    (RAMP.clamp(high=0.3), lambda t: min(0.05 * t, 0.3)),
    (learning_rate.minimum(FALL, RAMP, 0.25), lambda t: min(0.05 * t, 0.25, eased([(0, 0.4), (20, 0.1)])(t))),
    (learning_rate.maximum(0.25, FALL), lambda t: max(0.25, eased([(0, 0.4), (20, 0.1)])(t))),
    (Plateau(FALL), eased([(0, 0.4), (20, 0.1)])),
    (Warmup(Plateau(Delay(FALL, 3)), 10), lambda t: 0.04 * t if t < 10 else eased([(13, 0.4), (33, 0.1)])(t)),
]

SCHEDULES = [schedule for schedule, _ in CURVES]
COMPOSITIONS = [schedule for schedule, _ in COMPOSED]
