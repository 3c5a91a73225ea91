"""What a training policy costs on a CPU: clips, checks, accumulation and masters, beside torch and what the memory allows.

    python benchmarks/policy.py [--quick] [--rounds N] [--only NAME] [--json FILE]

README.md beside this file says what the rows mean. Goals are reported and never asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from itertools import chain, cycle
from typing import Any

import numpy as np
from cpu import (
    CORES,
    LR,
    NUMBA,
    NUMPY,
    Arrays,
    Goal,
    Maker,
    Options,
    Peer,
    Result,
    Timed,
    command_line,
    copies,
    move,
    peer,
    resnet50,
    run_cases,
    timed,
)

import updaters as up

BOUND = 1.0
DECAY = 0.01
ELEMENTS = 25_000_000

CLIPPED = "torch, clip_grad_norm_ and fused"


def ours(backend: str, grads: Arrays, weights: Arrays, **policy: Any) -> Peer:
    """AdamW under a policy, `update.step` on all weights at once, with other gradients than at the call before."""
    update = up.get_updater(up.AdamW(LR, weight_decay=DECAY), backend=backend, **policy)
    weights, others = copies(weights), copies(grads)
    named = dict(enumerate(weights))
    calls = [partial(update.step, dict(enumerate(each)), named) for each in (grads, others)]
    return peer(cycle(calls), weights, [*grads, *others])


def by_hand(grads: Arrays, weights: Arrays) -> Peer:
    """The clip as one writes it in NumPy, and our AdamW."""
    update = up.get_updater(up.AdamW(LR, weight_decay=DECAY), backend="numba")
    weights = copies(weights)
    named = dict(enumerate(weights))

    def step() -> None:
        norm = np.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads))
        factor = min(1.0, BOUND / norm)
        update.step({i: grad * np.float32(factor) for i, grad in enumerate(grads)}, named)

    return peer(cycle([step]), weights, grads)


def torch_clipped(grads: Arrays, weights: Arrays) -> Peer:
    """`torch.nn.utils.clip_grad_norm_`, which clips gradients in place, and a fused `torch.optim.AdamW`.

    While it is compared with the others it gets its gradients anew; while it is timed it does not, and is spared the copies.
    """
    torch: Any = import_module("torch")
    torch.set_num_threads(CORES)
    parameters = [torch.nn.Parameter(torch.tensor(weight)) for weight in weights]
    originals = copies(grads)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(grad)
    adam = torch.optim.AdamW(parameters, lr=LR, weight_decay=DECAY, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, BOUND)
        adam.step()

    def compared() -> None:
        for parameter, grad in zip(parameters, originals, strict=True):
            parameter.grad.copy_(torch.from_numpy(grad))
        step()

    return peer(chain([compared] * 3, cycle([step])), [p.detach().numpy() for p in parameters], originals)


CLIP = up.transforms.ClipByGlobalNorm(BOUND)
CLIPS: dict[str, Maker] = {
    NUMPY: partial(ours, "numpy", clip=CLIP),
    NUMBA: partial(ours, "numba", clip=CLIP),
    "NumPy's clip, updaters": by_hand,
    CLIPPED: torch_clipped,
}

POLICIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "overrides": {"overrides": {"1*": {"weight_decay": None}, "2": {"lr_scale": 0.5}}},
    "loss scale": {"loss_scale": 1024.0},
    "nonfinite": {"nonfinite": "skip"},
    "loss scale that moves": {"loss_scale": up.loss_scale.GrowthInterval()},
    "clip by value": {"clip": up.transforms.ClipByValue(-1.0, 1.0)},
    "clip by norm": {"clip": up.transforms.ClipByNorm(BOUND)},
    "clip by global norm": {"clip": CLIP},
    "adaptive clip": {"clip": up.transforms.AGC()},
    "average": {"average": up.Average(0.999)},
    "report": {"report": True},
    "accumulate 4, a call": {"accumulate": 4},
    "all of them": {
        "nonfinite": "skip",
        "clip": CLIP,
        "loss_scale": up.loss_scale.GrowthInterval(),
        "average": up.Average(0.999),
        "report": True,
    },
}


def policies(options: Options) -> Result:
    """AdamW under each policy."""
    rng = np.random.default_rng(0)
    shapes = resnet50()
    weights = [np.float32(0.05) * rng.standard_normal(shape, np.float32) for shape in shapes]
    grads = [np.float32(0.01) * rng.standard_normal(shape, np.float32) for shape in shapes]
    peers = {name: ours("numba", grads, weights, **policy) for name, policy in POLICIES.items()}
    return timed("policies: resnet50's weights, one step, numba", peers, {}, ["nothing"], [], options.rounds)


def half(dtype: Any, policy: Mapping[str, Any]) -> Peer:
    """AdamW on one large weight of half precision, with gradients of its dtype."""
    rng = np.random.default_rng(0)
    weight = (0.05 * rng.standard_normal(ELEMENTS, np.float32)).astype(dtype)
    grads = [(0.01 * rng.standard_normal(ELEMENTS, np.float32)).astype(dtype) for _ in range(2)]
    update = up.get_updater(up.AdamW(LR, weight_decay=DECAY), backend="numba", **policy)
    return peer(cycle([partial(update, "w", grad, weight) for grad in grads]))


def masters(options: Options) -> Result:
    """Weights of half precision, beside the time in which the memory moves their bytes."""
    peers: dict[str, Peer] = {}
    goals = []
    dtypes: dict[str, Any] = {"float16": np.float16}
    absent = {}
    try:
        dtypes["bfloat16"] = import_module("ml_dtypes").bfloat16
    except ImportError as error:
        absent["bfloat16"] = f"absent: {error}"
    # Read: weight, gradient, and the float32 master and moments; written: all of them but the gradient.
    kept = {"masters": ({"master_weights": True}, 30), "random": ({"stochastic_rounding": 0}, 22), "neither": ({}, 22)}
    for name, dtype in dtypes.items():
        for how, (policy, size) in kept.items():
            peers[f"{name}, {how}"] = half(dtype, policy)
            peers[f"limit, {size} bytes"] = move(2 * ELEMENTS, size * ELEMENTS)
            if how == "masters":
                goals.append(Goal(f"{name}, {how}", 1.2, f"limit, {size} bytes"))
    title = f"masters: one weight of {ELEMENTS:,} elements, AdamW, one update, numba"
    return timed(title, peers, absent, ["limit, 30 bytes", "limit, 22 bytes"], goals, options.rounds)


CASES: dict[str, Callable[[Options], Result]] = {
    "clip": Timed(
        "clip: AdamW and the global norm of resnet50's 161 weights, one step",
        resnet50(),
        CLIPS,
        [CLIPPED],
        [Goal(NUMBA, 0.8, CLIPPED)],
        roundings=3,  # torch's norm is float32
    ),
    "policies": policies,
    "masters": masters,
}


def main() -> None:
    """Run the cases that were asked for, and print them."""
    arguments = command_line(__doc__, CASES, 20).parse_args()
    run_cases(CASES, arguments, Options(arguments.rounds or (5 if arguments.quick else 20), 0))


if __name__ == "__main__":
    main()
