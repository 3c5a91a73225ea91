"""Running a formula on whole arrays, as it is: NumPy's functions find CuPy's by the arrays they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np

from updaters.arrays import Array, compute_dtype, slot_dtype
from updaters.backends import Backend
from updaters.backends.trace import Recording
from updaters.formula import Formula
from updaters.memory import extent

Recorded: TypeAlias = tuple[Recording, Sequence[Array], Sequence[Array]]
"""A recording with its slots and its numbers."""


class Bound:
    """A formula bound to one weight's slots, with what comes before it and after it, recorded, which a backend runs.

    Args:
        formula: from the weight, the gradient, slots and coefficients, whole, to the new weight and slots.
        slots: what the formula keeps.
        before: where anything comes before: its recording, whose last slot takes the gradient, its other slots and its
            numbers. It is run on a copy of the weight.
        after: where anything comes after: its recording, to which the new weight is the gradient, its slots and numbers.
        backend: what runs these.
    """

    def __init__(
        self, formula: Formula, slots: Sequence[Array], before: Recorded | None, after: Recorded | None, backend: Backend
    ) -> None:
        self.formula, self.slots, self.before, self.after, self.backend = formula, slots, before, after, backend

    def job(self, weight: Array, grad: Array, coefficients: Sequence[Any]) -> Job:
        """The update, ready to run."""
        own = len(self.formula.coefficients)
        if self.before is None:
            return Job(self, weight, weight, grad, coefficients[:own], None, coefficients[own:])
        recording, slots, numbers = self.before
        dtype, count = slot_dtype(weight.dtype), len(recording.scalars)
        decayed = self.backend.slot(weight, weight.shape, dtype, "w")
        normalized = self.backend.slot(weight, weight.shape, dtype, 0.0)
        bound = self.backend.bind(recording, decayed, grad, (*slots, normalized), numbers)
        first = bound.job(decayed, grad, coefficients[:count])
        return Job(self, weight, decayed, normalized, coefficients[count : count + own], first, coefficients[count + own :])


class Job:
    """One weight's update, ready to run."""

    def __init__(
        self, bound: Bound, weight: Array, begin: Array, grad: Array, coefficients: Sequence[float], before: Any,
        last: Sequence[float],
    ) -> None:  # fmt: skip
        self.bound, self.weight, self.begin, self.grad = bound, weight, begin, grad
        self.coefficients, self.before, self.last = coefficients, before, last

    def work_out(self) -> Callable[[], None]:
        """What writes the update; nothing has been written yet.

        Raises:
            TypeError: the formula gives back something else than a weight and slots.
        """
        weight, slots, formula = self.weight, self.bound.slots, self.bound.formula
        real = compute_dtype(weight.dtype)
        assert real is not None
        if not weight.size:
            return lambda: None
        if self.before is not None:
            self.bound.backend.run((self.before,))
        dtype = slot_dtype(weight.dtype)
        with np.errstate(all="ignore"):
            begin, grad = (array.astype(dtype, copy=False) for array in (self.begin, self.grad))
            given = [_read_only(array) for array in (begin, grad, *slots)]
            new = formula.function(*given, *map(real.type, self.coefficients))
            results = new if isinstance(new, (tuple, list)) else (new,)
            targets = (weight, *slots)
            if [getattr(result, "shape", None) for result in results] != [target.shape for target in targets] or not all(
                np.can_cast(result.dtype, target.dtype, "same_kind") for result, target in zip(results, targets, strict=True)
            ):
                wanted = ", ".join(("w", *formula.slots))
                got = [(getattr(result, "shape", None), str(getattr(result, "dtype", type(result)))) for result in results]
                raise TypeError(f"{formula.name}.formula must give back ({wanted}) in their shapes and kinds, got {got}")
            jobs = []
            if self.bound.after is not None:
                recording, kept, numbers = self.bound.after
                end = results[0].astype(dtype)  # a copy, which nothing that is written lies in
                bound = self.bound.backend.bind(recording, weight, end, kept, numbers)
                jobs = [bound.job(weight, end, self.last)]
            changed = [
                (target, result.astype(target.dtype, copy=False))
                for target, result, old in zip(targets, results, (given[0], *given[2:]), strict=True)
                if (result is not old or (target is weight and self.begin is not weight)) and not (jobs and target is weight)
            ]
            changed = [(target, result.copy() if _lies_in(result, targets) else result) for target, result in changed]

        def write() -> None:
            if jobs:
                self.bound.backend.run(jobs)
            for target, result in changed:
                target[...] = result

        return write


def _read_only(array: Array) -> Array:
    """A view that NumPy refuses to write to; CuPy has none."""
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array


def _lies_in(array: Array, others: Sequence[Array]) -> bool:
    """Whether an array has memory between the first and the last element of another."""
    if isinstance(array, np.generic):  # what NumPy makes of arrays of no dimension
        return False
    start, end = extent(array)
    return any(low < end and start < high for low, high in map(extent, others))


class WholeArrays:
    """Runs jobs on whole arrays, each on its weight's device. All is worked out before any of it is written."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Run jobs that are ready."""
        ready = []
        for job in jobs:
            with _on_device(job.weight):
                ready.append((job.weight, job.work_out()))
        for weight, write in ready:
            with _on_device(weight):
                write()


def _on_device(array: Array) -> Any:
    return nullcontext() if isinstance(array, np.ndarray) else array.device


RUNNER = WholeArrays()
