"""What a step needs of all its weights together: whether gradients are finite, their norms, and jobs that are run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from hashlib import blake2b
from itertools import chain
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters.arrays import Array, real_dtype, slot_dtype
from updaters.backends import load, whole
from updaters.measured import Numbers, Table, norm_from, norm_of
from updaters.order import NOTHING, Call
from updaters.policy import Policy
from updaters.rule import Group, Section, Storage
from updaters.weight_state import Index, WeightState

Entry: TypeAlias = tuple[WeightState, Array, Array]
"""What is kept for a weight, its gradient and itself, all checked."""


def recorded(known: WeightState, section: Section) -> whole.Recorded:
    """A section's recording, with the slots and the numbers of a weight that it works on."""
    formula, arrays = section.formula, known._arrays
    slots = [arrays[name] for name in formula.slots if name in arrays]
    kept = known.rule.kept_numbers(section)
    numbers = [(arrays if place < kept else known.row)[name] for place, name in enumerate(formula.numbers)]
    return section.recording, slots, numbers


def bind(known: WeightState, section: Section, weight: Array, grad: Array) -> Any:
    """A section bound to what is kept for a weight, compiled."""
    recording, slots, numbers = recorded(known, section)
    assert known.backend is not None
    return known.backend.bind(recording, weight, grad, slots, numbers)


def read(known: WeightState, weight: Array, policy: Policy) -> Array:
    """The weight as its rule reads it: where it has a master, a new array in the master's dtype."""
    begin = Storage.of(weight.dtype, policy).begin
    if not begin or "master" not in known.arrays:  # a weight that stands still may have been loaded without one
        return weight
    backend = load("numpy" if isinstance(weight, np.ndarray) else "cupy")
    w = backend.slot(weight, weight.shape, slot_dtype(weight.dtype), "w")
    bound = backend.bind(Section.of(NOTHING, begin).recording, w, w.copy(), [known._arrays["master"]], [])
    backend.run([bound.job(w, w.copy(), [])])
    return w


def key(known: WeightState) -> tuple[float, float]:
    """The key of a weight's rounding at its next update, as two numbers of 32 bits."""
    text = repr((known.rule.policy.stochastic_rounding, known.index, known.count, known.gathered))
    digest = blake2b(text.encode(), digest_size=8).digest()
    return float(int.from_bytes(digest[:4], "little")), float(int.from_bytes(digest[4:], "little"))


def job(name: str, section: Section, entry: Entry, call: Call) -> Any:
    """A section that is not the update itself, as a job for a weight's backend."""
    known, grad, weight = entry
    coefficients: Sequence[Any] = ()
    if section.takes:
        coefficients = [*chain(*known.rule.around(section, call, known.count + 1)), *(key(known) if section.takes_key else ())]
    bound = known.others.get(name)
    ready = None if bound is None else bound.job(weight, grad, coefficients)
    if ready is None:
        bound = known.others[name] = bind(known, section, weight, grad)
        ready = bound.job(weight, grad, coefficients)
    return ready


def run(jobs: Sequence[tuple[Any, Any]]) -> None:
    """Run jobs, given with what runs them."""
    by_runner: dict[Any, list[Any]] = {whole.RUNNER: []}  # the first, since a formula that runs as it is may yet fail
    for runner, ready in jobs:
        by_runner.setdefault(runner, []).append(ready)
    for runner, ready in by_runner.items():
        if ready:
            runner.run(ready)


def measured(entries: Sequence[Entry], call: Call) -> list[Entry]:
    """Measure what decides about a step, and write nothing; where gradients were made apart for it, these go on."""
    ready: list[Entry] = []
    first, second = [], []
    for known, grad, weight in entries:
        assert known.backend is not None
        section = known.rule.prepare
        if section is not None:
            apart = known.backend.slot(weight, weight.shape, slot_dtype(weight.dtype), "w")
            first.append((known.backend, job("prepare", section, (known, grad, apart), call)))
            grad = apart
        ready.append((known, grad, weight))
    run(first)
    for entry in ready:
        if entry[0].rule.prepare is not None:
            _by_units(entry, call)
    for entry in ready:
        section = entry[0].rule.measure
        if section is not None:
            second.append((entry[0].backend, job("measure", section, entry, call)))
    run(second)
    return ready


def _by_units(entry: Entry, call: Call) -> None:
    """Clip each unit of a gradient that lies apart, and measure the moduli of a complex one."""
    known, grad, weight = entry
    group, on_device = known.rule.group, nullcontext() if isinstance(weight, np.ndarray) else weight.device
    with np.errstate(all="ignore"), on_device:
        if group.of_units is not None and grad.size:
            coefficients = group.of_units.coefficients(known.rule.optimizer.at(call.state), call.state)
            w = read(known, weight, known.rule.policy)
            grad *= group.of_units.apply(w, grad, *coefficients).astype(real_dtype(grad.dtype))
        if known.rule.of_moduli:
            _measure_moduli(known, np.abs(grad).astype(np.float64), group.of_all.order)


def _measure_moduli(known: WeightState, moduli: Array, p: float) -> None:
    """What `order.norm` measures of real gradients, of the moduli of a complex one."""
    if not moduli.size:
        known.row["total"][...] = known.row["huge"][...] = 0.0
    elif p in (1, math.inf):
        known.row["total"][...] = moduli.max() if p == math.inf else moduli.sum()
    else:
        most = moduli.max()
        known.row["total"][...] = ((moduli / np.where(most > 0, most, 1.0)) ** p).sum()
        known.row["huge"][...] = most


def by_device(entries: Sequence[Entry]) -> dict[str, tuple[Table, list[Index]]]:
    """The indices of some weights, by their device, with its table."""
    found: dict[str, tuple[Table, list[Index]]] = {}
    for known, _, _ in entries:
        if known.device not in found:
            found[known.device] = known.table, []
        found[known.device][1].append(known.index)
    return found


def numbers_of(entries: Sequence[Entry]) -> Numbers:
    """What was measured of each weight, on the host: each device is asked once."""
    return {
        index: numbers for table, indices in by_device(entries).values() for index, numbers in table.deciding(indices).items()
    }


def factors(entries: Sequence[Entry], call: Call) -> tuple[dict[str, Call], dict[Group, Any]]:
    """For each device the call with the factors of its clips, and the norms of all groups that have one."""
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        group = entry[0].rule.group
        if group.of_all is not None:
            if group not in groups:
                groups[group] = []
            groups[group].append(entry)
    some = {known.device: (known, weight) for known, _, weight in entries}
    calls = {device: attrs.evolve(call, factors={}) for device in some}
    norms = {}
    for group, members in groups.items():
        tables = by_device(members)
        norms[group] = norm = norm_of(tables, group.of_all.order)
        factor = group.of_all.factor(norm, call.state)
        for device in tables:
            calls[device].factors[group] = _on(*some[device], factor)
    return calls, norms


def _on(known: WeightState, weight: Array, factor: Any) -> Any:
    """A factor where a weight is: it is on its device already, unless there are several devices."""
    if isinstance(weight, np.ndarray):
        return float(factor)
    if isinstance(factor, (np.generic, np.ndarray)):
        assert known.backend is not None
        return known.backend.number(weight, float(factor))
    return factor


def largest(entries: Sequence[Entry], numbers: Numbers, call: Call) -> float:
    """The largest magnitude of gradients as a loss scale wants it, from what was measured."""
    peaks = [0.0]
    for known, _, _ in entries:
        rule, factor = known.rule, 1.0
        if not rule.peak_of_clipped:
            factor = call.state.batch_size if rule.optimizer.gradient == "sum" else 1.0
        elif rule.group.of_all is not None:
            own = [numbers[other.index] for other, _, _ in entries if other.rule.group is rule.group]
            factor = float(rule.group.of_all.factor(norm_from(own, rule.group.of_all.order), call.state))
        peaks.append(factor * numbers[known.index]["peak"])
    return float(np.max(peaks))
