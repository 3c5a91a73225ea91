"""Running a formula on whole arrays, as it is: NumPy's functions find CuPy's by the arrays they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any

import numpy as np

from updaters.arrays import Array, as_reals, compute_dtype, slot_dtype
from updaters.formula import Formula


@cache
def on_reals(step: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """A step for the pairs of reals that complex arrays are."""

    @wraps(step)
    def apply(w: Any, g: Any, *coefficients: Any) -> tuple[Any, Any]:
        if w.dtype.kind != "c":
            return step(w, g, *coefficients)
        pairs = step(as_reals(w), as_reals(g), *coefficients)
        real_w, real_g = (array.astype(array.dtype, order="C", copy=False).view(w.dtype)[..., 0] for array in pairs)
        return real_w, real_g

    return apply


class Bound:
    """A formula bound to one weight's slots."""

    def __init__(self, formula: Formula, slots: Sequence[Array]) -> None:
        self.formula, self.slots = formula, slots

    def job(self, weight: Array, grad: Array, coefficients: Sequence[float]) -> Job:
        """The update, ready to run."""
        return Job(self, weight, grad, coefficients)


class Job:
    """One weight's update, ready to run. What it gives is all there before any of it is written."""

    def __init__(self, bound: Bound, weight: Array, grad: Array, coefficients: Sequence[float]) -> None:
        self.bound, self.weight, self.grad, self.coefficients = bound, weight, grad, coefficients

    def run(self) -> None:
        """Update the weight and its slots."""
        weight, slots = self.weight, self.bound.slots
        if not weight.size:
            return
        real = compute_dtype(weight.dtype)
        assert real is not None
        with np.errstate(all="ignore"):
            w, g = (array.astype(slot_dtype(weight.dtype), copy=False) for array in (weight, self.grad))
            new = self.bound.formula.function(w, g, *slots, *map(real.type, self.coefficients))
            results = new if isinstance(new, (tuple, list)) else (new,)
            shapes = [getattr(result, "shape", None) for result in results]
            if shapes != [array.shape for array in (weight, *slots)]:
                name, wanted = self.bound.formula.name, ", ".join(("w", *self.bound.formula.slots))
                raise TypeError(f"{name}.formula must give back ({wanted}) in their shapes, got arrays of shapes {shapes}")
            for array, result in zip((weight, *slots), results, strict=True):
                if result is not array:
                    array[...] = result


class WholeArrays:
    """Runs jobs on whole arrays, each on its weight's device."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Run jobs that are ready."""
        for job in jobs:
            if isinstance(job.weight, np.ndarray):
                job.run()
            else:
                with job.weight.device:
                    job.run()


RUNNER = WholeArrays()
