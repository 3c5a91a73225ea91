"""Keras's optimizers: the names, arguments and numerics of `keras.optimizers` 3.15.

`keras.optimizers.Adam(1e-3)` and its `apply(grads, variables)` become `update = updaters.get_updater(keras.Adam(1e-3))` and
`update.step(grads, weights)`, with `from updaters.compat import keras`.

Arguments are as `keras.optimizers` has them, and what a docstring here says nothing about is what it is there. A learning rate
may be one of `schedules`, or any other callable `state -> float`. All rules have, in the order in which they act:

- `loss_scale_factor`, by which gradients are divided; `update.scale_loss(loss)` multiplies by it;
- `gradient_accumulation_steps`, the calls that make one update, from the mean of their gradients: at least 2, or None or 0 for
  none. Schedules count all calls, as there;
- `clipnorm`, the bound of each gradient's norm, `clipvalue`, that of its elements, or `global_clipnorm`, that of the norm of
  all gradients; None or 0 for none. Negative ones, which do nothing in Keras, are errors. A norm of all gradients that is
  infinite or NaN scales nothing, where Keras makes all gradients NaN;
- `weight_decay`: decoupled, `w = w - learning_rate * weight_decay * w` before the rule, or None for none;
- `use_ema`, for an average of the weights, `ema_momentum * average + (1 - ema_momentum) * w` at every call, those that only
  accumulate too; up to the first update it is the weight. Each `ema_overwrite_frequency` updates the weight becomes the average,
  after each call that the update is made of. `update.evaluation_weight(index, weight)` gives it, in the place of Keras's
  `finalize_variable_values`.

`exclude_from_weight_decay` and `LossScaleOptimizer` give another optimizer. All but the rule itself is the optimizer's `policy`,
which the arguments of `get_updater` go before.

t counts a weight's own updates, where Keras counts the optimizer's, and so does the average: the two differ for weights that have
no gradient at times. A `name` there is none. Numbers are those of float64 variables.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np

from updaters import optimizers as rules
from updaters.checks import BELOW_ONE, POSITIVE, Interval, flag, number, whole
from updaters.compat._arguments import build, doubled, negated, refuse, switch, unless_zero
from updaters.compat.keras import schedules as schedules
from updaters.loss_scale import GrowthInterval, Static
from updaters.optimizers.base import check_optimizer
from updaters.policy import Average, Override, Policy
from updaters.protocols import Schedulable
from updaters.schedules.base import Combination
from updaters.transforms import ClipByGlobalNorm, ClipByNorm
from updaters.weight_state import Index, check_index

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "RMSprop",
    "exclude_from_weight_decay",
]

Rule = TypeVar("Rule", bound=rules.Optimizer)

NAMES = {"lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "grad_clip": "clipvalue"}

FLOAT32 = Interval(2.0**-126, 2.0**127)
"""The powers of 2 that a loss scale in float32 can be, as Keras's is."""

UNDECAYED = (("weight_decay", None),)
"""What is different for weights that are excluded from decay."""


def _rate(learning_rate: Schedulable) -> Schedulable:
    """The learning rate, which is not one of Keras's own schedules: these are called with a step."""
    if any(kind.__name__ == "LearningRateSchedule" for kind in type(learning_rate).__mro__):
        raise TypeError(
            f"learning_rate must be a number or a function of the clock, got {learning_rate!r}, a function of a step: give "
            "updaters.learning_rate.per_step(it), or what updaters.compat.keras.schedules has under its name"
        )
    return learning_rate


def _shared(
    called: str, weight_decay: Schedulable | None, clipnorm: Schedulable | None, clipvalue: Schedulable | None,
    global_clipnorm: Schedulable | None, use_ema: bool, ema_momentum: Schedulable, ema_overwrite_frequency: int | None,
    loss_scale_factor: float | None, gradient_accumulation_steps: int | None, name: None,
) -> dict[str, Any]:  # fmt: skip
    """The fields for the arguments that all rules have."""
    clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
    given = [f"{clip}={value!r}" for clip, value in clips.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{called} takes one of clipnorm, clipvalue and global_clipnorm, got {' and '.join(given)}")
    if name is not None:
        refuse(f"{called}.name", name, "an optimizer has no name here")
    policy = Policy()
    average = build(
        Average, called, {"keep": "ema_momentum", "overwrite_every": "ema_overwrite_frequency"}, keep=ema_momentum,
        overwrite_every=unless_zero(ema_overwrite_frequency), every_call=True,
    )  # fmt: skip
    if switch(use_ema, f"{called}.use_ema"):
        policy = attrs.evolve(policy, average=average)
    if unless_zero(gradient_accumulation_steps) is not None:
        calls = whole(gradient_accumulation_steps, f"{called}.gradient_accumulation_steps", 2)
        policy = attrs.evolve(policy, accumulate=calls, count_calls=True)
    if loss_scale_factor is not None:
        scale = build(Static, called, {"scale": "loss_scale_factor"}, scale=loss_scale_factor)
        policy = attrs.evolve(policy, loss_scale=scale)
    of_all, of_each = unless_zero(global_clipnorm), unless_zero(clipnorm)
    if of_all is not None:
        policy = attrs.evolve(policy, clip=build(ClipByGlobalNorm, called, {"bound": "global_clipnorm"}, bound=of_all))
    return {
        "weight_decay": unless_zero(weight_decay),
        "decay": "decoupled",
        "grad_clip": unless_zero(clipvalue),
        "transforms": () if of_each is None else build(ClipByNorm, called, {"bound": "clipnorm"}, bound=of_each),
        "policy": _unless_empty(policy),
    }


def _unless_empty(policy: Policy) -> Policy | None:
    return policy if policy != Policy() else None


def SGD(
    learning_rate: Schedulable = 0.01, momentum: Schedulable = 0.0, nesterov: bool = False,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.SGD:  # fmt: skip
    """Keras's SGD.

    The learning rate is inside the momentum's buffer; without a momentum `nesterov` does nothing, as there.

    Example:
        >>> from updaters.compat import keras
        >>> keras.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
        SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, decay='decoupled')
    """
    shared = _shared(
        "SGD", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    kept = unless_zero(momentum)
    return build(
        rules.SGD, "SGD", NAMES, lr=_rate(learning_rate), momentum=kept,
        nesterov=switch(nesterov, "SGD.nesterov") and kept is not None, **shared,
    )  # fmt: skip


def RMSprop(
    learning_rate: Schedulable = 0.001, rho: Schedulable = 0.9, momentum: Schedulable = 0.0, epsilon: Schedulable = 1e-7,
    centered: bool = False, weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None,
    clipvalue: Schedulable | None = None, global_clipnorm: Schedulable | None = None, use_ema: bool = False,
    ema_momentum: Schedulable = 0.99, ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.RMSProp:  # fmt: skip
    """Keras's RMSprop.

    Epsilon is inside the root, with and without a momentum, and the learning rate inside the momentum's buffer.

    Example:
        >>> from updaters.compat import keras
        >>> keras.RMSprop(momentum=0.9)
        RMSProp(lr=0.001, epsilon=1e-07, epsilon_inside=True, momentum=0.9, decay='decoupled')
    """
    shared = _shared(
        "RMSprop", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.RMSProp, "RMSprop", NAMES, lr=_rate(learning_rate), rho=rho, momentum=unless_zero(momentum), epsilon=epsilon,
        epsilon_inside=True, centered=centered, **shared,
    )  # fmt: skip


def Adam(
    learning_rate: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, epsilon: Schedulable = 1e-7,
    amsgrad: bool = False, weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None,
    clipvalue: Schedulable | None = None, global_clipnorm: Schedulable | None = None, use_ema: bool = False,
    ema_momentum: Schedulable = 0.99, ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Adam:  # fmt: skip
    """Keras's Adam.

    Epsilon is added before the bias correction.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Adam(0.1, beta_1=0.8)
        Adam(lr=0.1, beta1=0.8, epsilon=1e-07, epsilon_hat=True, decay='decoupled')
    """
    shared = _shared(
        "Adam", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Adam, "Adam", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, epsilon=epsilon, epsilon_hat=True,
        amsgrad=amsgrad, **shared,
    )  # fmt: skip


def AdamW(
    learning_rate: Schedulable = 0.001, weight_decay: Schedulable = 0.004, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999,
    epsilon: Schedulable = 1e-7, amsgrad: bool = False, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.AdamW:  # fmt: skip
    """Keras's AdamW: its Adam, with a decay that is on.

    Example:
        >>> from updaters.compat import keras
        >>> keras.AdamW(0.1)
        AdamW(lr=0.1, epsilon=1e-07, epsilon_hat=True, weight_decay=0.004)
    """
    shared = _shared(
        "AdamW", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    if weight_decay is None:
        raise TypeError("AdamW.weight_decay must be a number or a scheduler, got None; the rule without one is Adam")
    return build(
        rules.AdamW, "AdamW", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, epsilon=epsilon, epsilon_hat=True,
        amsgrad=amsgrad, **shared,
    )  # fmt: skip


def Adadelta(
    learning_rate: Schedulable = 0.001, rho: Schedulable = 0.95, epsilon: Schedulable = 1e-7,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Adadelta:  # fmt: skip
    """Keras's Adadelta.

    Its learning rate is a thousandth of everybody else's.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Adadelta(1.0)
        Adadelta(lr=1.0, epsilon=1e-07, decay='decoupled')
    """
    shared = _shared(
        "Adadelta", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Adadelta, "Adadelta", NAMES, lr=_rate(learning_rate), rho=rho, epsilon=epsilon, **shared,
    )  # fmt: skip


def Adagrad(
    learning_rate: Schedulable = 0.001, initial_accumulator_value: Schedulable = 0.1, epsilon: Schedulable = 1e-7,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Adagrad:  # fmt: skip
    """Keras's Adagrad.

    Epsilon is inside the root.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Adagrad(0.1)
        Adagrad(lr=0.1, epsilon=1e-07, epsilon_inside=True, initial_accumulator=0.1, decay='decoupled')
    """
    shared = _shared(
        "Adagrad", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Adagrad, "Adagrad", NAMES | {"initial_accumulator": "initial_accumulator_value"}, lr=_rate(learning_rate),
        initial_accumulator=initial_accumulator_value, epsilon=epsilon, epsilon_inside=True, **shared,
    )  # fmt: skip


def Adamax(
    learning_rate: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, epsilon: Schedulable = 1e-7,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Adamax:  # fmt: skip
    """Keras's Adamax.

    Epsilon is in the quotient.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Adamax()
        Adamax(lr=0.001, epsilon=1e-07, decay='decoupled')
    """
    shared = _shared(
        "Adamax", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Adamax, "Adamax", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, epsilon=epsilon, **shared,
    )  # fmt: skip


def Adafactor(
    learning_rate: Schedulable = 0.001, beta_2_decay: float = -0.8, epsilon_1: Schedulable = 1e-30, epsilon_2: Schedulable = 1e-3,
    clip_threshold: Schedulable = 1.0, relative_step: bool = True, weight_decay: Schedulable | None = None,
    clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None, global_clipnorm: Schedulable | None = None,
    use_ema: bool = False, ema_momentum: Schedulable = 0.99, ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None, gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Adafactor:  # fmt: skip
    """Keras's Adafactor.

    The rate is at most 1 / sqrt(t) whatever `relative_step` says, as there. Means are float64, where Keras's are float32 even for
    float64 variables: 2e-7 apart after 45 updates.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Adafactor(0.1, beta_2_decay=-0.5)
        Adafactor(lr=0.1, decay_rate=0.5)
    """
    shared = _shared(
        "Adafactor", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    switch(relative_step, "Adafactor.relative_step")
    return build(
        rules.Adafactor, "Adafactor", NAMES | {"epsilon1": "epsilon_1", "epsilon2": "epsilon_2"}, lr=_rate(learning_rate),
        decay_rate=negated(beta_2_decay, "Adafactor.beta_2_decay"), epsilon1=epsilon_1, epsilon2=epsilon_2,
        clip_threshold=clip_threshold, **shared,
    )  # fmt: skip


def Nadam(
    learning_rate: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, epsilon: Schedulable = 1e-7,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Nadam:  # fmt: skip
    """Keras's Nadam.

    The momentum warms up by 0.96**t, 250 times as fast as elsewhere. The product of momenta is a weight's own, where Keras keeps
    one for all.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Nadam(0.1)
        Nadam(lr=0.1, epsilon=1e-07, momentum_decay=1.0, decay='decoupled')
    """
    shared = _shared(
        "Nadam", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Nadam, "Nadam", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, epsilon=epsilon, momentum_decay=1.0,
        **shared,
    )  # fmt: skip


def Ftrl(
    learning_rate: Schedulable = 0.001, learning_rate_power: float = -0.5, initial_accumulator_value: Schedulable = 0.1,
    l1_regularization_strength: Schedulable = 0.0, l2_regularization_strength: float = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0, beta: Schedulable = 0.0, weight_decay: Schedulable | None = None,
    clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None, global_clipnorm: Schedulable | None = None,
    use_ema: bool = False, ema_momentum: Schedulable = 0.99, ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None, gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Ftrl:  # fmt: skip
    """Keras's Ftrl.

    Its l2 and its shrinkage are half of ours: the penalty is `l2 * w**2`.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Ftrl(0.1, l2_regularization_strength=0.5)
        Ftrl(lr=0.1, beta=0.0, l2=1.0, initial_accumulator=0.1, decay='decoupled')
    """
    shared = _shared(
        "Ftrl", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Ftrl, "Ftrl", NAMES | {"initial_accumulator": "initial_accumulator_value", "l1": "l1_regularization_strength"},
        lr=_rate(learning_rate), power=negated(learning_rate_power, "Ftrl.learning_rate_power"),
        initial_accumulator=initial_accumulator_value, l1=l1_regularization_strength,
        l2=doubled(l2_regularization_strength, "Ftrl.l2_regularization_strength"),
        l2_shrinkage=doubled(l2_shrinkage_regularization_strength, "Ftrl.l2_shrinkage_regularization_strength"), beta=beta,
        **shared,
    )  # fmt: skip


def Lion(
    learning_rate: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.99,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.Lion:  # fmt: skip
    """Keras's Lion.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Lion(0.1, weight_decay=0.01)
        Lion(lr=0.1, weight_decay=0.01)
    """
    shared = _shared(
        "Lion", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.Lion, "Lion", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, **shared,
    )  # fmt: skip


def Lamb(
    learning_rate: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, epsilon: Schedulable = 1e-7,
    weight_decay: Schedulable | None = None, clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None,
    global_clipnorm: Schedulable | None = None, use_ema: bool = False, ema_momentum: Schedulable = 0.99,
    ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None, name: None = None,
) -> rules.LAMB:  # fmt: skip
    """Keras's Lamb.

    The decay is taken off the weight first, and is not in the ratio's norms.

    Example:
        >>> from updaters.compat import keras
        >>> keras.Lamb(0.1)
        LAMB(lr=0.1, epsilon=1e-07, decay='decoupled')
    """
    shared = _shared(
        "Lamb", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    return build(
        rules.LAMB, "Lamb", NAMES, lr=_rate(learning_rate), beta1=beta_1, beta2=beta_2, epsilon=epsilon, **shared,
    )  # fmt: skip


@attrs.frozen(repr=False)
class MuonOfPaths(rules.Muon):
    """Muon for matrices whose path, which is their index, speaks of nothing that is excluded."""

    exclude_layers: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=tuple)
    exclude_embeddings: bool = flag(True)

    def for_weight(self, index: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> rules.Optimizer:
        path = "/".join(map(str, index)) if isinstance(index, tuple) else str(index)
        if (self.exclude_embeddings and "embedding" in path.lower()) or any(
            re.search(pattern, path) for pattern in self.exclude_layers
        ):
            assert self.otherwise is not None
            return self.otherwise.for_weight(index, shape, dtype)
        return super().for_weight(index, shape, dtype)


def _patterns(name: str, patterns: object) -> tuple[str, ...]:
    """The patterns, each of which must be a regular expression."""
    several = tuple(patterns) if isinstance(patterns, Iterable) and not isinstance(patterns, str) else (None,)
    if not all(isinstance(pattern, str) for pattern in several):
        raise TypeError(f"{name} must be a list of patterns, got {patterns!r}")
    for pattern in several:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name} must hold regular expressions, got {pattern!r}: {error}") from None
    return several


def Muon(
    learning_rate: Schedulable = 0.001, adam_beta_1: Schedulable = 0.9, adam_beta_2: Schedulable = 0.999,
    adam_weight_decay: Schedulable | None = 0.004, epsilon: Schedulable = 1e-7, weight_decay: Schedulable | None = 0.004,
    clipnorm: Schedulable | None = None, clipvalue: Schedulable | None = None, global_clipnorm: Schedulable | None = None,
    use_ema: bool = False, ema_momentum: Schedulable = 0.99, ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None, gradient_accumulation_steps: int | None = None, name: None = None,
    exclude_layers: Sequence[str] | None = None, exclude_embeddings: bool = True, muon_a: float = 3.4445, muon_b: float = -4.775,
    muon_c: float = 2.0315, adam_lr_ratio: float = 1, momentum: float = 0.95, ns_steps: int = 5, nesterov: bool = True,
    rms_rate: Schedulable | None = 0.2,
) -> rules.Muon:  # fmt: skip
    """Keras's Muon: Muon for matrices, and Adam for all else and for what is excluded.

    An index is a weight's path, a tuple's parts with slashes between them. Excluded are paths with "embedding" in them, in
    whatever case, unless `exclude_embeddings` is False, and those in which a pattern of `exclude_layers` is found. Adam's
    learning rate is `adam_lr_ratio` times the other, its decay takes the other as it is, and `epsilon` is Adam's. Norms are
    float64, where Keras's are float32 even for float64 variables: 2e-8 apart after 45 updates.

    Lists have no paths: `update.step([...], [...])` counts the weights, and a number is no embedding and matches a pattern
    as its digits do. Give mappings, by the paths.

    Example:
        >>> from updaters.compat import keras
        >>> weights = {("dense", "kernel"): np.eye(2), ("token_embedding", "table"): np.eye(2)}
        >>> update = up.get_updater(keras.Muon(0.1))
        >>> update.step({index: np.ones((2, 2)) for index in weights}, weights)
        >>> {index: list(known.arrays) for index, known in update.slots.items()}
        {('dense', 'kernel'): ['m'], ('token_embedding', 'table'): ['m', 'v']}
    """
    shared = _shared(
        "Muon", weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
        loss_scale_factor, gradient_accumulation_steps, name,
    )  # fmt: skip
    excluded = _patterns("Muon.exclude_layers", () if exclude_layers is None else exclude_layers)
    ratio = number(adam_lr_ratio, "Muon.adam_lr_ratio", POSITIVE)
    kept = number(momentum, "Muon.momentum", BELOW_ONE)
    strength = unless_zero(adam_weight_decay)
    names = {"beta1": "adam_beta_1", "beta2": "adam_beta_2", "weight_decay": "adam_weight_decay"}
    adam = build(
        rules.Adam, "Muon", NAMES | names, lr=_rate(learning_rate), beta1=adam_beta_1, beta2=adam_beta_2, epsilon=epsilon,
        epsilon_hat=True, **shared | {"weight_decay": strength, "policy": None},
    )  # fmt: skip
    if ratio != 1:
        of_the_other = None if strength is None else Combination("/", strength, ratio)
        adam = attrs.evolve(adam, lr=Combination("*", ratio, learning_rate), weight_decay=of_the_other)
    return build(
        MuonOfPaths, "Muon", NAMES | {"iterations": "ns_steps", "polynomial": "muon_a, muon_b, muon_c"}, lr=_rate(learning_rate),
        momentum=kept, nesterov=nesterov, otherwise=adam, scale="none" if rms_rate is None else "rms",
        rms_rate=0.0 if rms_rate is None else rms_rate, polynomial=(muon_a, muon_b, muon_c), iterations=ns_steps,
        epsilon=(1 - kept) * 1e-7, exclude_layers=excluded, exclude_embeddings=exclude_embeddings, **shared,
    )  # fmt: skip


def exclude_from_weight_decay(
    optimizer: Rule, var_list: Iterable[Index] | None = None, var_names: Iterable[str] | None = None
) -> Rule:
    """The optimizer without a decay for some weights, Keras's method of that name.

    It goes into the optimizer's `policy`, as `overrides` before any others, of which these weights then have none. Those that
    `get_updater` is given come before it.

    Args:
        optimizer: the optimizer, which stays as it is.
        var_list: the indices of weights, where Keras takes the variables.
        var_names: regular expressions, each searched for in a weight's index, of which a tuple's parts are joined by dots; Keras
            has only the last part of a path for a name.

    Returns:
        An optimizer like it. As there, what was excluded before no longer is.

    Raises:
        TypeError, ValueError: an argument is something else than it may be.

    Example:
        >>> from updaters.compat import keras
        >>> adam = keras.exclude_from_weight_decay(keras.AdamW(1.0, weight_decay=0.5), var_names=["bias"])
        >>> weights = {("dense", "kernel"): np.ones(1), ("dense", "bias"): np.ones(1)}
        >>> update = up.get_updater(adam)
        >>> update.step({index: np.zeros(1) for index in weights}, weights)
        >>> weights
        {('dense', 'kernel'): array([0.5]), ('dense', 'bias'): array([1.])}
    """
    check_optimizer(optimizer)
    called = exclude_from_weight_decay.__name__
    patterns = [re.compile(pattern) for pattern in _patterns(f"{called}.var_names", () if var_names is None else var_names)]
    excluded = [Override(pattern, UNDECAYED) for pattern in (*_indices(f"{called}.var_list", var_list), *patterns)]
    policy = optimizer.policy or Policy()
    others = [override for override in policy.overrides if override.settings != UNDECAYED]
    return attrs.evolve(optimizer, policy=_unless_empty(attrs.evolve(policy, overrides=[*excluded, *others])))


def _indices(name: str, indices: Iterable[Index] | None) -> list[Index]:
    """The indices as patterns that match nothing else."""
    try:
        several = [] if indices is None else [check_index(index) for index in indices]
    except TypeError as error:
        raise TypeError(f"{name} must be a list of indices: {error}") from None
    if isinstance(indices, str):
        raise TypeError(f"{name} must be a list of indices, got {indices!r}")
    return [glob.escape(index) if isinstance(index, str) else index for index in several]


def LossScaleOptimizer(
    inner_optimizer: Rule, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000, name: None = None
) -> Rule:
    """The inner optimizer with a loss scale that moves, Keras's optimizer of that name.

    `update.scale_loss(loss)` is what to take gradients of. Where one of them is not finite, the update is skipped and the scale
    halved; after `dynamic_growth_steps` updates in a row without that, it is doubled. It goes into the optimizer's `policy`, in
    the place of a `loss_scale_factor`, as there. It stays within float32's range, where Keras's ends as 0 or infinite.

    With `gradient_accumulation_steps` the scale moves at each update, and a mean that is not finite is skipped with all the
    calls that it is made of; Keras goes by calls.

    Raises:
        TypeError, ValueError: an argument is something else than it may be.

    Example:
        >>> from updaters.compat import keras
        >>> update = up.get_updater(keras.LossScaleOptimizer(keras.SGD(0.1), initial_scale=8.0))
        >>> weights = [np.ones(1)]
        >>> update.step([np.array([np.inf])], weights)
        >>> weights, update.loss_scale, update.scale_loss(0.5)
        ([array([1.])], 4.0, 2.0)
    """
    check_optimizer(inner_optimizer, "LossScaleOptimizer.inner_optimizer")
    if name is not None:
        refuse("LossScaleOptimizer.name", name, "an optimizer has no name here")
    scale = GrowthInterval(
        number(initial_scale, "LossScaleOptimizer.initial_scale", FLOAT32),
        growth_interval=whole(dynamic_growth_steps, "LossScaleOptimizer.dynamic_growth_steps", 1),
        min_scale=FLOAT32.low,
        max_scale=FLOAT32.high,
    )
    return attrs.evolve(inner_optimizer, policy=attrs.evolve(inner_optimizer.policy or Policy(), loss_scale=scale))
