"""Stochastic gradient descent, with momentum and Nesterov's look ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from updaters.checks import UNIT
from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, flag, hyperparameter, momentum, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def descend(w: Any, g: Any, lr: Any) -> Any:
    return w - lr * g


def heavy_ball(w: Any, g: Any, velocity: Any, lr: Any, momentum: Any) -> Any:
    velocity = momentum * velocity - lr * g
    return w + velocity, velocity


def look_ahead(w: Any, g: Any, velocity: Any, lr: Any, momentum: Any) -> Any:
    velocity = momentum * velocity - lr * g
    return w + momentum * velocity - lr * g, velocity


def heavy_ball_of_gradients(w: Any, g: Any, buffer: Any, lr: Any, momentum: Any, take: Any) -> Any:
    buffer = momentum * buffer + take * g
    return w - lr * buffer, buffer


def look_ahead_of_gradients(w: Any, g: Any, buffer: Any, lr: Any, momentum: Any) -> Any:
    buffer = momentum * buffer + g
    return w - lr * (g + momentum * buffer), buffer


@attrs.frozen(repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent.

        v = momentum * v - lr * g
        w = w + v                           or, with nesterov, w + momentum * v - lr * g

    Without momentum, `w = w - lr * g`, and no slot is kept. With `buffer="gradients"`

        b = momentum * b + g
        w = w - lr * b                      or, with nesterov, w - lr * (g + momentum * b)

    Dampening puts `(1 - dampening) * g` in the place of g.

    Attributes:
        lr: learning rate (eta).
        momentum: share of the last step that goes on (mu), or None for none. A schedule that happens to
            give 0 keeps its slot.
        nesterov: take the gradient's step from where the momentum will have led.
        dampening: share of each gradient that stays out of the momentum (tau), or None for none.
        damp_first: dampen a weight's first gradient too.
        buffer: `"steps"` keeps past steps, in the slot "velocity"; `"gradients"` keeps past gradients, in the
            slot "buffer".

    Raises:
        TypeError, ValueError: a field is out of range, or `nesterov` is asked for without a momentum or with a
            dampening, or `dampening` without a momentum.

    Conventions:
        The learning rate is inside the buffer, as in MXNet, Keras and Sutskever et al.; PyTorch and OneFlow
        keep it outside, `buffer="gradients"`. The two agree while the learning rate stands still.
        Under a schedule a past step keeps here the rate it was taken with, and there takes the new one;
        a checkpoint converts by v = -lr b. The first gradient is not dampened, as in PyTorch; in OneFlow it
        is, `damp_first=True`.

    References:
        Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever,
        Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", 2013.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.SGD(0.1, momentum=0.9))
        >>> for _ in range(2):
        ...     update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.855, -1.71 ])
    """

    lr: Schedulable = rate(0.01)
    momentum: Schedulable | None = momentum(None)
    nesterov: bool = flag(False)
    dampening: Schedulable | None = hyperparameter(None, UNIT, optional=True)
    damp_first: bool = flag(False)
    buffer: Literal["steps", "gradients"] = choice("steps", "gradients", default="steps")

    def __attrs_post_init__(self) -> None:
        if self.nesterov and self.momentum is None:
            raise ValueError("SGD.nesterov needs a momentum, got momentum=None")
        if self.dampening is not None and self.momentum is None:
            raise ValueError("SGD.dampening needs a momentum, got momentum=None")
        if self.nesterov and self.dampening is not None:
            raise ValueError(f"SGD.nesterov takes no dampening, got dampening={self.dampening!r}")

    @property
    def slots(self) -> tuple[str, ...]:
        if self.momentum is None:
            return ()
        return ("velocity",) if self.buffer == "steps" else ("buffer",)

    @property
    def formula(self) -> Callable[..., Any]:
        if self.momentum is None:
            return descend
        if self.buffer == "steps":
            return look_ahead if self.nesterov else heavy_ball
        return look_ahead_of_gradients if self.nesterov else heavy_ball_of_gradients

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        if self.momentum is None:
            return {"lr": now.lr}
        damped = self.dampening is not None and (t > 1 or self.damp_first)
        take = 1 - now.dampening if damped else 1.0
        if self.buffer == "steps":
            return {"lr": now.lr * take, "momentum": now.momentum}
        if self.nesterov:
            return {"lr": now.lr, "momentum": now.momentum}
        return {"lr": now.lr, "momentum": now.momentum, "take": take}
