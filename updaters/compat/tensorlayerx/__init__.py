"""TensorLayerX's optimizers: their names and arguments, and the numerics of its TensorFlow backend, on TensorFlow 2.4.

`tlx.optimizers.Adam(0.001)` and its `apply_gradients` become `update = updaters.get_updater(tensorlayerx.Adam(0.001))` and
`update.step(grads, weights)`, with `from updaters.compat import tensorlayerx`. Its other backends do otherwise in places.

A learning rate may be a scheduler, any callable `state -> float`; `tensorlayerx.lr` has TensorLayerX's. `weight_decay * w` is
added to the gradient first and `grad_clip` clips what comes out, by `ClipGradByValue`, `ClipGradByNorm` or `ClipByGlobalNorm`, of
which the last goes with `update.step`. t counts a weight's own updates, where TensorFlow counts the optimizer's: the two differ
for weights that have no gradient at times.

Its PyTorch and OneFlow backends clip before the decay, by one norm of all gradients for `ClipGradByNorm`, by `clip_max` alone for
`ClipGradByValue`, and have no `ClipByGlobalNorm`; for these, `get_updater` takes `clip=torch.clip_grad_norm_(...)` and
`clip=torch.clip_grad_value_(...)` of `updaters.compat`. Its PaddlePaddle backend clips before the decay too:
`clip=ClipByGlobalNorm(...)` goes there, as the other two do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeAlias, TypeVar

import attrs

from updaters import optimizers as rules
from updaters import transforms
from updaters.checks import NONNEGATIVE
from updaters.compat._arguments import build, doubled, negated, switch, unless_zero
from updaters.compat.tensorlayerx import lr as lr
from updaters.optimizers.base import Reading
from updaters.optimizers.fields import nonnegative
from updaters.policy import Policy
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState
from updaters.transforms import ClipByNorm, ClipByValue

__all__ = [
    "LARS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "ClipByGlobalNorm",
    "ClipGradByNorm",
    "ClipGradByValue",
    "Ftrl",
    "Lamb",
    "Momentum",
    "Nadam",
    "RMSprop",
]

NAMES = {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "eps"}


def ClipGradByValue(clip_min: Schedulable = -1, clip_max: Schedulable = 1) -> ClipByValue:
    """TensorLayerX's clip of each element.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.ClipGradByValue(-2, 3)
        ClipByValue(low=-2.0, high=3.0)
    """
    return build(ClipByValue, "ClipGradByValue", {"low": "clip_min", "high": "clip_max"}, low=clip_min, high=clip_max)


def ClipGradByNorm(clip_norm: Schedulable = 0.1) -> ClipByNorm:
    """TensorLayerX's clip of each gradient's own norm.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.ClipGradByNorm()
        ClipByNorm(bound=0.1)
    """
    return build(ClipByNorm, "ClipGradByNorm", {"bound": "clip_norm"}, bound=clip_norm)


def ClipByGlobalNorm(clip_norm: Schedulable) -> transforms.ClipByGlobalNorm:
    """TensorLayerX's clip of the norm of all gradients together.

    Without an epsilon, as TensorFlow has it. The decay is clipped too: it moves from the optimizer into the updater's clip, in
    whose place another `clip` given to `get_updater` would put itself. A norm that is infinite or NaN leaves gradients as they
    are; TensorFlow makes all of them NaN.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.ClipByGlobalNorm(5)
        ClipByGlobalNorm(bound=5.0, p=2.0, epsilon=0.0)
    """
    names = {"bound": "clip_norm"}
    return build(transforms.ClipByGlobalNorm, "ClipByGlobalNorm", names, bound=clip_norm)


@attrs.frozen
class AddDecay:
    """The l2 decay as a clip, for what is to be clipped with it: g + strength * w.

    Attributes:
        strength: the strength of the decay.
    """

    strength: Schedulable = nonnegative(attrs.NOTHING, kw_only=False)

    decays: ClassVar[bool] = True

    @staticmethod
    def apply(w: Any, g: Any, strength: Any) -> Any:
        """The gradient with its decay."""
        return g + strength * w

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The strength at a clock."""
        return (read(self.strength, state, "AddDecay.strength", NONNEGATIVE),)


Clip: TypeAlias = ClipByValue | ClipByNorm | transforms.ClipByGlobalNorm


def _clip(called: str, grad_clip: Clip | None) -> dict[str, Any]:
    """The field for an argument `grad_clip`."""
    if isinstance(grad_clip, transforms.ClipByGlobalNorm):
        return {"policy": Policy(clip=grad_clip)}
    if grad_clip is not None and not isinstance(grad_clip, (ClipByValue, ClipByNorm)):
        kinds = "ClipGradByValue(...), ClipGradByNorm(...), ClipByGlobalNorm(...)"
        raise TypeError(f"{called}.grad_clip must be {kinds} or None, got {grad_clip!r}")
    return {"transforms": () if grad_clip is None else (grad_clip,)}


def _shared(called: str, weight_decay: Schedulable, grad_clip: Clip | None) -> dict[str, Any]:
    """The fields for a decay and a clip of what comes out."""
    decay, clip = unless_zero(weight_decay), _clip(called, grad_clip)
    if "policy" in clip and decay is not None:
        first = build(AddDecay, called, {"strength": "weight_decay"}, strength=decay)
        return {"policy": Policy(clip=(first, grad_clip))}
    return {"weight_decay": decay, **clip}


P = ParamSpec("P")
T = TypeVar("T")


def _with_lr(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with an error of its own where the learning rate is given by another system's name."""

    @wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        if "learning_rate" in options:
            raise TypeError(f"{function.__name__} takes no learning_rate: TensorLayerX calls it lr")
        return function(*args, **options)

    return checked


@_with_lr
def Adadelta(
    lr: Schedulable = 0.001, rho: Schedulable = 0.95, eps: Schedulable = 1e-7, weight_decay: Schedulable = 0.0,
    grad_clip: Clip | None = None,
) -> rules.Adadelta:  # fmt: skip
    """TensorLayerX's Adadelta.

    Its learning rate is a thousandth of everybody else's.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Adadelta(1.0)
        Adadelta(lr=1.0, epsilon=1e-07)
    """
    return build(
        rules.Adadelta, "Adadelta", NAMES, lr=lr, rho=rho, epsilon=eps, **_shared("Adadelta", weight_decay, grad_clip)
    )  # fmt: skip


@_with_lr
def Adagrad(
    lr: Schedulable = 0.001, initial_accumulator: Schedulable = 0.1, eps: Schedulable = 1e-7, weight_decay: Schedulable = 0.0,
    grad_clip: Clip | None = None,
) -> rules.Adagrad:  # fmt: skip
    """TensorLayerX's Adagrad.

    Epsilon is outside the root, as in TensorFlow 2.4; later ones have it inside.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Adagrad()
        Adagrad(lr=0.001, epsilon=1e-07, initial_accumulator=0.1)
    """
    return build(
        rules.Adagrad, "Adagrad", NAMES, lr=lr, initial_accumulator=initial_accumulator, epsilon=eps,
        **_shared("Adagrad", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def Adam(
    lr: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, eps: Schedulable = 1e-7,
    weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.Adam:  # fmt: skip
    """TensorLayerX's Adam.

    Epsilon is added before the bias correction.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Adam(0.1, grad_clip=tensorlayerx.ClipGradByNorm(5.0)).transforms
        (ClipByNorm(bound=5.0),)
    """
    return build(
        rules.Adam, "Adam", NAMES, lr=lr, beta1=beta_1, beta2=beta_2, epsilon=eps, epsilon_hat=True,
        **_shared("Adam", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def Adamax(
    lr: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, eps: Schedulable = 1e-7,
    weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.Adamax:  # fmt: skip
    """TensorLayerX's Adamax.

    Epsilon is in the quotient.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Adamax()
        Adamax(lr=0.001, epsilon=1e-07)
    """
    return build(
        rules.Adamax, "Adamax", NAMES, lr=lr, beta1=beta_1, beta2=beta_2, epsilon=eps,
        **_shared("Adamax", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def Ftrl(
    lr: Schedulable = 0.001, lr_power: float = -0.5, initial_accumulator_value: Schedulable = 0.1,
    l1_regularization_strength: Schedulable = 0.0, l2_regularization_strength: float = 0.0, beta: Schedulable = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0, weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.Ftrl:  # fmt: skip
    """TensorLayerX's Ftrl.

    Its l2 and its shrinkage are half of ours: the penalty is `l2 * w**2`.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Ftrl(0.1, l2_regularization_strength=0.5)
        Ftrl(lr=0.1, beta=0.0, l2=1.0, initial_accumulator=0.1)
    """
    names = {"initial_accumulator": "initial_accumulator_value", "l1": "l1_regularization_strength"}
    return build(
        rules.Ftrl, "Ftrl", names, lr=lr, power=negated(lr_power, "Ftrl.lr_power"),
        initial_accumulator=initial_accumulator_value, l1=l1_regularization_strength,
        l2=doubled(l2_regularization_strength, "Ftrl.l2_regularization_strength"), beta=beta,
        l2_shrinkage=doubled(l2_shrinkage_regularization_strength, "Ftrl.l2_shrinkage_regularization_strength"),
        **_shared("Ftrl", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def Nadam(
    lr: Schedulable = 0.001, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999, eps: Schedulable = 1e-7,
    weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.Nadam:  # fmt: skip
    """TensorLayerX's Nadam.

    The momentum warms up by 0.96**(0.004 * t), 250 times as slowly as in Keras 3. The product of momenta is a weight's own,
    where TensorFlow keeps one for all.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Nadam()
        Nadam(lr=0.001, epsilon=1e-07)
    """
    return build(
        rules.Nadam, "Nadam", NAMES, lr=lr, beta1=beta_1, beta2=beta_2, epsilon=eps, momentum_decay=0.004,
        **_shared("Nadam", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def RMSprop(
    lr: Schedulable = 0.001, rho: Schedulable = 0.9, momentum: Schedulable = 0.0, eps: Schedulable = 1e-7, centered: bool = False,
    weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.RMSProp:  # fmt: skip
    """TensorLayerX's RMSprop.

    Epsilon is outside the root without a momentum and inside with one, as in TensorFlow 2.4, whose kernel for a momentum is
    another. The learning rate is inside the momentum's buffer.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.RMSprop(momentum=0.9)
        RMSProp(lr=0.001, epsilon=1e-07, epsilon_inside=True, momentum=0.9)
    """
    kept = unless_zero(momentum)
    return build(
        rules.RMSProp, "RMSprop", NAMES, lr=lr, rho=rho, momentum=kept, epsilon=eps, epsilon_inside=kept is not None,
        centered=centered, **_shared("RMSprop", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def SGD(
    lr: Schedulable = 0.01, momentum: Schedulable = 0.0, weight_decay: Schedulable = 0.0, grad_clip: Clip | None = None
) -> rules.SGD:
    """TensorLayerX's SGD.

    The learning rate is inside the momentum's buffer.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.SGD(momentum=0.9, weight_decay=1e-4)
        SGD(lr=0.01, momentum=0.9, weight_decay=0.0001)
    """
    return build(rules.SGD, "SGD", {}, lr=lr, momentum=unless_zero(momentum), **_shared("SGD", weight_decay, grad_clip))


@_with_lr
def Momentum(
    lr: Schedulable = 0.01, momentum: Schedulable = 0.0, nesterov: bool = False, weight_decay: Schedulable = 0.0,
    grad_clip: Clip | None = None,
) -> rules.SGD:  # fmt: skip
    """TensorLayerX's Momentum.

    It is its SGD with a Nesterov step to choose, the learning rate inside the buffer, as its source has it, not TensorFlow 1's
    MomentumOptimizer, as its documentation has it. Without a momentum `nesterov` does nothing, as there.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Momentum(0.1, momentum=0.9, nesterov=True)
        SGD(lr=0.1, momentum=0.9, nesterov=True)
    """
    kept = unless_zero(momentum)
    return build(
        rules.SGD, "Momentum", {}, lr=lr, momentum=kept, nesterov=switch(nesterov, "Momentum.nesterov") and kept is not None,
        **_shared("Momentum", weight_decay, grad_clip),
    )  # fmt: skip


@_with_lr
def Lamb(
    *, lr: Schedulable = 0.001, lamb_weight_decay: Schedulable = 0.01, beta_1: Schedulable = 0.9, beta_2: Schedulable = 0.999,
    eps: Schedulable = 1e-6, grad_clip: Clip | None = None,
) -> rules.LAMB:  # fmt: skip
    """TensorLayerX's Lamb, which it documents without arguments and has on some backends only.

    Arguments and numerics are PaddlePaddle's: the decay is inside the ratio's norms. The clip comes first.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.Lamb()
        LAMB(lr=0.001, weight_decay=0.01)
    """
    return build(
        rules.LAMB, "Lamb", NAMES | {"weight_decay": "lamb_weight_decay"}, lr=lr, weight_decay=unless_zero(lamb_weight_decay),
        beta1=beta_1, beta2=beta_2, epsilon=eps, **_clip("Lamb", grad_clip),
    )  # fmt: skip


@_with_lr
def LARS(
    *, lr: Schedulable = 0.001, momentum: Schedulable = 0.9, lars_coeff: Schedulable = 0.001,
    lars_weight_decay: Schedulable = 0.0005, eps: Schedulable = 0.0, grad_clip: Clip | None = None,
) -> rules.LARS:  # fmt: skip
    """TensorLayerX's LARS, which it documents without arguments and has on one backend only.

    Arguments and numerics are those of PaddlePaddle's `LarsMomentum`: the decay is inside the ratio, and the ratio inside the
    momentum's buffer. The clip comes first.

    Example:
        >>> from updaters.compat import tensorlayerx
        >>> tensorlayerx.LARS(lr=0.1)
        LARS(lr=0.1, epsilon=0.0, weight_decay=0.0005)
    """
    names = NAMES | {"trust": "lars_coeff", "weight_decay": "lars_weight_decay"}
    return build(
        rules.LARS, "LARS", names, lr=lr, momentum=unless_zero(momentum), trust=lars_coeff,
        weight_decay=unless_zero(lars_weight_decay), epsilon=eps, **_clip("LARS", grad_clip),
    )  # fmt: skip
