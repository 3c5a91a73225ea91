"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def asgd(w: Any, g: Any, average: Any, eta: Any, shrink: Any, mu: Any) -> Any:
    w = w - shrink * w - eta * g
    # No factor 1 - mu, whose rounding to float32 counts where mu is small.
    return w, average - mu * average + mu * w


@attrs.frozen(repr=False)
class ASGD(Optimizer):
    """Averaged SGD: descent at a falling rate, and the average of the weights that it passes.

        eta = lr / (1 + regularization * lr * (t - 1))**power
        w = w - eta * regularization * w - eta * g
        average = (1 - mu) * average + mu * w,  mu = 1 / max(1, t - 1 - start)

    t counts the weight's own updates. `update.evaluation_weight(index, weight)` gives the average.

    Attributes:
        lr: learning rate (eta 0).
        regularization: strength of a decay towards 0 that is part of the rule, and how fast eta falls (lambda).
        power: how fast eta falls (alpha).
        start: updates before the average, which until then is the weight itself (t0).

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        A schedule acts at once; PyTorch works eta out after each update, for the next one, so that there it
        acts one update late. All else is PyTorch's.

    References:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; Bottou, "Large-Scale
        Machine Learning with Stochastic Gradient Descent", 2010.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.ASGD(0.1, regularization=0.0, start=0))
        >>> for _ in range(3):
        ...     update("w", np.array([0.5, -1.0]), weight)
        >>> weight, update.evaluation_weight("w", weight)
        (array([ 0.85, -1.7 ]), array([ 0.875, -1.75 ]))
    """

    lr: Schedulable = rate(1e-2)
    regularization: Schedulable = nonnegative(1e-4)
    power: Schedulable = nonnegative(0.75)
    start: Schedulable = nonnegative(1e6)

    slots: ClassVar = ("average",)
    formula: ClassVar = staticmethod(asgd)

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        eta = now.lr / (1 + now.regularization * now.lr * (t - 1)) ** now.power
        return {"eta": eta, "shrink": eta * now.regularization, "mu": 1 / max(1, t - 1 - now.start)}

    def evaluation(self, w: Any, kept: Mapping[str, Any]) -> Any:
        return kept["average"]
