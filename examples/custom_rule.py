"""A rule of one's own: gradient descent that keeps weights sparse, written once and run everywhere.

The class below is all there is to write. The formula is recorded, and runs in place on NumPy arrays of any
layout, as one compiled loop on all cores where numba is installed, and as one CUDA kernel on CuPy arrays;
scaling, clipping and decay of the gradient join it in the same pass.

    python examples/custom_rule.py
"""

from typing import Any, ClassVar

import attrs
import numpy as np

import updaters as up
from updaters.optimizers.fields import momentum, nonnegative, rate


@attrs.frozen(repr=False)
class ProximalSGD(up.Optimizer):
    """Gradient descent with momentum for a loss plus `l1 * |w|`.

        w' = S(w + momentum * step - lr * g),  S(x) = sign(x) * max(|x| - lr * l1, 0)
        step = w' - w

    References:
        Ochs, Chen, Brox and Pock, "iPiano: Inertial Proximal Algorithm for Nonconvex Optimization", 2014.
    """

    lr: up.Schedulable = rate(0.01)
    momentum: up.Schedulable = momentum(0.9)
    l1: up.Schedulable = nonnegative(0.0)

    slots: ClassVar = ("step",)

    @staticmethod
    def formula(w: Any, g: Any, step: Any, lr: Any, momentum: Any, threshold: Any) -> Any:
        moved = w + momentum * step - lr * g
        new = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0)
        return new, new - w

    def coefficients(self, state: up.OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)  # every schedule asked, every number checked
        return {"lr": now.lr, "momentum": now.momentum, "threshold": now.lr * now.l1}


def main() -> None:
    # A signal of 15 spikes among 400 places, seen through 150 random measurements with a little noise.
    rng = np.random.default_rng(0)
    signal = np.zeros(400)
    spikes = rng.choice(400, 15, replace=False)
    signal[spikes] = rng.choice([-1, 1], 15) * rng.uniform(1, 2, 15)
    lens = rng.standard_normal((150, 400)) / np.sqrt(150)
    measured = lens @ signal + 0.01 * rng.standard_normal(150)

    update = up.get_updater(ProximalSGD(0.2, momentum=0.8, l1=0.05))
    found = np.zeros(400)
    for _ in range(1000):
        update("signal", lens.T @ (lens @ found - measured), found)

    places = set(np.flatnonzero(found))
    print(update)
    print(f"places that are not zero: {len(places)} of 400, all {len(spikes)} spikes among them: {set(spikes) <= places}")
    print(f"error of the estimate: {np.linalg.norm(found - signal) / np.linalg.norm(signal):.1%}")


if __name__ == "__main__":
    main()
