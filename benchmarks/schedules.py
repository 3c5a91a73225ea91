"""What it costs to read a schedule, beside the same formula by hand and beside a step of torch's scheduler where there is one.

    python benchmarks/schedules.py [--quick] [--rounds N] [--json FILE]

README.md beside this file says how it is measured. Goals are reported and never asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import attrs
from cpu import RULE, Peer, aligned, machine, measured, peer, readable

from updaters import OptimizationState
from updaters.learning_rate import (
    Cosine,
    CosineRestarts,
    Cyclic,
    Exp,
    Fixed,
    InverseSqrt,
    Linear,
    MultiStep,
    NoisyLinearCosine,
    OneCycle,
    Plateau,
    Polynomial,
    Sequence,
    Step,
    Warmup,
    WarmupStableDecay,
    per_step,
)

CLOCKS = [OptimizationState(epoch=1 + k // 100, batch=1 + k % 100, iteration=1 + k) for k in range(1000)]
SIMPLE, COMPOSED = 1e-6, 3e-6


@attrs.frozen
class Row:
    """A schedule, the seconds that its reading should take at most, and what does the same.

    Attributes:
        schedule: ours, read at a thousand clocks.
        goal: seconds, or None where there is none.
        by_hand: the formula as a function of the clock.
        torch: the name and arguments of torch's scheduler.
    """

    schedule: Any
    goal: float | None = None
    by_hand: Callable[[OptimizationState], float] | None = None
    torch: tuple[str, dict[str, Any]] | None = None


def cosine(state: OptimizationState) -> float:
    return 0.05 * (1 + math.cos(math.pi * min(state.iteration / 900, 1)))


def warm_cosine(state: OptimizationState) -> float:
    t = state.iteration
    return 0.1 * t / 100 if t < 100 else 0.05 * (1 + math.cos(math.pi * min((t - 100) / 900, 1)))


ITERATIONS: Any = {"clock": "iteration"}
WARM = Warmup(Cosine(0.1, 900, **ITERATIONS), 100)
ROWS = [
    Row(Fixed(0.1), SIMPLE, lambda state: 0.1),
    Row(Exp(0.1, gamma=0.95), SIMPLE, lambda state: 0.1 * 0.95**state.epoch, ("ExponentialLR", {"gamma": 0.95})),
    Row(Step(0.1, 3), SIMPLE, lambda state: 0.1 * 0.1 ** ((state.epoch - 1) // 3), ("StepLR", {"step_size": 3})),
    Row(MultiStep(0.1, (3, 6, 9)), SIMPLE, None, ("MultiStepLR", {"milestones": [3, 6, 9]})),
    Row(Linear(0.1, 900, **ITERATIONS), SIMPLE, lambda state: 0.1 * max(1 - state.iteration / 900, 0)),
    Row(Polynomial(0.1, 900, power=2, **ITERATIONS), SIMPLE, lambda state: 0.1 * max(1 - state.iteration / 900, 0) ** 2),
    Row(Cosine(0.1, 900, **ITERATIONS), SIMPLE, cosine, ("CosineAnnealingLR", {"T_max": 900})),
    Row(
        CosineRestarts(0.1, 100, period_factor=2, **ITERATIONS), SIMPLE, None,
        ("CosineAnnealingWarmRestarts", {"T_0": 100, "T_mult": 2}),
    ),
    Row(InverseSqrt(0.1, 100), SIMPLE),
    Row(WarmupStableDecay(0.1, warmup=100, stable=700, decay=200), SIMPLE),
    Row(
        Cyclic(0.1, 0.5, up=50), SIMPLE, None,
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 50, "cycle_momentum": False}),
    ),
    Row(OneCycle(0.1, 1000), SIMPLE, None, ("OneCycleLR", {"max_lr": 0.1, "total_steps": 10**9, "cycle_momentum": False})),
    Row(per_step(lambda step: 0.1), SIMPLE),
    Row(NoisyLinearCosine(0.1, 900, **ITERATIONS)),
    Row(0.5 * Cosine(0.1, 900, **ITERATIONS), COMPOSED, lambda state: 0.5 * cosine(state)),
    Row(WARM, COMPOSED, warm_cosine),
    Row(Warmup(1.0, 100) * Step(0.1, 3), COMPOSED),
    Row(Sequence([Linear(0.0, 100, end=0.1, **ITERATIONS), Cosine(0.1, 900, **ITERATIONS)], [100]), COMPOSED),
    Row(Warmup(Plateau(0.1), 100), COMPOSED),
    Row((WARM * Step(1.0, 3)).clamp(low=1e-4), COMPOSED),
    Row(Warmup(lambda state: 0.1, 2000), COMPOSED),
]  # fmt: skip


def reading(schedule: Callable[[OptimizationState], float]) -> Peer:
    """One reading, as the mean of a thousand."""

    def read_all() -> None:
        for state in CLOCKS:
            schedule(state)

    return peer(cycle([read_all]), scale=1 / len(CLOCKS))


def stepping(name: str, arguments: dict[str, Any]) -> Peer:
    """One step of torch's scheduler, which puts the next rate into the optimizer.

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    optimizer.step()  # or its scheduler warns
    return peer(cycle([scheduler.step]))


def main() -> None:
    """Measure every row, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="quiet rounds to measure (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 10)
    on, raw, notes = machine(), {}, []
    rows = [["schedule", "median", "x by hand", "torch", "x torch", "goal", "met?"]]
    for row in ROWS:
        name = re.sub(r"<function .*?>( at 0x\w+>)?", "f", repr(row.schedule))
        peers = {"ours": reading(row.schedule)}
        if row.by_hand:
            peers["by hand"] = reading(row.by_hand)
        if row.torch:
            try:
                peers["torch"] = stepping(*row.torch)
            except ImportError:
                notes = ["torch is not installed."]
        samples = measured(peers, rounds)
        raw[name] = {"seconds": samples.seconds, "disturbed": samples.disturbed}
        median = samples.median("ours") or 0.0
        beside = [samples.median("ours", other) for other in ("by hand", "torch")]
        cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in beside]
        met = "" if row.goal is None else "undecided" if not samples.enough else "yes" if median <= row.goal else "NO"
        theirs, goal = row.torch[0] if row.torch else "", "" if row.goal is None else f"<= {row.goal * 1e6:.0f} us"
        rows.append([f"`{name}`", readable(median), cells[0], theirs, cells[1], goal, met])
    print(f"{RULE}\n\n## Reading a schedule once\n\n{', '.join(f'{what} {which}' for what, which in on.items())}\n")
    print("\n".join([aligned(rows), "", *notes]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": on, "schedules": raw}, indent=1))


if __name__ == "__main__":
    main()
