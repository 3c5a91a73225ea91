"""Schedule-free SGD and AdamW: averages in the place of a learning rate's schedule."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.checks import INSIDE_UNIT
from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected
from updaters.optimizers.fields import choice, fraction, hyperparameter, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState

# The weight is y = (1 - beta) * z + beta * x. x, which is not kept, is put into y's own update, y - pull * (y - z) - fresh * g:
# no factor 1 - pull, whose rounding to float32 counts where pull is small.


def schedule_free_sgd(w: Any, g: Any, z: Any, lr: Any, pull: Any, fresh: Any) -> Any:
    return w - pull * (w - z) - fresh * g, z - lr * g


def schedule_free_adamw(
    w: Any, g: Any, z: Any, v: Any, lr: Any, pull: Any, fresh: Any, keep2: Any, take2: Any, root: Any, eps: Any, decay: Any
) -> Any:
    v = keep2 * v + take2 * (g * g)
    u = root * g / (np.sqrt(v) + eps) + decay * w
    return w - pull * (w - z) - fresh * u, z - lr * u, v


SCALARS = {"lr_max": 0.0, "weight_sum": 0.0, "beta": 1.0}


def averaging(lr: float, beta: float, lr_power: float, lr_max: float, weight_sum: float, beta_before: float) -> dict[str, float]:
    """What both rules share: the new scalars, and the coefficients of y's update."""
    lr_max = max(lr_max, lr)
    share = lr_max**lr_power
    weight_sum += share
    c = share / weight_sum if weight_sum else 0.0
    return {
        "lr_max": lr_max,
        "weight_sum": weight_sum,
        "beta": beta,
        "lr": lr,
        "pull": (beta_before - beta + beta * c) / beta_before,
        "fresh": lr * (1 - beta + beta * c),
    }


def averaged(w: Any, kept: Mapping[str, Any]) -> Any:
    """The x of a weight y."""
    return kept["z"] + (w - kept["z"]) / kept["beta"]


@attrs.frozen(repr=False)
class ScheduleFreeSGD(Optimizer):
    """Schedule-free SGD: gradients are taken between the fastest sequence and the average of its points.

        z = z - lr * g
        x = (1 - c) * x + c * z,  c = lr_max**lr_power / (sum of these so far, this one included)
        y = (1 - beta) * z + beta * x

    lr_max is the largest learning rate so far. The weight that is updated, where gradients are to be taken, is y.
    The weight to evaluate with is x, which `update.evaluation_weight(index, weight)` gives. x, y and z begin as the
    weight; z is a slot, and x = z + (y - z) / beta is not kept.

    Attributes:
        lr: learning rate (gamma); a warm-up is all the schedule that it wants.
        beta: how close to x gradients are taken, in (0, 1).
        lr_power: how much larger learning rates weigh in the average.
        decay: `"l2"` adds `weight_decay * y` to the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        As in the authors' PyTorch package, where the weight holds y while it trains, and x while it evaluates; here
        it always holds y.

    References:
        Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.ScheduleFreeSGD(0.1, beta=0.5))
        >>> for _ in range(2):
        ...     update("w", np.array([0.5, -1.0]), weight)
        >>> weight, update.evaluation_weight("w", weight)
        (array([ 0.9125, -1.825 ]), array([ 0.925, -1.85 ]))
    """

    lr: Schedulable = rate(1.0)
    beta: Schedulable = hyperparameter(0.9, INSIDE_UNIT)
    lr_power: Schedulable = nonnegative(2.0)
    decay: Literal["l2"] = choice("l2", default="l2")

    slots: ClassVar = ("z",)
    scalars: ClassVar = SCALARS
    formula: ClassVar = staticmethod(schedule_free_sgd)

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"z": "w"}

    def coefficients(self, state: OptimizationState, t: int, lr_max: float, weight_sum: float, beta: float) -> dict[str, float]:
        now = self.at(state)
        return averaging(now.lr, now.beta, now.lr_power, lr_max, weight_sum, beta)

    def evaluation(self, w: Any, kept: Mapping[str, Any]) -> Any:
        return averaged(w, kept)


@attrs.frozen(repr=False)
class ScheduleFreeAdamW(Optimizer):
    """Schedule-free AdamW: as ScheduleFreeSGD, along gradients over their root mean square.

        v = beta2 * v + (1 - beta2) * g**2,  v_hat = v / (1 - beta2**t)
        u = g / (sqrt(v_hat) + epsilon) + weight_decay * y
        z = z - lr * u
        x = (1 - c) * x + c * z,  c = lr_max**lr_power / (sum of these so far, this one included)
        y = (1 - beta1) * z + beta1 * x

    lr_max is the largest learning rate so far, and t counts the weight's own updates. The weight that is updated,
    where gradients are to be taken, is y. The weight to evaluate with is x, which
    `update.evaluation_weight(index, weight)` gives. x, y and z begin as the weight; x is not kept.

    Attributes:
        lr: learning rate (gamma); a warm-up is all the schedule that it wants.
        beta1: how close to x gradients are taken, in (0, 1).
        beta2: share of the second moment that is kept.
        epsilon: keeps the quotient finite; in units of the gradient. At 0, or where the dtype rounds it to 0, an element
            whose gradients were all 0 becomes NaN.
        lr_power: how much larger learning rates weigh in the average.
        decay: `"inside"` adds `weight_decay * y` to u; `"l2"` to the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        As in the authors' PyTorch package, where the weight holds y while it trains, and x while it evaluates; here
        it always holds y. Keras weighs all points alike, `lr_power=0`.

    References:
        Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.ScheduleFreeAdamW(0.1, beta1=0.5))
        >>> for _ in range(2):
        ...     update("w", np.array([0.5, -1.0]), weight)
        >>> weight, update.evaluation_weight("w", weight)
        (array([ 0.825, -1.825]), array([ 0.85, -1.85]))
    """

    lr: Schedulable = rate(2.5e-3)
    beta1: Schedulable = hyperparameter(0.9, INSIDE_UNIT)
    beta2: Schedulable = fraction(0.999)
    epsilon: Schedulable = nonnegative(1e-8)
    lr_power: Schedulable = nonnegative(2.0)
    decay: Literal["inside", "l2"] = choice("inside", "l2", default="inside")  # type: ignore[assignment]  # its own words

    slots: ClassVar = ("z", "v")
    scalars: ClassVar = SCALARS | {"correction2": 0.0}
    formula: ClassVar = staticmethod(schedule_free_adamw)

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"z": "w"}

    def coefficients(
        self, state: OptimizationState, t: int, lr_max: float, weight_sum: float, beta: float, correction2: float
    ) -> dict[str, float]:
        now = self.at(state)
        take2 = 1 - now.beta2
        correction2 = corrected(correction2, now.beta2)
        root = sqrt(correction2)
        return averaging(now.lr, now.beta1, now.lr_power, lr_max, weight_sum, beta) | {
            "correction2": correction2,
            "keep2": now.beta2,
            "take2": take2,
            "root": root,
            "eps": now.epsilon * root,
            "decay": 0.0 if now.weight_decay is None or self.decay == "l2" else now.weight_decay,
        }

    def evaluation(self, w: Any, kept: Mapping[str, Any]) -> Any:
        return averaged(w, kept)
