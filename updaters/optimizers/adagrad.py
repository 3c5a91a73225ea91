"""Adagrad: gradients over the root of the sum of their squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import flag, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def adagrad(w: Any, g: Any, s: Any, step: Any, eps: Any) -> Any:
    s = s + g * g
    return w - step * g / (np.sqrt(s) + eps), s


def adagrad_inside(w: Any, g: Any, s: Any, step: Any, eps: Any) -> Any:
    s = s + g * g
    return w - step * g / np.sqrt(s + eps), s


@attrs.frozen(repr=False)
class Adagrad(Optimizer):
    """Adagrad: each element's steps shrink by the root of the sum of its squared gradients.

        s = s + g**2
        w = w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + epsilon)

    t counts the weight's own updates. s begins at `initial_accumulator`.

    Attributes:
        lr: learning rate (eta).
        epsilon: keeps the quotient finite; in units of the gradient, or of its square where it is inside. At 0,
            or where the dtype rounds it to 0, an element whose gradients were all 0 becomes NaN.
        epsilon_inside: divide by sqrt(s + epsilon).
        lr_decay: how fast the learning rate falls besides, per update.
        initial_accumulator: what s begins at; it tames the first steps.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon is outside the root, as in PyTorch, OneFlow and MXNet 2; MXNet.jl and Keras have it inside. Keras
        and TensorFlow begin s at 0.1, all others at 0. MXNet.jl's and MXNet's epsilons are 1e-6, Keras's 1e-7.

    References:
        Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", 2011.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.Adagrad(0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.9, -1.9])
    """

    lr: Schedulable = rate(0.01)
    epsilon: Schedulable = nonnegative(1e-10)
    epsilon_inside: bool = flag(False)
    lr_decay: Schedulable = nonnegative(0.0)
    initial_accumulator: Schedulable = nonnegative(0.0)

    slots: ClassVar = ("s",)

    @property
    def formula(self) -> Callable[..., Any]:
        return adagrad_inside if self.epsilon_inside else adagrad

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"s": self.at(state).initial_accumulator}

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {"step": now.lr / (1 + (t - 1) * now.lr_decay), "eps": now.epsilon}
