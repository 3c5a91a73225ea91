"""PyTorch's optimizers: the names, arguments and numerics of `torch.optim` 2.13.

`optim.Adam(model.parameters(), lr=1e-3)` becomes `updaters.get_updater(optim.Adam(lr=1e-3))`, where `from torch import optim`
becomes `from updaters.compat import torch as optim`: no parameters come first, since an updater is given each weight with its
gradient. Groups of parameters do, as patterns or indices:

    optim.AdamW([{"params": ["*.bias", "norm.*"], "weight_decay": 0.0}, {"params": "*"}], lr=1e-3)

A list holds several, and a tuple is one index; the first group that has a weight counts. What a group leaves out is as the call
has it, and weights that no group has stay as they are, as there. A schedule belongs to the group that has it.
`param_groups(update)` shows groups, `add_param_group` adds one, and `update.overrides = ...` changes them in mid-run.

`state_dict(update, params)` gives what an optimizer of PyTorch's own takes with its `load_state_dict`, and
`load_state_dict(update, state_dict)` goes on from what such an optimizer's `state_dict()` gave.

`clip_grad_norm_`, `clip_grad_value_` and `GradScaler` are for `updaters.get_updater(..., clip=..., loss_scale=...)`.

Arguments are as `torch.optim` has them, and what a docstring here says nothing about is what it is there. A learning rate may be
a schedule of `lr_scheduler`, or any other callable `state -> float`. `foreach`, `fused`, `capturable` and
`differentiable` may be None or False. Numbers are those of float64 parameters; for halves moments are kept in float32 here, and
in the half itself there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from operator import neg
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters import optimizers as rules
from updaters.checkpoint.restoring import LoadReport
from updaters.compat._arguments import build, negated, pair, refuse, switch, unless_zero
from updaters.compat._groups import ParameterGroups
from updaters.compat.torch import _states
from updaters.compat.torch import lr_scheduler as lr_scheduler
from updaters.compat.torch.gradients import GradScaler, clip_grad_norm_, clip_grad_value_
from updaters.optimizers.fields import nonnegative
from updaters.protocols import Schedulable
from updaters.state import OptimizationState
from updaters.updater import Updater
from updaters.weight_state import Index

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "GradScaler",
    "Muon",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "add_param_group",
    "clip_grad_norm_",
    "clip_grad_value_",
    "load_state_dict",
    "param_groups",
    "state_dict",
]

NAMES = {"beta1": "betas[0]", "beta2": "betas[1]", "epsilon": "eps"}
ADAGRAD = NAMES | {"initial_accumulator": "initial_accumulator_value"}
ASGD_NAMES = {"regularization": "lambd", "power": "alpha", "start": "t0"}
RMSPROP = NAMES | {"rho": "alpha"}
RPROP = {"shrink": "etas[0]", "grow": "etas[1]", "min_step": "step_sizes[0]", "max_step": "step_sizes[1]"}
ADAFACTOR = {"decay_rate": "beta2_decay", "epsilon1": "eps[0]", "epsilon2": "eps[1]", "clip_threshold": "d"}
MUON = NAMES | {"polynomial": "ns_coefficients", "iterations": "ns_steps", "scale": "adjust_lr_fn"}
SCALES = {None: "spectral", "original": "spectral", "match_rms_adamw": "rms"}

FUSED = "each update is one fused pass as it is"
WHY = {
    "foreach": FUSED,
    "fused": FUSED,
    "capturable": "updates on a GPU are launched on your stream as they are",
    "differentiable": "updates are in place, and no gradient goes through them",
}


def _check_switches(called: str, **switches: object) -> None:
    """Raise unless those arguments that say how PyTorch runs an update leave it to the library."""
    for name, value in switches.items():
        if value is not None and value is not False:
            refuse(f"{called}.{name}", value, WHY[name])


def _kept(momentum: Any, name: str) -> Any:
    """A momentum, which is not the rate that one goes with."""
    if isinstance(momentum, lr_scheduler.RateAndMomentum):
        raise TypeError(f"{name} must be a momentum, got {momentum!r}, a rate whose momentum is its attribute `momentum`")
    return momentum


def _moments(called: str, betas: Any, eps: Schedulable) -> dict[str, Any]:
    beta1, beta2 = pair(betas, f"{called}.betas")
    return {"beta1": _kept(beta1, f"{called}.betas[0]"), "beta2": _kept(beta2, f"{called}.betas[1]"), "epsilon": eps}


def _decay(weight_decay: Schedulable, decoupled: bool = False) -> dict[str, Any]:
    return {"weight_decay": unless_zero(weight_decay), "decay": "decoupled" if decoupled else "l2"}


GROUPS = ParameterGroups(
    "torch",
    {**ADAGRAD, **ASGD_NAMES, **RMSPROP, **RPROP, **ADAFACTOR, **MUON, "decay": "decoupled_weight_decay"},
    {
        "decoupled_weight_decay": lambda decay: decay == "decoupled",
        "beta2_decay": neg,
        "adjust_lr_fn": {scale: name for name, scale in SCALES.items()}.get,
    },
)


@GROUPS.taken_by
def SGD(
    lr: Schedulable = 1e-3, momentum: Schedulable = 0, dampening: Schedulable = 0, weight_decay: Schedulable = 0,
    nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
    fused: bool | None = None,
) -> rules.SGD:  # fmt: skip
    """PyTorch's SGD.

    The buffer keeps gradients, so that a schedule of the learning rate scales past steps too; the first gradient is not dampened.
    A dampening without a momentum, which does nothing in PyTorch, is an error.

    Example:
        >>> from updaters.compat import torch
        >>> torch.SGD(0.1, momentum=0.9, weight_decay=1e-4)
        SGD(lr=0.1, momentum=0.9, buffer='gradients', weight_decay=0.0001)
    """
    _check_switches("SGD", foreach=foreach, differentiable=differentiable, fused=fused)
    return build(
        rules.SGD, "SGD", {}, lr=lr, momentum=unless_zero(_kept(momentum, "SGD.momentum")),
        dampening=unless_zero(dampening), nesterov=nesterov,
        buffer="gradients", maximize=maximize, **_decay(weight_decay),
    )  # fmt: skip


@GROUPS.taken_by
def Adam(
    lr: Schedulable = 1e-3, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
    capturable: bool = False, differentiable: bool = False, fused: bool | None = None, decoupled_weight_decay: bool = False,
) -> rules.Adam:  # fmt: skip
    """PyTorch's Adam.

    Epsilon is added after the bias correction, and t counts the weight's own updates.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Adam(0.1, betas=(0.8, 0.99), weight_decay=0.01)
        Adam(lr=0.1, beta1=0.8, beta2=0.99, weight_decay=0.01)
    """
    _check_switches("Adam", foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
    return build(
        rules.Adam, "Adam", NAMES, lr=lr, amsgrad=amsgrad, maximize=maximize, **_moments("Adam", betas, eps),
        **_decay(weight_decay, switch(decoupled_weight_decay, "Adam.decoupled_weight_decay")),
    )  # fmt: skip


@GROUPS.taken_by
def AdamW(
    lr: Schedulable = 1e-3, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
    capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
) -> rules.AdamW:  # fmt: skip
    """PyTorch's AdamW.

    The decay takes `lr * weight_decay * w` off the weight before Adam's step.

    Example:
        >>> from updaters.compat import torch
        >>> torch.AdamW(0.1, amsgrad=True)
        AdamW(lr=0.1, amsgrad=True)
    """
    _check_switches("AdamW", foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
    return build(
        rules.AdamW, "AdamW", NAMES, lr=lr, amsgrad=amsgrad, maximize=maximize, **_moments("AdamW", betas, eps),
        **_decay(weight_decay, True),
    )  # fmt: skip


@GROUPS.taken_by
def NAdam(
    lr: Schedulable = 2e-3, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, momentum_decay: Schedulable = 4e-3, decoupled_weight_decay: bool = False, *,
    foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
) -> rules.Nadam:  # fmt: skip
    """PyTorch's NAdam.

    The product of momenta is a weight's own, as there, but a float64, where PyTorch's is a float32 unless
    `torch.set_default_dtype` says otherwise: 4e-10 apart after 45 updates.

    Example:
        >>> from updaters.compat import torch
        >>> torch.NAdam(0.1, momentum_decay=0.01)
        Nadam(lr=0.1, momentum_decay=0.01)
    """
    _check_switches("NAdam", foreach=foreach, capturable=capturable, differentiable=differentiable)
    return build(
        rules.Nadam, "NAdam", NAMES, lr=lr, momentum_decay=momentum_decay, maximize=maximize, **_moments("NAdam", betas, eps),
        **_decay(weight_decay, switch(decoupled_weight_decay, "NAdam.decoupled_weight_decay")),
    )  # fmt: skip


@GROUPS.taken_by
def RAdam(
    lr: Schedulable = 1e-3, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
    maximize: bool = False, capturable: bool = False, differentiable: bool = False,
) -> rules.RAdam:  # fmt: skip
    """PyTorch's RAdam.

    Epsilon is added before the bias correction, unlike Adam's, and steps are rectified where rho > 5.

    Example:
        >>> from updaters.compat import torch
        >>> torch.RAdam(0.1)
        RAdam(lr=0.1, epsilon_hat=True)
    """
    _check_switches("RAdam", foreach=foreach, capturable=capturable, differentiable=differentiable)
    return build(
        rules.RAdam, "RAdam", NAMES, lr=lr, epsilon_hat=True, maximize=maximize, **_moments("RAdam", betas, eps),
        **_decay(weight_decay, switch(decoupled_weight_decay, "RAdam.decoupled_weight_decay")),
    )  # fmt: skip


@GROUPS.taken_by
def Adamax(
    lr: Schedulable = 2e-3, betas: tuple[Schedulable, Schedulable] = (0.9, 0.999), eps: Schedulable = 1e-8,
    weight_decay: Schedulable = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
    capturable: bool = False,
) -> rules.Adamax:  # fmt: skip
    """PyTorch's Adamax.

    Epsilon is added to |g|, inside the maximum.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Adamax(0.1)
        Adamax(lr=0.1, epsilon_inside=True)
    """
    _check_switches("Adamax", foreach=foreach, differentiable=differentiable, capturable=capturable)
    return build(
        rules.Adamax, "Adamax", NAMES, lr=lr, epsilon_inside=True, maximize=maximize, **_moments("Adamax", betas, eps),
        **_decay(weight_decay),
    )  # fmt: skip


@GROUPS.taken_by
def Adadelta(
    lr: Schedulable = 1.0, rho: Schedulable = 0.9, eps: Schedulable = 1e-6, weight_decay: Schedulable = 0,
    foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
) -> rules.Adadelta:  # fmt: skip
    """PyTorch's Adadelta.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Adadelta()
        Adadelta(lr=1.0, rho=0.9)
    """
    _check_switches("Adadelta", foreach=foreach, capturable=capturable, differentiable=differentiable)
    return build(
        rules.Adadelta, "Adadelta", NAMES, lr=lr, rho=rho, epsilon=eps, maximize=maximize, **_decay(weight_decay),
    )  # fmt: skip


@GROUPS.taken_by
def Adagrad(
    lr: Schedulable = 1e-2, lr_decay: Schedulable = 0, weight_decay: Schedulable = 0,
    initial_accumulator_value: Schedulable = 0, eps: Schedulable = 1e-10, foreach: bool | None = None, *,
    maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
) -> rules.Adagrad:  # fmt: skip
    """PyTorch's Adagrad.

    Epsilon is outside the root, and `lr_decay` counts the weight's own updates.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Adagrad(0.1, initial_accumulator_value=0.5)
        Adagrad(lr=0.1, initial_accumulator=0.5)
    """
    _check_switches("Adagrad", foreach=foreach, differentiable=differentiable, fused=fused)
    return build(
        rules.Adagrad, "Adagrad", ADAGRAD, lr=lr, lr_decay=lr_decay,
        initial_accumulator=initial_accumulator_value, epsilon=eps, maximize=maximize, **_decay(weight_decay),
    )  # fmt: skip


@attrs.frozen(repr=False)
class DelayedASGD(rules.ASGD):
    """ASGD at the learning rate of the update before, or at its own at first."""

    scalars: ClassVar = {"last_lr": 0.0}

    def coefficients(self, state: OptimizationState, t: int, last_lr: float = 0.0) -> dict[str, float]:
        lr = self.at(state).lr
        delayed = attrs.evolve(self, lr=last_lr if t > 1 else lr)
        return rules.ASGD.coefficients(delayed, state, t) | {"last_lr": lr}


@GROUPS.taken_by
def ASGD(
    lr: Schedulable = 1e-2, lambd: Schedulable = 1e-4, alpha: Schedulable = 0.75, t0: Schedulable = 1e6,
    weight_decay: Schedulable = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    capturable: bool = False,
) -> rules.ASGD:  # fmt: skip
    """PyTorch's ASGD.

    The learning rate acts one update late, as there. `update.evaluation_weight(index, weight)` gives the average `ax`. The step
    and the share of the average are float64, where PyTorch's are float32 unless `torch.set_default_dtype` says otherwise: 1e-8
    apart after 45 updates.

    Example:
        >>> from updaters.compat import torch
        >>> torch.ASGD(0.1, t0=0)
        DelayedASGD(lr=0.1, start=0.0)
    """
    _check_switches("ASGD", foreach=foreach, differentiable=differentiable, capturable=capturable)
    return build(
        DelayedASGD, "ASGD", ASGD_NAMES, lr=lr, regularization=lambd,
        power=alpha, start=t0, maximize=maximize, **_decay(weight_decay),
    )  # fmt: skip


@GROUPS.taken_by
def RMSprop(
    lr: Schedulable = 1e-2, alpha: Schedulable = 0.99, eps: Schedulable = 1e-8, weight_decay: Schedulable = 0,
    momentum: Schedulable = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None,
    maximize: bool = False, differentiable: bool = False,
) -> rules.RMSProp:  # fmt: skip
    """PyTorch's RMSprop.

    Epsilon is outside the root, and the momentum's buffer keeps quotients without the learning rate. A centered variance that
    rounding makes negative counts as 0 here and is NaN there.

    Example:
        >>> from updaters.compat import torch
        >>> torch.RMSprop(0.1, momentum=0.9)
        RMSProp(lr=0.1, rho=0.99, momentum=0.9, buffer='gradients')
    """
    _check_switches("RMSprop", capturable=capturable, foreach=foreach, differentiable=differentiable)
    return build(
        rules.RMSProp, "RMSprop", RMSPROP, lr=lr, rho=alpha, epsilon=eps,
        momentum=unless_zero(_kept(momentum, "RMSprop.momentum")),
        buffer="gradients", centered=centered, maximize=maximize, **_decay(weight_decay),
    )  # fmt: skip


@attrs.frozen(repr=False)
class RpropOfFirstRate(rules.Rprop):
    """Rprop at the learning rate of each weight's first update."""

    scalars: ClassVar = {"first_lr": 0.0}

    def coefficients(self, state: OptimizationState, t: int, first_lr: float = 0.0) -> dict[str, float]:
        if t == 1:
            first_lr = self.at(state).lr
        return rules.Rprop.coefficients(attrs.evolve(self, lr=first_lr), state, t) | {"first_lr": first_lr}


@GROUPS.taken_by
def Rprop(
    lr: Schedulable = 1e-2, etas: tuple[Schedulable, Schedulable] = (0.5, 1.2),
    step_sizes: tuple[Schedulable, Schedulable] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
    maximize: bool = False, differentiable: bool = False,
) -> rules.Rprop:  # fmt: skip
    """PyTorch's Rprop.

    The learning rate is read at a weight's first update alone, as there. The sign of g times the last g is taken from both signs,
    so that no product of small gradients underflows. With a learning rate of 0 weights stand still; PyTorch's steps then
    begin at `step_sizes[0]`.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Rprop(0.1, etas=(0.5, 1.5))
        RpropOfFirstRate(lr=0.1, grow=1.5)
    """
    _check_switches("Rprop", capturable=capturable, foreach=foreach, differentiable=differentiable)
    shrink, grow = pair(etas, "Rprop.etas")
    least, most = pair(step_sizes, "Rprop.step_sizes")
    return build(
        RpropOfFirstRate, "Rprop", RPROP, lr=lr, shrink=shrink, grow=grow, min_step=least, max_step=most, maximize=maximize,
    )  # fmt: skip


@attrs.frozen(repr=False)
class AdafactorOfDtype(rules.Adafactor):
    """Adafactor whose epsilon1 is the precision of each weight's dtype."""

    epsilon1: Schedulable | None = nonnegative(None, optional=True)  # type: ignore[assignment]  # None until the dtype is known

    @cached_property
    def _by_precision(self) -> dict[float, rules.Adafactor]:
        return {}

    def for_weight(self, index: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> rules.Optimizer:
        precision = 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)
        fields = {field.name: getattr(self, field.name) for field in attrs.fields(rules.Adafactor)}
        chosen = self._by_precision.setdefault(precision, rules.Adafactor(**fields | {"epsilon1": precision}))
        return chosen.for_weight(index, shape, dtype)


@GROUPS.taken_by
def Adafactor(
    lr: Schedulable = 1e-2, beta2_decay: float = -0.8, eps: tuple[Schedulable | None, Schedulable] = (None, 1e-3),
    d: Schedulable = 1.0, weight_decay: Schedulable = 0.0, *, foreach: bool | None = None, maximize: bool = False,
) -> rules.Adafactor:  # fmt: skip
    """PyTorch's Adafactor.

    The second moment is clamped, and the decay is taken with the step, so that rms(w) is that of the weight before it.
    `eps[0]=None` is the precision of a dtype: of each weight's own here, of the first parameter's for all there. Complex
    weights, which PyTorch refuses, are taken. Where the square of `eps[0]` is 0 in the weight's dtype, as 1e-30's is in float32,
    gradients of 0 give NaN: in their own elements there, in the whole weight here.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Adafactor(0.1, eps=(1e-6, 1e-3))
        Adafactor(lr=0.1, epsilon1=1e-06, epsilon_added=False, decay='inside')
    """
    _check_switches("Adafactor", foreach=foreach)
    epsilon1, epsilon2 = pair(eps, "Adafactor.eps")
    return build(
        AdafactorOfDtype if epsilon1 is None else rules.Adafactor, "Adafactor", ADAFACTOR, lr=lr,
        decay_rate=negated(beta2_decay, "Adafactor.beta2_decay"), epsilon1=epsilon1, epsilon2=epsilon2, clip_threshold=d,
        epsilon_added=False, maximize=maximize, weight_decay=unless_zero(weight_decay), decay="inside",
    )  # fmt: skip


@GROUPS.taken_by
def Muon(
    lr: Schedulable = 1e-3, weight_decay: Schedulable = 0.1, momentum: Schedulable = 0.95, nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), eps: Schedulable = 1e-7, ns_steps: int = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
) -> rules.Muon:  # fmt: skip
    """PyTorch's Muon.

    Matrices are multiplied in the dtype of the momentum, where PyTorch rounds them to bfloat16: its weights are up to 2e-3 away
    after 45 updates, and 1e-9 where that rounding is taken out. Weights that are no matrices are errors, as there; `overrides`
    of `get_updater` give them another optimizer.

    Example:
        >>> from updaters.compat import torch
        >>> torch.Muon(adjust_lr_fn="match_rms_adamw")
        Muon(lr=0.001, scale='rms', epsilon_added=False, weight_decay=0.1)
    """
    if not isinstance(adjust_lr_fn, str | None) or adjust_lr_fn not in SCALES:
        raise ValueError(f"Muon.adjust_lr_fn must be 'original', 'match_rms_adamw' or None, got {adjust_lr_fn!r}")
    return build(
        rules.Muon, "Muon", MUON, lr=lr, weight_decay=unless_zero(weight_decay),
        momentum=_kept(momentum, "Muon.momentum"), nesterov=nesterov,
        polynomial=ns_coefficients, iterations=ns_steps, epsilon=eps, epsilon_added=False, scale=SCALES[adjust_lr_fn],
    )  # fmt: skip


def add_param_group(update: Updater, param_group: Mapping[str, Any]) -> None:
    """Give an updater another group of parameters, as PyTorch's method of this name does an optimizer.

    Args:
        update: an updater whose optimizer is one of these.
        param_group: as in the list of groups. What it leaves out is as the optimizer has it.

    Weights keep their slots. The group comes after all others but before `"*"`, so that weights which no other group has,
    frozen or not, are its own from now on.

    Raises:
        TypeError, ValueError: the group is wrong, or has a pattern of another one; or the optimizer is none of PyTorch's; or
            something else would have to be kept for a weight. Nothing has changed then.

    Example:
        >>> from updaters.compat import torch as optim
        >>> update = up.get_updater(optim.SGD([{"params": "head.*"}], lr=0.1))
        >>> optim.add_param_group(update, {"params": "body.*", "lr": 0.01})
        >>> update.overrides
        {'head.*': {}, 'body.*': {'lr': 0.01}, '*': FROZEN}
    """
    GROUPS.add(update, param_group)


def param_groups(update: Updater) -> list[dict[str, Any]]:
    """The groups of an updater, each with all of its arguments by PyTorch's names.

    Args:
        update: an updater whose optimizer is one of these.

    It is a copy, which the functions of this module take; changes go into `update.overrides`, by our names. Groups that follow
    one another and say the same are one.

    Raises:
        TypeError: the optimizer is none of PyTorch's.

    Example:
        >>> from updaters.compat import torch as optim
        >>> groups = [{"params": ["*.bias", "norm.*"], "weight_decay": 0}, {"params": "*"}]
        >>> update = up.get_updater(optim.SGD(groups, weight_decay=0.1))
        >>> [(group["params"], group["weight_decay"]) for group in optim.param_groups(update)]
        [(['*.bias', 'norm.*'], 0), (['*'], 0.1)]
        >>> update.overrides = {**update.overrides, "*.bias": {"weight_decay": None, "lr": 0.01}}
    """
    return GROUPS.of(update)


def state_dict(update: Updater, params: Iterable[Index]) -> dict[str, Any]:
    """What an updater keeps, as the dictionary that `torch.optim`'s `load_state_dict` takes.

    Args:
        update: an updater of one of these optimizers, or of one of the library's own that does what one of PyTorch's does.
        params: the indices of weights in the order of PyTorch's parameters, group after group. Those that are left out are not in
            the dictionary.

    There is a group for each of the updater's, as `param_groups` shows them, with hyperparameters as they stand at the clock.
    Parameters without updates have no state. Tensors are copies, in the dtype that slots have: float32 for halves, which PyTorch
    rounds when it loads them. The clock, a loss scale, masters and averages are not in it.

    Conventions:
        PyTorch's momentum keeps gradients. Our own keeps steps unless told otherwise, and the buffer is then -velocity / lr, with
        the rate in force at the clock. Where a beta is scheduled, PyTorch corrects by a power of the last one.

    Raises:
        TypeError, ValueError: PyTorch has no counterpart of a weight's rule, or of one of its settings; or gradients are
            accumulated; or `params` is not in groups.
        ModuleNotFoundError: PyTorch is not installed.

    Example:
        >>> from updaters.compat import torch as optim
        >>> update = up.get_updater(optim.SGD(0.1, momentum=0.9))
        >>> optim.state_dict(update, ["w", "b"])["param_groups"][0]["params"]
        [0, 1]
        >>> parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]  # doctest: +SKIP
        >>> optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)  # doctest: +SKIP
        >>> optimizer.load_state_dict(optim.state_dict(update, ["w", "b"]))  # doctest: +SKIP
    """
    return _states.to_torch(update, params, GROUPS)


def load_state_dict(
    update: Updater, state_dict: Mapping[str, Any], params: Iterable[Index] | None = None, *, strict: bool = True
) -> LoadReport:
    """Go on from what an optimizer of `torch.optim` gave as its `state_dict()`.

    Args:
        update: an updater of one of these optimizers, or of one of the library's own that does what one of PyTorch's does.
        state_dict: the dictionary, with tensors of any device or with arrays; they are copied.
        params: the indices of weights in the order of PyTorch's parameters, group after group; all others stay as they are.
            Without them, the names that PyTorch was given as `named_parameters()` are the indices.
        strict: False takes what fits and leaves the rest as it is here; the report says what it left.

    The clock, a loss scale and accumulated gradients stay as they are. Slots of weights that the updater has not been given yet
    wait for weights of the tensors' dtype. SGD and Muon have no count there, and a weight's own stays, or is 1.

    Hyperparameters are the updater's own, and must be those of the dictionary, but for what is scheduled here. Where a beta is
    scheduled, the correction that goes with it is not to be had from PyTorch, which is an error.

    Conventions:
        PyTorch's momentum keeps gradients. Our own keeps steps unless told otherwise, and the velocity is then -lr * buffer, with
        the rate in the dictionary.

    Raises:
        TypeError, ValueError: it is no such dictionary, or of another updater, with what is there and here; or PyTorch has no
            counterpart of a rule. Nothing has changed then.

    Example:
        >>> from updaters.compat import torch as optim
        >>> update = up.get_updater(up.SGD(0.1, momentum=0.9))
        >>> state = {0: {"momentum_buffer": np.array([1.0, -1.0])}}  # or torch.load(...), or optimizer.state_dict()
        >>> group = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "params": [0]}
        >>> report = optim.load_state_dict(update, {"state": state, "param_groups": [group]}, ["w"])
        >>> report.waiting
        ('w',)
        >>> update.slots["w"]["velocity"]
        array([-0.1,  0.1])
    """
    return _states.from_torch(update, state_dict, params, strict, GROUPS)
