"""What a step needs of all its weights together: whether gradients are finite, their norms, and jobs that are run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters.arrays import LARGEST, Array, real_dtype, slot_dtype
from updaters.backends import whole
from updaters.measured import Numbers, Table, norm_from, norm_of
from updaters.order import Call
from updaters.rule import Group, Section
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


def job(name: str, section: Section, entry: Entry, call: Call) -> Any:
    """A section that is not the update itself, as a job for a weight's backend."""
    known, grad, weight = entry
    coefficients = [*chain(*known.rule.around(section, call, known.count + 1))]
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
            w = weight
            if "master" in known._arrays:  # and where the weight was changed since it was stored, as it is
                master, most = known._arrays["master"], LARGEST[weight.dtype.name]
                stored = np.minimum(np.maximum(master, -most), most).astype(weight.dtype)
                w = np.where(weight == stored, master, weight)
            grad *= group.of_units.apply(w, grad, *coefficients).astype(real_dtype(grad.dtype))
        if known.rule.of_moduli:
            moduli, p = np.abs(grad).astype(np.float64), group.of_all.order
            if grad.size:
                known.row["total"][...] = moduli.max() if p == math.inf else (moduli**p).sum()


def by_device(entries: Sequence[Entry]) -> dict[str, tuple[Table, list[Index]]]:
    """The indices of some weights, by their device, with its table."""
    found: dict[str, tuple[Table, list[Index]]] = {}
    for known, _, _ in entries:
        found.setdefault(known.device, (known.table, []))[1].append(known.index)
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
        if entry[0].rule.group.of_all is not None:
            groups.setdefault(entry[0].rule.group, []).append(entry)
    calls = {device: attrs.evolve(call, factors={}) for device in {known.device for known, _, _ in entries}}
    norms = {}
    for group, members in groups.items():
        tables = by_device(members)
        norms[group] = norm = norm_of(tables, group.of_all.order)
        factor = group.of_all.factor(norm, call.state)
        for known, _, weight in members:
            shared = calls[known.device].factors
            if group not in shared:
                on_device = known.backend is not None and not isinstance(weight, np.ndarray)
                shared[group] = _on(known, weight, factor) if on_device else float(factor)
    return calls, norms


def _on(known: WeightState, weight: Array, factor: Any) -> Array:
    """A factor on a weight's device: it is there already, unless several devices share it."""
    if isinstance(factor, (float, np.generic, np.ndarray)):
        assert known.backend is not None
        return known.backend.number(weight, float(factor))
    return factor


def largest(entries: Sequence[Entry], numbers: Numbers, call: Call) -> float:
    """The largest magnitude in gradients once they are clipped, from what was measured."""
    peaks = [0.0]
    groups = {known.rule.group for known, _, _ in entries}
    for group in groups:
        members = {known.index for known, _, _ in entries if known.rule.group is group}
        own = [one for index, one in numbers.items() if index in members]
        factor = 1.0
        if group.of_all is not None:
            factor = float(group.of_all.factor(norm_from(own, group.of_all.order), call.state))
        peaks += [factor * one["peak"] for one in own]
    return float(np.max(peaks))
