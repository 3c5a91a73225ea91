"""What OpenSeq2Seq's `optimize_loss` does with gradients, as plain NumPy in the order of its sources, to compare ours with.

Regularizers, which are part of the gradients, and summaries are left out. All is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import attrs
import numpy as np

from updaters.compat import openseq2seq

Arrays = dict[str, np.ndarray[Any, np.dtype[np.float64]]]

CALLS = 40


# TensorFlow 1's rules, and OpenSeq2Seq's: from (w, g, lr, kept, t) to the new w; they remember what they keep.


def sgd(w: Any, g: Any, lr: float, kept: dict[str, Any], t: int) -> Any:
    return w - lr * g


def momentum(w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, momentum: float, use_nesterov: bool = False) -> Any:
    kept["b"] = momentum * kept.get("b", 0.0) + g
    return w - lr * (g + momentum * kept["b"] if use_nesterov else kept["b"])


def adam(
    w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> Any:
    kept["m"] = kept.get("m", 0.0) + (g - kept.get("m", 0.0)) * (1 - beta1)
    kept["v"] = kept.get("v", 0.0) + (g * g - kept.get("v", 0.0)) * (1 - beta2)
    return w - lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * kept["m"] / (np.sqrt(kept["v"]) + epsilon)


def adamw(w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, weight_decay: float, **others: float) -> Any:
    product = weight_decay * lr  # which TensorFlow's takes for the decay
    return adam(w - product * w, g, lr, kept, t, **others)


def adagrad(w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, initial_accumulator_value: float = 0.1) -> Any:
    kept["s"] = kept.get("s", initial_accumulator_value) + g * g
    return w - lr * g / np.sqrt(kept["s"])


def ftrl(
    w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, learning_rate_power: float = -0.5,
    initial_accumulator_value: float = 0.1, l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0,
) -> Any:  # fmt: skip
    before = kept.get("n", initial_accumulator_value * np.ones_like(w))
    kept["n"] = before + g * g
    shrunk = g + 2 * l2_shrinkage_regularization_strength * w
    power, l1 = -learning_rate_power, l1_regularization_strength
    kept["z"] = kept.get("z", 0.0) + shrunk - (kept["n"] ** power - before**power) / lr * w
    quadratic = kept["n"] ** power / lr + 2 * l2_regularization_strength
    return np.where(np.abs(kept["z"]) > l1, (np.sign(kept["z"]) * l1 - kept["z"]) / quadratic, 0.0)


def rmsprop(
    w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, decay: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-10,
    centered: bool = False,
) -> Any:  # fmt: skip
    kept["s"] = decay * kept.get("s", 1.0) + (1 - decay) * g * g
    kept["a"] = decay * kept.get("a", 0.0) + (1 - decay) * g
    variance = kept["s"] - kept["a"] ** 2 if centered else kept["s"]
    kept["steps"] = momentum * kept.get("steps", 0.0) + lr * g / np.sqrt(variance + epsilon)
    return w - kept["steps"]


def novograd(
    w: Any, g: Any, lr: float, kept: dict[str, Any], t: int, beta1: float = 0.95, beta2: float = 0.98, epsilon: float = 1e-8,
    weight_decay: float = 0.0, grad_averaging: bool = False,
) -> Any:  # fmt: skip
    square, before = float(np.sum(g * g)), kept.get("v", 0.0)
    kept["v"] = square if before == 0 else beta2 * before + (1 - beta2) * square
    scaled = g / np.sqrt(kept["v"] + epsilon) + weight_decay * w
    return momentum(w, scaled * (1 - beta1 if grad_averaging else 1.0), lr, kept, t, beta1)


RULES: dict[str, Callable[..., Any]] = {
    "Adagrad": adagrad, "Adam": adam, "AdamW": adamw, "Ftrl": ftrl, "Momentum": momentum, "NovoGrad": novograd,
    "RMSProp": rmsprop, "SGD": sgd,
}  # fmt: skip


# The two loss scalers


class Backoff:
    def __init__(self, scale_min: float = 1.0, scale_max: float = 2.0**14, step_factor: float = 2.0, step_window: int = 2000):
        self.low, self.high, self.factor, self.window = scale_min, scale_max, step_factor, step_window
        self.scale, self.iteration, self.last_overflow = scale_max, 0, -1

    def update(self, has_nan: bool, amax: float) -> None:
        if has_nan or np.isinf(amax):
            self.scale, self.last_overflow = self.scale / self.factor, self.iteration
        elif (self.iteration - self.last_overflow) % self.window == 0:
            self.scale *= self.factor
        self.scale = float(np.clip(self.scale, self.low, self.high))
        self.iteration += 1


class LogMax:
    def __init__(
        self, scale_min: float = 1.0, scale_max: float = 2.0**14, log_max: float = 16.0, beta1: float = 0.99,
        beta2: float = 0.999, overflow_std_dev: float = 3.09,
    ):  # fmt: skip
        self.low, self.high, self.log_max, self.deviations = scale_min, scale_max, log_max, overflow_std_dev
        self.betas, self.averages, self.scale, self.iteration = (beta1, beta2, beta2), [0.0, 0.0, 0.0], 1.0, 0

    def update(self, has_nan: bool, amax: float) -> None:
        self.iteration += 1
        x = 2.0**self.log_max if has_nan or np.isinf(amax) else float(np.log2(amax))
        found = zip(self.betas, self.averages, (x, x, x * x), strict=True)
        self.averages = [beta * average + (1 - beta) * value for beta, average, value in found]
        corrected = zip(self.betas, self.averages, strict=True)
        mean, slow, square = (average / (1 - beta**self.iteration) for beta, average in corrected)
        deviation = np.sqrt(max(square - slow * slow, 0.0))
        self.scale = float(np.clip(2.0 ** (16.0 - (deviation * self.deviations + mean)), self.low, self.high))


# Cases

CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    ("Adagrad", {"initial_accumulator_value": 0.3}),
    ("Adam", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-5}),
    ("AdamW", {"weight_decay": 0.1, "beta1": 0.8, "epsilon": 1e-5}),
    ("Ftrl", {"l1_regularization_strength": 0.02, "l2_regularization_strength": 0.1}),
    ("Ftrl", {"learning_rate_power": -0.7, "l2_shrinkage_regularization_strength": 0.05, "initial_accumulator_value": 0.5}),
    ("Momentum", {"momentum": 0.8}),
    ("Momentum", {"momentum": 0.8, "use_nesterov": True}),
    ("NovoGrad", {"weight_decay": 0.1, "epsilon": 1e-3, "grad_averaging": True}),
    ("RMSProp", {"decay": 0.8, "epsilon": 1e-3}),
    ("RMSProp", {"momentum": 0.7, "centered": True, "epsilon": 1e-3}),
    ("SGD", {}),
]
POSTS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "clipped": {"clip_gradients": 1.5},
    "LARC": {"larc_params": {"larc_eta": 0.02, "epsilon": 1e-3}},
    "LARC, scale": {"larc_params": {"larc_eta": 0.2, "larc_mode": "scale", "min_update": 1e-3}},
}
SCALINGS: dict[str, dict[str, Any]] = {
    "static": {"loss_scaling": 128.0},
    "Backoff": {"loss_scaling": "backoff", "loss_scaling_params": {"step_window": 3, "scale_max": 2.0**7, "scale_min": 16.0}},
    "LogMax": {
        "loss_scaling": "LogMax",
        "loss_scaling_params": {"beta1": 0.9, "beta2": 0.99, "overflow_std_dev": 2.0, "scale_max": 2.0**40},
    },
}


def rate(step: int) -> float:
    """A learning rate that moves at each global step."""
    return 0.05 * (0.4 + 0.6 * (7 * step % 11) / 11)


@attrs.frozen(repr=False)
class Case:
    """Arguments of `optimize_loss`."""

    name: str
    params: dict[str, Any]
    post: str
    scaling: str
    dtype: str
    iter_size: int

    def __repr__(self) -> str:
        params = ",".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.name}({params})-{self.post}-{self.scaling}-{self.dtype}-{self.iter_size}"

    @property
    def overflows(self) -> dict[int, float]:
        """What stands in the gradients of some calls where the loss scale moves, and there alone something is done about it."""
        if self.dtype != "mixed" or self.scaling == "static":
            return {}
        late = {25: np.inf, 26: np.nan, 34: -np.inf}
        return late | ({2: np.nan} if self.scaling == "Backoff" else {})  # LogMax stays at 1 from its first overflow on

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that are the same for the oracle and for us."""
        return {**POSTS[self.post], **SCALINGS[self.scaling], "dtype": self.dtype, "iter_size": self.iter_size}


DTYPES = [("mixed", 1), ("mixed", 3), ("float32", 1), ("float32", 3)]
CASES = [  # every three of a configuration, a clip and a scaling; every pair of one of these and a dtype with an iter_size
    Case(*configuration, post, scaling, *DTYPES[(i + j + k) % 4])
    for i, configuration in enumerate(CONFIGURATIONS)
    for j, post in enumerate(POSTS)
    for k, scaling in enumerate(SCALINGS)
]


def begin() -> Arrays:
    """Weights at random, and one of zeros."""
    rng = np.random.default_rng(5)
    return {"kernel": rng.standard_normal((3, 4)), "gain": rng.standard_normal(5), "bias": np.zeros(4)}


def gradients(case: Case) -> list[Arrays]:
    """Gradients of the loss, for each call."""
    rng = np.random.default_rng(17)
    found = []
    for call in range(CALLS):
        some = {name: rng.standard_normal(w.shape) * 10 ** rng.uniform(-4, 1, w.shape) for name, w in begin().items()}
        some["kernel"][0, call % 4] = 0.0
        if call in case.overflows:
            some["gain"][call % 5] = case.overflows[call]
        found.append(some)
    return found


@attrs.frozen
class Seen:
    """Where a run stands after a call."""

    weights: Arrays
    loss_scale: float
    global_step: int


@np.errstate(all="ignore")
def oracle(case: Case) -> list[Seen]:
    """All calls, by the order that OpenSeq2Seq has."""
    arguments = case.arguments
    rule = partial(RULES[case.name], **case.params)
    mixed, scaling = arguments["dtype"] == "mixed", arguments["loss_scaling"]
    scaler: Any = None
    if isinstance(scaling, str):
        scaler = {"backoff": Backoff, "logmax": LogMax}[scaling.lower()](**arguments.get("loss_scaling_params", {}))

    def loss_scale() -> float:
        return float(scaling if scaler is None else scaler.scale) if mixed else 1.0

    weights, global_step = begin(), 0
    kept: dict[str, dict[str, Any]] = {name: {} for name in weights}
    accumulated = {name: np.zeros_like(w) for name, w in weights.items()}
    seen = []
    for call, own in enumerate(gradients(case), 1):
        lr, scale = rate(global_step), loss_scale()
        grads = {name: (g * scale) * (1.0 / scale) for name, g in own.items()}
        accumulated = {name: accumulated[name] + g / case.iter_size for name, g in grads.items()}
        if call % case.iter_size == 0:
            grads = accumulated
            accumulated = {name: np.zeros_like(w) for name, w in weights.items()}
            grads = post_process(grads, weights, lr, arguments.get("clip_gradients"), arguments.get("larc_params"))
            amax = max(float(np.max(np.abs(g))) for g in grads.values())
            has_nan = any(bool(np.isnan(g).any()) for g in grads.values())
            if mixed and scaler is not None:
                scaler.update(has_nan, amax)
            if not (mixed and scaler is not None and (has_nan or np.isinf(amax))):
                global_step += 1
                weights = {name: rule(w, grads[name], lr, kept[name], global_step) for name, w in weights.items()}
        seen.append(Seen(weights, loss_scale(), global_step))
    return seen


def post_process(grads: Arrays, weights: Arrays, lr: float, bound: float | None, larc: Mapping[str, Any] | None) -> Arrays:
    """What the clip or LARC makes of gradients."""
    if bound is not None:
        norm = np.sqrt(sum(np.sum(g * g) for g in grads.values()))
        return {name: g * bound * min(1.0 / norm, 1.0 / bound) for name, g in grads.items()}
    if larc is None:
        return grads
    eta, least, epsilon = larc["larc_eta"], larc.get("min_update", 1e-7), larc.get("epsilon", 1e-7)
    found = {}
    for name, g in grads.items():
        ratio = eta * np.sqrt(np.sum(weights[name] ** 2)) / (np.sqrt(np.sum(g * g)) + epsilon)
        clips = larc.get("larc_mode", "clip") == "clip"
        found[name] = g * (min(1.0, max(ratio / lr, least)) if clips else max(ratio, least))
    return found


def ours(case: Case) -> list[Seen]:
    """All calls, by our updater."""
    update = openseq2seq.optimize_loss(case.name, case.params, rate, **case.arguments, backend="numpy")
    weights, seen = begin(), []
    for own in gradients(case):
        update.step({name: update.scale_loss(g) for name, g in own.items()}, weights)
        step = update.state.iteration - update.state.held
        seen.append(Seen({name: w.copy() for name, w in weights.items()}, update.loss_scale, step))
    return seen


def error_of(found: list[Seen], expected: list[Seen]) -> float:
    """The largest error of a weight, over the length of its path."""
    errors = []
    for name, start in begin().items():
        path = [start, *(one.weights[name] for one in expected)]
        length = sum(np.max(np.abs(after - before)) for before, after in pairwise(path))
        pairs = zip(found, expected, strict=True)
        error = np.max([np.abs(one.weights[name] - other.weights[name]) for one, other in pairs])
        errors.append(error / (length or 1.0))  # Ftrl may leave a bias at 0
    return float(np.max(errors))
