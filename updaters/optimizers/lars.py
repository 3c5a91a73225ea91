"""LARS: gradient descent whose learning rate follows the norm of each weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, momentum, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def trust_ratio(w: Any, g: Any, trust: Any, decay: Any, eps: Any) -> Any:
    norm_w, norm_g = np.linalg.norm(w), np.linalg.norm(g)
    return np.where((norm_w > 0) & (norm_g > 0), trust * norm_w / (norm_g + decay * norm_w + eps), 1.0)


def lars(w: Any, g: Any, lr: Any, trust: Any, decay: Any, eps: Any) -> Any:
    return w - lr * trust_ratio(w, g, trust, decay, eps) * (g + decay * w)


def lars_with_momentum(w: Any, g: Any, velocity: Any, lr: Any, trust: Any, decay: Any, eps: Any, momentum: Any) -> Any:
    velocity = momentum * velocity - lr * trust_ratio(w, g, trust, decay, eps) * (g + decay * w)
    return w + velocity, velocity


@attrs.frozen(repr=False)
class LARS(Optimizer):
    """LARS, layer-wise adaptive rate scaling: momentum, at a rate scaled for each weight by its norm.

        ratio = trust * norm(w) / (norm(g) + weight_decay * norm(w) + epsilon)
        v = momentum * v - lr * ratio * (g + weight_decay * w)
        w = w + v

    The ratio is 1 where one of the norms is 0. Norms are summed in float64, in an order that does not depend on the
    number of threads.

    Attributes:
        lr: learning rate (gamma).
        momentum: share of the last step that goes on (m), or None for none.
        trust: how much of its own norm a weight may move by per unit of lr (eta).
        epsilon: keeps the quotient finite; in units of the gradient.
        decay: `"inside"` is as above; `"l2"` adds the decay to the gradient before its norm is taken; `"decoupled"` takes
            `lr * weight_decay * w` off the weight before all else.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        As in the paper and in MXNet the ratio multiplies the learning rate and is inside the momentum's buffer. The
        norm is that of the gradient as it comes to the rule, after `grad_clip`; MXNet takes it before. MXNet passes over
        biases and the weights of normalizations by name; here a rule of their own is for the caller to choose.

    References:
        You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", 2017, arXiv:1708.03888.

    Example:
        >>> weight = np.array([3.0, 4.0])
        >>> update = up.get_updater(up.LARS(1.0, trust=0.01))
        >>> update("w", np.array([0.0, 2.0]), weight)
        >>> weight
        array([3.  , 3.95])
    """

    lr: Schedulable = rate(0.1)
    momentum: Schedulable | None = momentum(0.9)
    trust: Schedulable = nonnegative(1e-3)
    epsilon: Schedulable = nonnegative(1e-8)
    decay: Literal["inside", "l2", "decoupled"] = choice(  # type: ignore[assignment]  # wider than others'
        "inside", "l2", "decoupled", default="inside"
    )

    @property
    def slots(self) -> tuple[str, ...]:
        return () if self.momentum is None else ("velocity",)

    @property
    def formula(self) -> Callable[..., Any]:
        return lars if self.momentum is None else lars_with_momentum

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        decay = now.weight_decay if self.decay == "inside" and now.weight_decay is not None else 0.0
        values = {"lr": now.lr, "trust": now.trust, "decay": decay, "eps": now.epsilon}
        return values if self.momentum is None else values | {"momentum": now.momentum}
