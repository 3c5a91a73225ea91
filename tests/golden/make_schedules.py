"""Run PyTorch's and Keras's learning-rate schedules and store the rates they give, for tests to compare with.

    python tests/golden/make_schedules.py torch            writes torch_schedules.json next to this file
    python tests/golden/make_schedules.py keras            writes keras_schedules.json
    python tests/golden/make_schedules.py keras --check    runs all again and compares: exit status 1 where anything differs

Each needs its system installed; the tests need neither the systems nor this script. `tests.golden.schedules` reads what is
written, and has the functions that LambdaLR and CyclicLR are given.

rates[k - 1] is the learning rate that the k-th of 200 updates sees:

- PyTorch: what the optimizer's only group has as `lr` before `optimizer.step()`; `scheduler.step()` comes after it. The rates
  are Python's floats throughout. OneCycleLR ends: there are as many rates as updates it is made for, and `after` is what the
  group has after the last of them. ReduceLROnPlateau's `step` is given the metrics of the case.
- Keras: schedule(k - 1) of a Python integer, on JAX without compilation.

Momenta are the optimizer's `momentum`, or the first of its `betas`, at the same time.

Most of PyTorch's schedules compute each rate from the one before, and errors of rounding add up. Each rate is compared here with
that of the formula: PyTorch's own `_get_closed_form_lr` where there is one, and plain Python for all of Keras's. They may be
apart by the tolerance, relative to the largest rate of the case, and the largest distances are printed. Where a system does
something else than its formula says, the case has a `defect`. Keras finds the number of restarts by logarithms, and where these
are rounded down a restart is late: the updates at which that happens are the `defects` of the case. Which these are depends on
precision and compilation, so Keras is run in float32 and compiled too (by `jax.jit`); `defects_elsewhere` has what is found.

Keras on JAX casts to float32 inside (`ops.cos`, `ops.log`, `ops.ceil` and others), even where 64-bit floats are enabled, as its
rules of promotion forbid float64. Keras on TensorFlow permits it. The table that differs between the two is emptied here, and
all is float64 then.
"""

import argparse
import contextlib
import importlib
import json
import math
import os
import sys
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent.parent))

from tests.golden.schedules import FUNCTIONS  # noqa: E402

SEED = 20261
COUNT = 200
EXACT = 1e-12
VISIBLE = 1e-3  # float32 is much closer than that to the formula, a late restart much further away

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One schedule to run."""

    scheduler: str
    arguments: Arguments = field(default_factory=dict)
    lr: float = 0.1  # PyTorch's optimizers have it, Keras's schedules have their own
    optimizer: str = "SGD"
    metrics: str = ""
    note: str = ""  # what the name says after the class, where the arguments do not tell
    defect: str = ""

    @property
    def name(self) -> str:
        note = " ".join(
            filter(None, ["with Adam" * (self.optimizer == "Adam"), f"of {self.metrics}" * bool(self.metrics), self.note])
        )
        return written(one(self.scheduler, **self.arguments)) + (f" {note}" if note else "")


def one(scheduler: str, **arguments: Any) -> dict[str, Any]:
    """A child of SequentialLR or ChainedScheduler, as the JSON has it."""
    return {"scheduler": scheduler, "arguments": arguments}


def written(value: Any) -> str:
    """A schedule as one would write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{value['scheduler']}({', '.join(f'{key}={written(item)}' for key, item in value['arguments'].items())})"
    return repr(value)


NEVER_ENDS = "factor and start_factor stay for good where total_iters=0; the closed form says base rate, or divides by 0"
BASE_ADDED = "after its lowest point CosineAnnealingLR rises to the base rate: what the others multiplied by until then is lost"
NEGATIVE = "a threshold relative to a negative best takes equal and slightly worse metrics for better ones"

WARM = one("LinearLR", start_factor=0.1, total_iters=10)

TORCH = [
    *(Run("LambdaLR", {"lr_lambda": name}) for name in ("geometric", "every 30", "inverse root", "warm-up", "wave")),
    Run("StepLR", {"step_size": 30}),
    Run("StepLR", {"step_size": 1, "gamma": 0.97}),
    Run("StepLR", {"step_size": 50, "gamma": 1.5}),
    Run("StepLR", {"step_size": 7, "gamma": 0.8}, lr=3.0),
    Run("StepLR", {"step_size": 199}),
    Run("StepLR", {"step_size": 200}),
    Run("MultiStepLR", {"milestones": [30, 80]}),
    Run("MultiStepLR", {"milestones": [20, 50, 50, 120], "gamma": 0.5}),
    Run("MultiStepLR", {"milestones": [150, 10, 60], "gamma": 0.3}),
    Run("MultiStepLR", {"milestones": [0, 1, 199], "gamma": 0.7}),
    Run("MultiStepLR", {"milestones": [40, 100, 300], "gamma": 2.0}),
    Run("MultiStepLR", {"milestones": []}),
    Run("ConstantLR"),
    Run("ConstantLR", {"factor": 0.5, "total_iters": 40}),
    Run("ConstantLR", {"factor": 1.0, "total_iters": 10}),
    Run("ConstantLR", {"factor": 0.1, "total_iters": 1}, lr=0.03),
    Run("ConstantLR", {"factor": 0.25, "total_iters": 200}),
    Run("ConstantLR", {"factor": 0.5, "total_iters": 0}, defect=NEVER_ENDS),
    Run("LinearLR"),
    Run("LinearLR", {"start_factor": 0.01, "total_iters": 50}),
    Run("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 120}),
    Run("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 90}),
    Run("LinearLR", {"start_factor": 1e-6, "total_iters": 150}, lr=0.7),
    Run("LinearLR", {"start_factor": 0.5, "end_factor": 0.9, "total_iters": 1}),
    Run("LinearLR", {"start_factor": 0.2, "end_factor": 0.6, "total_iters": 300}),
    Run("LinearLR", {"start_factor": 0.5, "total_iters": 0}, defect=NEVER_ENDS),
    Run("ExponentialLR", {"gamma": 0.95}),
    Run("ExponentialLR", {"gamma": 0.999}, lr=1.0),
    Run("ExponentialLR", {"gamma": 1.02}),
    Run("ExponentialLR", {"gamma": 1.0}),
    Run("ExponentialLR", {"gamma": 0.1}),
    Run("PolynomialLR"),
    Run("PolynomialLR", {"total_iters": 150}),
    Run("PolynomialLR", {"total_iters": 100, "power": 2.0}),
    Run("PolynomialLR", {"total_iters": 180, "power": 0.5}, lr=0.03),
    Run("PolynomialLR", {"total_iters": 200, "power": 0.9}),
    Run("PolynomialLR", {"total_iters": 60, "power": 3.7}),
    Run("PolynomialLR", {"total_iters": 1, "power": 2.0}),
    Run("PolynomialLR", {"total_iters": 50, "power": 0.0}),
    Run("CosineAnnealingLR", {"T_max": 50}),
    Run("CosineAnnealingLR", {"T_max": 199}),
    Run("CosineAnnealingLR", {"T_max": 200, "eta_min": 0.01}),
    Run("CosineAnnealingLR", {"T_max": 30, "eta_min": 0.001}),
    Run("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.02}, lr=1.0),
    Run("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.01}),
    Run("CosineAnnealingLR", {"T_max": 100, "eta_min": 0.3}),
    Run("CosineAnnealingLR", {"T_max": 1000}),
    Run("CosineAnnealingWarmRestarts", {"T_0": 50}),
    Run("CosineAnnealingWarmRestarts", {"T_0": 17, "eta_min": 0.005}),
    Run("CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 2}),
    Run("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 3, "eta_min": 0.001}, lr=0.03),
    Run("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 2}),
    Run("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 1}),
    Run("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1}),
    Run("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20}),
    Run("CyclicLR", {"base_lr": 0.001, "max_lr": 0.3, "step_size_up": 10, "step_size_down": 35, "mode": "triangular2"}),
    Run(
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 25, "step_size_down": 8, "mode": "exp_range", "gamma": 0.99}
        | {"base_momentum": 0.7, "max_momentum": 0.99},
    ),
    Run("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 30, "mode": "exp_range", "cycle_momentum": False}),
    Run("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 15, "scale_fn": "reciprocal"}),
    Run(
        "CyclicLR",
        {"base_lr": 0.02, "max_lr": 0.2, "step_size_up": 12, "step_size_down": 1, "scale_fn": "geometric"}
        | {"scale_mode": "iterations"},
    ),
    Run("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20, "step_size_down": 40}, optimizer="Adam"),
    Run("OneCycleLR", {"max_lr": 0.1, "total_steps": 200}),
    Run("OneCycleLR", {"max_lr": 0.1, "total_steps": 200}, optimizer="Adam"),
    Run("OneCycleLR", {"max_lr": 0.5, "epochs": 10, "steps_per_epoch": 20, "pct_start": 0.25, "div_factor": 10.0}),
    Run("OneCycleLR", {"max_lr": 0.1, "total_steps": 120, "anneal_strategy": "linear"}),
    Run("OneCycleLR", {"max_lr": 0.1, "total_steps": 150, "three_phase": True}),
    Run("OneCycleLR", {"max_lr": 0.3, "total_steps": 90, "three_phase": True, "anneal_strategy": "linear", "pct_start": 0.4}),
    Run(
        "OneCycleLR",
        {"max_lr": 0.2, "total_steps": 77, "final_div_factor": 100.0, "base_momentum": 0.6, "max_momentum": 0.9},
        optimizer="Adam",
    ),
    Run("OneCycleLR", {"max_lr": 0.1, "total_steps": 300, "pct_start": 0.33, "cycle_momentum": False}),
    Run(
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 100, "pct_start": 0.0},
        defect="the first phase ends at step -1: rates begin below max_lr, as if a step had been made",
    ),
    Run(
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 100, "pct_start": 0.6, "three_phase": True},
        defect="the second phase ends at step 118, after the third: which is never reached: the last rate is high",
    ),
    Run("SequentialLR", {"schedulers": [WARM, one("ExponentialLR", gamma=0.98)], "milestones": [10]}),
    Run(
        "SequentialLR",
        {"schedulers": [one("ConstantLR", factor=0.1, total_iters=20), one("StepLR", step_size=30)], "milestones": [20]},
    ),
    Run(
        "SequentialLR",
        {
            "schedulers": [
                one("LinearLR", start_factor=0.05, total_iters=20),
                one("CosineAnnealingLR", T_max=80, eta_min=0.001),
                one("ConstantLR", factor=0.01, total_iters=300),
            ],
            "milestones": [20, 100],
        },
    ),
    Run(
        "SequentialLR",
        {
            "schedulers": [one("LinearLR", start_factor=0.1, total_iters=50), one("PolynomialLR", total_iters=100)],
            "milestones": [25],
        },
        note="inside the warm-up",
    ),
    Run(
        "SequentialLR",
        {
            "schedulers": [
                one("LinearLR", start_factor=0.2, total_iters=40),
                one("LinearLR", start_factor=0.9, end_factor=0.3, total_iters=60),
                one("MultiStepLR", milestones=[20, 20, 50], gamma=0.5),
            ],
            "milestones": [15, 60],
        },
        note="inside both warm-ups",
    ),
    Run(
        "SequentialLR",
        {
            "schedulers": [WARM, one("CosineAnnealingWarmRestarts", T_0=20, T_mult=2), one("LambdaLR", lr_lambda="inverse root")],
            "milestones": [10, 150],
        },
    ),
    Run("SequentialLR", {"schedulers": [WARM, one("ExponentialLR", gamma=0.99)], "milestones": [0]}),
    Run(
        "SequentialLR",
        {
            "schedulers": [WARM, one("StepLR", step_size=5), one("PolynomialLR", total_iters=50, power=2.0)],
            "milestones": [30, 30],
        },
    ),
    Run("ChainedScheduler", {"schedulers": [one("ConstantLR", factor=0.1, total_iters=20), one("ExponentialLR", gamma=0.98)]}),
    Run("ChainedScheduler", {"schedulers": [WARM, one("StepLR", step_size=25, gamma=0.5)]}),
    Run(
        "ChainedScheduler",
        {
            "schedulers": [
                one("LinearLR", start_factor=0.3, end_factor=0.8, total_iters=70),
                one("MultiStepLR", milestones=[0, 40, 40, 130], gamma=0.7),
                one("PolynomialLR", total_iters=180, power=1.5),
            ]
        },
        lr=0.5,
    ),
    Run("ChainedScheduler", {"schedulers": [WARM, one("CosineAnnealingLR", T_max=200)]}),
    Run(
        "ChainedScheduler",
        {"schedulers": [one("ExponentialLR", gamma=1.01), one("CosineAnnealingLR", T_max=250), one("ConstantLR")]},
    ),
    Run("ChainedScheduler", {"schedulers": [one("StepLR", step_size=10, gamma=0.9)]}),
    Run(
        "ChainedScheduler",
        {"schedulers": [one("ExponentialLR", gamma=0.99), one("CosineAnnealingLR", T_max=40)]},
        note="over several periods",
        defect=BASE_ADDED,
    ),
    Run("ReduceLROnPlateau", metrics="falling metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.5, "patience": 3, "threshold": 0.01}, metrics="falling metrics"),
    Run(
        "ReduceLROnPlateau", {"patience": 5, "threshold": 0.02, "threshold_mode": "abs", "cooldown": 7}, metrics="falling metrics"
    ),
    Run("ReduceLROnPlateau", {"mode": "max", "factor": 0.7, "patience": 4, "cooldown": 2}, metrics="rising metrics"),
    Run(
        "ReduceLROnPlateau",
        {"mode": "max", "factor": 0.3, "patience": 2, "threshold": 0.05, "threshold_mode": "abs", "min_lr": 0.002},
        metrics="rising metrics",
    ),
    Run("ReduceLROnPlateau", {"factor": 0.5, "patience": 0, "min_lr": 0.01}, metrics="constant metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.5, "patience": 1, "eps": 0.004}, metrics="constant metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.2, "patience": 2, "cooldown": 1}, metrics="constant metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.5, "patience": 3, "min_lr": 0.2}, metrics="constant metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.0, "patience": 20}, metrics="constant metrics"),
    Run("ReduceLROnPlateau", {"factor": 0.8, "patience": 2, "threshold": 0.0}, metrics="metrics with ties"),
    Run("ReduceLROnPlateau", {"factor": 0.8, "patience": 2, "threshold": 0.0, "mode": "max"}, metrics="metrics with ties"),
    Run("ReduceLROnPlateau", {"factor": 0.6, "patience": 3, "cooldown": 4}, metrics="metrics with NaN"),
    Run("ReduceLROnPlateau", {"factor": 0.6, "patience": 3, "mode": "max", "threshold_mode": "abs"}, metrics="metrics with NaN"),
    Run(
        "ReduceLROnPlateau", {"factor": 0.9, "patience": 4, "threshold": 0.1, "threshold_mode": "abs"}, metrics="negative metrics"
    ),
    Run("ReduceLROnPlateau", {"factor": 0.9, "patience": 4, "threshold": 0.1}, metrics="negative metrics", defect=NEGATIVE),
    Run(
        "ReduceLROnPlateau",
        {"factor": 0.9, "patience": 4, "threshold": 0.1, "mode": "max"},
        metrics="negative metrics",
        defect=NEGATIVE,
    ),
    Run("ReduceLROnPlateau", {"patience": 5}, metrics="constant negative metrics", defect=NEGATIVE),
    Run(
        "ReduceLROnPlateau",
        {"patience": 20, "threshold": 1.0},
        metrics="falling metrics",
        defect="the first metric is no better than none, as infinity times 0 is NaN: the first reduction comes one update early",
    ),
]

INTEGER = "an integer as initial rate makes all other numbers integers too: fractions are cut off, and pi is 3"

KERAS = [
    Run("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 50, "decay_rate": 0.9}),
    Run("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 30, "decay_rate": 0.5, "staircase": True}),
    Run("ExponentialDecay", {"initial_learning_rate": 1e-3, "decay_steps": 1, "decay_rate": 0.97, "staircase": True}),
    Run("ExponentialDecay", {"initial_learning_rate": 0.01, "decay_steps": 20, "decay_rate": 1.3}),
    Run("ExponentialDecay", {"initial_learning_rate": 1.0, "decay_steps": 7.5, "decay_rate": 0.8, "staircase": True}),
    Run("ExponentialDecay", {"initial_learning_rate": 1, "decay_steps": 50, "decay_rate": 0.9}, defect=INTEGER),
    Run("PiecewiseConstantDecay", {"boundaries": [50, 120], "values": [0.1, 0.05, 0.01]}),
    Run("PiecewiseConstantDecay", {"boundaries": [0, 1, 199], "values": [1.0, 0.5, 2.0, 0.1]}),
    Run("PiecewiseConstantDecay", {"boundaries": [10], "values": [0.001, 0.1]}),
    Run("PiecewiseConstantDecay", {"boundaries": [20, 20, 60], "values": [0.3, 0.2, 0.1, 0.05]}),
    Run("PiecewiseConstantDecay", {"boundaries": [10.5, 49.999, 120.0], "values": [0.4, 0.3, 0.2, 0.1]}),
    Run("PiecewiseConstantDecay", {"boundaries": [30, 60, 500], "values": [1, 0.5, 0.25, 0]}),
    Run(
        "PiecewiseConstantDecay",
        {"boundaries": [60, 30], "values": [1.0, 0.5, 0.1]},
        defect="unsorted boundaries are accepted: between them the first and the last value are added",
    ),
    Run("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 150, "end_learning_rate": 0.01, "power": 0.5}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 60, "power": 2.0, "cycle": True}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "end_learning_rate": 0.0, "cycle": True}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.01, "decay_steps": 80, "end_learning_rate": 0.2, "power": 1.7}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.3, "decay_steps": 1, "end_learning_rate": 0.1, "cycle": True}),
    Run("PolynomialDecay", {"initial_learning_rate": 0.3, "decay_steps": 50, "power": 0.0}),
    Run("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.5}),
    Run("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 25, "decay_rate": 0.5}),
    Run("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 25, "decay_rate": 2.0, "staircase": True}),
    Run("InverseTimeDecay", {"initial_learning_rate": 1.0, "decay_steps": 12.5, "decay_rate": 0.1, "staircase": True}),
    Run("InverseTimeDecay", {"initial_learning_rate": 0.03, "decay_steps": 10, "decay_rate": 0.0}),
    Run("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 150}),
    Run("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 90, "alpha": 0.1}),
    Run(
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 120, "alpha": 0.05, "warmup_target": 0.2, "warmup_steps": 30},
    ),
    Run("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 250, "warmup_target": 1.0, "warmup_steps": 10}),
    Run("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "warmup_target": 0.5}),
    Run("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "warmup_steps": 20}),  # without a target: ignored
    Run("CosineDecay", {"initial_learning_rate": 0.5, "decay_steps": 40, "warmup_target": 0.1, "warmup_steps": 300}),
    Run("CosineDecay", {"initial_learning_rate": 1, "decay_steps": 100}, defect=INTEGER),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 10}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 1}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 25, "t_mul": 1.0, "m_mul": 0.8}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 20, "t_mul": 1.5, "m_mul": 0.9, "alpha": 0.1}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.1}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 3.0}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 7, "t_mul": 3.0, "m_mul": 1.2}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 1.0, "first_decay_steps": 1, "t_mul": 7.0}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 0.3, "first_decay_steps": 3, "t_mul": 7.0, "m_mul": 0.8, "alpha": 0.05}),
    Run("CosineDecayRestarts", {"initial_learning_rate": 1, "first_decay_steps": 20, "t_mul": 1.5}, defect=INTEGER),
]

NOTES = {
    "torch": [
        "Rates computed from the one before are off by up to 4e-13 of the largest (CosineAnnealingLR as it rises again; after some "
        "thousand updates that is 1e-12), all others by up to 1.4e-15.",
        "OneCycleLR allows one step more than it is made for, and extrapolates: `after` is back at the rate before the last, or, "
        "with linear phases, below 0.",
        "OneCycleLR divides by 0 where pct_start * total_steps is 1, and after its last update where pct_start is 1.",
        "ConstantLR divides by 0 at its end where factor is 0. StepLR and CosineAnnealingLR do where step_size or T_max is 0.",
        "SequentialLR with a SequentialLR or ChainedScheduler that is not the first raises NotImplementedError at its start. One "
        "that is the first is a step early.",
    ],
    "keras": [
        "In float64 where Keras on JAX would cast to float32. In float32, Keras's own default, rates are off by up to 3e-6 of "
        "the largest (CosineDecayRestarts), besides restarts that are late.",
        "Compiled code multiplies by the rounded inverse of decay_steps. With PolynomialDecay a cycle may so begin one update "
        "early, and a power that is no integer gives NaN from the end of the decay on for some decay_steps: `defects_elsewhere`.",
        "Boundaries are cut to integers where the step is one. For boundaries from 0 on that makes no difference.",
    ],
}
"""What the systems do, besides the rates of the cases and how exact they are."""


# PyTorch


def metrics(kind: str) -> list[float]:
    """Numbers for ReduceLROnPlateau; each kind is drawn anew from the same seed."""
    random = np.random.default_rng(SEED)
    noise, steps = random.normal(size=COUNT), np.arange(COUNT)
    falling = 0.3 + np.exp(-steps / 25) + 0.02 * np.abs(noise)
    values = {
        "falling metrics": falling,
        "rising metrics": 1.4 - falling,
        "constant metrics": np.full(COUNT, 0.5),
        "metrics with ties": np.round(1 + noise, 1),
        "metrics with NaN": np.where(random.random(COUNT) < 0.2, np.nan, falling),
        "negative metrics": -1 - falling - 0.3 * noise,
        "constant negative metrics": np.full(COUNT, -0.5),
    }[kind]
    return [round(float(value), 4) for value in values]


def nan_as_null(numbers: list[float]) -> list[float | None]:
    """JSON has no NaN."""
    return [None if math.isnan(number) else number for number in numbers]


def built(torch: Any, scheduler: str, arguments: Arguments, optimizer: Any) -> Any:
    """The schedule of PyTorch, with functions in place of their names and schedules in place of children."""
    given = dict(arguments)
    for key in {"lr_lambda", "scale_fn"} & given.keys():
        given[key] = FUNCTIONS[given[key]]
    if "schedulers" in given:
        given["schedulers"] = [built(torch, **child, optimizer=optimizer) for child in given["schedulers"]]
    return getattr(torch.optim.lr_scheduler, scheduler)(optimizer=optimizer, **given)


def closed_form(scheduler: Any, base: float, rate: float) -> float:
    """What the formula gives where the scheduler has arrived; the rate itself where that is computed from nothing before."""
    kind = type(scheduler).__name__
    if kind == "SequentialLR":
        return closed_form(scheduler._schedulers[bisect_right(scheduler._milestones, scheduler.last_epoch)], base, rate)
    if kind == "ChainedScheduler":
        return base * math.prod(closed_form(child, base, rate) / base for child in scheduler._schedulers)
    if hasattr(scheduler, "_get_closed_form_lr"):
        return float(scheduler._get_closed_form_lr()[0])
    return rate


def run_torch(run: Run) -> dict[str, Any]:
    """The fields of the case that come from running, and how far the rates are from the formula."""
    torch: Any = importlib.import_module("torch")
    cyclic = run.scheduler in ("CyclicLR", "OneCycleLR") and run.arguments.get("cycle_momentum", True)
    weight = torch.nn.Parameter(torch.zeros(()))
    other = {"momentum": 0.5} if cyclic and run.optimizer == "SGD" else {}
    optimizer = getattr(torch.optim, run.optimizer)([weight], lr=run.lr, **other)
    scheduler = built(torch, run.scheduler, run.arguments, optimizer)
    (group,) = optimizer.param_groups
    given = metrics(run.metrics) if run.metrics else []
    rates: list[float] = []
    momenta: list[float] = []
    apart = 0.0

    def momentum() -> float:
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    end = scheduler.total_steps if run.scheduler == "OneCycleLR" else math.inf
    for k in range(int(min(COUNT, end))):
        rate = group["lr"]
        assert type(rate) is float
        rates.append(rate)
        momenta.append(momentum() if cyclic else 0.0)
        if not run.defect:
            apart = max(apart, abs(rate - closed_form(scheduler, run.lr, rate)))
        optimizer.step()
        scheduler.step(*given[k : k + 1])
    fields: dict[str, Any] = {"lr": run.lr, "optimizer": run.optimizer, "rates": rates, "apart": apart / max(map(abs, rates))}
    if cyclic:
        fields["momenta"] = momenta
    if given:
        fields["metrics"] = nan_as_null(given)
    if end <= COUNT:
        fields["after"] = [group["lr"], momentum() if cyclic else None]
        try:
            scheduler.step()
        except ValueError:
            pass
        else:
            raise AssertionError(f"{run.name} goes on after its end")
    return fields


# Keras


def steps_of_decay(step: int, a: Arguments) -> float:
    fraction = Fraction(step) / Fraction(a["decay_steps"])
    return float(math.floor(fraction) if a.get("staircase") else fraction)


def exponential_decay(step: int, a: Arguments) -> float:
    return float(a["initial_learning_rate"] * a["decay_rate"] ** steps_of_decay(step, a))


def inverse_time_decay(step: int, a: Arguments) -> float:
    return float(a["initial_learning_rate"] / (1 + a["decay_rate"] * steps_of_decay(step, a)))


def piecewise_constant_decay(step: int, a: Arguments) -> float:
    return float(a["values"][sum(step > boundary for boundary in a["boundaries"])])


def polynomial_decay(step: int, a: Arguments) -> float:
    start, end, steps = a["initial_learning_rate"], a.get("end_learning_rate", 1e-4), a["decay_steps"]
    if a.get("cycle"):
        steps *= max(1, -(-step // steps))
    return float((start - end) * (1 - min(step, steps) / steps) ** a.get("power", 1.0) + end)


def cosine_decay(step: int, a: Arguments) -> float:
    start, target, warm = a["initial_learning_rate"], a.get("warmup_target"), a.get("warmup_steps", 0)
    if target is None:
        target, warm = start, 0
    if step < warm:
        return float((target - start) * step / warm + start)
    alpha, steps = a.get("alpha", 0.0), a["decay_steps"]
    return float(target * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * min(step - warm, steps) / steps)) + alpha))


def cosine_decay_restarts(step: int, a: Arguments) -> float:
    factor, length = Fraction(str(a.get("t_mul", 2.0))), Fraction(a["first_decay_steps"])  # 1.1 as written, not as rounded
    alpha, height, rest = a.get("alpha", 0.0), 1.0, Fraction(step)
    while rest >= length:
        rest, length, height = rest - length, length * factor, height * a.get("m_mul", 1.0)
    return float(a["initial_learning_rate"] * ((1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * rest / length)) + alpha))


FORMULAS: dict[str, Callable[[int, Arguments], float]] = {
    "ExponentialDecay": exponential_decay,
    "PiecewiseConstantDecay": piecewise_constant_decay,
    "PolynomialDecay": polynomial_decay,
    "InverseTimeDecay": inverse_time_decay,
    "CosineDecay": cosine_decay,
    "CosineDecayRestarts": cosine_decay_restarts,
}


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """Let Keras compute all in float64, or all in float32 as it does unless told."""
    jax: Any = importlib.import_module("jax")
    keras: Any = importlib.import_module("keras")
    dtypes: Any = importlib.import_module("keras.src.backend.common.dtypes")
    before = dtypes.BIT64_TO_BIT32_DTYPE
    keras.config.set_floatx(f"float{bits}")
    jax.config.update("jax_enable_x64", bits == 64)
    dtypes.BIT64_TO_BIT32_DTYPE = {} if bits == 64 else before
    try:
        yield
    finally:
        dtypes.BIT64_TO_BIT32_DTYPE = before


def run_keras(run: Run) -> dict[str, Any]:
    """The fields of the case that come from running, and how far the rates are from the formula."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax: Any = importlib.import_module("jax")
    schedules: Any = importlib.import_module("keras").optimizers.schedules
    formula = [FORMULAS[run.scheduler](step, run.arguments) for step in range(COUNT)]
    largest = max(map(abs, formula))
    found: dict[str, list[int]] = {}
    off: dict[str, list[float]] = {}
    rates: list[float] = []
    for bits, limit in ((64, EXACT), (32, VISIBLE)):
        for compiled in (False, True):
            with precision(bits), contextlib.nullcontext() if compiled else jax.disable_jit():
                schedule = getattr(schedules, run.scheduler)(**run.arguments)
                # ops.cond would be compiled anew for each step; without compilation it is the branch that is taken
                function = jax.jit(lambda step, schedule=schedule: schedule(step)) if compiled else schedule
                values = [function(step) for step in range(COUNT)]
                assert run.defect or all(value.dtype == f"float{bits}" for value in values), run.name
                numbers = [float(value) for value in values]
                rates = rates or numbers
            kind = f"float{bits}" + " compiled" * compiled
            errors = [abs(number - right) / largest for number, right in zip(numbers, formula, strict=True)]
            found[kind] = [] if run.defect else [k + 1 for k, error in enumerate(errors) if not error <= limit]
            off[kind] = [error for error in errors if error <= limit]
    fields: dict[str, Any] = {"rates": rates, "serialized": schedules.serialize(schedule)}
    assert run.scheduler == "CosineDecayRestarts" or not (found["float64"] or found["float32"]), f"{run.name}: {found}"
    defects = found.pop("float64")
    elsewhere = {kind: updates for kind, updates in found.items() if updates}
    fields |= ({"defects": defects} if defects else {}) | ({"defects_elsewhere": elsewhere} if elsewhere else {})
    if not run.defect:
        fields |= {"apart": max(off["float64"]), "apart in float32": max(off["float32"] + off["float32 compiled"])}
    return fields


# What is stored


def versions(system: str) -> dict[str, str]:
    names = {"torch": ["torch", "numpy"], "keras": ["keras", "jax", "numpy"]}[system]
    return {name: importlib.import_module(name).__version__ for name in names}


SYSTEMS: dict[str, tuple[list[Run], Callable[[Run], dict[str, Any]]]] = {"torch": (TORCH, run_torch), "keras": (KERAS, run_keras)}


def described(run: Run, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the JSON says of a case."""
    head = {"name": run.name, "scheduler": run.scheduler, "arguments": dict(run.arguments), "tolerance": EXACT}
    return head | ({"defect": run.defect} if run.defect else {}) | dict(fields)


def text(system: str, cases: list[dict[str, Any]]) -> str:
    """The JSON, with one case in each line."""
    head = {"versions": versions(system), "notes": NOTES[system]}
    fields = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    lines = ",\n".join(f"    {json.dumps(case, allow_nan=False)}" for case in cases)
    return f'{{\n{fields}  "cases": [\n{lines}\n  ]\n}}\n'


NUMBERS = ("rates", "momenta", "after")


def faults_of(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between a case as stored and as run."""
    name = now["name"]
    if {key: value for key, value in before.items() if key not in NUMBERS} != {k: v for k, v in now.items() if k not in NUMBERS}:
        yield f"{name} is described differently"
    for key in NUMBERS:
        old, new = (np.array(case.get(key, ()), dtype=float) for case in (before, now))
        scale = 1.0 if key == "momenta" else max(map(abs, now["rates"]))
        if old.shape != new.shape or not np.allclose(old, new, rtol=0, atol=EXACT * scale, equal_nan=True):
            yield f"{key} of {name} differ"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--check", action="store_true", help="compare with what is stored, and write nothing")
    options = parser.parse_args()
    runs, perform = SYSTEMS[options.system]
    assert len({run.name for run in runs}) == len(runs), "two cases of one name"
    warnings.simplefilter("error")
    cases = []
    apart: dict[str, dict[str, float]] = {}
    for run in runs:
        fields = perform(run)
        for kind in [key for key in fields if key.startswith("apart")]:
            largest = apart.setdefault(run.scheduler, {})
            largest[kind] = max(largest.get(kind, 0.0), fields.pop(kind))
        assert np.isfinite(fields["rates"]).all(), f"{run.name} gives rates that are not finite"
        cases.append(described(run, fields))
    for scheduler, distances in apart.items():
        print(scheduler, ", ".join(f"{kind}: {distance:.1e}" for kind, distance in distances.items()))
        assert distances["apart"] <= EXACT, f"{scheduler} is further from its formula than the tolerance"
    file = HERE / f"{options.system}_schedules.json"
    if not options.check:
        file.write_text(text(options.system, cases), encoding="utf-8")
        print(f"{len(runs)} cases, {file.stat().st_size} bytes")
        return 0
    stored = json.loads(file.read_text(encoding="utf-8"))
    as_read = json.loads(json.dumps(cases))
    faults = (
        [] if [case["name"] for case in stored["cases"]] == [run.name for run in runs] else ["the cases are not those stored"]
    )
    faults += [fault for before, now in zip(stored["cases"], as_read, strict=False) for fault in faults_of(before, now)]
    print("\n".join(faults) or f"{len(runs)} cases are as stored by {stored['versions']}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
