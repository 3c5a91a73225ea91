"""Stochastic gradient descent, with momentum and Nesterov's look ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import flag, momentum, rate
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


@attrs.frozen(repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent.

        v = momentum * v - lr * g
        w = w + v                           or, with nesterov, w + momentum * v - lr * g

    Without momentum, `w = w - lr * g`, and no slot is kept.

    Attributes:
        lr: learning rate (eta).
        momentum: share of the last step that goes on (mu), or None for none. A schedule that happens to
            give 0 keeps its slot.
        nesterov: take the gradient's step from where the momentum will have led.

    Raises:
        TypeError, ValueError: a field is out of range, or `nesterov` is asked for without a momentum.

    Conventions:
        The learning rate is inside the buffer, as in MXNet, Keras and Sutskever et al.; PyTorch and OneFlow
        keep it outside (b = mu b + g, w = w - lr b). The two agree while the learning rate stands still.
        Under a schedule a past step keeps here the rate it was taken with, and there takes the new one;
        a checkpoint converts by v = -lr b.

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

    def __attrs_post_init__(self) -> None:
        if self.nesterov and self.momentum is None:
            raise ValueError("SGD.nesterov needs a momentum, got momentum=None")

    @property
    def slots(self) -> tuple[str, ...]:
        return () if self.momentum is None else ("velocity",)

    @property
    def formula(self) -> Callable[..., Any]:
        if self.momentum is None:
            return descend
        return look_ahead if self.nesterov else heavy_ball

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {"lr": now.lr} if self.momentum is None else {"lr": now.lr, "momentum": now.momentum}
