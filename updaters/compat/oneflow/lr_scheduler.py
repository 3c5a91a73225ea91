"""OneFlow's schedules: the names and arguments of `oneflow.optim.lr_scheduler`, with the base rate in the place of the optimizer.

`lr_scheduler.StepLR(optimizer, 30)`, made after the optimizer, becomes `optim.SGD(lr_scheduler.StepLR(0.1, 30))`, with
`from updaters.compat import oneflow as optim` and `from updaters.compat.oneflow import lr_scheduler`. There is no `step()`, but
for `ReduceLROnPlateau`: the clock of the updater moves a schedule, with every epoch as OneFlow's examples do, or with every
update by `clock="iteration"`, as its graphs do and where `step()` came after each mini-batch. Steps count from 0, as there.

`last_step` may be -1, for the clock says where a run stands, and `verbose` may be False.

`ChainedScheduler`, `ConstantLR`, `CosineAnnealingWarmRestarts`, `LinearLR`, `MultiplicativeLR`, `SequentialLR` and `WarmupLR` are
not there. `Warmup`, `Sequence` and the like in `updaters.learning_rate`, and arithmetic, say most of what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from updaters import learning_rate as schedules
from updaters.checks import NONNEGATIVE, number
from updaters.compat._arguments import build
from updaters.compat._plateau import RatePlateau, rate_plateau
from updaters.compat._schedules import base_rate, check_function, check_run, without_optimizer, zero_based
from updaters.schedules.base import Schedule
from updaters.schedules.fields import Clock

__all__ = [
    "CosineAnnealingLR",
    "CosineDecayLR",
    "ExponentialLR",
    "LambdaLR",
    "MultiStepLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "StepLR",
]


@without_optimizer
def CosineAnnealingLR(
    lr: float, T_max: int, eta_min: float = 0.0, last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch"
) -> schedules.Delay:
    """OneFlow's CosineAnnealingLR.

    After `T_max` steps it rises again, as there.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> lr_scheduler.CosineAnnealingLR(0.1, 10)
        Delay(Cosine(0.1, 10, periodic=True), 1)
    """
    check_run("CosineAnnealingLR", verbose, last_step=last_step)
    return zero_based(
        build(
            schedules.Cosine, "CosineAnnealingLR", {"length": "T_max", "end": "eta_min"},
            value=base_rate(lr, "CosineAnnealingLR.lr"), length=T_max, end=eta_min, periodic=True, clock=clock,
        )
    )  # fmt: skip


@without_optimizer
def CosineDecayLR(
    lr: float, decay_steps: int, alpha: float = 0.0, last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch"
) -> schedules.Delay:
    """OneFlow's CosineDecayLR.

    It ends at `alpha * lr`, and stays there.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> lr_scheduler.CosineDecayLR(0.5, 100, alpha=0.25)
        Delay(Cosine(0.5, 100, end=0.125), 1)
    """
    check_run("CosineDecayLR", verbose, last_step=last_step)
    rate = base_rate(lr, "CosineDecayLR.lr")
    end = rate * number(alpha, "CosineDecayLR.alpha", NONNEGATIVE)
    return zero_based(
        build(schedules.Cosine, "CosineDecayLR", {"length": "decay_steps"}, value=rate, length=decay_steps, end=end, clock=clock)
    )


@without_optimizer
def ExponentialLR(
    lr: float, gamma: float, last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch"
) -> schedules.Delay:
    """OneFlow's ExponentialLR.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> lr_scheduler.ExponentialLR(0.1, 0.99)
        Delay(Exp(0.1, gamma=0.99), 1)
    """
    check_run("ExponentialLR", verbose, last_step=last_step)
    rate = base_rate(lr, "ExponentialLR.lr")
    return zero_based(build(schedules.Exp, "ExponentialLR", {}, value=rate, gamma=gamma, clock=clock))


@without_optimizer
def LambdaLR(
    lr: float, lr_lambda: Callable[[int], Any], last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch"
) -> Schedule:
    """OneFlow's LambdaLR.

    `lr_lambda` is one function; where groups of parameters have one each, each group has a schedule of its own.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> rate = lr_scheduler.LambdaLR(0.5, lambda step: 0.5**step)
        >>> rate(up.OptimizationState(epoch=1)), rate(up.OptimizationState(epoch=2))
        (0.5, 0.25)
    """
    check_run("LambdaLR", verbose, last_step=last_step)
    rate = base_rate(lr, "LambdaLR.lr")
    check_function(lr_lambda, "LambdaLR.lr_lambda")
    return rate * build(schedules.PerStep, "LambdaLR", {}, function=lr_lambda, clock=clock)


@without_optimizer
def MultiStepLR(
    lr: float, milestones: Sequence[int], gamma: float = 0.1, last_step: int = -1, verbose: bool = False, *,
    clock: Clock = "epoch",
) -> schedules.MultiStep:  # fmt: skip
    """OneFlow's MultiStepLR.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> lr_scheduler.MultiStepLR(0.1, [30, 80])
        MultiStep(0.1, (30, 80))
    """
    check_run("MultiStepLR", verbose, last_step=last_step)
    rate = base_rate(lr, "MultiStepLR.lr")
    return build(schedules.MultiStep, "MultiStepLR", {}, value=rate, milestones=milestones, gamma=gamma, clock=clock)


@without_optimizer
def PolynomialLR(
    lr: float, decay_batch: int, end_learning_rate: float = 0.0001, power: float = 1.0, cycle: bool = False,
    last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch",
) -> Schedule:  # fmt: skip
    """OneFlow's PolynomialLR.

    With `cycle` the first two steps have the same rate, which is below `lr`, since the count begins at 1 there and the step
    from 0 to 1 does not move it.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> rate = lr_scheduler.PolynomialLR(1.0, 4, end_learning_rate=0.0, cycle=True)
        >>> [rate(up.OptimizationState(epoch=k)) for k in (1, 2, 3, 4, 5, 6)]
        [0.75, 0.75, 0.5, 0.25, 0.0, 0.375]
    """
    check_run("PolynomialLR", verbose, last_step=last_step)
    curve = build(
        schedules.Polynomial, "PolynomialLR", {"length": "decay_batch", "end": "end_learning_rate"},
        value=base_rate(lr, "PolynomialLR.lr"), length=decay_batch, end=end_learning_rate, power=power, cycle=cycle, clock=clock,
    )  # fmt: skip
    return schedules.Repeat(curve, 1, times=2) if curve.cycle else zero_based(curve)


@without_optimizer
def ReduceLROnPlateau(
    lr: float, mode: Literal["min", "max"] = "min", factor: float = 0.1, patience: int = 10, threshold: float = 0.0001,
    threshold_mode: Literal["rel", "abs"] = "rel", cooldown: int = 0, min_lr: float = 0, eps: float = 1e-8,
    verbose: bool = False,
) -> RatePlateau:  # fmt: skip
    """OneFlow's ReduceLROnPlateau: a rate that `step(metrics)` reduces where a metric has stopped getting better.

    After more than `patience` metrics in a row that are no better there is a reduction, unless it would be one of `eps` or
    less; the `cooldown` metrics after it are not held against it. Reading it changes nothing, and it takes no `clock`: metrics
    alone move it. `min_lr` is one number; where groups of parameters have one each, each group has a schedule of its own.

    Two things are put right. A metric that is infinite is bad, where one may be the best for ever in OneFlow. A relative
    threshold is a share of the best metric's magnitude, where a negative metric that is worse may count as better there.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> rate = lr_scheduler.ReduceLROnPlateau(0.5, factor=0.5, patience=1)
        >>> for loss in (1.0, 0.8, 0.9, 0.8):
        ...     rate.step(loss)
        >>> rate, rate(up.OptimizationState())
        (RatePlateau(0.5, factor=0.5, patience=1), 0.25)
    """
    check_run("ReduceLROnPlateau", verbose)
    return rate_plateau(
        RatePlateau, "ReduceLROnPlateau", {"inner": "lr"}, lr, threshold_mode, mode=mode, factor=factor, patience=patience,
        threshold=threshold, cooldown=cooldown, floor=min_lr, eps=eps,
    )  # fmt: skip


@without_optimizer
def StepLR(
    lr: float, step_size: int, gamma: float = 0.1, last_step: int = -1, verbose: bool = False, *, clock: Clock = "epoch"
) -> schedules.Step:
    """OneFlow's StepLR.

    Example:
        >>> from updaters.compat.oneflow import lr_scheduler
        >>> lr_scheduler.StepLR(0.1, 30)
        Step(0.1, 30)
    """
    check_run("StepLR", verbose, last_step=last_step)
    rate = base_rate(lr, "StepLR.lr")
    return build(schedules.Step, "StepLR", {"every": "step_size"}, value=rate, every=step_size, gamma=gamma, clock=clock)
