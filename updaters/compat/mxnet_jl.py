"""MXNet.jl's optimizers: the names, arguments and numerics of its version 0.3.

`mx.SGD(lr = 0.1)` becomes `mxnet_jl.SGD(lr=0.1)` with `from updaters.compat import mxnet_jl`, and
`mx.get_updater(optimizer)` `updaters.get_updater(optimizer, state)`, whose calls take `(index, grad, weight)` as there.

All rules divide gradients by `state.batch_size`, then clip each element to `grad_clip`, then add `weight_decay * w`; 0 is off
for both, and a decay there is unless it is 0. `lr_scheduler` has precedence over `lr`, and either may be any callable
`state -> float`. Epochs and iterations count from 1.

Two things differ on purpose. A schedule acts on ADAM; MXNet.jl keeps the learning rate of a weight's first update. And a
momentum scheduler gives one number, `NadamScheduler` too: who needs the next one asks for it, so that each may
serve SGD and Nadam alike.
"""

from __future__ import annotations

from inspect import isfunction
from typing import Any

from updaters import learning_rate, momentum
from updaters import optimizers as rules
from updaters.checks import INSIDE_UNIT, NONNEGATIVE, UNIT, Interval, number
from updaters.compat._arguments import build, refuse, switch, unless_zero
from updaters.protocols import LearningRateScheduler, MomentumScheduler, Schedulable

__all__ = ["ADAM", "SGD", "AdaDelta", "AdaGrad", "AdaMax", "LearningRate", "Momentum", "Nadam", "RMSProp"]


def _shared(
    called: str, lr: Schedulable, lr_scheduler: LearningRateScheduler | None, grad_clip: Schedulable, weight_decay: Schedulable
) -> dict[str, Any]:
    """The fields for the arguments that all rules have."""
    return {
        "lr": _chosen(called, "lr", lr_scheduler, lr, NONNEGATIVE),
        "grad_clip": unless_zero(grad_clip),
        "weight_decay": unless_zero(weight_decay),
        "gradient": "sum",
    }


def _chosen(called: str, name: str, scheduler: Any, value: Any, interval: Interval) -> Any:
    """The scheduler, or the value where there is none; both are checked."""
    for argument, given in ((f"{called}.{name}_scheduler", scheduler), (f"{called}.{name}", value)):
        if isinstance(given, type) or (isfunction(given) and given.__module__ == __name__):
            raise TypeError(f"{argument} must be a scheduler, got {given!r} (call it)")
    if scheduler is None:
        return value
    if not callable(scheduler):
        raise TypeError(f"{called}.{name}_scheduler must be a scheduler or None, got {scheduler!r}")
    if value is not None and not callable(value):
        number(value, f"{called}.{name}", interval, kinds=" or a scheduler")
    return scheduler


class LearningRate:
    """MXNet.jl's schedulers of a learning rate.

    Example:
        >>> from updaters.compat.mxnet_jl import LearningRate
        >>> LearningRate.Exp(0.1, gamma=0.5)(up.OptimizationState(epoch=1))
        0.05
    """

    @staticmethod
    def Fixed(rate: float, /) -> learning_rate.Fixed:
        """The same learning rate always."""
        return build(learning_rate.Fixed, "LearningRate.Fixed", {"value": "rate"}, value=rate)

    @staticmethod
    def Exp(rate: float, /, *, gamma: float = 0.9, decay_on_iteration: bool = False) -> learning_rate.Exp:
        """`rate * gamma**t`, where t counts epochs, or iterations."""
        return build(
            learning_rate.Exp, "LearningRate.Exp", {"value": "rate"}, value=rate,
            gamma=number(gamma, "LearningRate.Exp.gamma", INSIDE_UNIT), clock=_clock(decay_on_iteration, "LearningRate.Exp"),
        )  # fmt: skip

    @staticmethod
    def Inv(rate: float, /, *, gamma: float = 0.9, power: float = 0.5, decay_on_iteration: bool = False) -> learning_rate.Inv:
        """`rate * (1 + gamma * t)**-power`, where t counts epochs, or iterations."""
        return build(
            learning_rate.Inv, "LearningRate.Inv", {"value": "rate"}, value=rate,
            gamma=number(gamma, "LearningRate.Inv.gamma", INSIDE_UNIT), power=power,
            clock=_clock(decay_on_iteration, "LearningRate.Inv"),
        )  # fmt: skip


def _clock(decay_on_iteration: bool, called: str) -> str:
    return "iteration" if switch(decay_on_iteration, f"{called}.decay_on_iteration") else "epoch"


class Momentum:
    """MXNet.jl's schedulers of a momentum.

    Example:
        >>> from updaters.compat.mxnet_jl import Momentum
        >>> round(Momentum.NadamScheduler(mu0=0.9)(up.OptimizationState(iteration=1)), 6)
        0.450073
    """

    @staticmethod
    def Null() -> momentum.Null:
        """No momentum, and no slot for it."""
        return momentum.Null()

    @staticmethod
    def Fixed(value: float, /) -> momentum.Fixed:
        """The same momentum always."""
        return momentum.Fixed(number(value, "Momentum.Fixed.value", UNIT))

    @staticmethod
    def NadamScheduler(*, mu0: float = 0.99, delta: float = 0.004, gamma: float = 0.5, alpha: float = 0.96) -> momentum.Nadam:
        """`mu0 * (1 - gamma * alpha**(t * delta))`, where t counts iterations."""
        return build(momentum.Nadam, "Momentum.NadamScheduler", {}, mu0=mu0, delta=delta, gamma=gamma, alpha=alpha)


def SGD(
    *, lr: Schedulable = 0.01, momentum: Schedulable = 0.0, grad_clip: Schedulable = 0, weight_decay: Schedulable = 1e-4,
    lr_scheduler: LearningRateScheduler | None = None, momentum_scheduler: MomentumScheduler | None = None,
) -> rules.SGD:  # fmt: skip
    """MXNet.jl's SGD.

    The learning rate is inside the momentum's buffer. `momentum_scheduler` has precedence over `momentum`; 0 and
    `Momentum.Null()` keep no buffer.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.SGD(lr=0.1, momentum=0.9)
        SGD(lr=0.1, momentum=0.9, weight_decay=0.0001, gradient='sum')
    """
    kept = _chosen("SGD", "momentum", momentum_scheduler, unless_zero(momentum), UNIT)
    return build(rules.SGD, "SGD", {}, momentum=kept, **_shared("SGD", lr, lr_scheduler, grad_clip, weight_decay))


def ADAM(
    *, lr: Schedulable = 0.001, grad_clip: Schedulable = 0, weight_decay: Schedulable = 1e-5, beta1: Schedulable = 0.9,
    beta2: Schedulable = 0.999, epsilon: Schedulable = 1e-8, lr_scheduler: LearningRateScheduler | None = None,
) -> rules.Adam:  # fmt: skip
    """MXNet.jl's ADAM, on which a schedule acts.

    Epsilon is added before the bias correction. There each weight keeps the learning rate of its first update.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.ADAM(lr_scheduler=mxnet_jl.LearningRate.Exp(0.1))
        Adam(lr=Exp(0.1), epsilon_hat=True, weight_decay=1e-05, gradient='sum')
    """
    return build(
        rules.Adam, "ADAM", {}, beta1=beta1, beta2=beta2, epsilon=epsilon, epsilon_hat=True,
        **_shared("ADAM", lr, lr_scheduler, grad_clip, weight_decay),
    )  # fmt: skip


def AdaGrad(
    *, lr: Schedulable = 0.1, epsilon: Schedulable = 1e-6, grad_clip: Schedulable = 0, weight_decay: Schedulable = 1e-5,
    lr_scheduler: LearningRateScheduler | None = None,
) -> rules.Adagrad:  # fmt: skip
    """MXNet.jl's AdaGrad.

    Epsilon is inside the root.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.AdaGrad(weight_decay=0)
        Adagrad(lr=0.1, epsilon=1e-06, epsilon_inside=True, gradient='sum')
    """
    return build(
        rules.Adagrad, "AdaGrad", {}, epsilon=epsilon, epsilon_inside=True,
        **_shared("AdaGrad", lr, lr_scheduler, grad_clip, weight_decay),
    )  # fmt: skip


def AdaDelta(
    *, lr: Schedulable = 1.0, rho: Schedulable = 0.95, epsilon: Schedulable = 1e-6, grad_clip: Schedulable = 0,
    weight_decay: Schedulable = 1e-5, lr_scheduler: LearningRateScheduler | None = None,
) -> rules.Adadelta:  # fmt: skip
    """MXNet.jl's AdaDelta.

    Rho is 0.95, as its source has it, not the 0.9 of its documentation.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.AdaDelta(weight_decay=0)
        Adadelta(lr=1.0, gradient='sum')
    """
    return build(
        rules.Adadelta, "AdaDelta", {}, rho=rho, epsilon=epsilon, **_shared("AdaDelta", lr, lr_scheduler, grad_clip, weight_decay)
    )  # fmt: skip


def AdaMax(
    *, lr: Schedulable = 0.002, beta1: Schedulable = 0.9, beta2: Schedulable = 0.999, epsilon: Schedulable = 1e-8,
    grad_clip: Schedulable = 0, weight_decay: Schedulable = 1e-5, lr_scheduler: LearningRateScheduler | None = None,
) -> rules.Adamax:  # fmt: skip
    """MXNet.jl's AdaMax.

    Epsilon is in the quotient.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.AdaMax(weight_decay=0)
        Adamax(lr=0.002, gradient='sum')
    """
    return build(
        rules.Adamax, "AdaMax", {}, beta1=beta1, beta2=beta2, epsilon=epsilon,
        **_shared("AdaMax", lr, lr_scheduler, grad_clip, weight_decay),
    )  # fmt: skip


def RMSProp(
    *, lr: Schedulable = 0.001, rho: Schedulable = 0.9, epsilon: Schedulable = 1e-6, grad_clip: Schedulable = 0,
    weight_decay: Schedulable = 1e-5, lr_scheduler: LearningRateScheduler | None = None,
) -> rules.RMSProp:  # fmt: skip
    """MXNet.jl's RMSProp.

    Epsilon is inside the root, and the learning rate 0.001, as its source has it, not the 0.1 of its documentation.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.RMSProp(weight_decay=0)
        RMSProp(lr=0.001, epsilon=1e-06, epsilon_inside=True, gradient='sum')
    """
    return build(
        rules.RMSProp, "RMSProp", {}, rho=rho, epsilon=epsilon, epsilon_inside=True,
        **_shared("RMSProp", lr, lr_scheduler, grad_clip, weight_decay),
    )  # fmt: skip


def Nadam(
    *, lr: Schedulable = 0.001, beta1: Schedulable = 0.99, beta2: Schedulable = 0.999, epsilon: Schedulable = 1e-8,
    grad_clip: Schedulable = 0, weight_decay: Schedulable = 1e-5, lr_scheduler: LearningRateScheduler | None = None,
    momentum_scheduler: MomentumScheduler | None = None,
) -> rules.Nadam:  # fmt: skip
    """MXNet.jl's Nadam.

    Beta1 is 0.99. The momentum warms up to it by the weight's own updates, where MXNet.jl counts iterations: the same for weights
    that are updated at each iteration. `momentum_scheduler=Momentum.NadamScheduler(mu0=beta1)` counts iterations here too;
    `Momentum.Null()`, with which there is no Nadam, is an error.

    Example:
        >>> from updaters.compat import mxnet_jl
        >>> mxnet_jl.Nadam(weight_decay=0)
        Nadam(lr=0.001, beta1=0.99, gradient='sum')
    """
    if isinstance(momentum_scheduler, momentum.Null):
        why = "a Nadam needs a momentum; leave momentum_scheduler out for its own"
        refuse("Nadam.momentum_scheduler", momentum_scheduler, why)
    return build(
        rules.Nadam, "Nadam", {}, beta1=beta1, beta2=beta2, epsilon=epsilon, momentum_decay=0.004,
        momentum=_chosen("Nadam", "momentum", momentum_scheduler, None, UNIT),
        **_shared("Nadam", lr, lr_scheduler, grad_clip, weight_decay),
    )  # fmt: skip
