"""OneFlow's optimizers: the names and arguments of `oneflow.optim`, and the numerics of its kernels.

`optim.Adam(model.parameters(), lr=1e-3)` becomes `updaters.get_updater(optim.Adam(lr=1e-3))`, where `from oneflow import optim`
becomes `from updaters.compat import oneflow as optim`: there is no first argument `params`, since an updater is given each
weight with its gradient.

Arguments are as `oneflow.optim` has them. Where OneFlow's documentation differs from its kernels, these are the kernels. A
learning rate may be a scheduler, any callable `state -> float`; `oneflow.lr_scheduler` has OneFlow's. t counts a weight's own
updates, where OneFlow counts the optimizer's: the two differ for weights that have no gradient at times. `contiguous_params`
and `fused` may be False. The keys `clip_grad_max_norm` and `clip_grad_norm_type` of a group of parameters are arguments here, and
yet to come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from updaters import optimizers as rules
from updaters.compat._arguments import build, check_no_params, not_yet, pair, refuse, switch, unless_zero
from updaters.compat.oneflow import lr_scheduler as lr_scheduler
from updaters.protocols import Schedulable

__all__ = ["LAMB", "SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]

NAMES = {"beta1": "betas[0]", "beta2": "betas[1]", "epsilon": "eps", "bias_correction": "do_bias_correction"}


WHY = {
    "contiguous_params": "weights stay where they are",
    "fused": "each update is one fused pass as it is",
}


def _check_switches(called: str, **switches: object) -> None:
    """Raise unless those arguments that say how OneFlow runs an update leave it to the library."""
    for name, value in switches.items():
        if switch(value, f"{called}.{name}"):
            refuse(f"{called}.{name}", value, WHY[name])


def _check_clips(called: str, **clips: None) -> None:
    for name, value in clips.items():
        if value is not None:
            not_yet(f"{called}.{name}", value, "scale the gradients before the update")


def _moments(called: str, betas: Any, eps: Schedulable) -> dict[str, Any]:
    beta1, beta2 = pair(betas, f"{called}.betas")
    return {"beta1": beta1, "beta2": beta2, "epsilon": eps}


P = ParamSpec("P")
T = TypeVar("T")


def _without_params(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with an error of its own where it is given OneFlow's `params`."""

    @wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        check_no_params(f"oneflow.{function.__name__}", args, options)
        return function(*args, **options)

    return checked


@_without_params
def Adagrad(
    lr: Schedulable = 0.001, lr_decay: Schedulable = 0.0, weight_decay: Schedulable = 0,
    initial_accumulator_value: Schedulable = 0.0, eps: Schedulable = 1e-10, contiguous_params: bool = False, *,
    clip_grad_max_norm: None = None, clip_grad_norm_type: None = None,
) -> rules.Adagrad:  # fmt: skip
    """OneFlow's Adagrad.

    Epsilon is outside the root, as in the kernel, not inside, as in the documentation.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.Adagrad(0.1, lr_decay=0.01)
        Adagrad(lr=0.1, lr_decay=0.01)
    """
    _check_switches("Adagrad", contiguous_params=contiguous_params)
    _check_clips("Adagrad", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    return build(
        rules.Adagrad, "Adagrad", NAMES | {"initial_accumulator": "initial_accumulator_value"}, lr=lr, lr_decay=lr_decay,
        initial_accumulator=initial_accumulator_value, epsilon=eps, weight_decay=unless_zero(weight_decay),
    )  # fmt: skip


@_without_params
def Adam(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, amsgrad: bool = False, do_bias_correction: bool = True, contiguous_params: bool = False,
    fused: bool = False, *, clip_grad_max_norm: None = None, clip_grad_norm_type: None = None,
) -> rules.Adam:  # fmt: skip
    """OneFlow's Adam.

    Epsilon is added after the bias correction, of which the documentation's formula says nothing.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.Adam(0.1, do_bias_correction=False)
        Adam(lr=0.1, bias_correction=False)
    """
    _check_switches("Adam", contiguous_params=contiguous_params, fused=fused)
    _check_clips("Adam", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    return build(
        rules.Adam, "Adam", NAMES, lr=lr, amsgrad=amsgrad, bias_correction=do_bias_correction,
        weight_decay=unless_zero(weight_decay), **_moments("Adam", betas, eps),
    )  # fmt: skip


@_without_params
def AdamW(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, amsgrad: bool = False, do_bias_correction: bool = True, contiguous_params: bool = False,
    fused: bool = False, *, clip_grad_max_norm: None = None, clip_grad_norm_type: None = None,
) -> rules.AdamW:  # fmt: skip
    """OneFlow's AdamW.

    The decay takes `lr * weight_decay * w` off the weight. There it does so together with Adam's step, here before it, which is
    the same but for the rounding.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.AdamW(0.1, weight_decay=0.05)
        AdamW(lr=0.1, weight_decay=0.05)
    """
    _check_switches("AdamW", contiguous_params=contiguous_params, fused=fused)
    _check_clips("AdamW", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    return build(
        rules.AdamW, "AdamW", NAMES, lr=lr, amsgrad=amsgrad, bias_correction=do_bias_correction,
        weight_decay=unless_zero(weight_decay), **_moments("AdamW", betas, eps),
    )  # fmt: skip


@_without_params
def LAMB(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, adam_w_mode: bool = True, do_bias_correction: bool = True, amsgrad: bool = False,
    contiguous_params: bool = False, *, clip_grad_max_norm: None = None, clip_grad_norm_type: None = None,
) -> rules.LAMB:  # fmt: skip
    """OneFlow's LAMB.

    The decay is multiplied by the ratio but is not in its norms, or, with `adam_w_mode=False`, it is added to the gradient.
    `amsgrad=True` is an error, as there.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.LAMB(0.1, weight_decay=0.01)
        LAMB(lr=0.1, epsilon=1e-08, weight_decay=0.01, decay='outside')
    """
    _check_switches("LAMB", contiguous_params=contiguous_params)
    _check_clips("LAMB", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    if switch(amsgrad, "LAMB.amsgrad"):
        refuse("LAMB.amsgrad", amsgrad, "OneFlow has none for LAMB")
    return build(
        rules.LAMB, "LAMB", NAMES, lr=lr, bias_correction=do_bias_correction, weight_decay=unless_zero(weight_decay),
        decay="outside" if switch(adam_w_mode, "LAMB.adam_w_mode") else "l2", **_moments("LAMB", betas, eps),
    )  # fmt: skip


@_without_params
def RMSprop(
    lr: Schedulable = 0.001, alpha: Schedulable = 0.99, eps: Schedulable = 1e-8, weight_decay: Schedulable = 0,
    momentum: float = 0.0, centered: bool = False, contiguous_params: bool = False, *, clip_grad_max_norm: None = None,
    clip_grad_norm_type: None = None,
) -> rules.RMSProp:  # fmt: skip
    """OneFlow's RMSprop.

    Epsilon is inside the root. A `momentum` is an error, as there.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.RMSprop(0.1, centered=True)
        RMSProp(lr=0.1, rho=0.99, epsilon_inside=True, centered=True)
    """
    _check_switches("RMSprop", contiguous_params=contiguous_params)
    _check_clips("RMSprop", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    if unless_zero(momentum) is not None:
        refuse("RMSprop.momentum", momentum, "OneFlow has none but 0; updaters.RMSProp(momentum=...) has")
    return build(
        rules.RMSProp, "RMSprop", NAMES | {"rho": "alpha"}, lr=lr, rho=alpha, epsilon=eps, epsilon_inside=True,
        centered=centered, weight_decay=unless_zero(weight_decay),
    )  # fmt: skip


@_without_params
def SGD(
    lr: Schedulable = 0.001, momentum: Schedulable = 0.0, weight_decay: Schedulable = 0.0, *, dampening: Schedulable = 0.0,
    nesterov: bool = False, maximize: bool = False, contiguous_params: bool = False, fused: bool = False,
    clip_grad_max_norm: None = None, clip_grad_norm_type: None = None,
) -> rules.SGD:  # fmt: skip
    """OneFlow's SGD.

    The buffer keeps gradients, as in the kernel; the documentation's has the learning rate inside. The first gradient is
    dampened too. `dampening`, `nesterov` and `maximize`, which the documentation does not know, go by keyword. Errors are a
    dampening or a Nesterov step without a momentum, both together, and `maximize` without a momentum, where OneFlow
    descends all the same, or with a decay, which would make the weight grow there.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.SGD(0.1, momentum=0.9, dampening=0.1)
        SGD(lr=0.1, momentum=0.9, dampening=0.1, damp_first=True, buffer='gradients')
    """
    _check_switches("SGD", contiguous_params=contiguous_params, fused=fused)
    _check_clips("SGD", clip_grad_max_norm=clip_grad_max_norm, clip_grad_norm_type=clip_grad_norm_type)
    kept, decay = unless_zero(momentum), unless_zero(weight_decay)
    if switch(maximize, "SGD.maximize") and kept is None:
        refuse("SGD.maximize", maximize, "without a momentum OneFlow descends all the same; updaters.SGD(maximize=True) climbs")
    if maximize and decay is not None:
        why = "OneFlow turns the whole step round, so that weight_decay makes weights grow; updaters.SGD(maximize=True) does not"
        refuse("SGD.maximize", maximize, why)
    return build(
        rules.SGD, "SGD", {}, lr=lr, momentum=kept, dampening=unless_zero(dampening), damp_first=True, nesterov=nesterov,
        buffer="gradients", maximize=maximize, weight_decay=decay,
    )  # fmt: skip
