"""Race all rules down Rosenbrock's valley and through the handwritten digits.

The valley is (1 - x)**2 + 100 (y - x**2)**2, from (-1.5, 2), with exact gradients; the digits are learned by the network of
digits.py, from the same weights and on the same mini-batches. Prints a table and draws the curves.

Every rule has one constant learning rate for each course, in ENTRANTS: the best of 1, 2 and 5 times powers of ten, by the last
tenth of the way down the valley and by training images that were kept aside. All else is as a rule comes, but for what the
table shows. So each is tuned a little and none is tuned well: this illustrates how rules move, and is no benchmark. Rules whose
steps at the minimum are as long as elsewhere (LARS, LAMB, NovoGrad, Muon, Lion) circle around it, AdamW's decay pulls it off the
minimum, and Rprop, which is for whole data sets, shows what mini-batches do to it.

    pip install 'updaters[demo]'
    python rules_race.py
    python rules_race.py --quick       # a few steps of each, in seconds
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from digits import BATCH_SIZE, Digits, backprop, forward, initial_weights, load
from matplotlib.axes import Axes
from PIL import Image  # which Matplotlib needs
from tqdm import tqdm

import updaters as up

Array: TypeAlias = np.ndarray[Any, Any]

STEPS = 2000
EPOCHS = 10


class Entrant(NamedTuple):
    """A rule as a function of its learning rate, and that rate in the valley and for the digits."""

    rule: Callable[[float], up.Optimizer]
    valley: float
    digits: float


def momentum(lr: float) -> up.SGD:
    return up.SGD(lr, momentum=0.9)


def nesterov(lr: float) -> up.SGD:
    return up.SGD(lr, momentum=0.9, nesterov=True)


def ftrl(lr: float) -> up.Ftrl:
    """With beta at 1 the first update would shrink the weights that the network begins with to almost nothing."""
    return up.Ftrl(lr, beta=1e-6)


def muon(lr: float) -> up.Muon:
    """The network's offsets are no matrices."""
    return up.Muon(lr, otherwise=up.AdamW(0.01))


def asgd(lr: float) -> up.ASGD:
    """As it comes, the average begins after a million updates."""
    return up.ASGD(lr, start=200)


ENTRANTS: dict[str, dict[str, Entrant]] = {
    "Momentum": {
        "SGD": Entrant(up.SGD, 0.002, 1.0),
        "SGD, momentum": Entrant(momentum, 0.002, 0.2),
        "SGD, Nesterov": Entrant(nesterov, 0.001, 0.1),
    },
    "Adam and its kin": {
        "Adam": Entrant(up.Adam, 0.2, 0.01),
        "AdamW": Entrant(up.AdamW, 0.05, 0.01),
        "Nadam": Entrant(up.Nadam, 0.02, 0.01),
        "RAdam": Entrant(up.RAdam, 0.01, 0.02),
        "Adamax": Entrant(up.Adamax, 1.0, 0.02),
        "AdaBelief": Entrant(up.AdaBelief, 0.5, 0.01),
        "Yogi": Entrant(up.Yogi, 0.5, 0.002),
    },
    "Sums and means of squares": {
        "Adagrad": Entrant(up.Adagrad, 2.0, 0.05),
        "Adadelta": Entrant(up.Adadelta, 0.5, 10.0),
        "RMSProp": Entrant(up.RMSProp, 0.005, 0.005),
        "Ftrl": Entrant(ftrl, 2.0, 0.05),
        "Adafactor": Entrant(up.Adafactor, 1.0, 0.1),
    },
    "Layers and matrices": {
        "LARS": Entrant(up.LARS, 2.0, 2.0),
        "LAMB": Entrant(up.LAMB, 0.02, 0.005),
        "NovoGrad": Entrant(up.NovoGrad, 0.0002, 0.02),
        "Muon": Entrant(muon, 0.005, 0.005),
    },
    "Signs": {
        "Lion": Entrant(up.Lion, 0.002, 0.001),
        "Rprop": Entrant(up.Rprop, 0.1, 0.5),
    },
    "Averages, and a rate of its own": {
        "ASGD": Entrant(asgd, 0.002, 1.0),
        "ScheduleFreeSGD": Entrant(up.ScheduleFreeSGD, 0.01, 1.0),
        "ScheduleFreeAdamW": Entrant(up.ScheduleFreeAdamW, 0.1, 0.01),
        "Prodigy": Entrant(up.Prodigy, 1.0, 1.0),
    },
}


class Result(NamedTuple):
    """What a rule did: the valley's height after each update, the share of digits read rightly after each epoch."""

    heights: list[float]
    accuracies: list[float]
    seconds: float


def height(x: float, y: float) -> float:
    """Rosenbrock's function, 0 at (1, 1)."""
    return float((1 - x) ** 2 + 100 * (y - x * x) ** 2)


def slope(x: float, y: float) -> tuple[float, float]:
    """Its gradient."""
    return -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)


def descend(optimizer: up.Optimizer, steps: int) -> list[float]:
    """The valley's height at the weight to evaluate with, after each update. The point is a row, since Muon takes matrices."""
    point = np.array([[-1.5, 2.0]])
    update = up.get_updater(optimizer, backend="numpy")
    heights = []
    for _ in range(steps):
        update("point", np.array([slope(*point[0])]), point)
        heights.append(height(*update.evaluation_weight("point", point)[0]))
    return heights


def learn(optimizer: up.Optimizer, data: Digits, epochs: int) -> tuple[list[float], float]:
    """The share of held-out digits that is read rightly after each epoch, and the seconds that training took."""
    rng = np.random.default_rng(0)
    weights: dict[str, Array] = initial_weights(rng, np)
    state = up.OptimizationState(batch_size=BATCH_SIZE)
    update = up.get_updater(optimizer, state, backend="numpy")
    accuracies, seconds = [], 0.0
    for _ in state.epochs(epochs):
        start = perf_counter()
        for rows in state.batches(rng.permutation(len(data.x)).reshape(-1, BATCH_SIZE)):
            _, grads = backprop(weights, data.x[rows], data.y[rows])
            update.step(grads, weights)
        seconds += perf_counter() - start
        better = {name: update.evaluation_weight(name, weight) for name, weight in weights.items()}
        _, log_p = forward(better, data.x_held_out)
        accuracies.append(float((log_p.argmax(axis=1) == data.y_held_out.argmax(axis=1)).mean()))
    return accuracies, seconds


def apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart, within bounds, until neighbours are a gap from each other, in the same order."""
    order = np.argsort(places, kind="stable")
    moved = np.array(places)[order]
    for k in range(1, len(moved)):
        moved[k] = max(moved[k], moved[k - 1] + gap)
    moved[-1] = min(moved[-1], high)
    for k in reversed(range(len(moved) - 1)):
        moved[k] = min(moved[k], moved[k + 1] - gap)
    moved += max(0.0, low - moved[0])
    return [float(moved[k]) for k in np.argsort(order)]


COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe and Ito's
FLOOR = 1e-16  # of the valley's panels


def power_of_ten(value: float) -> str:
    """A number to one digit."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"${digit} \\cdot 10^{{{int(exponent)}}}$"


def label(axis: Axes, ends: dict[str, float], values: dict[str, str]) -> None:
    """Name each curve at its right end, in its colour."""
    to_axis = axis.transData + axis.transAxes.inverted()
    right = axis.get_xlim()[1]
    places = [min(1.0, max(0.0, float(to_axis.transform((right, end))[1]))) for end in ends.values()]
    for name, color, place, moved in zip(ends, COLORS, places, apart(places, 0.14, 0.0, 1.0), strict=False):
        axis.plot((1.0, 1.03), (place, moved), color=color, linewidth=0.7, clip_on=False, transform=axis.transAxes)
        axis.text(1.04, moved, f"{name}  {values[name]}", color=color, va="center", fontsize=8.5, transform=axis.transAxes)


def draw(results: dict[str, Result], path: str) -> None:
    """Draw a row of two panels for each family, its curves in colours over those of all others in grey."""
    plt.switch_backend("Agg")  # into a file: no display is needed
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, rows = plt.subplots(len(ENTRANTS), 2, sharex="col", sharey="col", figsize=(12, 12.5), layout="constrained")
    first = next(iter(results.values()))
    steps, epochs = len(first.heights), len(first.accuracies)
    shown = range(0, steps, 5)  # what swings at each update would only fill the file
    heights = {name: np.maximum(result.heights, FLOOR)[:: shown.step] for name, result in results.items()}
    for (family, entrants), (valley, digits) in zip(ENTRANTS.items(), rows, strict=True):
        for name, result in results.items():
            valley.plot(shown[::5], heights[name][::5], color="0.9", linewidth=0.6)
            digits.plot(range(1, epochs + 1), result.accuracies, color="0.9", linewidth=0.6)
        for name, color in zip(entrants, COLORS, strict=False):
            valley.plot(shown, heights[name], color=color, linewidth=1.2)
            digits.plot(range(1, epochs + 1), results[name].accuracies, color=color, linewidth=1.4)
        valley.set_title(family, loc="left", fontweight="bold")
        valley.set(yscale="log", ylim=(FLOOR, 100), xlim=(0, steps), ylabel="height")
        valley.set_yticks([10.0**power for power in range(-16, 1, 4)])
        digits.set(yscale="logit", ylim=(0.72, 0.988), xlim=(1, max(epochs, 2)), ylabel="read rightly")
        digits.set_yticks((0.8, 0.9, 0.95, 0.98), ("80 %", "90 %", "95 %", "98 %"))
        digits.set_yticks((), minor=True)
    for axis, title in zip(rows[0], ("Rosenbrock's valley, after each update", "Held-out digits, after each epoch"), strict=True):
        axis.text(0.5, 1.25, title, transform=axis.transAxes, ha="center", fontsize=12)
    rows[-1][0].set_xlabel("updates")
    rows[-1][1].set_xlabel("epochs")
    for entrants, (valley, digits) in zip(ENTRANTS.values(), rows, strict=True):
        ends = {name: results[name].heights[-1] for name in entrants}
        label(valley, ends, {name: power_of_ten(end) for name, end in ends.items()})
        ends = {name: results[name].accuracies[-1] for name in entrants}
        label(digits, ends, {name: f"{end:.1%}" for name, end in ends.items()})
    drawn = BytesIO()
    figure.savefig(drawn, dpi=125)
    Image.open(drawn).convert("RGB").quantize(256).save(path)  # less than half the size


def main() -> None:
    """Run the race, print the table, draw the picture, and hold every rule to a little."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", default="rules_race.png", help="the picture's file (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the way, to see that all rules run")
    args = parser.parse_args()
    if not Path(args.output).parent.is_dir():
        parser.error(f"--output must be in a folder that exists, got {args.output}")

    data = load(np)
    steps, epochs = (STEPS // 10, 1) if args.quick else (STEPS, EPOCHS)
    results = {}
    entrants = {name: entrant for family in ENTRANTS.values() for name, entrant in family.items()}
    for name, entrant in tqdm(entrants.items(), unit="rule", disable=args.quick):
        results[name] = Result(descend(entrant.rule(entrant.valley), steps), *learn(entrant.rule(entrant.digits), data, epochs))
    print(f"{'rule':<20}{'lr':>7}{'height in the valley':>23}{'lr':>8}{'digits read rightly':>22}{'seconds':>10}")
    for name, result in results.items():
        _, valley, digits = entrants[name]
        read = f"{result.accuracies[-1]:.2%}"
        print(f"{name:<20}{valley:>7g}{result.heights[-1]:>23.2e}{digits:>8g}{read:>22}{result.seconds:>10.2f}")
    draw(results, args.output)
    print(f"\nThe curves are in {args.output}")
    start, least = height(-1.5, 2.0), 0.5 if args.quick else 0.85
    low = [name for name, result in results.items() if not (result.heights[-1] < start and result.accuracies[-1] > least)]
    if low:
        sys.exit(f"expected every rule to descend and to read more than {least:.0%} of the digits, but not {', '.join(low)}")


if __name__ == "__main__":
    main()
