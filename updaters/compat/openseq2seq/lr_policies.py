"""OpenSeq2Seq's learning rate policies: the names and arguments of its `optimizers.lr_policies`, without `global_step`.

`"lr_policy": poly_decay, "lr_policy_params": {"learning_rate": 0.1, "decay_steps": 1000}` of a configuration becomes
`NovoGrad(lr_policies.poly_decay(learning_rate=0.1, decay_steps=1000))`, with
`from updaters.compat.openseq2seq import NovoGrad, lr_policies`. The clock of the updater is the global step, which counts from 0,
as there; `clock="epoch"` counts epochs instead.

What OpenSeq2Seq's models fill in is to be given: `steps_per_epoch`, and, where a configuration has no `decay_steps`, a
`begin_decay_at` that is not below `warmup_steps` and as `decay_steps` what is then left of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from updaters import learning_rate as schedules
from updaters.checks import NONNEGATIVE, POSITIVE, number, whole
from updaters.compat._arguments import build, refuse
from updaters.compat._schedules import base_rate, check_clock, zero_based
from updaters.schedules.base import Curve, Schedule
from updaters.schedules.fields import Clock

__all__ = [
    "cosine_decay",
    "exp_decay",
    "fixed_lr",
    "inv_poly_decay",
    "piecewise_constant",
    "poly_decay",
    "transformer_policy",
]


def exp_decay(
    learning_rate: float, decay_steps: int, decay_rate: float, use_staircase_decay: bool, begin_decay_at: int = 0,
    min_lr: float = 0.0, *, clock: Clock = "iteration",
) -> Schedule:  # fmt: skip
    """OpenSeq2Seq's exp_decay.

    `min_lr` bounds the whole curve: a `learning_rate` below it is raised to it, as there.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> lr_policies.exp_decay(0.1, 1000, 0.5, use_staircase_decay=True, min_lr=0.001)
        Exp(0.1, gamma=0.5, every=1000, staircase=True, floor=0.001, clock='iteration')
    """
    names = {
        "gamma": "decay_rate", "every": "decay_steps", "staircase": "use_staircase_decay", "begin": "begin_decay_at",
        "floor": "min_lr",
    }  # fmt: skip
    curve = build(
        schedules.Exp, "exp_decay", names, value=base_rate(learning_rate, "exp_decay.learning_rate"), gamma=decay_rate,
        every=decay_steps, staircase=use_staircase_decay, begin=begin_decay_at, floor=min_lr, clock=clock,
    )  # fmt: skip
    return curve if curve.staircase else zero_based(curve)


def fixed_lr(learning_rate: float, *, clock: Clock = "iteration") -> schedules.Fixed:
    """OpenSeq2Seq's fixed_lr.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> lr_policies.fixed_lr(0.1)
        Fixed(0.1)
    """
    check_clock(clock, "fixed_lr.clock")
    return schedules.Fixed(base_rate(learning_rate, "fixed_lr.learning_rate"))


def inv_poly_decay(
    learning_rate: float, decay_steps: int, min_lr: float, power: float = 1.0, begin_decay_at: int = 0, warmup_steps: int = 0,
    name: str = "learning_rate", *, clock: Clock = "iteration",
) -> schedules.Delay:  # fmt: skip
    """OpenSeq2Seq's inv_poly_decay.

    It is at `min_lr` after `decay_steps` steps and goes on falling, as there; a `min_lr` below 1e-8 is raised to that, and one
    above `learning_rate` lowered to it. `begin_decay_at` and `warmup_steps` do nothing, as there.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> rate = lr_policies.inv_poly_decay(0.5, 10, min_lr=0.25)
        >>> [rate(up.OptimizationState(iteration=k)) for k in (1, 11, 31)]
        [0.5, 0.25, 0.125]
    """
    if name != "learning_rate":
        refuse("inv_poly_decay.name", name, "a schedule has no name here")
    whole(begin_decay_at, "inv_poly_decay.begin_decay_at")
    whole(warmup_steps, "inv_poly_decay.warmup_steps")
    called = "inv_poly_decay.learning_rate"
    rate = number(base_rate(learning_rate, called), called, POSITIVE)
    steps = number(decay_steps, "inv_poly_decay.decay_steps", POSITIVE)
    exponent = number(power, "inv_poly_decay.power", POSITIVE)
    low = min(max(number(min_lr, "inv_poly_decay.min_lr", NONNEGATIVE), 1e-8), rate)
    scale = ((rate / low) ** (1.0 / exponent) - 1.0) / steps
    return zero_based(
        build(schedules.Inv, "inv_poly_decay", {}, value=rate, gamma=scale, power=exponent, clock=clock)
    )  # fmt: skip


def piecewise_constant(
    learning_rate: float, boundaries: Sequence[int], decay_rates: Sequence[float], steps_per_epoch: int | None = None, *,
    clock: Clock = "iteration",
) -> schedules.Piecewise:  # fmt: skip
    """OpenSeq2Seq's piecewise_constant.

    `decay_rates` multiply `learning_rate`, one from each boundary on. Boundaries are steps, or epochs of `steps_per_epoch`. The
    step of a boundary still has the rate before it, as there: a boundary of 2 is passed by the fourth update.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> rate = lr_policies.piecewise_constant(1.0, [2, 4], [0.5, 0.1])
        >>> [rate(up.OptimizationState(iteration=k)) for k in (1, 2, 3, 4, 5, 6)]
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.1]
    """
    rate = base_rate(learning_rate, "piecewise_constant.learning_rate")
    steps = 1 if steps_per_epoch is None else whole(steps_per_epoch, "piecewise_constant.steps_per_epoch", 1)
    if isinstance(decay_rates, str) or not isinstance(decay_rates, Iterable):
        raise TypeError(f"piecewise_constant.decay_rates must be a sequence of numbers, got {decay_rates!r}")
    rates = (number(one, f"piecewise_constant.decay_rates[{i}]", NONNEGATIVE) for i, one in enumerate(decay_rates))
    factors = build(
        schedules.Piecewise, "piecewise_constant", {"values": "[1, *decay_rates]"}, values=(1.0, *rates), boundaries=boundaries,
        clock=clock,
    )  # fmt: skip
    return attrs.evolve(
        factors,
        values=tuple(rate * factor for factor in factors.values),
        boundaries=tuple(steps * boundary + 1 for boundary in factors.boundaries),
    )


def poly_decay(
    learning_rate: float, decay_steps: int, power: float = 1.0, begin_decay_at: int = 0, min_lr: float = 0.0,
    warmup_steps: int = 0, *, clock: Clock = "iteration",
) -> Schedule:  # fmt: skip
    """OpenSeq2Seq's poly_decay.

    During the first `warmup_steps` the rate that decays rises from 0. The decay waits for `begin_decay_at` alone: where that is
    less, the rate falls while it warms up, as there with an explicit `decay_steps`.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> rate = lr_policies.poly_decay(0.5, 4, begin_decay_at=2, warmup_steps=2)
        >>> [rate(up.OptimizationState(iteration=k)) for k in (1, 2, 3, 4, 5, 6, 7)]
        [0.0, 0.25, 0.5, 0.375, 0.25, 0.125, 0.0]
    """
    rate = _warmed("poly_decay", learning_rate, warmup_steps, clock)
    low = number(min_lr, "poly_decay.min_lr", NONNEGATIVE)
    curve = build(
        schedules.Polynomial, "poly_decay", {"length": "decay_steps"}, value=1.0, length=decay_steps, power=power, clock=clock
    )  # fmt: skip
    return (rate - low) * _begun("poly_decay", curve, begin_decay_at) + low


def cosine_decay(
    learning_rate: float, decay_steps: int, power: float = 1.0, begin_decay_at: int = 0, min_lr: float = 0.0,
    warmup_steps: int = 0, *, clock: Clock = "iteration",
) -> Schedule:  # fmt: skip
    """OpenSeq2Seq's cosine_decay.

    `min_lr` is a fraction of `learning_rate`, as its source has it, not a rate, as its documentation has it. The warm-up is that
    of `poly_decay`. `power` does nothing, as there.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> rate = lr_policies.cosine_decay(0.5, 4, min_lr=0.5)
        >>> [round(rate(up.OptimizationState(iteration=k)), 6) for k in (1, 3, 5, 9)]
        [0.5, 0.375, 0.25, 0.25]
    """
    number(power, "cosine_decay.power", NONNEGATIVE)
    rate = _warmed("cosine_decay", learning_rate, warmup_steps, clock)
    names = {"length": "decay_steps", "end": "min_lr"}
    curve = build(schedules.Cosine, "cosine_decay", names, value=1.0, length=decay_steps, end=min_lr, clock=clock)
    return rate * _begun("cosine_decay", curve, begin_decay_at)


def transformer_policy(
    learning_rate: float, d_model: float, warmup_steps: int, max_lr: float | None = None, coefficient: float = 1.0,
    dtype: None = None, *, clock: Clock = "iteration",
) -> Schedule:  # fmt: skip
    """OpenSeq2Seq's transformer_policy.

    The first step counts as 1, so that its rate is above 0. `dtype` may be None: rates are float64.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies
        >>> lr_policies.transformer_policy(2.0, 512, 8000, max_lr=0.001)
        minimum(Noam(value=2.0, model_size=512, warmup=8000), 0.001)
    """
    if dtype is not None:
        refuse("transformer_policy.dtype", dtype, "rates are float64")
    rate = base_rate(learning_rate, "transformer_policy.learning_rate")
    curve = build(
        schedules.Noam, "transformer_policy", {"model_size": "d_model", "warmup": "warmup_steps"},
        value=rate * number(coefficient, "transformer_policy.coefficient", NONNEGATIVE), model_size=d_model,
        warmup=warmup_steps, clock=clock,
    )  # fmt: skip
    return curve if max_lr is None else curve.clamp(high=number(max_lr, "transformer_policy.max_lr", NONNEGATIVE))


def _warmed(called: str, learning_rate: float, warmup_steps: int, clock: Clock) -> Schedule | float:
    """The base rate, or a schedule that rises to it from 0 at step 0."""
    rate = base_rate(learning_rate, f"{called}.learning_rate")
    steps = whole(warmup_steps, f"{called}.warmup_steps")
    if not steps:
        return rate
    return zero_based(build(schedules.Linear, called, {}, value=0.0, length=steps, end=rate, clock=clock))


def _begun(called: str, curve: Curve, begin_decay_at: int) -> schedules.Delay:
    """The curve with T = 0 up to step `begin_decay_at`."""
    return schedules.Delay(curve, 1 + whole(begin_decay_at, f"{called}.begin_decay_at"))
