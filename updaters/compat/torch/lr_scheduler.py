"""PyTorch's schedules: the names, arguments and values of `torch.optim.lr_scheduler` 2.13.

`scheduler = lr_scheduler.StepLR(optimizer, 30)` and its `scheduler.step()` after each epoch become
`optim.AdamW(lr=lr_scheduler.StepLR(0.1, 30))`, with `from updaters.compat.torch import lr_scheduler`: the base rate has the place
of the optimizer, and nothing is stepped, since the clock of the run moves the schedule: with every epoch, or by
`clock="iteration"`, where `scheduler.step()` came after each mini-batch, with every update. `CyclicLR` and `OneCycleLR` go by
updates unless told otherwise. The k-th epoch, or update, sees the rate that it sees there.

Arguments are as `torch.optim.lr_scheduler` has them, and what a docstring here says nothing about is what it is there. What comes
back is one of our schedules, with which arithmetic may be done. `last_epoch` may only be -1. Lists with an entry for each
group of parameters are errors: a group has a schedule of its own. `MultiplicativeLR`, whose rate is a product of as many factors
as there were steps, is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import floor
from typing import Any, Literal

import attrs

from updaters import learning_rate as curves
from updaters import momentum as momenta
from updaters.checks import BELOW_ONE, POSITIVE, UNIT, field_name, number, whole
from updaters.compat._arguments import build, lasting, switch
from updaters.compat._plateau import RatePlateau, rate_plateau
from updaters.compat._schedules import base_rate, check_function, check_run, without_optimizer, zero_based
from updaters.protocols import Schedulable
from updaters.schedules.base import Combination, Schedule, at, clocks
from updaters.schedules.fields import Clock, function, inner, length, schedulable
from updaters.state import OptimizationState

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


@without_optimizer
def LambdaLR(lr: float, lr_lambda: Callable[[int], float], last_epoch: int = -1, *, clock: Clock = "epoch") -> Schedule:
    """PyTorch's LambdaLR: the base rate times a function of the steps that are done.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> rate = lr_scheduler.LambdaLR(0.5, lambda epoch: 0.5**epoch)
        >>> rate(up.OptimizationState(epoch=1)), rate(up.OptimizationState(epoch=2))
        (0.5, 0.25)
    """
    check_run("LambdaLR", last_epoch=last_epoch)
    base = base_rate(lr, "LambdaLR.lr")
    return base * build(curves.PerStep, "LambdaLR", {}, function=check_function(lr_lambda, "LambdaLR.lr_lambda"), clock=clock)


@without_optimizer
def StepLR(lr: float, step_size: int, gamma: float = 0.1, last_epoch: int = -1, *, clock: Clock = "epoch") -> curves.Step:
    """PyTorch's StepLR.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.StepLR(0.1, 30, gamma=0.5)
        Step(0.1, 30, gamma=0.5)
    """
    check_run("StepLR", last_epoch=last_epoch)
    names = {"every": "step_size"}
    return build(curves.Step, "StepLR", names, value=base_rate(lr, "StepLR.lr"), every=step_size, gamma=gamma, clock=clock)


@without_optimizer
def MultiStepLR(
    lr: float, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1, *, clock: Clock = "epoch"
) -> curves.MultiStep:
    """PyTorch's MultiStepLR.

    Milestones may come in any order, as there.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.MultiStepLR(0.1, [30, 80])
        MultiStep(0.1, (30, 80))
    """
    check_run("MultiStepLR", last_epoch=last_epoch)
    done = sorted(_moments(milestones, "MultiStepLR.milestones"))
    return build(
        curves.MultiStep, "MultiStepLR", {}, value=base_rate(lr, "MultiStepLR.lr"), milestones=done, gamma=gamma, clock=clock
    )


@without_optimizer
def ConstantLR(
    lr: float, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1, *, clock: Clock = "epoch"
) -> Schedule:
    """PyTorch's ConstantLR: the base rate times `factor` for `total_iters` steps, and then the base rate.

    A `factor` of 0, by which PyTorch divides at the end, is taken; `total_iters=0`, where its `factor` stays for good, is not.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.ConstantLR(0.1, factor=0.5, total_iters=4)
        0.1 * Piecewise((0.5, 1.0), (4,))
    """
    check_run("ConstantLR", last_epoch=last_epoch)
    values = (number(factor, "ConstantLR.factor", UNIT), 1.0)
    until = (whole(total_iters, "ConstantLR.total_iters", 1),)
    factors = build(curves.Piecewise, "ConstantLR", {}, values=values, boundaries=until, clock=clock)
    return base_rate(lr, "ConstantLR.lr") * factors


@without_optimizer
def LinearLR(
    lr: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5, last_epoch: int = -1, *,
    clock: Clock = "epoch",
) -> Schedule:  # fmt: skip
    """PyTorch's LinearLR: the base rate times a factor that goes from one to another in `total_iters` steps.

    A `start_factor` of 0 is taken; `total_iters=0`, where PyTorch's `start_factor` stays for good, is not.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.LinearLR(0.1, start_factor=0.5, total_iters=4)
        0.1 * Delay(Linear(0.5, 4, end=1.0), 1)
    """
    check_run("LinearLR", last_epoch=last_epoch)
    start, end = number(start_factor, "LinearLR.start_factor", UNIT), number(end_factor, "LinearLR.end_factor", UNIT)
    length = whole(total_iters, "LinearLR.total_iters", 1)
    factor = build(curves.Linear, "LinearLR", {}, value=start, length=length, end=end, clock=clock)
    return base_rate(lr, "LinearLR.lr") * zero_based(factor)


@without_optimizer
def ExponentialLR(lr: float, gamma: float, last_epoch: int = -1, *, clock: Clock = "epoch") -> curves.Delay:
    """PyTorch's ExponentialLR.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.ExponentialLR(0.1, 0.5)
        Delay(Exp(0.1, gamma=0.5), 1)
    """
    check_run("ExponentialLR", last_epoch=last_epoch)
    rate = base_rate(lr, "ExponentialLR.lr")
    return zero_based(build(curves.Exp, "ExponentialLR", {}, value=rate, gamma=gamma, clock=clock))


@without_optimizer
def PolynomialLR(
    lr: float, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1, *, clock: Clock = "epoch"
) -> curves.Delay:
    """PyTorch's PolynomialLR.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.PolynomialLR(0.1, 100, power=2.0)
        Delay(Polynomial(0.1, 100, power=2.0), 1)
    """
    check_run("PolynomialLR", last_epoch=last_epoch)
    length = whole(total_iters, "PolynomialLR.total_iters", 1)
    curve = build(
        curves.Polynomial, "PolynomialLR", {}, value=base_rate(lr, "PolynomialLR.lr"), length=length, power=power, clock=clock
    )
    return zero_based(curve)


@without_optimizer
def CosineAnnealingLR(
    lr: float, T_max: int, eta_min: float = 0.0, last_epoch: int = -1, *, clock: Clock = "epoch"
) -> curves.Delay:
    """PyTorch's CosineAnnealingLR, which rises again after `T_max` steps.

    The rate is a function of the step alone; PyTorch's goes from each rate to the next, and by rounding away from the curve.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.CosineAnnealingLR(0.1, 100, eta_min=0.01)
        Delay(Cosine(0.1, 100, end=0.01, periodic=True), 1)
    """
    check_run("CosineAnnealingLR", last_epoch=last_epoch)
    curve = build(
        curves.Cosine, "CosineAnnealingLR", {"end": "eta_min"}, value=base_rate(lr, "CosineAnnealingLR.lr"),
        length=whole(T_max, "CosineAnnealingLR.T_max", 1), end=eta_min, periodic=True, clock=clock,
    )  # fmt: skip
    return zero_based(curve)


@without_optimizer
def CosineAnnealingWarmRestarts(
    lr: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1, *, clock: Clock = "epoch"
) -> curves.CosineRestarts:
    """PyTorch's CosineAnnealingWarmRestarts.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> lr_scheduler.CosineAnnealingWarmRestarts(0.1, 10, T_mult=2)
        CosineRestarts(0.1, 10, period_factor=2)
    """
    called = "CosineAnnealingWarmRestarts"
    check_run(called, last_epoch=last_epoch)
    return build(
        curves.CosineRestarts, called, {"floor": "eta_min"}, value=base_rate(lr, f"{called}.lr"),
        period=whole(T_0, f"{called}.T_0", 1), period_factor=whole(T_mult, f"{called}.T_mult", 1), floor=eta_min, clock=clock,
    )  # fmt: skip


def _check_momentum(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        schedulable(value, field_name(instance, attribute))


@attrs.frozen(repr=False)
class RateAndMomentum(Schedule):
    """A learning rate with the momentum that goes with it, or None."""

    rate: Schedulable = inner()
    momentum: Schedulable | None = attrs.field(default=None, validator=_check_momentum)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        return at(self.rate, epoch, iteration, state)

    @property
    def clocks(self) -> frozenset[Clock]:
        return clocks(self.rate)


@attrs.frozen
class PerCycle:
    """A function of a cycle of `length` steps, which count from 1, as a function of the steps that are done."""

    function: Callable[[int], float] = function()
    length: float = length()

    def __call__(self, step: int) -> float:
        return self.function(floor(1 + step / self.length))


@without_optimizer
def CyclicLR(
    base_lr: float, max_lr: float, step_size_up: int = 2000, step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular", gamma: float = 1.0,
    scale_fn: Callable[[int], float] | None = None, scale_mode: Literal["cycle", "iterations"] = "cycle",
    cycle_momentum: bool = True, base_momentum: float = 0.8, max_momentum: float = 0.9, last_epoch: int = -1, *,
    clock: Clock = "iteration",
) -> RateAndMomentum:  # fmt: skip
    """PyTorch's CyclicLR, and the momentum that falls while the rate rises, as its `momentum`.

    PyTorch writes the momentum into the optimizer, as Adam's beta1 where there is no other; here give it to the field that is to
    follow it. Adam's bias correction then goes by the product of the betas there have been; PyTorch's takes the last one to
    the power of t. With `scale_fn`, which gives the height of a cycle or of a step, `mode` and `gamma` do nothing, as there.

    Example:
        >>> from updaters.compat import torch
        >>> rate = torch.lr_scheduler.CyclicLR(0.01, 0.1, step_size_up=4)
        >>> torch.SGD(lr=rate, momentum=rate.momentum).momentum
        Delay(momentum.Cyclic(0.8, 0.9, up=4), 1)
    """
    check_run("CyclicLR", last_epoch=last_epoch)
    names = {"up": "step_size_up", "down": "step_size_down"}
    shared = {"up": step_size_up, "mode": mode, "gamma": gamma, "clock": clock}
    if step_size_down is not None:
        shared["down"] = step_size_down
    rate = build(
        curves.Cyclic,
        "CyclicLR",
        names | {"low": "base_lr", "high": "max_lr"},
        low=base_rate(base_lr, "CyclicLR.base_lr"),
        high=base_rate(max_lr, "CyclicLR.max_lr"),
        **shared,
    )
    kept = build(
        momenta.Cyclic, "CyclicLR", names | {"low": "base_momentum", "high": "max_momentum"}, low=base_momentum,
        high=max_momentum, **shared,
    )  # fmt: skip
    if scale_mode not in ("cycle", "iterations"):
        raise ValueError(f"CyclicLR.scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
    moves = switch(cycle_momentum, "CyclicLR.cycle_momentum")
    if scale_fn is None:
        return RateAndMomentum(zero_based(rate), zero_based(kept) if moves else None)
    scale = check_function(scale_fn, "CyclicLR.scale_fn")
    if scale_mode == "cycle":
        scale = PerCycle(scale, rate.up + rate.down)
    scales = curves.PerStep(scale, clock=clock)
    height = curves.Delay(attrs.evolve(rate, low=0.0, high=1.0, mode="triangular"), 1) * scales
    return RateAndMomentum(
        rate.low + (rate.high - rate.low) * height, kept.high - (kept.high - kept.low) * height if moves else None
    )


@without_optimizer
def OneCycleLR(
    max_lr: float, total_steps: int | None = None, epochs: int | None = None, steps_per_epoch: int | None = None,
    pct_start: float = 0.3, anneal_strategy: Literal["cos", "linear"] = "cos", cycle_momentum: bool = True,
    base_momentum: float = 0.85, max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
    three_phase: bool = False, last_epoch: int = -1, *, clock: Clock = "iteration",
) -> RateAndMomentum:  # fmt: skip
    """PyTorch's OneCycleLR, and the momentum that falls while the rate rises, as its `momentum`.

    PyTorch writes the momentum into the optimizer, as Adam's beta1 where there is no other; here give it to the field that is to
    follow it, as with `CyclicLR`. After `total_steps` the rate stays at its end, where PyTorch's is outside the curve for a step
    and then an error. Where the rise takes a step or less, as with `pct_start=0`, the first rate is `max_lr`, where PyTorch's
    lies between that and the next, or is a division by 0. Not taken are a rise without a fall, three phases of which the last
    has no time, and a single step.

    Example:
        >>> from updaters.compat import torch
        >>> rate = torch.lr_scheduler.OneCycleLR(0.5, total_steps=11, pct_start=0.5, anneal_strategy="linear")
        >>> [round(rate(up.OptimizationState(iteration=t)), 6) for t in (1, 11, 12)], rate.momentum.inner.low
        ([0.02, 2e-06, 2e-06], 0.85)
    """
    check_run("OneCycleLR", last_epoch=last_epoch)
    if total_steps is not None:
        steps = whole(total_steps, "OneCycleLR.total_steps", 2)
    elif epochs is not None and steps_per_epoch is not None:
        steps = whole(epochs, "OneCycleLR.epochs", 1) * whole(steps_per_epoch, "OneCycleLR.steps_per_epoch", 1)
        if steps < 2:
            raise ValueError(f"OneCycleLR.epochs * steps_per_epoch must be at least 2, got {steps}")
    else:
        raise TypeError(
            "OneCycleLR takes total_steps, or epochs and steps_per_epoch, "
            f"got total_steps={total_steps!r}, epochs={epochs!r} and steps_per_epoch={steps_per_epoch!r}"
        )
    if anneal_strategy not in ("cos", "linear"):
        raise ValueError(f"OneCycleLR.anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
    length = steps - 1
    rise = max((number(pct_start, "OneCycleLR.pct_start", BELOW_ONE) * steps - 1) / length, 0.0)
    if switch(three_phase, "OneCycleLR.three_phase") and rise > 0.5:
        most = (steps + 1) / (2 * steps)
        raise ValueError(f"OneCycleLR.pct_start must be at most {most:.4g} for three phases in {steps} steps, got {pct_start!r}")
    peak = base_rate(max_lr, "OneCycleLR.max_lr")
    start = peak / number(div_factor, "OneCycleLR.div_factor", POSITIVE)
    end = start / number(final_div_factor, "OneCycleLR.final_div_factor", POSITIVE)
    shared: dict[str, Any] = {
        "rise": rise, "shape": "cosine" if anneal_strategy == "cos" else "linear", "three_phase": three_phase, "clock": clock,
    }  # fmt: skip
    rate = build(curves.OneCycle, "OneCycleLR", {}, peak=peak, length=length, start=start, end=end, **shared)
    names = {"low": "base_momentum", "high": "max_momentum"}
    kept = build(momenta.OneCycle, "OneCycleLR", names, length=length, low=base_momentum, high=max_momentum, **shared)
    moves = switch(cycle_momentum, "OneCycleLR.cycle_momentum")
    return RateAndMomentum(zero_based(rate), zero_based(kept) if moves else None)


@without_optimizer
def SequentialLR(
    schedulers: Iterable[Schedule], milestones: Iterable[int], last_epoch: int = -1, *, clock: Clock | None = None
) -> curves.Sequence:
    """PyTorch's SequentialLR: one schedule after another, each from its own beginning.

    Each has a base rate of its own, and milestones count what the schedules count. Any of ours may be among them, a
    `ReduceLROnPlateau` and another `SequentialLR` too, which PyTorch refuses or gets wrong. The momentum of a `CyclicLR` or a
    `OneCycleLR` in it is not in what comes back; a `Sequence` of the momenta is that.

    Example:
        >>> from updaters.compat.torch.lr_scheduler import ExponentialLR, LinearLR, SequentialLR
        >>> SequentialLR([LinearLR(0.1, 0.5, total_iters=4), ExponentialLR(0.1, 0.5)], [4])
        Sequence((0.1 * Delay(Linear(0.5, 4, end=1.0), 1), Delay(Exp(0.1, gamma=0.5), 1)), (4,))
    """
    check_run("SequentialLR", last_epoch=last_epoch)
    several, ends = _schedules(schedulers, "SequentialLR"), _moments(milestones, "SequentialLR.milestones")
    if len(ends) != len(several) - 1:
        raise ValueError(f"SequentialLR.milestones must be one fewer than the {len(several)} schedulers, got {ends!r}")
    if any(after < before for before, after in pairwise(ends)):
        raise ValueError(f"SequentialLR.milestones must be in increasing order, got {ends!r}")
    that_run, begins = lasting(several, (0, *ends))
    return build(
        curves.Sequence, "SequentialLR", {"boundaries": "milestones", "schedules": "schedulers"}, schedules=that_run,
        boundaries=begins, **{} if clock is None else {"clock": clock},
    )  # fmt: skip


@without_optimizer
def ChainedScheduler(schedulers: Iterable[Schedule]) -> Schedule:
    """PyTorch's ChainedScheduler: the base rate times the factors of several schedules.

    All have one base rate, and are such as multiply the rate in PyTorch too: `StepLR`, `MultiStepLR`, `ConstantLR`, `LinearLR`,
    `ExponentialLR`, `PolynomialLR`, and `CosineAnnealingLR` with `eta_min=0`. Where that rises again, PyTorch forgets what the
    others have multiplied by; here the product goes on. For all else there is arithmetic: `0.5 * (one + other)`,
    `one.clamp(low=0.01)`.

    Example:
        >>> from updaters.compat.torch.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
        >>> rate = ChainedScheduler([ConstantLR(1.0, factor=0.5, total_iters=2), ExponentialLR(1.0, 0.5)])
        >>> [rate(up.OptimizationState(epoch=t)) for t in (1, 2, 3)]
        [0.5, 0.25, 0.25]
    """
    several = _schedules(schedulers, "ChainedScheduler")
    factors = [_base_and_factor(schedule, i) for i, schedule in enumerate(several)]
    base = factors[0][0]
    for (other, _), schedule in zip(factors, several, strict=True):
        if other != base:
            raise ValueError(f"ChainedScheduler.schedulers must have one base rate, got {base} and {other} in {schedule!r}")
    result = base * factors[0][1]
    for _, factor in factors[1:]:
        result = result * factor
    return result


def _base_and_factor(schedule: Schedule, i: int) -> tuple[float, Schedule]:
    """A base rate and what it is multiplied by, where a step in PyTorch multiplies the rate that is there."""
    match schedule:
        case Combination("*", float(base), curves.Piecewise() | curves.Delay(curves.Linear()) as factor):
            return base, factor
        case curves.Step(base) | curves.MultiStep(base):
            return base, attrs.evolve(schedule, value=1.0)
        case curves.Delay(curves.Exp(base) | curves.Polynomial(base, end=0.0) | curves.Cosine(base, end=0.0) as curve):
            return base, attrs.evolve(schedule, inner=attrs.evolve(curve, value=1.0))
    raise ValueError(
        f"ChainedScheduler.schedulers[{i}] must be a product of its base rate and a factor, got {schedule!r}: "
        "put it after the others by SequentialLR, or say what is meant in arithmetic on schedules"
    )


def _schedules(schedulers: object, called: str) -> tuple[Schedule, ...]:
    several = tuple(schedulers) if isinstance(schedulers, Iterable) else ()
    if not several or not all(isinstance(one, Schedule) for one in several):
        raise TypeError(f"{called}.schedulers must be one or more schedules, got {schedulers!r}")
    return several


def _moments(milestones: object, name: str) -> tuple[int, ...]:
    if not isinstance(milestones, Iterable) or isinstance(milestones, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of integers, got {milestones!r}")
    return tuple(whole(one, f"{name}[{i}]") for i, one in enumerate(milestones))


@without_optimizer
def ReduceLROnPlateau(
    lr: float, mode: Literal["min", "max"] = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel", cooldown: int = 0, min_lr: float = 0, eps: float = 1e-8,
) -> RatePlateau:  # fmt: skip
    """PyTorch's ReduceLROnPlateau, whose `step(metric)`, or `observe`, is the only thing that moves it.

    It is a `learning_rate.Plateau` with a number inside; that itself takes a schedule. A relative threshold is right for negative
    metrics too, where PyTorch's takes a slightly worse one for better, and the first finite metric is always the best
    so far, where with `threshold=1` PyTorch's is not. Infinite metrics are bad ones. A `factor` of 0 is not taken.

    Example:
        >>> from updaters.compat.torch import lr_scheduler
        >>> rate = lr_scheduler.ReduceLROnPlateau(0.5, factor=0.5, patience=1)
        >>> for loss in (1.0, 1.0, 1.0):
        ...     rate.step(loss)
        >>> rate(up.OptimizationState())
        0.25
    """
    return rate_plateau(
        RatePlateau, "ReduceLROnPlateau", {"inner": "lr"}, lr, threshold_mode, mode=mode, factor=factor, patience=patience,
        threshold=threshold, cooldown=cooldown, floor=min_lr, eps=eps,
    )  # fmt: skip
