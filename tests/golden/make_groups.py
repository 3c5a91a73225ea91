"""Run PyTorch's parameter groups, clips and loss scaler, and store the weights they give, for tests to compare with.

    python -m tests.golden.make_groups            writes torch_groups.json next to this file
    python -m tests.golden.make_groups --check    runs all again and compares: exit status 1 where anything differs

It needs PyTorch and nothing of this library. Weights and gradients are those of inputs.npz, which `make.py` draws; all is
float64, on a CPU. A group names its weights, so that its `params` are patterns of ours as they stand. In updates that overflow the
first gradient has an infinite element.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from tests.golden.of_torch import HERE, text, write_or_check

FILE = HERE / "torch_groups.json"
COUNT = 45
RECORDED = (2, 45)
PLAIN = ["vector", "matrix", "wide", "zeros", "cube", "scalar"]

GROUPS = [
    {"params": ["vector", "scalar"], "weight_decay": 0.0},
    {"params": "matrix", "lr": 0.03, "betas": [0.5, 0.9], "amsgrad": True},
    {"params": ["wide", "zeros"], "eps": 1e-3, "maximize": True, "weight_decay": 0.3},
]
SGD = [
    {"params": ["vector", "scalar"], "momentum": 0.9, "nesterov": True},
    {"params": ["wide", "cube"], "momentum": 0.5, "dampening": 0.3, "lr": 0.03, "maximize": True},
    {"params": ["matrix", "zeros"], "weight_decay": 0.2},
]
COMPLEX = [{"params": "complex", "momentum": 0.8}, {"params": "vector", "lr": 0.1}]

CASES: list[dict[str, Any]] = [
    {"rule": "AdamW", "arguments": {"lr": 0.01, "weight_decay": 0.1}, "groups": GROUPS},
    {"rule": "Adam", "arguments": {"lr": 0.01}, "groups": GROUPS, "changed": [20, 1, 0.003]},
    {"rule": "Adam", "arguments": {"lr": 0.01, "weight_decay": 0.1}, "groups": GROUPS,
     "added": [10, {"params": "cube", "decoupled_weight_decay": True, "lr": 0.02}]},
    {"rule": "SGD", "arguments": {"lr": 0.01, "weight_decay": 0.05}, "groups": SGD, "changed": [2, 2, 0.05]},
    {"rule": "RMSprop", "arguments": {"lr": 0.01, "alpha": 0.9},
     "groups": [{"params": PLAIN[:3], "centered": True}, {"params": PLAIN[3:], "alpha": 0.7, "momentum": 0.5}]},
    {"rule": "NAdam", "arguments": {"lr": 0.01},
     "groups": [{"params": PLAIN[:3], "momentum_decay": 0.1}, {"params": PLAIN[3:], "decoupled_weight_decay": True, "weight_decay": 0.3}]},
    {"rule": "Adafactor", "arguments": {"lr": 0.03},
     "groups": [{"params": ["wide", "cube"], "eps": [1e-3, 1e-2], "d": 2.0}, {"params": ["matrix"], "beta2_decay": -0.5}]},
    {"rule": "Rprop", "arguments": {"lr": 0.01},
     "groups": [{"params": PLAIN[:3], "etas": [0.3, 1.5]}, {"params": PLAIN[3:], "step_sizes": [1e-3, 0.1], "lr": 0.05}]},
    {"rule": "ASGD", "arguments": {"lr": 0.003},
     "groups": [{"params": PLAIN[:3], "t0": 5, "alpha": 0.5}, {"params": PLAIN[3:], "lambd": 0.3}]},
    *(
        {"rule": "SGD", "arguments": {"lr": 0.01}, "groups": SGD, "clip": ["norm", bound, p]}
        for bound, p in ((3.0, 2), (20.0, 1), (2.0, 3), (0.5, 0.5), (1.0, "inf"), (1e6, 2))
    ),
    *({"rule": "SGD", "arguments": {"lr": 0.01}, "groups": COMPLEX, "clip": ["norm", 3.0, p]} for p in (1, 2, 3, "inf")),
    {"rule": "AdamW", "arguments": {"lr": 0.01, "maximize": True}, "groups": GROUPS[:2], "clip": ["norm", 1e-3, 2]},
    {"rule": "SGD", "arguments": {"lr": 0.01}, "groups": SGD, "clip": ["value", 0.5]},
    {"rule": "AdamW", "arguments": {"lr": 0.01}, "groups": GROUPS, "overflows": [1, 2, 9, 30], "clip": ["norm", 3.0, 2],
     "scaler": {"init_scale": 64.0, "growth_interval": 4}},
    {"rule": "SGD", "arguments": {"lr": 0.01}, "groups": SGD, "overflows": [5, 6, 7, 20],
     "scaler": {"init_scale": 4096.0, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 1}},
]  # fmt: skip


def plain(array: Any) -> list[Any]:
    """The elements as numbers that JSON has."""
    parts = np.ascontiguousarray(array).reshape(-1)
    return (parts.view(np.float64) if parts.dtype.kind == "c" else parts).tolist()


def run(case: dict[str, Any], data: Any) -> dict[str, Any]:
    """The weights after each of RECORDED, and the scales before each update."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    names = [name.removeprefix("start/") for name in data if name.startswith("start/")]
    weights = {name: torch.nn.Parameter(torch.from_numpy(np.array(data[f"start/{name}"]))) for name in names}

    def group(described: dict[str, Any]) -> dict[str, Any]:
        params = described["params"]
        listed = [params] if isinstance(params, str) else params
        pairs = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
        return pairs | {"params": [weights[name] for name in listed]}

    optimizer = getattr(torch.optim, case["rule"])(list(map(group, case["groups"])), **case["arguments"])
    scaler = torch.amp.GradScaler("cpu", **case["scaler"]) if "scaler" in case else None
    first = next(iter(optimizer.param_groups[0]["params"]))
    recorded, scales = {}, []
    for k in range(COUNT):
        if "added" in case and case["added"][0] == k:
            optimizer.add_param_group(group(case["added"][1]))
        if "changed" in case and case["changed"][0] == k:
            optimizer.param_groups[case["changed"][1]]["lr"] = case["changed"][2]
        known = [weight for one in optimizer.param_groups for weight in one["params"]]
        for name, weight in weights.items():
            weight.grad = torch.from_numpy(np.array(data[f"gradients/{name}"][k]))
        if k + 1 in case.get("overflows", ()):
            first.grad.reshape(-1)[0] = math.inf
        if scaler is not None:
            scale = float(scaler.scale(torch.ones(())))
            scales.append(scale)
            for weight in known:
                weight.grad *= scale
            scaler.unscale_(optimizer)
        if "clip" in case:
            kind, bound, *p = case["clip"]
            if kind == "value":
                torch.nn.utils.clip_grad_value_(known, bound)
            else:
                torch.nn.utils.clip_grad_norm_(known, bound, float(p[0]))
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if k + 1 in RECORDED:
            recorded[str(k + 1)] = {name: plain(weights[name].detach().numpy()) for name in names if weights[name] in set(known)}
    return {"weights": recorded} | ({"scales": scales} if scales else {})


if __name__ == "__main__":
    write_or_check(__doc__, FILE, partial(text, CASES, run))
