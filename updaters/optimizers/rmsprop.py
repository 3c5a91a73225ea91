"""RMSProp, with momentum, centered, and both epsilons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, flag, fraction, momentum, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState

# Of the two epsilons one is 0, which changes no bit.


def rmsprop(w: Any, g: Any, s: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any) -> Any:
    s = keep * s + take * (g * g)
    return w - lr * g / (np.sqrt(s + inside) + outside), s


def of_steps(
    w: Any, g: Any, s: Any, velocity: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any, momentum: Any
) -> Any:
    s = keep * s + take * (g * g)
    velocity = momentum * velocity - lr * g / (np.sqrt(s + inside) + outside)
    return w + velocity, s, velocity


def of_gradients(
    w: Any, g: Any, s: Any, buffer: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any, momentum: Any
) -> Any:
    s = keep * s + take * (g * g)
    buffer = momentum * buffer + g / (np.sqrt(s + inside) + outside)
    return w - lr * buffer, s, buffer


def centered(w: Any, g: Any, s: Any, a: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any) -> Any:
    s = keep * s + take * (g * g)
    a = keep * a + take * g
    variance = np.maximum(s - a * a, 0.0)
    return w - lr * g / (np.sqrt(variance + inside) + outside), s, a


def centered_of_steps(
    w: Any, g: Any, s: Any, a: Any, velocity: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any, momentum: Any
) -> Any:
    s = keep * s + take * (g * g)
    a = keep * a + take * g
    variance = np.maximum(s - a * a, 0.0)
    velocity = momentum * velocity - lr * g / (np.sqrt(variance + inside) + outside)
    return w + velocity, s, a, velocity


def centered_of_gradients(
    w: Any, g: Any, s: Any, a: Any, buffer: Any, lr: Any, keep: Any, take: Any, inside: Any, outside: Any, momentum: Any
) -> Any:
    s = keep * s + take * (g * g)
    a = keep * a + take * g
    variance = np.maximum(s - a * a, 0.0)
    buffer = momentum * buffer + g / (np.sqrt(variance + inside) + outside)
    return w - lr * buffer, s, a, buffer


FORMULAS: dict[tuple[str, ...], Callable[..., Any]] = {
    ("s",): rmsprop,
    ("s", "velocity"): of_steps,
    ("s", "buffer"): of_gradients,
    ("s", "a"): centered,
    ("s", "a", "velocity"): centered_of_steps,
    ("s", "a", "buffer"): centered_of_gradients,
}


@attrs.frozen(repr=False)
class RMSProp(Optimizer):
    """RMSProp: gradients over their root mean square.

        s = rho * s + (1 - rho) * g**2
        w = w - lr * g / (sqrt(s) + epsilon)

    With `centered`, the variance takes the place of s, and a further slot is kept:

        a = rho * a + (1 - rho) * g
        variance = max(s - a**2, 0)

    With a momentum, the quotient q = g / (sqrt(s) + epsilon) goes through a buffer:

        v = momentum * v - lr * q;  w = w + v         with buffer="steps"
        b = momentum * b + q;       w = w - lr * b    with buffer="gradients"

    Attributes:
        lr: learning rate (eta).
        rho: share of the mean square that is kept.
        epsilon: keeps the quotient finite; in units of the gradient, or of its square where it is inside. At 0,
            or where the dtype rounds it to 0, an element whose gradients were all 0 becomes NaN.
        epsilon_inside: divide by sqrt(s + epsilon).
        momentum: share of the last step that goes on (mu), or None for none.
        buffer: `"steps"` keeps past steps, in the slot "velocity"; `"gradients"` keeps past quotients, in the
            slot "buffer".
        centered: divide by the standard deviation of the gradients, about their mean.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Nothing is corrected for the first updates. Epsilon is outside the root, as in PyTorch and MXNet 2; inside in
        MXNet.jl, MXNet's centered form, OneFlow, Keras and TensorFlow. Rho is 0.99 in PyTorch and OneFlow. The
        learning rate is inside the momentum's buffer, as in Keras and MXNet; outside in PyTorch,
        `buffer="gradients"`. TensorFlow 1 begins s at 1. A variance that rounding makes negative is 0; PyTorch
        then gives NaN.

    References:
        Tieleman and Hinton, "Lecture 6.5 - rmsprop", Coursera, 2012; Graves, "Generating Sequences With
        Recurrent Neural Networks", 2013, arXiv:1308.0850 (centered, with momentum).

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.RMSProp(0.1, rho=0.75, epsilon=0))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.8, -1.8])
    """

    lr: Schedulable = rate(1e-3)
    rho: Schedulable = fraction(0.9)
    epsilon: Schedulable = nonnegative(1e-8)
    epsilon_inside: bool = flag(False)
    momentum: Schedulable | None = momentum(None)
    buffer: Literal["steps", "gradients"] = choice("steps", "gradients", default="steps")
    centered: bool = flag(False)

    @property
    def slots(self) -> tuple[str, ...]:
        of_momentum = "velocity" if self.buffer == "steps" else "buffer"
        return ("s",) + ("a",) * self.centered + (of_momentum,) * (self.momentum is not None)

    @property
    def formula(self) -> Callable[..., Any]:
        return FORMULAS[self.slots]

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        inside, outside = (now.epsilon, 0.0) if self.epsilon_inside else (0.0, now.epsilon)
        numbers = {"lr": now.lr, "keep": now.rho, "take": 1 - now.rho, "inside": inside, "outside": outside}
        return numbers if self.momentum is None else numbers | {"momentum": now.momentum}
