"""FTRL-Proximal: follow the regularized leader, for sparse weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.checks import POSITIVE
from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import hyperparameter, nonnegative
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def ftrl(w: Any, g: Any, z: Any, n: Any, per_lr: Any, l1: Any, ridge: Any, shrinkage: Any) -> Any:
    square = g * g
    before = np.sqrt(n)
    n = n + square
    root = np.sqrt(n)
    growth = np.where(n == 0.0, 0.0, square / (root + before))  # root - before, without its cancellation
    z = z + g + shrinkage * w - per_lr * growth * w
    return (np.minimum(np.maximum(z, -l1), l1) - z) / (per_lr * root + ridge), z, n


def ftrl_of_power(w: Any, g: Any, z: Any, n: Any, per_lr: Any, l1: Any, ridge: Any, shrinkage: Any, power: Any) -> Any:
    before = np.power(n, power)
    n = n + g * g
    after = np.power(n, power)
    z = z + g + shrinkage * w - per_lr * (after - before) * w
    return (np.minimum(np.maximum(z, -l1), l1) - z) / (per_lr * after + ridge), z, n


@attrs.frozen(repr=False)
class Ftrl(Optimizer):
    """FTRL-Proximal: the weight that would have been best for all gradients so far, 0 where they say little.

        N = n + g**2
        sigma = (N**power - n**power) / lr
        z = z + g + l2_shrinkage * w - sigma * w,  n = N
        w = (clip(z, -l1, l1) - z) / ((beta + n**power) / lr + l2)

    w is 0 where z is within l1 of 0. n begins at `initial_accumulator`, z at 0. Each weight is worked out anew
    from z and n. The weight that an update is given enters it through `sigma * w` and `l2_shrinkage * w` alone,
    so the first update replaces initial weights: it scales them by
    sigma / ((beta + N**power) / lr + l2), if there is neither l1 nor shrinkage, and a gradient of 0 makes them 0.
    A decoupled weight decay, too, is felt through sigma alone. Weights that begin at random, as a network's do, want a
    beta far below their gradients.

    Attributes:
        lr: learning rate (alpha), above 0.
        beta: tames the first steps; in units of the gradient.
        l1: strength of the penalty `l1 * |w|`, which makes weights 0.
        l2: strength of the penalty `l2 / 2 * w**2`.
        l2_shrinkage: strength of a penalty that is felt in z through the current weight, and not in n.
        power: what n is raised to, the negative of Keras's.
        initial_accumulator: what n begins at. Where it, beta and l2 are all 0, an element whose gradients were all
            0 becomes NaN.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        z keeps, in each sigma, the learning rate of its update: under a schedule old gradients weigh what they weighed
        then. MXNet's lambda1 is l1 (0.01 there), its weight decay l2. Keras's and TensorFlow's l2 and shrinkage
        are half of ours; Keras has beta 0, l1 0 and n begin at 0.1. For a power other than the number 0.5 backends
        agree to rounding instead of in every bit.

    References:
        McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013.

    Example:
        >>> weight = np.zeros(2)
        >>> update = up.get_updater(up.Ftrl(0.5, l1=0.75))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([0.    , 0.0625])
    """

    lr: Schedulable = hyperparameter(0.1, POSITIVE, kw_only=False)
    beta: Schedulable = nonnegative(1.0)
    l1: Schedulable = nonnegative(0.0)
    l2: Schedulable = nonnegative(0.0)
    l2_shrinkage: Schedulable = nonnegative(0.0)
    power: Schedulable = nonnegative(0.5)
    initial_accumulator: Schedulable = nonnegative(0.0)

    slots: ClassVar = ("z", "n")

    @property
    def formula(self) -> Callable[..., Any]:
        return ftrl if self.power == 0.5 else ftrl_of_power

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        return {"n": self.at(state).initial_accumulator}

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        numbers = {
            "per_lr": 1 / now.lr,
            "l1": now.l1,
            "ridge": now.beta / now.lr + now.l2,
            "shrinkage": now.l2_shrinkage,
        }
        return numbers if self.power == 0.5 else numbers | {"power": now.power}
