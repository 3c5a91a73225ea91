"""Momentum schedulers of one's own: any callable that takes the clock and gives a number will do.

Fits a line of eight coefficients by least squares, one mini-batch at a time, under four momenta.

    python examples/custom_momentum.py
"""

from collections.abc import Callable

import attrs
import numpy as np

import updaters as up


@attrs.frozen
class Ramp:
    """A frozen value: it compares, prints and pickles as any value does."""

    top: float
    iterations: int

    def __call__(self, state: up.OptimizationState, /) -> float:
        return self.top * min(1.0, state.iteration / self.iterations)


class Experiment:
    """An object of one's own that knows better, through one of its methods."""

    patience = 2

    def momentum(self, state: up.OptimizationState) -> float:
        return 0.5 if state.epoch <= self.patience else 0.9


MOMENTA: dict[str, Callable[[up.OptimizationState], float]] = {
    "built in": up.momentum.Fixed(0.9),
    "a lambda": lambda state: 0.9 if state.iteration > 20 else 0.5,
    "a frozen value": Ramp(top=0.9, iterations=50),
    "a bound method": Experiment().momentum,
}


def main() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(8)
    x = rng.standard_normal((320, 8)) * np.geomspace(1, 0.1, 8)  # badly scaled, so that momentum matters
    y = x @ truth
    data = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 320, 32)]

    print(f"{'momentum scheduler':<20}{'after 1, 30 and 100 updates':<32}{'error':>8}")
    for name, momentum in MOMENTA.items():
        state = up.OptimizationState(batch_size=32)
        update = up.get_updater(up.SGD(0.3, momentum=momentum), state)
        weight, used = np.zeros(8), []
        for _ in state.epochs(30):
            for x_batch, y_batch in state.batches(data):
                update("line", x_batch.T @ (x_batch @ weight - y_batch) / len(y_batch), weight)
                used.append(up.get_momentum(momentum, state))
        values = ", ".join(f"{used[k - 1]:.3f}" for k in (1, 30, 100))
        print(f"{name:<20}{values:<32}{np.abs(weight - truth).max():>8.4f}")


if __name__ == "__main__":
    main()
