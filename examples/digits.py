"""Read handwritten digits with gradients of your own: SGD under your own schedules beside Adam.

A network of 64 - 256 - 10 units, its backpropagation written out in NumPy, learns scikit-learn's digits twice:
from the same weights, on the same mini-batches, under two optimizers. Prints a table and draws the two runs.

    pip install 'updaters[demo]'
    python digits.py                   # on the CPU
    python digits.py --device gpu      # the same lines on CuPy
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import updaters as up

Array: TypeAlias = Any  # of NumPy or of CuPy

EPOCHS = 20
BATCH_SIZE = 32


# A scheduler is any callable from the clock to a number. These two are the SGD run's own.


def warming_up(state: up.OptimizationState) -> float:
    """A momentum that rises from 0.5 to 0.95 over the first 200 mini-batches and stays there."""
    return 0.5 + 0.45 * min(state.iteration / 200, 1.0)


def cooling_down(state: up.OptimizationState) -> float:
    """A learning rate of 0.2 that is down to a half after 200 mini-batches, to a third after 400."""
    return 0.2 / (1 + state.iteration / 200)


# The network. NumPy's functions work on CuPy's arrays too, so that nothing here asks where it runs.


def initial_weights(rng: np.random.Generator, xp: Any) -> dict[str, Array]:
    """Weights to begin with, as float32 arrays of `xp`: the matrices drawn, the offsets 0."""
    return {
        "W1": xp.asarray(rng.normal(0, np.sqrt(2 / 64), (64, 256)), dtype=np.float32),
        "b1": xp.zeros(256, dtype=np.float32),
        "W2": xp.asarray(rng.normal(0, np.sqrt(2 / 256), (256, 10)), dtype=np.float32),
        "b2": xp.zeros(10, dtype=np.float32),
    }


def forward(weights: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """The hidden units and the ten log-probabilities of each image."""
    hidden = np.maximum(x @ weights["W1"] + weights["b1"], 0)
    logits = hidden @ weights["W2"] + weights["b2"]
    logits = logits - logits.max(axis=1, keepdims=True)
    return hidden, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def cross_entropy(log_p: Array, y: Array) -> Array:
    """The mean of -log p(true digit), in nats."""
    return -(y * log_p).sum() / len(y)


def backprop(weights: dict[str, Array], x: Array, y: Array) -> tuple[Array, dict[str, Array]]:
    """The loss of a mini-batch, and its gradient with respect to every weight."""
    hidden, log_p = forward(weights, x)
    d_logits = (np.exp(log_p) - y) / len(y)
    d_hidden = (d_logits @ weights["W2"].T) * (hidden > 0)
    grads = {"W1": x.T @ d_hidden, "b1": d_hidden.sum(axis=0), "W2": hidden.T @ d_logits, "b2": d_logits.sum(axis=0)}
    return cross_entropy(log_p, y), grads


class Digits(NamedTuple):
    """Images in rows of 64 pixels from 0 to 1; labels as rows of ten, with a 1 for the digit."""

    x: Array
    x_held_out: Array
    y: Array
    y_held_out: Array


class Run(NamedTuple):
    """What a run measured: numbers of each update, then of the whole."""

    losses: list[float]
    learning_rates: list[float]
    momenta: list[float]
    accuracy: float
    loss: float
    seconds: float


def array_library(device: str) -> Any:
    """NumPy, or CuPy once a GPU has answered it."""
    if device == "cpu":
        return np
    import cupy

    cupy.zeros(1)
    return cupy


def load(xp: Any) -> Digits:
    """The 1797 digits as float32 arrays of `xp`: 1344 (42 mini-batches) to learn from, 453 held out."""
    images, labels = load_digits(return_X_y=True)
    x, y = np.float32(images / 16), np.eye(10, dtype=np.float32)[labels]
    return Digits(*map(xp.asarray, train_test_split(x, y, train_size=1344, stratify=labels, random_state=0)))


def train(name: str, optimizer: up.SGD | up.Adam, data: Digits, epochs: int, xp: Any) -> Run:
    """Train the network with `optimizer`. Start and order of the images are the same in every run."""
    rng = np.random.default_rng(0)
    weights = initial_weights(rng, xp)
    momentum = optimizer.beta1 if isinstance(optimizer, up.Adam) else optimizer.momentum or 0.0
    losses, learning_rates, momenta = [], [], []

    state = up.OptimizationState(batch_size=BATCH_SIZE)
    update = up.get_updater(optimizer, state)

    for _ in tqdm(state.epochs(epochs), desc=name, total=epochs, unit="epoch"):
        order = xp.asarray(rng.permutation(len(data.x)))
        for rows in state.batches(order.reshape(-1, BATCH_SIZE)):
            loss, grads = backprop(weights, data.x[rows], data.y[rows])
            update.step(grads, weights)

            losses.append(loss)
            learning_rates.append(up.get_learning_rate(optimizer.lr, state))
            momenta.append(up.get_momentum(momentum, state))
            if state.iteration == 1:
                start = perf_counter()  # after the first update, which may have compiled the rule

    _, log_p = forward(weights, data.x)
    _, guess = forward(weights, data.x_held_out)
    right = guess.argmax(axis=1) == data.y_held_out.argmax(axis=1)
    numbers = [float(loss) for loss in losses]  # a GPU is waited for here, and not at every update
    seconds = perf_counter() - start
    return Run(numbers, learning_rates, momenta, float(right.mean()), float(cross_entropy(log_p, data.y)), seconds)


def draw(runs: dict[str, Run], path: str) -> None:
    """Draw loss, learning rate and momentum of the runs over the iterations."""
    plt.switch_backend("Agg")  # into a file: no display is needed
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(3, sharex=True, figsize=(6.4, 6.8), height_ratios=(2.4, 1, 1), layout="constrained")
    loss_axis, rate_axis, momentum_axis = axes
    window = 21  # half an epoch
    for (name, run), color in zip(runs.items(), ("#0072b2", "#d55e00"), strict=False):
        iterations = np.arange(1, len(run.losses) + 1)
        smooth = np.convolve(run.losses, np.ones(window) / window, mode="valid")
        loss_axis.plot(iterations, run.losses, color=color, alpha=0.2, linewidth=0.7)
        loss_axis.plot(iterations[window // 2 : -(window // 2)], smooth, color=color, label=f"{name}: {run.accuracy:.1%}")
        rate_axis.plot(iterations, run.learning_rates, color=color)
        momentum_axis.plot(iterations, run.momenta, color=color)
    loss_axis.set(yscale="log", ylabel="cross-entropy (nats)", title="Training loss")
    loss_axis.legend(title="held-out accuracy", frameon=False)
    rate_axis.set(yscale="log", ylabel="learning rate", title="Learning rate of each update")
    momentum_axis.set(ylabel="momentum", title="Momentum of each update (Adam: $\\beta_1$)", ylim=(0.45, 1))
    momentum_axis.set(xlabel=f"iteration (mini-batches of {BATCH_SIZE} images)")
    figure.savefig(path, dpi=200)


def main() -> None:
    """Run both optimizers, print the table, draw the picture, and hold them to 97 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where the arrays live (default: cpu)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the training images (default: %(default)s)")
    parser.add_argument("--output", default="digits.png", help="the picture's file (default: %(default)s)")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {args.epochs}")
    folder = Path(args.output).parent
    if not folder.is_dir():
        parser.error(f"--output must be in a folder that exists, got {args.output}")
    try:
        xp = array_library(args.device)
    except (ImportError, RuntimeError) as error:
        parser.error(f"--device gpu needs an NVIDIA GPU and CuPy (pip install 'updaters[cuda12]' or 'updaters[cuda13]'): {error}")

    # Built-in schedules compose: a cosine over the epochs, to which the first 100 mini-batches warm up.
    warm_cosine = up.learning_rate.Warmup(up.learning_rate.Cosine(0.02, args.epochs, end=2e-4), iterations=100)

    data = load(xp)
    runs = {
        "SGD": train("SGD", up.SGD(cooling_down, momentum=warming_up), data, args.epochs, xp),
        "Adam": train("Adam", up.Adam(warm_cosine), data, args.epochs, xp),
    }
    print(f"\n{'optimizer':<10}{'held-out accuracy':>19}{'training loss':>15}{'seconds':>9}{'updates/s':>11}")
    for name, run in runs.items():
        per_second = (len(run.losses) - 1) / run.seconds
        print(f"{name:<10}{run.accuracy:>19.2%}{run.loss:>15.4f}{run.seconds:>9.2f}{per_second:>11.0f}")
    draw(runs, args.output)
    print(f"\nThe curves are in {args.output}")
    low = [f"{name} {run.accuracy:.2%}" for name, run in runs.items() if run.accuracy <= 0.97]
    if low and args.epochs == EPOCHS:
        sys.exit(f"expected more than 97 % of the held-out images to be read rightly, got {', '.join(low)}")


if __name__ == "__main__":
    main()
