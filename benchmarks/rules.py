"""Every rule on a CPU: one update of one large weight, beside what the memory allows and beside torch where it has the rule.

    python benchmarks/rules.py [--quick] [--rounds N] [--only NAME] [--json FILE]

README.md beside this file says what the columns mean. Goals are reported and never asserted.
"""

from __future__ import annotations

import argparse
import json
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from cpu import CORES, RULE, Peer, Samples, aligned, machine, measured, move, peer, readable, resnet50

import updaters as up
from updaters.backends.stages import split
from updaters.rule import Rule

SIZE = 16_000_000
MATRIX = (1024, 1024)


@attrs.frozen
class Contender:
    """One of our rules, and what torch has that does the same.

    Attributes:
        optimizer: ours.
        torch: torch's class and arguments, or None where there is none.
        kind: the quickest of its implementations on a CPU.
    """

    optimizer: up.Optimizer
    torch: tuple[str, dict[str, Any]] | None = None
    kind: str = "foreach"


RULES = {
    "SGD": Contender(up.SGD(1e-3), ("SGD", {}), "fused"),
    "SGD momentum": Contender(up.SGD(1e-3, momentum=0.9), ("SGD", {"momentum": 0.9}), "fused"),
    "SGD Nesterov": Contender(up.SGD(1e-3, momentum=0.9, nesterov=True), ("SGD", {"momentum": 0.9, "nesterov": True}), "fused"),
    "Adagrad": Contender(up.Adagrad(1e-3), ("Adagrad", {}), "fused"),
    "Adadelta": Contender(up.Adadelta(1e-3), ("Adadelta", {})),
    "RMSProp": Contender(up.RMSProp(1e-3), ("RMSprop", {})),
    "RMSProp momentum, centered": Contender(
        up.RMSProp(1e-3, momentum=0.9, centered=True), ("RMSprop", {"momentum": 0.9, "centered": True})
    ),
    "Adam": Contender(up.Adam(1e-3), ("Adam", {}), "fused"),
    "Adam AMSGrad": Contender(up.Adam(1e-3, amsgrad=True), ("Adam", {"amsgrad": True}), "fused"),
    "AdamW": Contender(up.AdamW(1e-3), ("AdamW", {}), "fused"),
    "Adamax": Contender(up.Adamax(1e-3), ("Adamax", {})),
    "Nadam": Contender(up.Nadam(1e-3), ("NAdam", {})),
    "RAdam": Contender(up.RAdam(1e-3), ("RAdam", {})),
    "AdaBelief": Contender(up.AdaBelief(1e-3)),
    "Yogi": Contender(up.Yogi(1e-3)),
    "Ftrl": Contender(up.Ftrl(1e-3)),
    "Lion": Contender(up.Lion(1e-4)),
    "ASGD": Contender(up.ASGD(1e-3), ("ASGD", {})),
    "Rprop": Contender(up.Rprop(1e-3), ("Rprop", {})),
    "ScheduleFreeSGD": Contender(up.ScheduleFreeSGD(1e-3)),
    "ScheduleFreeAdamW": Contender(up.ScheduleFreeAdamW(1e-3)),
    "LAMB": Contender(up.LAMB(1e-3, weight_decay=0.01)),
    "LARS": Contender(up.LARS(1e-3, weight_decay=1e-4)),
    "NovoGrad": Contender(up.NovoGrad(1e-3, weight_decay=1e-3)),
    "Prodigy": Contender(up.Prodigy()),
    "SGD, clipped by norm": Contender(up.SGD(1e-3, transforms=up.transforms.ClipByNorm(1.0))),
    "Adafactor, a vector": Contender(up.Adafactor(1e-3), ("Adafactor", {})),
}
MATRICES = {
    "Adafactor": Contender(up.Adafactor(1e-3), ("Adafactor", {})),
    "Muon": Contender(up.Muon(1e-3), ("Muon", {}), ""),
}


def traffic(optimizer: up.Optimizer) -> int | None:
    """The bytes per float32 element that a rule has to move, pass by pass; None for a rule of whole arrays."""
    recording = Rule.of(optimizer).recording
    if recording is None:
        return None
    moved = 0
    for made in split(recording).passes:
        part = made.recording
        read = (
            {operand for node in part.nodes for operand in node.operands}
            | {*part.outputs}
            | {n for s in part.sums for n in s.operands}
        )
        moved += sum(place in read for place in range(len(part.arrays))) + len(part.targets)
    return 4 * moved


def ours(optimizer: up.Optimizer, weight: Any, grads: Any) -> Peer:
    """`update(index, grad, weight)` with gradients in turn."""
    update = up.get_updater(optimizer, up.OptimizationState(iteration=1), backend="numba")
    return peer(cycle([partial(update, "w", grad, weight) for grad in grads]))


def theirs(contender: Contender, weight: Any, grads: Any) -> Peer:
    """A step of torch's."""
    torch: Any = import_module("torch")
    torch.set_num_threads(CORES)
    assert contender.torch is not None
    name, arguments = contender.torch
    parameter = torch.nn.Parameter(torch.tensor(weight))
    parameter.grad = torch.tensor(grads[0])
    switches = {contender.kind: True} if contender.kind else {}
    return peer(cycle([getattr(torch.optim, name)([parameter], lr=1e-3, **arguments, **switches).step]))


def peers_of(contender: Contender, shape: tuple[int, ...]) -> Iterator[tuple[str, Callable[[], Peer]]]:
    rng = np.random.default_rng(0)
    weight = np.float32(0.05) * rng.standard_normal(shape, np.float32)
    grads = [np.float32(0.01) * rng.standard_normal(shape, np.float32) for _ in range(2)]
    yield "ours", partial(ours, contender.optimizer, weight.copy(), grads)
    yield "adam", partial(ours, up.Adam(1e-3), weight.copy(), grads)
    if contender.torch is not None:
        yield "torch", partial(theirs, contender, weight, grads)
    moved = traffic(contender.optimizer)
    if moved is not None:
        yield "limit", partial(move, 2 * SIZE, moved * SIZE)


def allocates(optimizer: up.Optimizer, shape: tuple[int, ...]) -> tuple[float, float]:
    """What the first update keeps, and what a later one allocates while it runs, in sizes of the weight."""
    weight, grad = np.full(shape, 0.5, np.float32), np.full(shape, 0.01, np.float32)
    update = up.get_updater(optimizer, up.OptimizationState(iteration=1), backend="numba")
    update("warm-up", grad[:2].copy(), weight[:2].copy())
    tracemalloc.start()
    update("w", grad, weight)
    kept = tracemalloc.get_traced_memory()[0]
    update("w", grad, weight)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    update("w", grad, weight)
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return kept / weight.nbytes, most / weight.nbytes


def step(optimizer: up.Optimizer, weights: Any, grads: Any) -> Peer:
    """`update.step` on all weights at once, with gradients in turn."""
    update = up.get_updater(optimizer, up.OptimizationState(iteration=1), backend="numba")
    weights = [weight.copy() for weight in weights]
    return peer(cycle([partial(update.step, each, weights) for each in grads]))


def network(rounds: int) -> tuple[str, Samples]:
    """The table of rules with norms on the weights of a network."""
    rng = np.random.default_rng(0)
    weights = [np.float32(0.05) * rng.standard_normal(shape, np.float32) for shape in resnet50()]
    grads = [[np.float32(0.01) * rng.standard_normal(weight.shape, np.float32) for weight in weights] for _ in range(2)]
    names = ["Adam", "SGD momentum", "LAMB", "LARS", "NovoGrad", "Prodigy", "SGD, clipped by norm"]
    samples = measured({name: step(RULES[name].optimizer, weights, grads) for name in names}, rounds)
    rows = [["rule", "median", "x Adam", "goal", "met?"]]
    for name in names:
        median, ratio = samples.median(name), samples.median(name, "Adam")
        assert median is not None
        assert ratio is not None
        verdict = "" if name != "LAMB" else "undecided" if not samples.enough else "yes" if ratio <= 1.7 else "NO"
        rows.append([name, readable(median), f"{ratio:.2f}", "<= 1.7 x Adam" * (name == "LAMB"), verdict])
    return aligned(rows), samples


HEAD = [
    "rule", "bytes", "median", "x limit", "x Adam", "torch", "x torch", "kept", "allocated", "goal", "met?",
]  # fmt: skip


def row(name: str, contender: Contender, shape: tuple[int, ...], rounds: int) -> tuple[list[str], Samples]:
    """A line of the table."""
    peers = {}
    absent = ""
    for what, maker in peers_of(contender, shape):
        try:
            peers[what] = maker()
        except ImportError as error:
            absent = f"absent: {error}"
    samples = measured(peers, rounds)
    moved = traffic(contender.optimizer)
    kept, allocated = allocates(contender.optimizer, shape)
    ratios = {what: samples.median("ours", what) for what in ("limit", "adam", "torch")}
    shown = {what: "" if ratio is None else f"{ratio:.2f}" for what, ratio in ratios.items()}
    median = samples.median("ours")
    assert median is not None
    goal, value = "", None
    if moved is not None and len(split(Rule.of(contender.optimizer).recording).passes) == 1:  # type: ignore[arg-type]
        goal, value = "<= 1.25 x limit", (ratios["limit"] or 0) <= 1.25
    verdict = "" if value is None else "undecided" if not samples.enough else "yes" if value else "NO"
    theirs = absent or (f"{contender.torch[0]}, {contender.kind or 'single'}" if contender.torch else "")
    return [
        name, "" if moved is None else str(moved), readable(median), shown["limit"], shown["adam"], theirs, shown["torch"],
        f"{kept:.2f}", f"{allocated:.2f}", goal, verdict,
    ], samples  # fmt: skip


def main() -> None:
    """Measure the rules that were asked for, and print a table."""
    names = [*RULES, *MATRICES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="quiet rounds to measure (default 15)")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="a rule; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (5 if arguments.quick else 15)
    on = machine()
    print(RULE, flush=True)
    raw = {}
    for title, contenders, shape in (
        (f"one weight of {SIZE:,} elements", RULES, (SIZE,)),
        (f"one weight of {MATRIX[0]} x {MATRIX[1]}", MATRICES, MATRIX),
    ):
        rows, notes = [HEAD], []
        for name in arguments.only or contenders:
            if name in contenders:
                line, samples = row(name, contenders[name], shape, rounds)
                rows.append(line)
                raw[name] = {"seconds": samples.seconds, "disturbed": samples.disturbed}
                if not samples.enough:
                    notes.append(f"{name}: {samples.note}")
        if len(rows) > 1:
            print(f"\n## {title}\n\n{', '.join(f'{what} {which}' for what, which in on.items())}\n")
            print("\n".join([aligned(rows), "", *notes]), flush=True)
    if not arguments.only:
        table, samples = network(rounds)
        raw["resnet50"] = {"seconds": samples.seconds, "disturbed": samples.disturbed}
        print(f"\n## ResNet-50's 161 weights, 25,557,032 elements, one step\n\n{table}\n\n{samples.note}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": on, "rules": raw}, indent=1))


if __name__ == "__main__":
    main()
