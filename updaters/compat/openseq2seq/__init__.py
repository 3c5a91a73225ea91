"""OpenSeq2Seq's own optimizers: the names, arguments and numerics of its `optimizers` module.

`"optimizer": NovoGrad, "optimizer_params": {"beta1": 0.95}, "larc_params": {"larc_eta": 0.001}` of a configuration becomes
`updaters.get_updater(LARC(NovoGrad(beta1=0.95), larc_eta=0.001))` with `from updaters.compat.openseq2seq import LARC, NovoGrad`.

A learning rate may be a scheduler, any callable `state -> float`, in the place of an `lr_policy`; those of OpenSeq2Seq are in
`lr_policies`, and its loss scaling is `AutomaticLossScaler`.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import attrs

from updaters import optimizers as rules
from updaters import transforms
from updaters.compat._arguments import build, unless_zero
from updaters.compat.openseq2seq import lr_policies as lr_policies
from updaters.compat.openseq2seq.loss_scaling import AutomaticLossScaler as AutomaticLossScaler
from updaters.optimizers.base import check_optimizer
from updaters.protocols import Schedulable

__all__ = ["LARC", "AdamW", "NovoGrad"]

Rule = TypeVar("Rule", bound=rules.Optimizer)


def NovoGrad(
    learning_rate: Schedulable = 1.0, beta1: Schedulable = 0.95, beta2: Schedulable = 0.98, epsilon: Schedulable = 1e-8,
    weight_decay: Schedulable = 0.0, grad_averaging: bool = False,
) -> rules.NovoGrad:  # fmt: skip
    """OpenSeq2Seq's NovoGrad.

    Epsilon is inside the root, and a running norm that is exactly 0 begins anew.

    Example:
        >>> from updaters.compat import openseq2seq
        >>> openseq2seq.NovoGrad(0.01, weight_decay=0.001)
        NovoGrad(lr=0.01, epsilon_inside=True, weight_decay=0.001)
    """
    return build(
        rules.NovoGrad, "NovoGrad", {"lr": "learning_rate", "gradient_averaging": "grad_averaging"}, lr=learning_rate,
        beta1=beta1, beta2=beta2, epsilon=epsilon, epsilon_inside=True, weight_decay=unless_zero(weight_decay),
        gradient_averaging=grad_averaging,
    )  # fmt: skip


def AdamW(
    weight_decay: Schedulable, learning_rate: Schedulable = 0.001, beta1: Schedulable = 0.9, beta2: Schedulable = 0.999,
    epsilon: Schedulable = 1e-8,
) -> rules.AdamW:  # fmt: skip
    """OpenSeq2Seq's AdamW.

    The decay takes `learning_rate * weight_decay * w` off the weight before Adam's step, since OpenSeq2Seq hands that product
    to TensorFlow's AdamW. Epsilon is added before the bias correction.

    Example:
        >>> from updaters.compat import openseq2seq
        >>> openseq2seq.AdamW(0.1)
        AdamW(lr=0.001, epsilon_hat=True, weight_decay=0.1)
    """
    return build(
        rules.AdamW, "AdamW", {"lr": "learning_rate"}, lr=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
        epsilon_hat=True, weight_decay=unless_zero(weight_decay),
    )  # fmt: skip


def LARC(
    optimizer: Rule, larc_eta: Schedulable, larc_mode: Literal["clip", "scale"] = "clip", min_update: Schedulable = 1e-7,
    epsilon: Schedulable = 1e-7,
) -> Rule:  # fmt: skip
    """The optimizer with OpenSeq2Seq's LARC in front: its `larc_params`.

    Each gradient is scaled by the ratio of the weight's norm to its own, with no decay in it; a weight of zeros gets
    the factor `min_update`, as there. Where an optimizer has another one for some weights, as Muon has, both get it.

    Example:
        >>> from updaters.compat import openseq2seq
        >>> openseq2seq.LARC(up.SGD(0.1, momentum=0.9), larc_eta=0.002).transforms
        (LARC(eta=0.002, mode='clip', min_update=1e-07, epsilon=1e-07),)
    """
    check_optimizer(optimizer)
    larc = build(
        transforms.LARC, "LARC", {"eta": "larc_eta", "mode": "larc_mode"}, eta=larc_eta, mode=larc_mode, min_update=min_update,
        epsilon=epsilon,
    )  # fmt: skip
    return _behind(larc, optimizer)


def _behind(larc: transforms.LARC, optimizer: Rule) -> Rule:
    """The optimizer with LARC in front, and so the one for its other weights."""
    others = getattr(optimizer, "otherwise", None)
    more = {} if others is None else {"otherwise": _behind(larc, others)}
    return attrs.evolve(optimizer, transforms=(*optimizer.transforms, larc), **more)
