"""OneFlow's optimizers: the names and arguments of `oneflow.optim`, and the numerics of its kernels.

`optim.Adam(model.parameters(), lr=1e-3)` becomes `updaters.get_updater(optim.Adam(lr=1e-3))`, where `from oneflow import optim`
becomes `from updaters.compat import oneflow as optim`: no parameters come first, since an updater is given each weight with its
gradient. Groups of parameters do, as patterns or indices:

    optim.SGD([{"params": ["*.bias", "norm.*"], "weight_decay": 0.0}, {"params": "*"}], lr=0.1, weight_decay=1e-4)

A list holds several, and a tuple is one index; the first group that has a weight counts. What a group leaves out is as the call
has it, and weights that no group has stay as they are, as there. `param_groups(update)` shows groups, `add_param_group` adds one,
and `update.overrides = ...` changes them in mid-run. `lr_scale` multiplies a group's learning rate; in OneFlow it does so in
graphs only.

`clip_grad_max_norm` and `clip_grad_norm_type`, keys of a group there, may be arguments of the call too. Each group is clipped by
its own norm, at each `update.step`, which is what OneFlow's `optimizer.clip_grad()` does when it is called.

Arguments are as `oneflow.optim` has them. Where OneFlow's documentation differs from its kernels, these are the kernels. A
learning rate may be a scheduler, any callable `state -> float`; `oneflow.lr_scheduler` has OneFlow's. t counts a weight's own
updates, where OneFlow counts the optimizer's: the two differ for weights that have no gradient at times. `contiguous_params`
and `fused` may be False.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from updaters import optimizers as rules
from updaters.compat._arguments import build, norm_clip, pair, refuse, switch, unless_zero
from updaters.compat._groups import ParameterGroups
from updaters.compat.oneflow import lr_scheduler as lr_scheduler
from updaters.compat.oneflow.gradients import GradScaler, StaticGradScaler, clip_grad_norm_, clip_grad_value_
from updaters.policy import Policy
from updaters.protocols import Schedulable
from updaters.updater import Updater

__all__ = [
    "LAMB",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradScaler",
    "RMSprop",
    "StaticGradScaler",
    "add_param_group",
    "clip_grad_norm_",
    "clip_grad_value_",
    "param_groups",
]

NAMES = {"beta1": "betas[0]", "beta2": "betas[1]", "epsilon": "eps", "bias_correction": "do_bias_correction"}
ADAGRAD = NAMES | {"initial_accumulator": "initial_accumulator_value"}
RMSPROP = NAMES | {"rho": "alpha"}
CLIP = ("clip_grad_max_norm", "clip_grad_norm_type")

NormType: TypeAlias = float | Literal["inf"]

WHY = {
    "contiguous_params": "weights stay where they are",
    "fused": "each update is one fused pass as it is",
}


def _check_switches(called: str, **switches: object) -> None:
    """Raise unless those arguments that say how OneFlow runs an update leave it to the library."""
    for name, value in switches.items():
        if switch(value, f"{called}.{name}"):
            refuse(f"{called}.{name}", value, WHY[name])


def _clip(called: str, max_norm: Schedulable | None, norm_type: NormType | None) -> Policy | None:
    """The policy for a clip by the norm of all gradients."""
    if max_norm is None and norm_type is None:
        return None
    if max_norm is None or norm_type is None:
        given, other = CLIP if norm_type is None else CLIP[::-1]
        got = max_norm if norm_type is None else norm_type
        raise ValueError(f"{called}.{given} goes with {other}, without which it does nothing in OneFlow, got {got!r} alone")
    return Policy(clip=norm_clip(called, max_norm, norm_type, *CLIP))


def _moments(called: str, betas: Any, eps: Schedulable) -> dict[str, Any]:
    beta1, beta2 = pair(betas, f"{called}.betas")
    return {"beta1": beta1, "beta2": beta2, "epsilon": eps}


GROUPS = ParameterGroups(
    "oneflow",
    {**ADAGRAD, **RMSPROP, "decay": "adam_w_mode"},
    {"adam_w_mode": lambda decay: decay == "outside"},
    clip=CLIP,
    keys=("lr_scale",),
)


@GROUPS.taken_by
def Adagrad(
    lr: Schedulable = 0.001, lr_decay: Schedulable = 0.0, weight_decay: Schedulable = 0,
    initial_accumulator_value: Schedulable = 0.0, eps: Schedulable = 1e-10, contiguous_params: bool = False, *,
    clip_grad_max_norm: Schedulable | None = None, clip_grad_norm_type: NormType | None = None,
) -> rules.Adagrad:  # fmt: skip
    """OneFlow's Adagrad.

    Epsilon is outside the root, as in the kernel, not inside, as in the documentation.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.Adagrad(0.1, lr_decay=0.01)
        Adagrad(lr=0.1, lr_decay=0.01)
    """
    _check_switches("Adagrad", contiguous_params=contiguous_params)
    return build(
        rules.Adagrad, "Adagrad", ADAGRAD, lr=lr, lr_decay=lr_decay,
        initial_accumulator=initial_accumulator_value, epsilon=eps, weight_decay=unless_zero(weight_decay),
        policy=_clip("Adagrad", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


@GROUPS.taken_by
def Adam(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, amsgrad: bool = False, do_bias_correction: bool = True, contiguous_params: bool = False,
    fused: bool = False, *, clip_grad_max_norm: Schedulable | None = None, clip_grad_norm_type: NormType | None = None,
) -> rules.Adam:  # fmt: skip
    """OneFlow's Adam.

    Epsilon is added after the bias correction, of which the documentation's formula says nothing.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.Adam(0.1, do_bias_correction=False)
        Adam(lr=0.1, bias_correction=False)
    """
    _check_switches("Adam", contiguous_params=contiguous_params, fused=fused)
    return build(
        rules.Adam, "Adam", NAMES, lr=lr, amsgrad=amsgrad, bias_correction=do_bias_correction,
        weight_decay=unless_zero(weight_decay), **_moments("Adam", betas, eps),
        policy=_clip("Adam", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


@GROUPS.taken_by
def AdamW(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, amsgrad: bool = False, do_bias_correction: bool = True, contiguous_params: bool = False,
    fused: bool = False, *, clip_grad_max_norm: Schedulable | None = None, clip_grad_norm_type: NormType | None = None,
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
    return build(
        rules.AdamW, "AdamW", NAMES, lr=lr, amsgrad=amsgrad, bias_correction=do_bias_correction,
        weight_decay=unless_zero(weight_decay), **_moments("AdamW", betas, eps),
        policy=_clip("AdamW", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


@GROUPS.taken_by
def LAMB(
    lr: Schedulable = 0.001, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, adam_w_mode: bool = True, do_bias_correction: bool = True, amsgrad: bool = False,
    contiguous_params: bool = False, *, clip_grad_max_norm: Schedulable | None = None,
    clip_grad_norm_type: NormType | None = None,
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
    if switch(amsgrad, "LAMB.amsgrad"):
        refuse("LAMB.amsgrad", amsgrad, "OneFlow has none for LAMB")
    return build(
        rules.LAMB, "LAMB", NAMES, lr=lr, bias_correction=do_bias_correction, weight_decay=unless_zero(weight_decay),
        decay="outside" if switch(adam_w_mode, "LAMB.adam_w_mode") else "l2", **_moments("LAMB", betas, eps),
        policy=_clip("LAMB", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


@GROUPS.taken_by
def RMSprop(
    lr: Schedulable = 0.001, alpha: Schedulable = 0.99, eps: Schedulable = 1e-8, weight_decay: Schedulable = 0,
    momentum: float = 0.0, centered: bool = False, contiguous_params: bool = False, *,
    clip_grad_max_norm: Schedulable | None = None, clip_grad_norm_type: NormType | None = None,
) -> rules.RMSProp:  # fmt: skip
    """OneFlow's RMSprop.

    Epsilon is inside the root. A `momentum` is an error, as there.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.RMSprop(0.1, centered=True)
        RMSProp(lr=0.1, rho=0.99, epsilon_inside=True, centered=True)
    """
    _check_switches("RMSprop", contiguous_params=contiguous_params)
    if unless_zero(momentum) is not None:
        refuse("RMSprop.momentum", momentum, "OneFlow has none but 0; updaters.RMSProp(momentum=...) has")
    return build(
        rules.RMSProp, "RMSprop", RMSPROP, lr=lr, rho=alpha, epsilon=eps, epsilon_inside=True,
        centered=centered, weight_decay=unless_zero(weight_decay),
        policy=_clip("RMSprop", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


@GROUPS.taken_by
def SGD(
    lr: Schedulable = 0.001, momentum: Schedulable = 0.0, weight_decay: Schedulable = 0.0, *, dampening: Schedulable = 0.0,
    nesterov: bool = False, maximize: bool = False, contiguous_params: bool = False, fused: bool = False,
    clip_grad_max_norm: Schedulable | None = None, clip_grad_norm_type: NormType | None = None,
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
    kept, decay = unless_zero(momentum), unless_zero(weight_decay)
    if switch(maximize, "SGD.maximize") and kept is None:
        refuse("SGD.maximize", maximize, "without a momentum OneFlow descends all the same; updaters.SGD(maximize=True) climbs")
    if maximize and decay is not None:
        why = "OneFlow turns the whole step round, so that weight_decay makes weights grow; updaters.SGD(maximize=True) does not"
        refuse("SGD.maximize", maximize, why)
    return build(
        rules.SGD, "SGD", {}, lr=lr, momentum=kept, dampening=unless_zero(dampening), damp_first=True, nesterov=nesterov,
        buffer="gradients", maximize=maximize, weight_decay=decay,
        policy=_clip("SGD", clip_grad_max_norm, clip_grad_norm_type),
    )  # fmt: skip


def add_param_group(update: Updater, param_group: Mapping[str, Any]) -> None:
    """Give an updater another group of parameters, as OneFlow's method of this name does an optimizer.

    Args:
        update: an updater whose optimizer is one of these.
        param_group: as in the list of groups. What it leaves out is as the optimizer has it.

    Weights keep their slots. The group comes after all others but before `"*"`, so that weights which no other group has,
    frozen or not, are its own from now on.

    Raises:
        TypeError, ValueError: the group is wrong, or has a pattern of another one; or the optimizer is none of OneFlow's; or
            something else would have to be kept for a weight. Nothing has changed then.

    Example:
        >>> from updaters.compat import oneflow as optim
        >>> update = up.get_updater(optim.SGD([{"params": "head.*"}], lr=0.1))
        >>> optim.add_param_group(update, {"params": "body.*", "lr_scale": 0.1})
        >>> update.overrides
        {'head.*': {}, 'body.*': {'lr_scale': 0.1}, '*': FROZEN}
    """
    GROUPS.add(update, param_group)


def param_groups(update: Updater) -> list[dict[str, Any]]:
    """The groups of an updater, each with all of its arguments by OneFlow's names.

    Args:
        update: an updater whose optimizer is one of these.

    It is a copy, which the functions of this module take; changes go into `update.overrides`, by our names. Groups that follow
    one another and say the same are one.

    Raises:
        TypeError: the optimizer is none of OneFlow's.

    Example:
        >>> from updaters.compat import oneflow as optim
        >>> update = up.get_updater(optim.SGD([{"params": "head.*"}, {"params": "*", "lr": 0.01}], lr=0.1))
        >>> [(group["params"], group["lr"]) for group in optim.param_groups(update)]
        [(['head.*'], 0.1), (['*'], 0.01)]
    """
    return GROUPS.of(update)
