"""Run PyTorch's optimizers half of the way, and store what they keep then, with the weights there and at the end.

    python -m tests.golden.make_torch_states            writes torch_states.json next to this file
    python -m tests.golden.make_torch_states --check    runs all again and compares: exit status 1 where anything differs

It needs PyTorch and nothing of this library. Weights and gradients are those of inputs.npz, which `make.py` draws; all is
float64, on a CPU, and Muon's matrices are not rounded to bfloat16. Where a learning rate is changed, it is so after the first half,
before the dictionary is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tests.golden.of_torch import HERE, text, write_or_check

FILE = HERE / "torch_states.json"
HALF = 5
WEIGHTS = ["vector", "matrix", "scalar", "complex"]
REAL = ["vector", "matrix", "cube", "scalar"]
MATRICES = ["matrix", "wide"]

ADAM = {"lr": 0.03, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.05}

CASES: list[dict[str, Any]] = [
    {"rule": "SGD", "arguments": {"lr": 0.01, "weight_decay": 0.1}, "weights": WEIGHTS},
    {"rule": "SGD", "arguments": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}, "weights": WEIGHTS},
    {"rule": "SGD", "arguments": {"lr": 0.01, "momentum": 0.9, "dampening": 0.3}, "weights": WEIGHTS, "changed": 0.03},
    {"rule": "SGD", "arguments": {"lr": 0.01, "momentum": 0.9, "nesterov": True}, "weights": WEIGHTS},
    {"rule": "Adam", "arguments": {"lr": 0.01}, "weights": WEIGHTS},
    {"rule": "Adam", "arguments": {**ADAM, "amsgrad": True}, "weights": WEIGHTS},
    {"rule": "Adam", "arguments": {**ADAM, "decoupled_weight_decay": True, "maximize": True}, "weights": WEIGHTS},
    {"rule": "AdamW", "arguments": ADAM, "weights": WEIGHTS, "changed": 0.01},
    {"rule": "AdamW", "arguments": {**ADAM, "amsgrad": True}, "weights": WEIGHTS},
    {"rule": "NAdam", "arguments": {**ADAM, "momentum_decay": 0.1}, "weights": WEIGHTS},
    {"rule": "NAdam", "arguments": {**ADAM, "decoupled_weight_decay": True}, "weights": WEIGHTS},
    {"rule": "RAdam", "arguments": ADAM, "weights": WEIGHTS},
    {"rule": "RAdam", "arguments": {**ADAM, "decoupled_weight_decay": True}, "weights": WEIGHTS},
    {"rule": "Adamax", "arguments": ADAM, "weights": WEIGHTS},
    {"rule": "Adadelta", "arguments": {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.05}, "weights": WEIGHTS},
    {"rule": "Adagrad", "arguments": {"lr": 0.03, "lr_decay": 0.1, "initial_accumulator_value": 0.3}, "weights": WEIGHTS},
    {"rule": "ASGD", "arguments": {"lr": 0.003}, "weights": WEIGHTS},
    {"rule": "ASGD", "arguments": {"lr": 0.003, "lambd": 0.3, "alpha": 0.5, "t0": 2}, "weights": WEIGHTS, "changed": 0.001},
    {"rule": "RMSprop", "arguments": {"lr": 0.01, "alpha": 0.9}, "weights": WEIGHTS},
    {"rule": "RMSprop", "arguments": {"lr": 0.01, "alpha": 0.9, "momentum": 0.8}, "weights": WEIGHTS, "changed": 0.003},
    {"rule": "RMSprop", "arguments": {"lr": 0.01, "alpha": 0.9, "centered": True}, "weights": WEIGHTS},
    {"rule": "RMSprop", "arguments": {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "centered": True}, "weights": WEIGHTS},
    {"rule": "Rprop", "arguments": {"lr": 0.03, "etas": [0.3, 1.5]}, "weights": WEIGHTS, "changed": 0.01},
    {"rule": "Adafactor", "arguments": {"lr": 0.03, "weight_decay": 0.1}, "weights": REAL},
    {"rule": "Adafactor", "arguments": {"lr": 0.03, "eps": [1e-3, 1e-2], "beta2_decay": -0.5, "d": 2.0}, "weights": REAL},
    {"rule": "Muon", "arguments": {"lr": 0.03}, "weights": MATRICES},
    {"rule": "Muon", "arguments": {"lr": 0.03, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}, "weights": MATRICES},
    {"rule": "AdamW", "arguments": {"lr": 0.01}, "weights": WEIGHTS,
     "groups": [{"params": ["vector", "scalar"], "weight_decay": 0.0}, {"params": ["matrix"], "lr": 0.03, "betas": [0.5, 0.9]},
                {"params": ["complex"], "amsgrad": True}]},
    {"rule": "SGD", "arguments": {"lr": 0.01}, "weights": WEIGHTS,
     "groups": [{"params": ["vector"], "momentum": 0.9}, {"params": ["matrix", "complex"], "momentum": 0.5, "lr": 0.03},
                {"params": ["scalar"]}]},
]  # fmt: skip


def encoded(tensor: Any) -> dict[str, Any]:
    """A tensor as JSON can hold it: complex numbers as pairs of reals."""
    array = np.ascontiguousarray(tensor.detach().numpy())
    reals = array.reshape(-1).view(np.float64) if array.dtype.kind == "c" else array.reshape(-1)
    return {"dtype": array.dtype.name, "shape": list(tensor.shape), "values": reals.tolist()}


def order(case: dict[str, Any]) -> list[str]:
    """The names of the weights in the order of PyTorch's parameters."""
    return [name for group in case["groups"] for name in group["params"]] if "groups" in case else case["weights"]


def optimizer_of(case: dict[str, Any], parameters: dict[str, Any], named: bool = True) -> Any:
    """PyTorch's optimizer of a case."""
    import torch

    def listed(names: list[str]) -> list[Any]:
        return [(name, parameters[name]) if named else parameters[name] for name in names]

    def pairs(values: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}

    params = [pairs(group) | {"params": listed(group["params"])} for group in case.get("groups", ())]
    return getattr(torch.optim, case["rule"])(params or listed(case["weights"]), **pairs(case["arguments"]))


@contextmanager
def in_float64() -> Iterator[None]:
    """PyTorch with float64 as its own dtype, one thread, and no rounding of Muon's matrices."""
    import torch

    dtype, threads, rounded = torch.get_default_dtype(), torch.get_num_threads(), torch.Tensor.bfloat16
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.Tensor.bfloat16 = torch.Tensor.clone
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.Tensor.bfloat16 = rounded


def go(optimizer: Any, parameters: dict[str, Any], gradients: dict[str, Any], updates: range) -> None:
    """Some of the updates."""
    import torch

    for k in updates:
        for name, parameter in parameters.items():
            parameter.grad = torch.from_numpy(np.array(gradients[name][k]))
        optimizer.step()


def run(case: dict[str, Any], data: Any) -> dict[str, Any]:
    """What PyTorch keeps after the first half, and the weights then and at the end."""
    import torch

    gradients = {name: data[f"gradients/{name}"] for name in case["weights"]}
    with in_float64():
        parameters = {name: torch.nn.Parameter(torch.from_numpy(np.array(data[f"start/{name}"]))) for name in case["weights"]}
        optimizer = optimizer_of(case, parameters)
        go(optimizer, parameters, gradients, range(HALF))
        for group in optimizer.param_groups if "changed" in case else ():
            group["lr"] = case["changed"]
        kept = optimizer.state_dict()
        state = {
            str(number): {name: encoded(tensor) for name, tensor in entries.items()}
            for number, entries in kept["state"].items()
            if entries
        }
        half = {name: encoded(parameter) for name, parameter in parameters.items()}
        go(optimizer, parameters, gradients, range(HALF, 2 * HALF))
        whole = {name: encoded(parameter) for name, parameter in parameters.items()}
    return {"state": state, "param_groups": kept["param_groups"], "half": half, "whole": whole}


if __name__ == "__main__":
    write_or_check(__doc__, FILE, partial(text, CASES, run))
