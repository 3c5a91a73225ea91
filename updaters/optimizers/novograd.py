"""NovoGrad: momentum over gradients that are scaled by a running norm, one number for each weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def mean_square(g: Any, v: Any, keep: Any, take: Any) -> Any:
    square = np.vdot(g, g)
    return np.where(v > 0, keep * v + take * square, square)


def novograd(
    w: Any, g: Any, m: Any, v: Any, lr: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any, decay: Any
) -> Any:
    v = mean_square(g, v, keep2, take2)
    m = keep1 * m + take1 * (g / (np.sqrt(v) + eps) + decay * w)
    return w - lr * m, m, v


def novograd_with_epsilon_inside(
    w: Any, g: Any, m: Any, v: Any, lr: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, eps: Any, decay: Any
) -> Any:
    v = mean_square(g, v, keep2, take2)
    m = keep1 * m + take1 * (g / np.sqrt(v + eps) + decay * w)
    return w - lr * m, m, v


@attrs.frozen(repr=False)
class NovoGrad(Optimizer):
    """NovoGrad: momentum over gradients that are divided, for each weight, by the root of their mean squared norm.

        v = beta2 * v + (1 - beta2) * norm(g)**2            v = norm(g)**2 at first
        m = beta1 * m + g / (sqrt(v) + epsilon) + weight_decay * w
        w = w - lr * m

    v is one number for a weight, kept in float64 on its device.

    Attributes:
        lr: learning rate.
        beta1: share of the first moment that is kept.
        beta2: share of the mean squared norm that is kept.
        epsilon: keeps the quotient finite; in units of the gradient, or of its square where it is inside.
        epsilon_inside: divide by sqrt(v + epsilon) instead.
        gradient_averaging: multiply what is added to m by 1 - beta1.
        decay: `"inside"` is as above; `"l2"` adds the decay to the gradient, whose norm then has it; `"decoupled"` takes
            `lr * weight_decay * w` off the weight before all else.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon is outside the root, as in the paper; OpenSeq2Seq's is inside. As there, v begins anew wherever it is
        exactly 0, so that gradients of 0 before the first others do no harm.

    References:
        Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks",
        2019, arXiv:1905.11286.

    Example:
        >>> weight = np.array([3.0, 4.0])
        >>> update = up.get_updater(up.NovoGrad(0.1))
        >>> update("w", np.array([0.0, 2.0]), weight)
        >>> weight
        array([3. , 3.9])
    """

    lr: Schedulable = rate(0.01)
    beta1: Schedulable = fraction(0.95)
    beta2: Schedulable = fraction(0.98)
    epsilon: Schedulable = nonnegative(1e-8)
    epsilon_inside: bool = flag(False)
    gradient_averaging: bool = flag(False)
    decay: Literal["inside", "l2", "decoupled"] = choice(  # type: ignore[assignment]  # wider than others'
        "inside", "l2", "decoupled", default="inside"
    )

    slots: ClassVar = ("m",)
    numbers: ClassVar = ("v",)

    @property
    def formula(self) -> Callable[..., Any]:
        return novograd_with_epsilon_inside if self.epsilon_inside else novograd

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {
            "lr": now.lr,
            "keep1": now.beta1,
            "take1": 1 - now.beta1 if self.gradient_averaging else 1.0,
            "keep2": now.beta2,
            "take2": 1 - now.beta2,
            "eps": now.epsilon,
            "decay": now.weight_decay if self.decay == "inside" and now.weight_decay is not None else 0.0,
        }
