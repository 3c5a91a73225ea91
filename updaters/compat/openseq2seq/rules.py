"""OpenSeq2Seq's rules: its own, and those of TensorFlow 1 that it knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import attrs

from updaters import optimizers as rules
from updaters import transforms
from updaters.checks import POSITIVE, number
from updaters.compat._arguments import build, doubled, negated, unless_zero
from updaters.optimizers.base import check_optimizer
from updaters.protocols import Schedulable
from updaters.state import OptimizationState

__all__ = ["LARC", "SGD", "Adagrad", "Adam", "AdamW", "Ftrl", "Momentum", "NovoGrad", "RMSProp"]

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
    the factor `min_update`, as there. Where an optimizer has another one for some weights, as Muon has, both get it. It comes
    after an l2 decay of the optimizer, and that of `optimize_loss` before it.

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


# TensorFlow 1's


def Adagrad(learning_rate: Schedulable, initial_accumulator_value: float = 0.1) -> rules.Adagrad:
    """TensorFlow 1's AdagradOptimizer, which has no epsilon.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.Adagrad(0.1)
        Adagrad(lr=0.1, epsilon=0.0, initial_accumulator=0.1)
    """
    return build(
        rules.Adagrad, "Adagrad", {"lr": "learning_rate"}, lr=learning_rate, epsilon=0.0,
        initial_accumulator=number(initial_accumulator_value, "Adagrad.initial_accumulator_value", POSITIVE),
    )  # fmt: skip


def Adam(
    learning_rate: Schedulable = 0.001, beta1: Schedulable = 0.9, beta2: Schedulable = 0.999, epsilon: Schedulable = 1e-8
) -> rules.Adam:
    """TensorFlow 1's AdamOptimizer, whose epsilon is added before the bias correction.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.Adam()
        Adam(lr=0.001, epsilon_hat=True)
    """
    return build(
        rules.Adam, "Adam", {"lr": "learning_rate"}, lr=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, epsilon_hat=True
    )


def Ftrl(
    learning_rate: Schedulable, learning_rate_power: float = -0.5, initial_accumulator_value: Schedulable = 0.1,
    l1_regularization_strength: Schedulable = 0.0, l2_regularization_strength: float = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0,
) -> rules.Ftrl:  # fmt: skip
    """TensorFlow 1's FtrlOptimizer, whose l2 and shrinkage are half of ours.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.Ftrl(0.1, l2_regularization_strength=0.5)
        Ftrl(lr=0.1, beta=0.0, l2=1.0, initial_accumulator=0.1)
    """
    names = {
        "lr": "learning_rate", "initial_accumulator": "initial_accumulator_value", "l1": "l1_regularization_strength",
    }  # fmt: skip
    return build(
        rules.Ftrl, "Ftrl", names, lr=learning_rate, beta=0.0, power=negated(learning_rate_power, "Ftrl.learning_rate_power"),
        initial_accumulator=initial_accumulator_value, l1=l1_regularization_strength,
        l2=doubled(l2_regularization_strength, "Ftrl.l2_regularization_strength"),
        l2_shrinkage=doubled(l2_shrinkage_regularization_strength, "Ftrl.l2_shrinkage_regularization_strength"),
    )  # fmt: skip


def Momentum(learning_rate: Schedulable, momentum: Schedulable, use_nesterov: bool = False) -> rules.SGD:
    """TensorFlow 1's MomentumOptimizer, whose buffer holds gradients.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.Momentum(0.1, 0.9, use_nesterov=True)
        SGD(lr=0.1, momentum=0.9, nesterov=True, buffer='gradients')
    """
    return build(
        rules.SGD, "Momentum", {"lr": "learning_rate", "nesterov": "use_nesterov"}, lr=learning_rate, momentum=momentum,
        nesterov=use_nesterov, buffer="gradients",
    )  # fmt: skip


@attrs.frozen(repr=False)
class RMSPropOfOnes(rules.RMSProp):
    """RMSProp whose mean square begins at 1."""

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"s": 1.0}


def RMSProp(
    learning_rate: Schedulable, decay: Schedulable = 0.9, momentum: Schedulable = 0.0, epsilon: Schedulable = 1e-10,
    centered: bool = False,
) -> rules.RMSProp:  # fmt: skip
    """TensorFlow 1's RMSPropOptimizer, whose epsilon is inside the root and whose mean square begins at 1.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.RMSProp(0.1, momentum=0.9)
        RMSPropOfOnes(lr=0.1, epsilon=1e-10, epsilon_inside=True, momentum=0.9)
    """
    return build(
        RMSPropOfOnes, "RMSProp", {"lr": "learning_rate", "rho": "decay"}, lr=learning_rate, rho=decay,
        momentum=unless_zero(momentum), epsilon=epsilon, epsilon_inside=True, centered=centered,
    )  # fmt: skip


def SGD(learning_rate: Schedulable) -> rules.SGD:
    """TensorFlow 1's GradientDescentOptimizer.

    Example:
        >>> from updaters.compat.openseq2seq import rules
        >>> rules.SGD(0.1)
        SGD(lr=0.1)
    """
    return build(rules.SGD, "SGD", {"lr": "learning_rate"}, lr=learning_rate)
