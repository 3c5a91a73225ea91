"""TensorLayerX's schedules: the names and arguments of `tensorlayerx.optimizers.lr`.

`scheduler = tlx.optimizers.lr.StepDecay(0.1, 30)` becomes `tensorlayerx.lr.StepDecay(0.1, 30)`, with
`from updaters.compat import tensorlayerx`, and is the `lr` of an optimizer. There is no `scheduler.step()`, but for
`ReduceOnPlateau`: the clock of the updater moves a schedule, with every update, or by `clock="epoch"`, where `step()` came after
each epoch, with every epoch. Steps count from 0, as there. Rates are float64, where TensorLayerX rounds them to float32.

`last_epoch` may be -1, for the clock says where a run stands, and `verbose` may be False.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs

from updaters import learning_rate as schedules
from updaters.checks import FINITE, INSIDE_UNIT, NONNEGATIVE, number, whole
from updaters.compat._arguments import build
from updaters.compat._plateau import RatePlateau, rate_plateau
from updaters.compat._schedules import base_rate, check_clock, check_function, check_no_optimizer, check_run, zero_based
from updaters.protocols import Schedulable
from updaters.schedules.base import Curve, Schedule
from updaters.schedules.fields import Clock
from updaters.schedules.plateau import Plateau

__all__ = [
    "CosineAnnealingDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LRScheduler",
    "LambdaDecay",
    "LinearWarmup",
    "MultiStepDecay",
    "NaturalExpDecay",
    "NoamDecay",
    "PiecewiseDecay",
    "PolynomialDecay",
    "ReduceOnPlateau",
    "StepDecay",
]


class LRScheduler(Curve):
    """The base of schedules of one's own, as TensorLayerX has it: a subclass gives `get_lr`.

    Reading one changes nothing: `get_lr` is called on a copy, whose `last_epoch` is the count of steps from 0. It is a function
    of that, of `base_lr` and of the subclass's own attributes; there is no `last_lr`.

    Example:
        >>> from updaters.compat.tensorlayerx.lr import LRScheduler
        >>> class Halving(LRScheduler):
        ...     def __init__(self, learning_rate, every, last_epoch=-1, verbose=False):
        ...         self.every = every
        ...         super().__init__(learning_rate, last_epoch, verbose)
        ...
        ...     def get_lr(self):
        ...         return self.base_lr * 0.5 ** (self.last_epoch // self.every)
        >>> [Halving(0.5, every=2)(up.OptimizationState(iteration=k)) for k in (1, 2, 3)]
        [0.5, 0.5, 0.25]
    """

    def __init__(
        self, learning_rate: float = 0.1, last_epoch: int = -1, verbose: bool = False, *, clock: Clock = "iteration"
    ) -> None:
        called = type(self).__name__
        check_run(called, verbose, last_epoch=last_epoch)
        self.base_lr = base_rate(learning_rate, f"{called}.learning_rate")
        self.last_epoch = 0
        self.clock = check_clock(clock, f"{called}.clock")

    def get_lr(self) -> float:
        """The rate at step `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr")

    def curve(self, t: int) -> float:
        """The rate of the t-th epoch or iteration."""
        reading = copy.copy(self)
        reading.last_epoch = max(t - 1, 0)
        return number(reading.get_lr(), f"{type(self).__name__}.get_lr()", FINITE)

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name != "last_epoch"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def StepDecay(
    learning_rate: float, step_size: int, gamma: float = 0.1, last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> schedules.Step:  # fmt: skip
    """TensorLayerX's StepDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.StepDecay(0.1, 30)
        Step(0.1, 30, clock='iteration')
    """
    check_run("StepDecay", verbose, last_epoch=last_epoch)
    return build(
        schedules.Step, "StepDecay", {"every": "step_size"}, value=base_rate(learning_rate, "StepDecay.learning_rate"),
        every=step_size, gamma=number(gamma, "StepDecay.gamma", INSIDE_UNIT), clock=clock,
    )  # fmt: skip


def CosineAnnealingDecay(
    learning_rate: float, T_max: int, eta_min: float = 0, last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> schedules.Delay:  # fmt: skip
    """TensorLayerX's CosineAnnealingDecay.

    After `T_max` steps it rises again, as there. It is the closed form of TensorLayerX's recursion, whose float32
    drifts.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.CosineAnnealingDecay(0.1, 10)
        Delay(Cosine(0.1, 10, periodic=True, clock='iteration'), 1)
    """
    check_run("CosineAnnealingDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "CosineAnnealingDecay.learning_rate")
    return zero_based(
        build(
            schedules.Cosine, "CosineAnnealingDecay", {"length": "T_max", "end": "eta_min"}, value=rate, length=T_max,
            end=eta_min, periodic=True, clock=clock,
        )
    )  # fmt: skip


def NoamDecay(
    d_model: float, warmup_steps: int, learning_rate: float = 1.0, last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> schedules.Delay:  # fmt: skip
    """TensorLayerX's NoamDecay.

    The first rate is 0, as there.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.NoamDecay(512, 4000)
        Delay(Noam(model_size=512, warmup=4000), 1)
    """
    check_run("NoamDecay", verbose, last_epoch=last_epoch)
    return zero_based(
        build(
            schedules.Noam, "NoamDecay", {"model_size": "d_model", "warmup": "warmup_steps"},
            value=base_rate(learning_rate, "NoamDecay.learning_rate"), model_size=d_model, warmup=warmup_steps, clock=clock,
        )
    )  # fmt: skip


def PiecewiseDecay(
    boundaries: Sequence[int], values: Sequence[float], last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> schedules.Piecewise:  # fmt: skip
    """TensorLayerX's PiecewiseDecay.

    Boundaries are one fewer than values, which TensorLayerX does not check.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> rate = tensorlayerx.lr.PiecewiseDecay([2, 4], [1.0, 0.5, 0.1])
        >>> [rate(up.OptimizationState(iteration=k)) for k in (1, 2, 3, 4, 5)]
        [1.0, 1.0, 0.5, 0.5, 0.1]
    """
    check_run("PiecewiseDecay", verbose, last_epoch=last_epoch)
    return build(schedules.Piecewise, "PiecewiseDecay", {}, values=values, boundaries=boundaries, clock=clock)


def NaturalExpDecay(
    learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False, *, clock: Clock = "iteration"
) -> schedules.Delay:
    """TensorLayerX's NaturalExpDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.NaturalExpDecay(0.1, 0.01)
        Delay(NaturalExp(0.1, rate=0.01, clock='iteration'), 1)
    """
    check_run("NaturalExpDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "NaturalExpDecay.learning_rate")
    return zero_based(build(schedules.NaturalExp, "NaturalExpDecay", {"rate": "gamma"}, value=rate, rate=gamma, clock=clock))


def InverseTimeDecay(
    learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False, *, clock: Clock = "iteration"
) -> schedules.Delay:
    """TensorLayerX's InverseTimeDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.InverseTimeDecay(0.1, 0.01)
        Delay(Inv(0.1, gamma=0.01, power=1.0, clock='iteration'), 1)
    """
    check_run("InverseTimeDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "InverseTimeDecay.learning_rate")
    return zero_based(build(schedules.Inv, "InverseTimeDecay", {}, value=rate, gamma=gamma, power=1, clock=clock))


def PolynomialDecay(
    learning_rate: float, decay_steps: int, end_lr: float = 0.0001, power: float = 1.0, cycle: bool = False,
    last_epoch: int = -1, verbose: bool = False, *, clock: Clock = "iteration",
) -> schedules.Delay:  # fmt: skip
    """TensorLayerX's PolynomialDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.PolynomialDecay(0.1, 50)
        Delay(Polynomial(0.1, 50, end=0.0001, clock='iteration'), 1)
    """
    check_run("PolynomialDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "PolynomialDecay.learning_rate")
    return zero_based(
        build(
            schedules.Polynomial, "PolynomialDecay", {"length": "decay_steps", "end": "end_lr"}, value=rate, length=decay_steps,
            end=end_lr, power=power, cycle=cycle, clock=clock,
        )
    )  # fmt: skip


def LinearWarmup(
    learning_rate: Schedulable, warmup_steps: int, start_lr: float, end_lr: float, last_epoch: int = -1, verbose: bool = False,
    *, clock: Clock = "iteration",
) -> schedules.Sequence:  # fmt: skip
    """TensorLayerX's LinearWarmup.

    `learning_rate` follows the warm-up, and a schedule there has its first step then. It need not begin at `end_lr`, which
    is never reached: the rate jumps from the warm-up's last step to `learning_rate`, as there. A schedule counts what `clock`
    says, and may be read more than once, where each reading is a step in TensorLayerX.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> rate = tensorlayerx.lr.LinearWarmup(0.5, 4, start_lr=0.0, end_lr=1.0)
        >>> [rate(up.OptimizationState(iteration=k)) for k in (1, 2, 3, 4, 5)]
        [0.0, 0.25, 0.5, 0.75, 0.5]
    """
    check_run("LinearWarmup", verbose, last_epoch=last_epoch)
    after = learning_rate
    check_no_optimizer(after, "LinearWarmup.learning_rate")
    if not callable(after) or isinstance(after, type):
        after = base_rate(after, "LinearWarmup.learning_rate", kinds=" or a schedule")
    steps = whole(warmup_steps, "LinearWarmup.warmup_steps", 1)
    start = number(start_lr, "LinearWarmup.start_lr", NONNEGATIVE)
    if number(end_lr, "LinearWarmup.end_lr", NONNEGATIVE) <= start:
        raise ValueError(f"LinearWarmup.end_lr must be above start_lr, {start_lr!r}, got {end_lr!r}")
    line = build(schedules.Linear, "LinearWarmup", {}, value=start, length=steps, end=end_lr, clock=clock)
    return build(
        schedules.Sequence, "LinearWarmup", {}, schedules=(zero_based(line), after), boundaries=(steps,), clock=clock
    )  # fmt: skip


def ExponentialDecay(
    learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False, *, clock: Clock = "iteration"
) -> schedules.Delay:
    """TensorLayerX's ExponentialDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.ExponentialDecay(0.1, 0.99)
        Delay(Exp(0.1, gamma=0.99, clock='iteration'), 1)
    """
    check_run("ExponentialDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "ExponentialDecay.learning_rate")
    return zero_based(build(schedules.Exp, "ExponentialDecay", {}, value=rate, gamma=gamma, clock=clock))


def MultiStepDecay(
    learning_rate: float, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> schedules.MultiStep:  # fmt: skip
    """TensorLayerX's MultiStepDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.lr.MultiStepDecay(0.1, [50, 100])
        MultiStep(0.1, (50, 100), clock='iteration')
    """
    check_run("MultiStepDecay", verbose, last_epoch=last_epoch)
    return build(
        schedules.MultiStep, "MultiStepDecay", {}, value=base_rate(learning_rate, "MultiStepDecay.learning_rate"),
        milestones=milestones, gamma=number(gamma, "MultiStepDecay.gamma", INSIDE_UNIT), clock=clock,
    )  # fmt: skip


def LambdaDecay(
    learning_rate: float, lr_lambda: Callable[[int], Any], last_epoch: int = -1, verbose: bool = False, *,
    clock: Clock = "iteration",
) -> Schedule:  # fmt: skip
    """TensorLayerX's LambdaDecay.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> rate = tensorlayerx.lr.LambdaDecay(0.5, lambda epoch: 0.5**epoch)
        >>> rate(up.OptimizationState(iteration=1)), rate(up.OptimizationState(iteration=2))
        (0.5, 0.25)
    """
    check_run("LambdaDecay", verbose, last_epoch=last_epoch)
    rate = base_rate(learning_rate, "LambdaDecay.learning_rate")
    check_function(lr_lambda, "LambdaDecay.lr_lambda")
    return rate * build(schedules.PerStep, "LambdaDecay", {}, function=lr_lambda, clock=clock)


@attrs.define(repr=False, unsafe_hash=True, on_setattr=attrs.setters.frozen)
class PlateauOfFrozenBest(RatePlateau):
    """A plateau that does not remember the metrics of a cooldown, and subtracts its threshold."""

    is_better = Plateau.is_better

    def observe(self, metric: Any) -> None:
        """Do as `step` does."""
        best, cooling = self.best, self.cooling
        RatePlateau.observe(self, metric)
        if cooling:
            self._remember(best, self.bad, self.cooling, self.reductions)


def ReduceOnPlateau(
    learning_rate: float, mode: Literal["min", "max"] = "min", factor: float = 0.1, patience: int = 10, threshold: float = 0.0001,
    threshold_mode: Literal["rel", "abs"] = "rel", cooldown: int = 0, min_lr: float = 0, epsilon: float = 1e-8,
    verbose: bool = False,
) -> PlateauOfFrozenBest:  # fmt: skip
    """TensorLayerX's ReduceOnPlateau: a rate that `step(metrics)` reduces where a metric has stopped getting better.

    After more than `patience` metrics in a row that are no better there is a reduction, unless it would be one of `epsilon` or
    less; the `cooldown` metrics after it are ignored, and are not remembered as the best. Reading it changes nothing, and
    it takes no `clock`: metrics alone move it.

    Two things are put right. A metric that is NaN or infinite is bad, where one that comes first is the best for ever in
    TensorLayerX. A relative threshold is a share of the best metric's magnitude, where a negative metric that is worse may
    count as better there.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> rate = tensorlayerx.lr.ReduceOnPlateau(0.5, factor=0.5, patience=1)
        >>> for loss in (1.0, 0.8, 0.9, 0.8):
        ...     rate.step(loss)
        >>> rate, rate(up.OptimizationState())
        (PlateauOfFrozenBest(0.5, factor=0.5, patience=1), 0.25)
    """
    check_run("ReduceOnPlateau", verbose)
    names = {"inner": "learning_rate", "eps": "epsilon"}
    return rate_plateau(
        PlateauOfFrozenBest, "ReduceOnPlateau", names, learning_rate, threshold_mode, mode=mode, factor=factor,
        patience=patience, threshold=threshold, cooldown=cooldown, floor=min_lr, eps=epsilon,
    )  # fmt: skip
