"""Train in half precision, with everything that it takes: masters, a loss scale, clips, accumulation, groups and a report.

The network of digits.py learns handwritten digits four times: in float32 to compare with, and with float16 weights and gradients,
as a GPU's matrix units give them, without more, with float32 masters, and rounded at random. A learning rate this small moves
float16 weights hardly at all: most updates are less than half of their last digit. Prints how far each came, and the last report.

    pip install 'updaters[demo]'
    python half_precision.py
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from digits import Digits, backprop, cross_entropy, forward, initial_weights, load

import updaters as up

BATCH_SIZE = 32
MICRO = 16

RUNS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {},
    "float16, masters": {"master_weights": True},
    "float16, random": {"stochastic_rounding": 0},
}


def train(data: Digits, epochs: int, dtype: str, **policy: Any) -> tuple[float, float, up.Report]:
    """The loss and the accuracy that a policy comes to, and the report of its last update."""
    rng = np.random.default_rng(0)
    weights = {name: weight.astype(dtype) for name, weight in initial_weights(rng, np).items()}
    state = up.OptimizationState(BATCH_SIZE)
    update = up.get_updater(
        up.SGD(0.002, weight_decay=1e-4),
        state,
        accumulate=BATCH_SIZE // MICRO,  # the mean of two gradients makes an update
        loss_scale=up.loss_scale.GrowthInterval(2.0**16, growth_interval=100),  # skips what overflows, and backs off
        clip=up.transforms.ClipByGlobalNorm(1.0),
        overrides={"b*": {"weight_decay": None}},  # no decay for offsets
        report=True,
        **policy,
    )
    for _ in state.epochs(epochs):
        order = rng.permutation(len(data.x)).reshape(-1, MICRO)
        for rows in state.batches(order):
            _, grads = backprop({name: weight.astype(np.float32) for name, weight in weights.items()}, data.x[rows], data.y[rows])
            with np.errstate(over="ignore"):  # an overflow is found by the updater
                scaled = {name: update.scale_loss(grad).astype(dtype) for name, grad in grads.items()}
            update.step(scaled, weights)
    _, log_p = forward({name: weight.astype(np.float64) for name, weight in weights.items()}, data.x_held_out)
    right = (log_p.argmax(axis=1) == data.y_held_out.argmax(axis=1)).mean()
    return float(cross_entropy(log_p, data.y_held_out)), float(right), update.report()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args().epochs
    data = load(np)
    print("                   loss   held out")
    for name, policy in RUNS.items():
        loss, right, report = train(data, epochs, name.partition(",")[0], **policy)
        print(f"{name:16}  {loss:.4f}     {right:.1%}")
    print(f"\n{report}")


if __name__ == "__main__":
    main()
