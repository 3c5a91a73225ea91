"""What happens to a gradient, and to a weight, before the rule sees them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import attrs
import numpy as np

from updaters.arrays import Array, as_reals, check_grad, check_weight, compute_dtype
from updaters.formula import Formula
from updaters.optimizers.base import Optimizer, Reading, check_optimizer
from updaters.state import OptimizationState


@attrs.frozen
class Step:
    """One step per element: from (w, g) and its coefficient, if it has one, to (w, g)."""

    is_on: Callable[[Optimizer], bool]
    apply: Callable[..., tuple[Any, Any]]
    coefficient: Callable[[Reading, OptimizationState], float] | None = None


def scale(w: Any, g: Any, factor: Any) -> tuple[Any, Any]:
    return w, factor * g


def clip(w: Any, g: Any, bound: Any) -> tuple[Any, Any]:
    return w, np.minimum(np.maximum(g, -bound), bound)


def negate(w: Any, g: Any) -> tuple[Any, Any]:
    return w, -g


def add_decay(w: Any, g: Any, strength: Any) -> tuple[Any, Any]:
    return w, g + strength * w


def decay_weight(w: Any, g: Any, share: Any) -> tuple[Any, Any]:
    # The factor 1 - share, rounded to float32, would decay by a permille too much or too little.
    return w - share * w, g


def _decays(optimizer: Optimizer, how: str) -> bool:
    return optimizer.weight_decay is not None and optimizer.decay == how


STEPS = (  # in their order
    Step(lambda optimizer: optimizer.gradient == "sum", scale, lambda now, state: 1 / state.batch_size),
    Step(lambda optimizer: optimizer.grad_clip is not None, clip, lambda now, state: now.grad_clip),
    Step(lambda optimizer: optimizer.maximize, negate),
    Step(lambda optimizer: _decays(optimizer, "l2"), add_decay, lambda now, state: now.weight_decay),
    Step(lambda optimizer: _decays(optimizer, "decoupled"), decay_weight, lambda now, state: now.lr * now.weight_decay),
)


def steps_of(optimizer: Optimizer) -> tuple[Step, ...]:
    """The steps that an optimizer's fields ask for, in their order."""
    return tuple(step for step in STEPS if step.is_on(optimizer))


def step_coefficients(steps: tuple[Step, ...], optimizer: Optimizer, state: OptimizationState) -> list[float]:
    """The coefficients of these steps at a clock."""
    if not steps:
        return []
    now = optimizer.at(state)
    return [step.coefficient(now, state) for step in steps if step.coefficient is not None]


def in_front(steps: tuple[Step, ...], rule: Formula) -> Formula:
    """The formula that takes the steps and then applies the rule, as one."""
    if not steps:
        return rule
    slots = len(rule.slots)

    def composed(w: Any, g: Any, *rest: Any) -> Any:
        coefficients = iter(rest[slots:])
        for step in steps:
            w, g = step.apply(w, g) if step.coefficient is None else step.apply(w, g, next(coefficients))
        return rule.function(w, g, *rest[:slots], *coefficients)

    names = tuple(step.apply.__name__ for step in steps if step.coefficient is not None)
    return Formula(rule.name, composed, rule.slots, names + rule.coefficients)


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
        scale. A decoupled decay leaves the gradient alone.

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
    dtype = compute_dtype(weight.dtype)
    assert dtype is not None
    steps = steps_of(optimizer)
    coefficients = iter(step_coefficients(steps, optimizer, state))
    on_device = nullcontext() if isinstance(weight, np.ndarray) else weight.device
    with np.errstate(all="ignore"), on_device:
        w, g = (as_reals(array).astype(dtype, order="C") for array in (weight, grad))
        for step in steps:
            w, g = step.apply(w, g) if step.coefficient is None else step.apply(w, g, dtype.type(next(coefficients)))
        if weight.dtype.kind == "c":
            g = g.view(weight.dtype.newbyteorder("="))[..., 0]
        return np.asarray(g) if isinstance(weight, np.ndarray) else g
