"""What happens to a gradient, and to a weight, before the rule sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from inspect import signature
from itertools import chain, islice
from typing import Any

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, check_grad, check_weight, slot_dtype
from updaters.backends.trace import record
from updaters.formula import Formula
from updaters.optimizers.base import Optimizer, Reading, Transform, check_optimizer
from updaters.state import OptimizationState


@attrs.frozen
class Step:
    """One step: from (w, g) and its coefficients, if it has any, to (w, g)."""

    is_on: Callable[[Optimizer], bool]
    apply: Callable[..., tuple[Any, Any]]
    coefficients: Callable[[Reading, OptimizationState], Sequence[float]] = lambda now, state: ()


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


STEPS = (  # in their order; the optimizer's transforms come where the None is
    Step(lambda optimizer: optimizer.gradient == "sum", scale, lambda now, state: (1 / state.batch_size,)),
    Step(lambda optimizer: optimizer.grad_clip is not None, clip, lambda now, state: (now.grad_clip,)),
    Step(lambda optimizer: optimizer.maximize, negate),
    Step(lambda optimizer: _decays(optimizer, "l2"), add_decay, lambda now, state: (now.weight_decay,)),
    None,
    Step(lambda optimizer: _decays(optimizer, "decoupled"), decay_weight, lambda now, state: (now.lr * now.weight_decay,)),
)


@cache
def _step(apply: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A transform of the gradient as a step."""

    @wraps(apply)
    def step(w: Any, g: Any, *coefficients: Any) -> tuple[Any, Any]:
        return w, apply(w, g, *coefficients)

    return step


def _read(transform: Transform, now: Reading, state: OptimizationState) -> list[float]:
    """A transform's coefficients, or an error that names it."""
    names = list(signature(transform.apply).parameters)[2:]
    values = transform.coefficients(now, state)
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        raise TypeError(f"{type(transform).__name__}.coefficients must give numbers, got {values!r}") from None
    if len(numbers) != len(names):
        raise TypeError(f"{type(transform).__name__}.coefficients must give ({', '.join(names)}), got {values!r}")
    return numbers


def steps_of(optimizer: Optimizer) -> tuple[Step, ...]:
    """The steps that an optimizer's fields ask for, in their order."""
    steps: list[Step] = []
    for step in STEPS:
        if step is not None:
            steps += [step] * step.is_on(optimizer)
        else:
            steps += [Step(bool, _step(transform.apply), partial(_read, transform)) for transform in optimizer.transforms]
    return tuple(steps)


def step_coefficients(steps: Sequence[Step], optimizer: Optimizer, state: OptimizationState) -> list[float]:
    """The coefficients of these steps at a clock."""
    if not steps:
        return []
    now = optimizer.at(state)
    return [coefficient for step in steps for coefficient in step.coefficients(now, state)]


def in_front(steps: Sequence[Callable[..., tuple[Any, Any]]], rule: Formula) -> Formula:
    """The formula that takes steps, as functions, and then applies the rule, as one."""
    if not steps:
        return rule
    names = [list(signature(step).parameters)[2:] for step in steps]
    kept = len(rule.slots) + len(rule.numbers)

    def composed(w: Any, g: Any, *rest: Any) -> Any:
        coefficients = iter(rest[kept:])
        for step, of_step in zip(steps, names, strict=True):
            w, g = step(w, g, *islice(coefficients, len(of_step)))
        return rule.function(w, g, *rest[:kept], *coefficients)

    return Formula(rule.name, composed, rule.slots, rule.numbers, (*chain(*names), *rule.coefficients))


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
    steps = steps_of(optimizer)
    coefficients = step_coefficients(steps, optimizer, state)
    formula = in_front([step.apply for step in steps], GRADIENT)
    backend = backends.load("numpy" if isinstance(weight, np.ndarray) else "cupy")
    result = backend.slot(weight, weight.shape, slot_dtype(weight.dtype), "w")
    bound = backend.bind(record(formula), result, grad, (), ())
    backend.run([bound.job(result, grad, coefficients)])
    return result


GRADIENT = Formula.of(lambda w, g: g, (), (), "normalized_gradient")
"""The gradient in the weight's place."""
