"""The gradient as a rule sees it."""

from __future__ import annotations

import numpy as np

from updaters import backends
from updaters.arrays import Array, check_grad, check_weight, slot_dtype
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.order import GRADIENT, Call, behind_clips, own_clip, unscaling
from updaters.policy import Policy
from updaters.rule import Rule, Section
from updaters.state import OptimizationState


def normalized_gradient(optimizer: Optimizer, state: OptimizationState, weight: Array, grad: Array) -> Array:
    """The gradient as the rule of `optimizer` would get it: scaled, clipped, negated, decayed.

    Args:
        optimizer: whose `gradient`, `grad_clip`, `maximize`, `weight_decay` and `decay` are used.
        state: the clock that schedules are read at, and its batch size.
        weight: the weight, of any floating or complex dtype; it is not written.
        grad: its gradient; it is not written.

    Returns:
        A new array in the dtype the rule computes in: the weight's, or float32 for weights of half precision.

    Raises:
        TypeError, ValueError: as an update would.

    Conventions:
        As in MXNet.jl, PyTorch and Keras the clip comes before the decay, and acts on each element after the
        scale. A decoupled decay leaves the gradient alone. What `get_updater` adds, as its own `clip`, is not here.

    Example:
        >>> optimizer = up.SGD(0.1, gradient="sum", grad_clip=1.0, weight_decay=0.5)
        >>> up.normalized_gradient(optimizer, up.OptimizationState(batch_size=2), np.array([1.0, 1.0]), np.array([4.0, 1.0]))
        array([1.5, 1. ])
    """
    check_optimizer(optimizer)
    if not isinstance(state, OptimizationState):
        raise TypeError(f"state must be an OptimizationState, got {state!r}")
    weight = check_weight(weight, None, written=False)
    grad = check_grad(grad, weight, None)
    section = Section.of(GRADIENT, before=[*unscaling(optimizer, Policy()), *own_clip(optimizer), *behind_clips(optimizer)])
    coefficients, _ = Rule.of(optimizer).around(section, Call(state), 1)
    backend = backends.load("numpy" if isinstance(weight, np.ndarray) else "cupy")
    result = backend.slot(weight, weight.shape, slot_dtype(weight.dtype), "w")
    bound = backend.bind(section.recording, result, grad, (), ())
    backend.run([bound.job(result, grad, coefficients)])
    return result
