"""What the schedules of the systems that were read give, by their formulas written out in other algebra."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any

import updaters as up
from updaters.compat import mxnet_jl, oneflow, openseq2seq, tensorlayerx
from updaters.compat.tensorlayerx.lr import LRScheduler

rate, momentum = mxnet_jl.LearningRate, mxnet_jl.Momentum
tlx, of, os2s = tensorlayerx.lr, oneflow.lr_scheduler, openseq2seq.lr_policies
SYSTEMS = {"tensorlayerx": tlx, "oneflow": of, "openseq2seq": os2s}
PLATEAUS: dict[str, Any] = {
    "tensorlayerx.ReduceOnPlateau": tlx.ReduceOnPlateau,
    "oneflow.ReduceLROnPlateau": of.ReduceLROnPlateau,
}
STEPS = 200


def names() -> list[str]:
    """The schedules of the systems, each with its system."""
    found = [f"{system}.{name}" for system, module in SYSTEMS.items() for name in module.__all__]
    for kind in (mxnet_jl.LearningRate, mxnet_jl.Momentum):
        found += [f"mxnet_jl.{kind.__name__}.{name}" for name in vars(kind) if not name.startswith("_")]
    return found


def at(clock: str, k: int, held: int = 0) -> up.OptimizationState:
    """The clock at the k-th update, with its other counter elsewhere."""
    if clock == "epoch":
        return up.OptimizationState(epoch=k, batch=5, iteration=777, held=held)
    return up.OptimizationState(epoch=777, batch=5, iteration=k + held, held=held)


# Oracles: the rate at the steps 0, 1, 2, ...


def every_step(rate: Callable[[int], float]) -> Iterator[float]:
    return map(rate, range(STEPS))


def multiplied(base: float, ratio: Callable[[int], float]) -> Iterator[float]:
    """The base rate, multiplied by the ratio of each step from 1 on."""
    rate = base
    for step in range(STEPS):
        rate *= ratio(step) if step else 1.0
        yield rate


def annealed(base: float, length: int, low: float) -> Iterator[float]:
    return every_step(lambda step: low + (base - low) * math.cos(math.pi * step / (2 * length)) ** 2)


def falling(step: int, length: int) -> float:
    return math.cos(math.pi * min(step, length) / (2 * length)) ** 2


def powered(base: float, length: int, end: float, power: float, cycle: bool, first: int = 0) -> Iterator[float]:
    for step in range(STEPS):
        count = max(step, first) if cycle else min(step, length)
        whole = length
        while cycle and whole < count:
            whole += length
        left = ((whole - count) / whole) ** power
        yield base * left + end * (1 - left)


def picked(boundaries: Sequence[int], values: Sequence[float], inclusive: bool) -> Iterator[float]:
    for step in range(STEPS):
        for boundary, value in zip(boundaries, values, strict=False):
            if step < boundary or (inclusive and step == boundary):
                yield value
                break
        else:
            yield values[-1]


def noam(base: float, width: float, warmup: int, first: int) -> Iterator[float]:
    for count in range(first, STEPS + first):
        fall = 1 / math.sqrt(count) if count else 1.0
        yield base / math.sqrt(width) * min(fall, count / (warmup * math.sqrt(warmup)))


def warmed(warmup: int, start: float, end: float, after: Iterator[float]) -> Iterator[float]:
    for step in range(STEPS):
        yield start * (1 - step / warmup) + end * (step / warmup) if step < warmup else next(after)


def begun(base: float, warmup: int, begin: int, decayed: Callable[[float, int], float]) -> Iterator[float]:
    """OpenSeq2Seq: a rate that rises from 0, and what decays it, called with its step, from `begin` on."""
    for step in range(STEPS):
        rate = base * step / warmup if step < warmup else base
        yield rate if step < begin else decayed(rate, step - begin)


def exponential(base: float, steps: int, ratio: float, staircase: bool, begin: int = 0, low: float = 0.0) -> Iterator[float]:
    for step in range(STEPS):
        share = max(step - begin, 0) / steps
        yield max(low, base * math.exp(math.log(ratio) * (math.floor(share) if staircase else share)))


def inverse(base: float, steps: int, low: float, power: float) -> Iterator[float]:
    """`rate**(-1 / power)` is a straight line."""
    start, end = base ** (-1 / power), low ** (-1 / power)
    return every_step(lambda step: (start + (end - start) * step / steps) ** -power)


def nadam(top: float, missing: float, approach: float) -> Iterator[float]:
    return every_step(lambda step: top - top * missing * math.exp(approach * (step + 1)))


def counts(clock: str) -> bool:
    return clock == "iteration"


class Halving(LRScheduler):
    """A schedule of one's own, as TensorLayerX's documentation has one."""

    def __init__(self, learning_rate: float, every: int, last_epoch: int = -1, verbose: bool = False, clock: Any = "iteration"):
        self.every = every
        super().__init__(learning_rate, last_epoch, verbose, clock=clock)

    def get_lr(self) -> float:
        return self.base_lr * 0.5 ** (self.last_epoch // self.every)


def wave(step: int) -> float:
    return 1.5 + math.sin(step)


Case = tuple[Callable[..., Any], float, Callable[[], Iterator[float]]]

# The call, given a clock, the largest rate, and the oracle.
CASES: dict[str, list[Case]] = {
    "mxnet_jl.LearningRate.Fixed": [
        (lambda clock: rate.Fixed(0.1), 0.1, lambda: every_step(lambda step: 0.1)),
    ],
    "mxnet_jl.LearningRate.Exp": [
        (lambda clock: rate.Exp(0.1, decay_on_iteration=counts(clock)), 0.1, lambda: multiplied(0.09, lambda step: 0.9)),
        (lambda clock: rate.Exp(2, gamma=0.5, decay_on_iteration=counts(clock)), 2, lambda: multiplied(1, lambda step: 0.5)),
    ],
    "mxnet_jl.LearningRate.Inv": [
        (
            lambda clock: rate.Inv(0.1, decay_on_iteration=counts(clock)),
            0.1,
            lambda: every_step(lambda step: math.sqrt(0.1 / (19 + 9 * step))),
        ),
        (
            lambda clock: rate.Inv(0.5, gamma=0.25, power=2, decay_on_iteration=counts(clock)),
            0.5,
            lambda: every_step(lambda step: 8 / ((5 + step) * (5 + step))),
        ),
    ],
    "mxnet_jl.Momentum.Null": [(lambda clock: momentum.Null(), 1.0, lambda: every_step(lambda step: 0.0))],
    "mxnet_jl.Momentum.Fixed": [(lambda clock: momentum.Fixed(0.9), 0.9, lambda: every_step(lambda step: 0.9))],
    "mxnet_jl.Momentum.NadamScheduler": [
        (lambda clock: momentum.NadamScheduler(), 0.99, lambda: nadam(0.99, 0.5, math.log(0.96) / 250)),
        (
            lambda clock: momentum.NadamScheduler(mu0=0.9, delta=0.05, gamma=0.25, alpha=0.5),
            0.9,
            lambda: nadam(0.9, 0.25, -math.log(2) / 20),
        ),
    ],
    "tensorlayerx.LRScheduler": [
        (lambda clock: Halving(0.7, 3, clock=clock), 0.7, lambda: every_step(lambda step: 0.7 / 2 ** (step // 3))),
    ],
    "tensorlayerx.StepDecay": [
        (lambda clock: tlx.StepDecay(0.1, 30, clock=clock), 0.1, lambda: multiplied(0.1, lambda step: 1.0 if step % 30 else 0.1)),
        (lambda clock: tlx.StepDecay(3, 1, 0.99, clock=clock), 3, lambda: multiplied(3, lambda step: 0.99)),
        (
            lambda clock: tlx.StepDecay(0.5, 7, gamma=0.75, clock=clock),
            0.5,
            lambda: multiplied(0.5, lambda step: 1.0 if step % 7 else 0.75),
        ),
    ],
    "tensorlayerx.CosineAnnealingDecay": [
        (lambda clock: tlx.CosineAnnealingDecay(0.1, 10, clock=clock), 0.1, lambda: annealed(0.1, 10, 0.0)),
        (lambda clock: tlx.CosineAnnealingDecay(0.3, 150, 0.02, clock=clock), 0.3, lambda: annealed(0.3, 150, 0.02)),
        (lambda clock: tlx.CosineAnnealingDecay(0.1, 1, 0.3, clock=clock), 0.1, lambda: annealed(0.1, 1, 0.3)),
    ],
    "tensorlayerx.NoamDecay": [
        (lambda clock: tlx.NoamDecay(512, 40, clock=clock), 1.0, lambda: noam(1.0, 512, 40, 0)),
        (lambda clock: tlx.NoamDecay(0.01, 100, 0.5, clock=clock), 0.5, lambda: noam(0.5, 0.01, 100, 0)),
        (lambda clock: tlx.NoamDecay(16, 1, clock=clock), 1.0, lambda: noam(1.0, 16, 1, 0)),
    ],
    "tensorlayerx.PiecewiseDecay": [
        (
            lambda clock: tlx.PiecewiseDecay([2, 4], [1.0, 0.5, 0.1], clock=clock),
            1.0,
            lambda: picked([2, 4], [1, 0.5, 0.1], False),
        ),
        (
            lambda clock: tlx.PiecewiseDecay((100, 190), (0.1, 0.5, 0.2), clock=clock),
            0.1,
            lambda: picked((100, 190), (0.1, 0.5, 0.2), False),
        ),
        (lambda clock: tlx.PiecewiseDecay([0], [1.0, 0.5], clock=clock), 1.0, lambda: picked([0], [1, 0.5], False)),
    ],
    "tensorlayerx.NaturalExpDecay": [
        (
            lambda clock: tlx.NaturalExpDecay(0.1, 0.02, clock=clock),
            0.1,
            lambda: multiplied(0.1, lambda step: 1 / math.exp(0.02)),
        ),
        (lambda clock: tlx.NaturalExpDecay(2.0, 0.5, clock=clock), 2.0, lambda: multiplied(2.0, lambda step: 1 / math.exp(0.5))),
    ],
    "tensorlayerx.InverseTimeDecay": [
        (lambda clock: tlx.InverseTimeDecay(0.1, 0.1, clock=clock), 0.1, lambda: every_step(lambda step: 1 / (10 + step))),
        (lambda clock: tlx.InverseTimeDecay(0.5, 4, clock=clock), 0.5, lambda: every_step(lambda step: 1 / (2 + 8 * step))),
    ],
    "tensorlayerx.PolynomialDecay": [
        (lambda clock: tlx.PolynomialDecay(0.1, 50, clock=clock), 0.1, lambda: powered(0.1, 50, 1e-4, 1, False)),
        (lambda clock: tlx.PolynomialDecay(0.1, 130, 0.01, 2.5, clock=clock), 0.1, lambda: powered(0.1, 130, 0.01, 2.5, False)),
        (lambda clock: tlx.PolynomialDecay(0.1, 4, 0.01, 0.5, True, clock=clock), 0.1, lambda: powered(0.1, 4, 0.01, 0.5, True)),
        (lambda clock: tlx.PolynomialDecay(0.01, 20, 0.1, clock=clock), 0.01, lambda: powered(0.01, 20, 0.1, 1, False)),
    ],
    "tensorlayerx.LinearWarmup": [
        (
            lambda clock: tlx.LinearWarmup(0.5, 3, 0.0, 1.0, clock=clock),
            1.0,
            lambda: warmed(3, 0.0, 1.0, every_step(lambda step: 0.5)),
        ),
        (
            lambda clock: tlx.LinearWarmup(tlx.ExponentialDecay(0.2, 0.97, clock=clock), 20, 0.01, 0.2, clock=clock),
            0.2,
            lambda: warmed(20, 0.01, 0.2, multiplied(0.2, lambda step: 0.97)),
        ),
        (
            lambda clock: tlx.LinearWarmup(Halving(0.3, 5, clock=clock), 11, 0.1, 0.2, clock=clock),
            0.3,
            lambda: warmed(11, 0.1, 0.2, every_step(lambda step: 0.3 / 2 ** (step // 5))),
        ),
        (
            lambda clock: tlx.LinearWarmup(tlx.LinearWarmup(0.3, 7, 0.0, 0.2, clock=clock), 1, 0.1, 0.2, clock=clock),
            0.3,
            lambda: warmed(1, 0.1, 0.2, warmed(7, 0.0, 0.2, every_step(lambda step: 0.3))),
        ),
    ],
    "tensorlayerx.ExponentialDecay": [
        (lambda clock: tlx.ExponentialDecay(0.1, 0.9, clock=clock), 0.1, lambda: multiplied(0.1, lambda step: 0.9)),
        (lambda clock: tlx.ExponentialDecay(0.1, 1.0, clock=clock), 0.1, lambda: every_step(lambda step: 0.1)),
    ],
    "tensorlayerx.MultiStepDecay": [
        (
            lambda clock: tlx.MultiStepDecay(0.1, [50, 100], clock=clock),
            0.1,
            lambda: multiplied(0.1, lambda step: 0.1 if step in (50, 100) else 1),
        ),
        (
            lambda clock: tlx.MultiStepDecay(0.4, (1, 2, 150), 0.7, clock=clock),
            0.4,
            lambda: multiplied(0.4, lambda step: 0.7 if step in (1, 2, 150) else 1),
        ),
    ],
    "tensorlayerx.LambdaDecay": [
        (
            lambda clock: tlx.LambdaDecay(0.5, lambda epoch: 0.95**epoch, clock=clock),
            0.5,
            lambda: multiplied(0.5, lambda step: 0.95),
        ),
        (lambda clock: tlx.LambdaDecay(0.1, wave, clock=clock), 0.1, lambda: every_step(lambda step: 0.15 + math.sin(step) / 10)),
    ],
    "oneflow.CosineAnnealingLR": [
        (lambda clock: of.CosineAnnealingLR(0.1, 10, clock=clock), 0.1, lambda: annealed(0.1, 10, 0.0)),
        (lambda clock: of.CosineAnnealingLR(0.3, 90, 0.05, clock=clock), 0.3, lambda: annealed(0.3, 90, 0.05)),
    ],
    "oneflow.CosineDecayLR": [
        (lambda clock: of.CosineDecayLR(0.1, 100, clock=clock), 0.1, lambda: every_step(lambda step: 0.1 * falling(step, 100))),
        (
            lambda clock: of.CosineDecayLR(0.4, 13, 0.25, clock=clock),
            0.4,
            lambda: every_step(lambda step: 0.1 + 0.3 * falling(step, 13)),
        ),
    ],
    "oneflow.ExponentialLR": [
        (lambda clock: of.ExponentialLR(0.1, 0.9, clock=clock), 0.1, lambda: multiplied(0.1, lambda step: 0.9)),
        (lambda clock: of.ExponentialLR(1e-6, 1.05, clock=clock), 0.1, lambda: multiplied(1e-6, lambda step: 1.05)),
    ],
    "oneflow.LambdaLR": [
        (
            lambda clock: of.LambdaLR(0.1, lambda step: step // 30, clock=clock),
            0.1,
            lambda: every_step(lambda step: 0.1 * (step // 30)),
        ),
        (lambda clock: of.LambdaLR(2.0, wave, clock=clock), 2.0, lambda: every_step(lambda step: 3 + 2 * math.sin(step))),
    ],
    "oneflow.MultiStepLR": [
        (
            lambda clock: of.MultiStepLR(0.1, [30, 80], clock=clock),
            0.1,
            lambda: multiplied(0.1, lambda step: 0.1 if step in (30, 80) else 1),
        ),
        (
            lambda clock: of.MultiStepLR(0.1, [1, 199], 1.5, clock=clock),
            0.1,
            lambda: multiplied(0.1, lambda step: 1.5 if step in (1, 199) else 1),
        ),
    ],
    "oneflow.PolynomialLR": [
        (lambda clock: of.PolynomialLR(0.1, 50, clock=clock), 0.1, lambda: powered(0.1, 50, 1e-4, 1, False)),
        (lambda clock: of.PolynomialLR(0.1, 5, 0.00001, 2, clock=clock), 0.1, lambda: powered(0.1, 5, 0.00001, 2, False)),
        (lambda clock: of.PolynomialLR(0.1, 4, 0.01, 1, True, clock=clock), 0.1, lambda: powered(0.1, 4, 0.01, 1, True, first=1)),
        (lambda clock: of.PolynomialLR(0.1, 1, 0.01, 3, True, clock=clock), 0.1, lambda: powered(0.1, 1, 0.01, 3, True, first=1)),
        (
            lambda clock: of.PolynomialLR(0.1, 33, 0.01, 1.5, True, clock=clock),
            0.1,
            lambda: powered(0.1, 33, 0.01, 1.5, True, first=1),
        ),
    ],
    "oneflow.StepLR": [
        (lambda clock: of.StepLR(0.1, 30, clock=clock), 0.1, lambda: multiplied(0.1, lambda step: 1.0 if step % 30 else 0.1)),
        (
            lambda clock: of.StepLR(0.1, 60, 1.25, clock=clock),
            0.1,
            lambda: multiplied(0.1, lambda step: 1.0 if step % 60 else 1.25),
        ),
    ],
    "openseq2seq.exp_decay": [
        (lambda clock: os2s.exp_decay(0.1, 10, 0.9, False, clock=clock), 0.1, lambda: exponential(0.1, 10, 0.9, False)),
        (
            lambda clock: os2s.exp_decay(0.1, 10, 0.5, True, 15, 0.002, clock=clock),
            0.1,
            lambda: exponential(0.1, 10, 0.5, True, 15, 0.002),
        ),
        (
            lambda clock: os2s.exp_decay(0.1, 3, 0.9, False, 40, 0.01, clock=clock),
            0.1,
            lambda: exponential(0.1, 3, 0.9, False, 40, 0.01),
        ),
        (lambda clock: os2s.exp_decay(0.1, 3, 0.9, True, 2, 0.4, clock=clock), 0.1, lambda: every_step(lambda step: 0.4)),
    ],
    "openseq2seq.fixed_lr": [
        (lambda clock: os2s.fixed_lr(0.1, clock=clock), 0.1, lambda: every_step(lambda step: 0.1)),
    ],
    "openseq2seq.inv_poly_decay": [
        (lambda clock: os2s.inv_poly_decay(0.1, 100, 0.001, clock=clock), 0.1, lambda: inverse(0.1, 100, 0.001, 1)),
        (lambda clock: os2s.inv_poly_decay(0.1, 30, 0.01, 0.5, 50, 60, clock=clock), 0.1, lambda: inverse(0.1, 30, 0.01, 0.5)),
        (lambda clock: os2s.inv_poly_decay(0.1, 150, 0.0, 2.0, clock=clock), 0.1, lambda: inverse(0.1, 150, 1e-8, 2)),
        (lambda clock: os2s.inv_poly_decay(0.1, 150, 0.7, clock=clock), 0.1, lambda: every_step(lambda step: 0.1)),
    ],
    "openseq2seq.piecewise_constant": [
        (
            lambda clock: os2s.piecewise_constant(1.0, [2, 4], [0.5, 0.1], clock=clock),
            1.0,
            lambda: picked([2, 4], [1, 0.5, 0.1], True),
        ),
        (
            lambda clock: os2s.piecewise_constant(0.3, [0, 1], [0.5, 2], clock=clock),
            0.3,
            lambda: picked([0, 1], [0.3, 0.15, 0.6], True),
        ),
        (
            lambda clock: os2s.piecewise_constant(2.0, [3, 7], [0.1, 0.01], 20, clock=clock),
            2.0,
            lambda: picked([60, 140], [2, 0.2, 0.02], True),
        ),
    ],
    "openseq2seq.poly_decay": [
        (
            lambda clock: os2s.poly_decay(0.1, 50, clock=clock),
            0.1,
            lambda: begun(0.1, 0, 0, lambda rate, step: rate * (50 - min(step, 50)) / 50),
        ),
        (
            lambda clock: os2s.poly_decay(0.1, 100, 2.0, 30, 0.01, 30, clock=clock),
            0.1,
            lambda: begun(0.1, 30, 30, lambda rate, step: 0.01 + (rate - 0.01) * ((100 - min(step, 100)) / 100) ** 2),
        ),
        (
            lambda clock: os2s.poly_decay(0.1, 100, 0.5, 10, 0.03, 60, clock=clock),
            0.1,
            lambda: begun(0.1, 60, 10, lambda rate, step: 0.03 + (rate - 0.03) * math.sqrt((100 - min(step, 100)) / 100)),
        ),
        (
            lambda clock: os2s.poly_decay(0.1, 20, begin_decay_at=70, min_lr=0.05, warmup_steps=1, clock=clock),
            0.1,
            lambda: begun(0.1, 1, 70, lambda rate, step: 0.05 + (rate - 0.05) * (20 - min(step, 20)) / 20),
        ),
    ],
    "openseq2seq.cosine_decay": [
        (
            lambda clock: os2s.cosine_decay(0.1, 50, clock=clock),
            0.1,
            lambda: begun(0.1, 0, 0, lambda rate, step: rate * falling(step, 50)),
        ),
        (
            lambda clock: os2s.cosine_decay(0.2, 100, 3.0, 30, 0.25, 30, clock=clock),
            0.2,
            lambda: begun(0.2, 30, 30, lambda rate, step: rate * (0.25 + 0.75 * falling(step, 100))),
        ),
        (
            lambda clock: os2s.cosine_decay(0.2, 100, begin_decay_at=5, min_lr=0.1, warmup_steps=90, clock=clock),
            0.2,
            lambda: begun(0.2, 90, 5, lambda rate, step: rate * (0.1 + 0.9 * falling(step, 100))),
        ),
    ],
    "openseq2seq.transformer_policy": [
        (lambda clock: os2s.transformer_policy(2.0, 512, 80, clock=clock), 2.0, lambda: noam(2.0, 512, 80, 1)),
        (
            lambda clock: os2s.transformer_policy(2.0, 64, 20, 0.004, 0.1, clock=clock),
            0.2,
            lambda: map(lambda rate: min(rate, 0.004), noam(0.2, 64, 20, 1)),
        ),
    ],
}


# Plateaus


def machine(called: str, rate: float, metrics: Sequence[float], **given: Any) -> Iterator[tuple[float, int]]:
    """The rate and the cooldown that is left after each metric, by the system's own state machine."""
    options = {
        "mode": "min",
        "factor": 0.1,
        "patience": 10,
        "threshold": 1e-4,
        "threshold_mode": "rel",
        "cooldown": 0,
        "min_lr": 0,
    }
    options |= {"smallest": 1e-8} | given
    sign = 1 if options["mode"] == "min" else -1
    best, bad, cooling = sign * math.inf, 0, 0
    for metric in metrics:
        if called == "ReduceOnPlateau" and cooling:
            cooling -= 1
            yield rate, cooling
            continue
        margin = options["threshold"] * (abs(best) if options["threshold_mode"] == "rel" else 1) if math.isfinite(best) else 0
        if math.isfinite(metric) and sign * metric < sign * best - margin:
            best, bad = metric, 0
        else:
            bad += 1
        if cooling:
            cooling -= 1
            bad = 0
        if bad > options["patience"]:
            reduced = max(rate * options["factor"], options["min_lr"])
            if rate - reduced > options["smallest"]:
                rate = reduced
            cooling, bad = options["cooldown"], 0
        yield rate, cooling


def noise(seed: int, shift: float = 0.0) -> list[float]:
    """Metrics that fall on the whole, with plateaus and metrics that are no numbers among them."""
    source = random.Random(seed)
    level, metrics = 1.0, []
    for _ in range(STEPS):
        level *= source.choice((1.0, 1.0, 0.95, 0.99995))
        metrics.append(source.choice((level, level, level, level * 1.1, math.nan, math.inf, -math.inf)) + shift)
    return metrics


OPTIONS: list[dict[str, Any]] = [
    {"patience": 3},
    {"patience": 0, "factor": 0.9},
    {"patience": 2, "cooldown": 4, "factor": 0.5, "threshold": 0.02},
    {"patience": 1, "cooldown": 1, "factor": 0.7, "threshold": 0.001, "threshold_mode": "abs"},
    {"patience": 1, "factor": 0.5, "min_lr": 0.01, "cooldown": 2},
    {"patience": 1, "factor": 0.5, "min_lr": 0.2},
    {"patience": 1, "factor": 0.6, "cooldown": 3, "smallest": 0.003},
    {"patience": 1, "factor": 0.6, "smallest": 0.0},
]


def plateau(kind: Any, rate: float, **options: Any) -> Any:
    options = dict(options)
    if "smallest" in options:
        options["epsilon" if kind is tlx.ReduceOnPlateau else "eps"] = options.pop("smallest")
    return kind(rate, **options)


def observed(called: str, options: dict[str, Any], mode: str, shift: float, seed: int) -> Iterator[tuple[Any, float, int]]:
    """A plateau after each metric, and the rate and cooldown that it is to have."""
    sign = 1 if mode == "min" else -1
    metrics = [sign * metric for metric in noise(seed, shift)]
    schedule = plateau(PLATEAUS[called], 0.1, mode=mode, **options)
    expected = machine(called.partition(".")[2], 0.1, metrics, mode=mode, **options)
    for metric, (rate, cooling) in zip(metrics, expected, strict=True):
        schedule.step(metric)
        yield schedule, rate, cooling


# How close they are


def errors(name: str) -> list[float]:
    """The largest error of each configuration of a schedule, over the largest rate."""
    if name in PLATEAUS:
        return [
            max(abs(schedule(at("epoch", 1)) - rate) for seed in range(5) for schedule, rate, _ in observed(name, *of_it, seed))
            / 0.1
            for of_it in product(OPTIONS, ("min", "max"), (0.0, -3.0))
        ]
    found = []
    for make, *_, oracle in CASES[name]:
        schedule, expected = make("iteration"), list(islice(oracle(), STEPS))
        given = [schedule(at("iteration", k)) for k in range(1, STEPS + 1)]
        off = max(abs(one - other) for one, other in zip(given, expected, strict=True))
        found.append(off / (max(expected) or 1.0))
    return found
