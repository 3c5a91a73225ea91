"""Run PyTorch's and Keras's optimizers and store the weights they give, for tests to compare with.

    python tests/golden/make.py torch            writes torch.json and torch.npz next to this file
    python tests/golden/make.py keras            writes keras.json and keras.npz
    python tests/golden/make.py keras --check    runs all again and compares: exit status 1 where anything differs

Each needs its system installed (pip install torch, or keras and jax) and nothing of this repository; the tests need
neither the systems nor this script. `tests.golden.cases` reads what is written.

All cases share the weights they begin with and 45 gradients for each (inputs.npz, drawn once from a fixed seed): normal
weights, and gradients with magnitudes spread evenly on a log scale from 1e-6 to 1e2, random signs and a tenth of exact
zeros. The gradient of ALWAYS_ZERO is zero throughout. All weights of a case are in one optimizer. The learning rate is
another one at each update: the base of the case times RATES.

Everything runs in float64:

- Keras on JAX, whose optimizers are the formulas of `keras.optimizers` themselves (on PyTorch, Keras replaces about
  half of them by other code), with 64-bit floats enabled.
- PyTorch with float64 as its default dtype, as NAdam and ASGD keep scalars (`mu_product`; `eta`, `mu`) in that dtype, even
  for float64 weights. Cases named "... scalars in float32" run with the default that PyTorch has out of the box.
- PyTorch's Muon casts to bfloat16 inside. In cases named "... in float64" the cast is replaced by a copy.
- Keras's `ops.mean` and `ops.norm` compute in float32 on JAX, even for float64: Adafactor has means in it, Muon a norm. In
  cases named "... in float64" the two are written with `ops.sum`, which is exact. Adafactor and Muon as they are have cases
  with wider tolerances.

Where the system as it is meets 1e-9 nothing is changed. Arguments are such that no value is NaN or infinite: an accumulator
that starts at 0 comes with an epsilon, as a gradient of 0 would divide 0 by 0 (Keras's Ftrl has none, and so starts above 0).
All else that the systems accept was finite, the variance of centered RMSprop too: gradients that differ keep it far from 0.

Cases of Keras with an average have that too, after the same updates as the weights; updates are calls there, those that only
accumulate among them. In cases with a loss scale it is Keras's `LossScaleOptimizer` that is given the gradients, as they are, and
at some calls the first of them is infinite; the rate is that of the calls so far which were not skipped.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
SEED = 20260
COUNT = 45
RECORDED = (1, 2, 5, 10, 20, 45)
RATES = [0.5 + 0.5 * ((k * 7) % 11) / 11 for k in range(COUNT)]
SHAPES = {"vector": (7,), "matrix": (5, 3), "wide": (4, 6), "zeros": (6,), "cube": (2, 3, 4), "scalar": ()}
ALWAYS_ZERO = ("vector", 2)
REAL = tuple(SHAPES)
MATRICES = ("matrix", "wide")
COMPLEX = ("complex",)

EXACT = 1e-9


@dataclass(frozen=True)
class Run:
    """One optimizer to run: the class and its arguments, without the learning rate."""

    rule: str
    base: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # what the name says after the class, where the arguments do not tell
    shapes: tuple[str, ...] = REAL
    tolerance: float = EXACT
    reason: str = ""  # for a tolerance above EXACT
    paths: Mapping[str, str] = field(default_factory=dict)  # Keras's paths of weights, where they are not the name alone
    excluded: tuple[str, ...] = ()  # passed to Keras's exclude_from_weight_decay(var_names=)
    scaled: Mapping[str, Any] = field(default_factory=dict)  # passed to Keras's LossScaleOptimizer, where there are any
    overflows: tuple[int, ...] = ()  # the calls, from 0, at which the first element of the first gradient is infinite

    @property
    def name(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.rule}({arguments})" + (f" {self.note}" if self.note else "")


FLOAT32_SCALARS = "scalars in float32"
NO_LEAK = "in float64"

TORCH = [
    Run("SGD", 3e-3),
    Run("SGD", 3e-3, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    Run("SGD", 3e-3, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02}),
    Run("SGD", 1e-3, {"momentum": 0.95, "dampening": 0.5, "weight_decay": 0.1, "maximize": True}),
    Run("SGD", 3e-3, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}, "complex", COMPLEX),
    Run("Adam", 0.01),
    Run("Adam", 0.05, {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.05}),
    Run("Adam", 0.03, {"betas": [0.9, 0.7], "eps": 1e-5, "amsgrad": True, "maximize": True, "weight_decay": 0.01}),
    Run("Adam", 0.03, {"betas": [0.5, 0.99], "weight_decay": 0.1, "decoupled_weight_decay": True}),
    Run("Adam", 0.03, {"betas": [0.8, 0.9], "weight_decay": 0.02, "amsgrad": True}, "complex", COMPLEX),
    Run("AdamW", 0.01),
    Run("AdamW", 0.05, {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.2}),
    Run("AdamW", 0.05, {"betas": [0.7, 0.8], "amsgrad": True, "maximize": True, "weight_decay": 0.0}),
    Run("AdamW", 0.05, {"weight_decay": 0.1}, "complex", COMPLEX),
    Run("NAdam", 0.01),
    Run("NAdam", 0.03, {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.05, "momentum_decay": 0.5}),
    Run("NAdam", 0.03, {"betas": [0.95, 0.9], "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    Run("NAdam", 0.03, {"betas": [0.8, 0.95], "momentum_decay": 0.02}, "complex", COMPLEX),
    Run(
        "NAdam",
        0.03,
        {"betas": [0.8, 0.95], "momentum_decay": 0.02},
        FLOAT32_SCALARS,
        tolerance=1e-7,
        reason="mu_product is float32: off by 4e-10",
    ),
    Run("RAdam", 0.03),
    Run("RAdam", 0.03, {"betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    Run("RAdam", 0.01, {"betas": [0.95, 0.97], "eps": 1e-5, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    Run("RAdam", 1e-3, {"betas": [0.7, 0.6]}),
    Run("RAdam", 0.03, {"betas": [0.8, 0.95], "weight_decay": 0.02}, "complex", COMPLEX),
    Run("Adamax", 0.01),
    Run("Adamax", 0.03, {"betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.05}),
    Run("Adamax", 0.03, {"betas": [0.5, 0.6], "eps": 1e-5, "maximize": True}),
    Run("Adamax", 0.03, {"betas": [0.8, 0.9], "weight_decay": 0.02}, "complex", COMPLEX),
    Run("Adadelta", 1.0),
    Run("Adadelta", 0.5, {"rho": 0.7, "eps": 1e-3, "weight_decay": 0.05}),
    Run("Adadelta", 2.0, {"rho": 0.95, "eps": 1e-4, "maximize": True}),
    Run("Adadelta", 1.0, {"rho": 0.8, "eps": 1e-4, "weight_decay": 0.02}, "complex", COMPLEX),
    Run("Adagrad", 0.05),
    Run("Adagrad", 0.1, {"lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    Run("Adagrad", 0.1, {"lr_decay": 0.01, "eps": 1e-6, "maximize": True}),
    Run("Adagrad", 0.1, {"lr_decay": 0.05, "weight_decay": 0.02, "initial_accumulator_value": 0.1}, "complex", COMPLEX),
    Run("ASGD", 3e-3),
    Run("ASGD", 3e-3, {"lambd": 0.5, "alpha": 0.5, "t0": 10, "weight_decay": 0.05}),
    Run("ASGD", 1e-3, {"lambd": 1.0, "alpha": 0.9, "t0": 0.5, "maximize": True}),
    Run("ASGD", 3e-3, {"lambd": 0.3, "alpha": 0.6, "t0": 7}, "complex", COMPLEX),
    Run(
        "ASGD",
        3e-3,
        {"lambd": 0.3, "alpha": 0.6, "t0": 7},
        FLOAT32_SCALARS,
        tolerance=1e-7,
        reason="eta and mu are float32: off by 1.1e-8",
    ),
    Run("RMSprop", 0.01),
    Run("RMSprop", 0.03, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05, "momentum": 0.7}),
    Run("RMSprop", 0.01, {"alpha": 0.8, "eps": 1e-5, "centered": True, "maximize": True}),
    Run("RMSprop", 0.01, {"alpha": 0.95, "eps": 1e-4, "centered": True, "momentum": 0.5, "weight_decay": 0.02}),
    Run("RMSprop", 0.01, {"alpha": 0.9, "centered": True, "momentum": 0.5}, "complex", COMPLEX),
    Run("Rprop", 0.01),
    Run("Rprop", 0.01, {"etas": [0.3, 1.5], "step_sizes": [1e-3, 0.1]}),
    Run("Rprop", 0.05, {"etas": [0.7, 1.05], "step_sizes": [1e-2, 0.06], "maximize": True}),
    Run("Rprop", 0.01, {"etas": [0.4, 1.3]}, "complex", COMPLEX),
    Run("Adafactor", 0.03),
    Run("Adafactor", 0.3, {"beta2_decay": -0.5, "eps": [1e-3, 1e-2], "d": 2.0, "weight_decay": 0.05}),
    Run("Adafactor", 0.3, {"beta2_decay": -1.0, "eps": [None, 0.1], "d": 1.5, "maximize": True}),
    Run("Adafactor", 0.1, {"eps": [0.5, 1e-3], "weight_decay": 0.2}),
    Run("Muon", 0.02, shapes=MATRICES, note=NO_LEAK),
    Run("Muon", 0.02, {"nesterov": False, "momentum": 0.8}, NO_LEAK, MATRICES),
    Run("Muon", 0.1, {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.02}, NO_LEAK, MATRICES),
    Run("Muon", 0.02, {"adjust_lr_fn": "original", "weight_decay": 0.0, "eps": 100.0}, NO_LEAK, MATRICES),
    Run("Muon", 0.03, {"ns_coefficients": [2.0, -1.5, 0.5], "ns_steps": 8, "momentum": 0.5}, NO_LEAK, MATRICES),
    Run("Muon", 0.02, shapes=MATRICES, tolerance=5e-3, reason="Newton-Schulz iterations in bfloat16: off by 1.7e-3"),
]

DENSE = {"matrix": "dense/matrix", "wide": "token_Embedding/wide"}

KERAS = [
    Run("SGD", 3e-3),
    Run("SGD", 3e-3, {"momentum": 0.9, "weight_decay": 0.05, "clipvalue": 5.0}),
    Run("SGD", 3e-3, {"momentum": 0.8, "nesterov": True, "clipnorm": 10.0}),
    Run("SGD", 3e-3, {"momentum": 0.5, "nesterov": True, "weight_decay": 1.0}, "some excluded", excluded=("^vec", "trix")),
    Run("RMSprop", 0.01),
    Run("RMSprop", 0.03, {"rho": 0.8, "momentum": 0.7, "epsilon": 1e-3, "weight_decay": 0.05}),
    Run("RMSprop", 0.01, {"rho": 0.95, "epsilon": 1e-4, "centered": True, "clipvalue": 3.0}),
    Run("RMSprop", 0.01, {"rho": 0.7, "momentum": 0.5, "epsilon": 1e-5, "centered": True, "clipnorm": 5.0}),
    Run("Adam", 0.01),
    Run("Adam", 0.05, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
    Run("Adam", 0.03, {"beta_1": 0.9, "beta_2": 0.7, "epsilon": 1e-5, "amsgrad": True, "clipnorm": 5.0}),
    Run("Adam", 0.03, {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-8, "clipvalue": 2.0}),
    Run("AdamW", 0.01),
    Run("AdamW", 0.05, {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "clipnorm": 1.0}),
    Run("AdamW", 0.05, {"weight_decay": 0.1, "beta_2": 0.8, "amsgrad": True, "clipvalue": 1.0}),
    Run("AdamW", 0.05, {"weight_decay": 0.2, "beta_1": 0.7}, "some excluded", excluded=("cub", "scalar", "z.r")),
    Run("Adadelta", 1.0),
    Run("Adadelta", 0.5, {"rho": 0.7, "epsilon": 1e-3, "weight_decay": 0.05}),
    Run("Adadelta", 2.0, {"rho": 0.9, "epsilon": 1e-4, "clipnorm": 5.0}),
    Run("Adadelta", 2.0, {"rho": 0.8, "epsilon": 1e-6, "clipvalue": 5.0}),
    Run("Adagrad", 0.05),
    Run("Adagrad", 0.1, {"initial_accumulator_value": 0.5, "epsilon": 1e-3, "weight_decay": 0.1}),
    Run("Adagrad", 0.1, {"initial_accumulator_value": 0.0, "epsilon": 1e-6, "clipvalue": 3.0}),
    Run("Adagrad", 0.1, {"initial_accumulator_value": 0.01, "epsilon": 1e-8, "clipnorm": 3.0}),
    Run("Adamax", 0.01),
    Run("Adamax", 0.03, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1}),
    Run("Adamax", 0.03, {"beta_1": 0.5, "beta_2": 0.6, "epsilon": 1e-5, "clipnorm": 3.0}),
    Run("Adamax", 0.03, {"beta_1": 0.95, "epsilon": 1e-8, "clipvalue": 3.0}),
    Run("Adafactor", 0.03, note=NO_LEAK),
    Run("Adafactor", 0.3, {"beta_2_decay": -0.5, "epsilon_1": 1e-6, "epsilon_2": 1e-2, "clip_threshold": 2.0}, NO_LEAK),
    Run("Adafactor", 0.3, {"beta_2_decay": -1.0, "epsilon_2": 0.1, "relative_step": False, "weight_decay": 0.1}, NO_LEAK),
    Run("Adafactor", 0.1, {"epsilon_1": 1e-3, "clip_threshold": 0.5, "weight_decay": 0.2, "clipvalue": 5.0}, NO_LEAK),
    Run("Adafactor", 0.1, {"beta_2_decay": -0.3, "clipnorm": 5.0}, NO_LEAK),
    Run("Adafactor", 0.03, tolerance=1e-7, reason="ops.mean computes in float32: off by 1.1e-8"),
    Run(
        "Adafactor",
        0.3,
        {"beta_2_decay": -0.5, "epsilon_1": 1e-6, "epsilon_2": 1e-2, "clip_threshold": 2.0},
        tolerance=1e-6,
        reason="ops.mean computes in float32: off by 1.6e-7",
    ),
    Run("Nadam", 0.01),
    Run("Nadam", 0.03, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
    Run("Nadam", 0.03, {"beta_1": 0.95, "beta_2": 0.9, "epsilon": 1e-5, "clipnorm": 5.0}),
    Run("Nadam", 0.03, {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-8, "clipvalue": 2.0}),
    Run("Ftrl", 0.1),
    Run(
        "Ftrl",
        0.1,
        {
            "learning_rate_power": -0.7,
            "initial_accumulator_value": 0.5,
            "l1_regularization_strength": 0.5,
            "l2_regularization_strength": 0.2,
            "l2_shrinkage_regularization_strength": 0.1,
            "beta": 0.3,
        },
    ),
    Run("Ftrl", 0.3, {"l1_regularization_strength": 2.0, "beta": 1.0, "weight_decay": 0.1, "clipvalue": 5.0}),
    Run("Ftrl", 0.1, {"learning_rate_power": 0.0, "l2_regularization_strength": 1.0, "clipnorm": 1.0}),
    Run("Ftrl", 0.2, {"learning_rate_power": -0.4, "l2_shrinkage_regularization_strength": 0.5}),
    Run("Lion", 0.01),
    Run("Lion", 0.03, {"beta_1": 0.7, "beta_2": 0.8, "weight_decay": 0.1}),
    Run("Lion", 0.03, {"beta_1": 0.95, "beta_2": 0.9, "clipnorm": 3.0}),
    Run("Lion", 0.03, {"beta_1": 0.5, "beta_2": 0.95, "clipvalue": 1.0}),
    Run("Lamb", 0.01),
    Run("Lamb", 0.03, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
    Run("Lamb", 0.03, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-5, "clipnorm": 3.0}),
    Run("Lamb", 0.03, {"beta_1": 0.95, "epsilon": 1e-8, "clipvalue": 3.0}),
    Run("Muon", 0.02, note=NO_LEAK),
    Run("Muon", 0.03, {"nesterov": False, "momentum": 0.8, "weight_decay": 0.1, "adam_weight_decay": None}, NO_LEAK),
    Run(
        "Muon",
        0.03,
        {
            "adam_beta_1": 0.8,
            "adam_beta_2": 0.9,
            "adam_weight_decay": 0.2,
            "epsilon": 1e-3,
            "adam_lr_ratio": 0.3,
            "rms_rate": 0.5,
        },
        NO_LEAK,
    ),
    Run(
        "Muon",
        0.02,
        {"muon_a": 2.0, "muon_b": -1.5, "muon_c": 0.5, "ns_steps": 8, "rms_rate": None, "weight_decay": None},
        NO_LEAK,
    ),
    Run("Muon", 0.03, {"adam_weight_decay": 0.3, "clipnorm": 5.0}, f"with an embedding, {NO_LEAK}", paths=DENSE),
    Run(
        "Muon",
        0.03,
        {"exclude_embeddings": False, "exclude_layers": ["^den.e"], "clipvalue": 3.0},
        f"with a layer excluded, {NO_LEAK}",
        paths=DENSE,
    ),
    Run(
        "Muon",
        0.03,
        {"weight_decay": 0.3, "adam_weight_decay": 0.2},
        f"some excluded, {NO_LEAK}",
        paths=DENSE,
        excluded=("wide", "vector"),
    ),
    Run("Muon", 0.02, tolerance=1e-7, reason="ops.norm computes in float32: off by 3.4e-9"),
    Run("SGD", 3e-3, {"momentum": 0.9, "weight_decay": 0.05, "global_clipnorm": 20.0}),
    Run("SGD", 0.02, {"momentum": 0.5, "loss_scale_factor": 3.0, "use_ema": True, "ema_momentum": 0.8}),
    Run(
        "SGD",
        3e-3,
        {"momentum": 0.8, "weight_decay": 1.0, "clipnorm": 5.0, "gradient_accumulation_steps": 2},
        "some excluded",
        excluded=("^vec", "trix"),
    ),
    Run(
        "SGD",
        0.1,
        {"momentum": 0.5, "weight_decay": 0.1, "clipvalue": 1.0},
        "with a loss scale",
        scaled={"initial_scale": 64.0, "dynamic_growth_steps": 4},
        overflows=(0, 3, 4, 19, 33),
    ),
    Run(
        "RMSprop",
        0.03,
        {"epsilon": 1e-3, "clipvalue": 3.0, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 3},
    ),
    Run("Adam", 0.03, {"epsilon": 1e-3, "loss_scale_factor": 1024.0, "gradient_accumulation_steps": 3}),
    Run(
        "Adam",
        0.03,
        {"epsilon": 1e-2, "global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 4},
        "with a loss scale",
        scaled={"initial_scale": 128.0, "dynamic_growth_steps": 5},
        overflows=(2, 9, 44),
    ),
    Run(
        "AdamW",
        0.05,
        {
            "weight_decay": 0.2,
            "global_clipnorm": 5.0,
            "loss_scale_factor": 8.0,
            "use_ema": True,
            "ema_momentum": 0.6,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 3,
        },
        "some excluded",
        excluded=("cub", "scalar"),
    ),
    Run(
        "Nadam",
        0.03,
        {
            "weight_decay": 0.1,
            "clipvalue": 1.0,
            "use_ema": True,
            "ema_momentum": 0.9,
            "ema_overwrite_frequency": 1,
            "gradient_accumulation_steps": 4,
        },
    ),
    Run(
        "Adafactor",
        0.1,
        {"global_clipnorm": 10.0, "weight_decay": 0.1, "use_ema": True, "gradient_accumulation_steps": 2},
        NO_LEAK,
    ),
    Run(
        "Muon",
        0.03,
        {
            "weight_decay": 0.3,
            "adam_weight_decay": 0.2,
            "global_clipnorm": 5.0,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 3,
            "gradient_accumulation_steps": 4,
        },
        f"some excluded, {NO_LEAK}",
        paths=DENSE,
        excluded=("wide", "vector"),
    ),
]

NOTES = {
    "torch": [
        "Run with float64 as PyTorch's default dtype. With float32 NAdam's mu_product is off by 4e-10 here, ASGD's eta and mu by 1.1e-8.",
        "Muon in float64: its cast to bfloat16 replaced by a copy. With the cast it is off by 1.7e-3.",
    ],
    "keras": [
        "Adafactor and Muon in float64: ops.mean and ops.norm, which compute in float32, replaced by ones with ops.sum. As they "
        "are, Adafactor is off by up to 1.6e-7 and Muon by up to 1.4e-8.",
        "On PyTorch instead of JAX, clipnorm too is computed in float32: off by up to 9e-9. All else agrees to 1e-12.",
    ],
}
"""What is in float32 in a system, and how far that moves the weights: the largest |x - y| / (1 + |y|) of these cases."""

Inputs = Mapping[str, tuple[Array, Array]]  # by weight: where it begins, and its gradients


def inputs() -> Inputs:
    """Read inputs.npz, which is drawn and written where there is none yet."""
    file = HERE / "inputs.npz"
    if not file.exists():
        random = np.random.default_rng(SEED)

        def gradient(shape: tuple[int, ...]) -> Array:
            size = 10 ** random.uniform(-6, 2, (COUNT, *shape))
            return size * random.choice([-1.0, 1.0], size.shape) * (random.random(size.shape) >= 0.1)

        arrays: dict[str, Any] = {}
        for name, shape in SHAPES.items():
            arrays[f"start/{name}"] = np.zeros(shape) if name == "zeros" else np.asarray(random.normal(size=shape))
            arrays[f"gradients/{name}"] = gradient(shape)
        weight, index = ALWAYS_ZERO
        arrays[f"gradients/{weight}"][:, index] = 0
        arrays["start/complex"] = random.normal(size=(3, 4)) + 1j * random.normal(size=(3, 4))
        arrays["gradients/complex"] = gradient((3, 4)) + 1j * gradient((3, 4))
        np.savez_compressed(file, **arrays)
    with np.load(file) as stored:
        return {name: (stored[f"start/{name}"], stored[f"gradients/{name}"]) for name in (*SHAPES, *COMPLEX)}


@contextmanager
def _changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def run_torch(run: Run, data: Inputs) -> dict[str, Array]:
    """The weights after each of RECORDED, flat and one after the other, and so the averages of ASGD."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32 if run.note == FLOAT32_SCALARS else torch.float64)
    weights = [torch.nn.Parameter(torch.from_numpy(data[name][0].copy())) for name in run.shapes]
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in run.arguments.items()}
    optimizer = getattr(torch.optim, run.rule)(weights, lr=run.base * RATES[0], **arguments)
    recorded, averages = [], []

    def row(tensors: list[Any]) -> Array:
        parts: list[Array] = [tensor.detach().numpy().ravel() for tensor in tensors]
        return np.concatenate(parts)

    # A copy, not the tensor itself: what follows divides in place, and without Nesterov that is the buffer.
    cast = torch.Tensor.clone if run.note == NO_LEAK else torch.Tensor.bfloat16
    with _changed(torch.Tensor, "bfloat16", cast):
        for k in range(COUNT):
            for weight, name in zip(weights, run.shapes, strict=True):
                weight.grad = torch.from_numpy(np.asarray(data[name][1][k]).copy())
            optimizer.param_groups[0]["lr"] = run.base * RATES[k]
            optimizer.step()
            if k + 1 in RECORDED:
                recorded.append(row(weights))
                if run.rule == "ASGD":
                    averages.append(row([optimizer.state[weight]["ax"] for weight in weights]))
    return {"weights": np.stack(recorded)} | ({"averages": np.stack(averages)} if averages else {})


def run_keras(run: Run, data: Inputs) -> dict[str, Array]:
    """The weights after each of RECORDED, flat and one after the other, and so their averages."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import keras

    keras.config.set_floatx("float64")

    def mean_by_sum(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        total = keras.ops.sum(x, axis=axis, keepdims=keepdims)
        return total / float(math.prod(x.shape) // math.prod(total.shape))

    def norm_by_sum(x: Any, axis: tuple[int, int], keepdims: bool) -> Any:
        return keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=keepdims))

    ops: Any = sys.modules["keras.src.ops"]  # which the optimizers call; keras.ops is another module

    class Table(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            return ops.take(ops.convert_to_tensor([run.base * rate for rate in RATES], dtype="float64"), step)

    variables = []
    for name in run.shapes:
        *scopes, leaf = run.paths.get(name, name).split("/")
        with keras.name_scope("/".join(scopes) or ""):
            variables.append(keras.Variable(data[name][0], dtype="float64", name=leaf))
        assert variables[-1].path == run.paths.get(name, name), variables[-1].path
    inner = getattr(keras.optimizers, run.rule)(learning_rate=Table(), **run.arguments)
    if run.excluded:
        inner.exclude_from_weight_decay(var_names=list(run.excluded))
    optimizer = keras.optimizers.LossScaleOptimizer(inner, **run.scaled) if run.scaled else inner
    optimizer.build(variables)

    stateless = jax.jit(optimizer.stateless_apply)

    def call(grads: list[Any]) -> None:
        if not (run.scaled or inner.gradient_accumulation_steps):
            optimizer.apply(grads, variables)
            return
        # `apply` decides by a traced condition, which is compiled at each call, and in which variables cannot be assigned.
        kept = optimizer.variables
        weights, values = stateless([one.value for one in kept], grads, [one.value for one in variables])
        for variable, value in zip([*variables, *kept], [*weights, *values], strict=True):
            variable.assign(value)

    def row(some: list[Any]) -> Array:
        return np.concatenate([ops.convert_to_numpy(variable).ravel() for variable in some])

    mean, norm = (mean_by_sum, norm_by_sum) if run.note.endswith(NO_LEAK) else (ops.mean, ops.norm)
    recorded, averages = [], []
    with _changed(ops, "mean", mean), _changed(ops, "norm", norm):
        for k in range(COUNT):
            grads = [np.array(data[name][1][k]) for name in run.shapes]
            if k in run.overflows:
                grads[0].flat[0] = np.inf
            call([ops.convert_to_tensor(grad, dtype="float64") for grad in grads])
            if k + 1 in RECORDED:
                recorded.append(row(variables))
                if inner.use_ema:
                    averages.append(row(inner._model_variables_moving_average))
    return {"weights": np.stack(recorded)} | ({"averages": np.stack(averages)} if averages else {})


def torch_versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "numpy": np.__version__}


def keras_versions() -> dict[str, str]:
    import keras

    backend = keras.config.backend()
    return {"keras": keras.__version__, "backend": backend, backend: sys.modules[backend].__version__, "numpy": np.__version__}


SYSTEMS: dict[str, tuple[list[Run], Callable[[Run, Inputs], dict[str, Array]], Callable[[], dict[str, str]]]] = {
    "torch": (TORCH, run_torch, torch_versions),
    "keras": (KERAS, run_keras, keras_versions),
}


def described(run: Run) -> dict[str, Any]:
    """What the JSON says of a case."""
    required = {
        "name": run.name,
        "rule": run.rule,
        "base": run.base,
        "arguments": dict(run.arguments),
        "shapes": list(run.shapes),
    }
    optional = {
        "reason": run.reason,
        "paths": dict(run.paths),
        "excluded": list(run.excluded),
        "scaled": dict(run.scaled),
        "overflows": list(run.overflows),
    }
    return required | {"tolerance": run.tolerance} | {key: value for key, value in optional.items() if value}


def text(versions: Mapping[str, str], notes: list[str], cases: list[dict[str, Any]]) -> str:
    """The JSON, with one case in each line."""
    lines = ",\n".join(f"    {json.dumps(case)}" for case in cases)
    head = {"versions": versions, "notes": notes, "recorded": RECORDED, "rates": RATES}
    fields = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    return f'{{\n{fields}  "cases": [\n{lines}\n  ]\n}}\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--check", action="store_true", help="compare with what is stored, and write nothing")
    options = parser.parse_args()
    runs, perform, versions = SYSTEMS[options.system]
    data = inputs()
    arrays: dict[str, Any] = {}
    for run in runs:
        for kind, array in perform(run, data).items():
            assert np.isfinite(array).all(), f"{run.name} gives values that are not finite"
            arrays[f"{kind}/{run.name}"] = array
    cases = [described(run) for run in runs]
    assert len({run.name for run in runs}) == len(runs), "two cases of one name"
    table, numbers = (HERE / f"{options.system}.{suffix}" for suffix in ("json", "npz"))
    if not options.check:
        np.savez_compressed(numbers, **arrays)
        table.write_text(text(versions(), NOTES[options.system], cases), encoding="utf-8")
        print(f"{len(runs)} cases, {numbers.stat().st_size + table.stat().st_size} bytes")
        return 0
    limits = {run.name: run.tolerance if run.reason else 1e-12 for run in runs}
    stored = json.loads(table.read_text(encoding="utf-8"))
    faults = [] if stored["cases"] == cases and stored["rates"] == RATES else ["the cases are not those stored"]
    with np.load(numbers) as before:
        faults += [f"only one of the two has {name}" for name in sorted(set(before.files) ^ set(arrays))]
        for name in sorted(set(before.files) & set(arrays)):
            error = np.max(np.abs(before[name] - arrays[name]) / (1 + np.abs(before[name])), initial=0.0)
            if not error <= limits[name.partition("/")[2]]:
                faults.append(f"{name} differs by {error:.1e}" if math.isfinite(error) else f"{name} is not finite")
    print("\n".join(faults) or f"{len(runs)} cases are as stored by {stored['versions']}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
