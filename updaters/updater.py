"""The updater: checks, every weight's slots by index, and updates as transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, check_grad, check_weight, device, slot_dtype
from updaters.backends.trace import Recording, record
from updaters.formula import Formula
from updaters.gradient import Step, in_front, step_coefficients, steps_of
from updaters.memory import Places
from updaters.optimizers.base import Optimizer
from updaters.state import OptimizationState
from updaters.weight_state import Index, WeightState, check_index


@attrs.frozen(eq=False)
class Rule:
    """An optimizer made ready: its steps and its formula, recorded as one."""

    steps: tuple[Step, ...]
    coefficients: tuple[str, ...]
    scalars: tuple[str, ...]
    recording: Recording

    @classmethod
    def of(cls, optimizer: Optimizer) -> Rule:
        """The rule of an optimizer; the same for all that differ in numbers only."""
        kept = tuple(optimizer.slots), tuple(optimizer.scalars)
        return _rule(steps_of(optimizer), optimizer.formula, *kept, type(optimizer).__name__)

    def work_out(
        self, optimizer: Optimizer, state: OptimizationState, t: int, scalars: Mapping[str, float]
    ) -> tuple[list[float], dict[str, float]]:
        """The coefficients of steps and formula in their order, and the scalars' new values."""
        values = optimizer.coefficients(state, t, **scalars)
        try:
            numbers = [float(values[name]) for name in self.coefficients]
            after = {name: float(values[name]) for name in self.scalars}
            complete = len(values) == len(numbers) + len(after)
        except KeyError:
            complete = False
        if not complete and values.keys() != {*self.coefficients, *self.scalars}:
            name, wanted = type(optimizer).__name__, {*self.coefficients, *self.scalars}
            raise TypeError(f"{name}.coefficients must give {_listed(wanted)}, got {_listed(values)}")
        return step_coefficients(self.steps, optimizer, state) + numbers if self.steps else numbers, after


@lru_cache(maxsize=256)
def _rule(steps: tuple[Step, ...], function: Any, slots: tuple[str, ...], scalars: tuple[str, ...], name: str) -> Rule:
    formula = Formula.of(function, slots, name)
    return Rule(steps, formula.coefficients, scalars, record(in_front(steps, formula)))


Prepared: TypeAlias = tuple[WeightState, dict[str, float], Any]
"""An update that can no longer fail: what is kept for the weight, its scalars afterwards, and a backend's job."""

WorkedOut: TypeAlias = dict[tuple[int, int], tuple[list[float], dict[str, float]]]
"""Coefficients and new scalars by count and identity of the scalars: weights with the same history share them."""


class Updater:
    """Applies an optimizer to weights in place, and keeps every weight's slots, scalars and count.

    Made by `get_updater`. Different indices may be updated from different threads at once.

    Attributes:
        state: the clock.
        backend: the name of the backend, or `"auto"`.
    """

    def __init__(self, optimizer: Optimizer, state: OptimizationState | None = None, *, backend: str = "auto") -> None:
        check_optimizer(optimizer)
        if state is not None and not isinstance(state, OptimizationState):
            raise TypeError(f"state must be an OptimizationState or None, got {state!r}")
        self.backend = backends.check(backend)
        self.state = OptimizationState() if state is None else state
        self._owns_clock = state is None
        self._last_iteration = self.state.iteration
        self._known: dict[Index, WeightState] = {}
        self._places = Places()
        self._optimizer, self._rule = optimizer, Rule.of(optimizer)

    def __call__(self, index: Index, grad: Array, weight: Array) -> None:
        """Update one weight in place.

        Args:
            index: the weight's name, by which its slots are found.
            grad: its gradient; it is not written. Another float precision than the weight's is taken.
            weight: the array to change.

        Raises:
            TypeError, ValueError: on bad input, before anything has changed.
        """
        known, scalars, job = self._prepare(index, grad, weight, self.state, None)
        known.backend.run((job,))  # type: ignore[union-attr]  # _prepare has chosen one
        known.count += 1
        known.scalars = scalars
        self._known[known.index] = known

    def step(
        self, grads: Mapping[Any, Array | None] | Sequence[Array | None], weights: Mapping[Any, Array] | Sequence[Array]
    ) -> None:
        """Update several weights in place, all or none.

        Args:
            grads: the gradients by index, or in a sequence, whose positions are then the indices. A weight
                whose gradient is None is left as it is, and the update does not count for it.
            weights: the arrays to change, under the same indices.

        Raises:
            TypeError, ValueError: on bad input, before anything has changed, the clock included.
        """
        state = self.state
        # Where the caller advances the updater's own clock, it is not advanced twice.
        advances = self._owns_clock and state.iteration == self._last_iteration
        if advances:
            state = attrs.evolve(state, iteration=state.iteration + 1)
        worked_out: WorkedOut = {}
        pairs = list(_pairs(grads, weights))
        prepared = [self._prepare(index, grad, weight, state, worked_out) for index, grad, weight in pairs]
        self._places.take([(index, weight) for index, _, weight in pairs])
        for place, (index, grad, weight) in enumerate(pairs):
            if self._places.hold(grad, place):
                prepared[place] = self._prepare(index, grad.copy(), weight, state, worked_out)
        jobs: dict[Any, list[Any]] = {}
        for known, _, job in prepared:
            jobs.setdefault(known.backend, []).append(job)
        for backend, ready in jobs.items():
            backend.run(ready)
        for known, scalars, _ in prepared:
            known.count += 1
            known.scalars = scalars
            self._known[known.index] = known
        if prepared:
            self.state.iteration += advances
            self._last_iteration = self.state.iteration

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer. Another with the same slots and scalars may take its place at any time."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        old, new = ({*of.slots, *of.scalars} for of in (self._optimizer, optimizer))
        if self._known and old != new:
            raise ValueError(
                f"{optimizer!r} keeps {_listed(new)} for a weight, and the slots of {self._optimizer!r} are {_listed(old)}; "
                "a new updater begins with new slots"
            )
        rule = Rule.of(optimizer)
        for known in self._known.values():
            known.arrays = {name: known.arrays[name] for name in optimizer.slots}
            known.bound = None
        self._optimizer, self._rule = optimizer, rule

    @property
    def slots(self) -> Mapping[Index, WeightState]:
        """What is kept for each weight, by index: arrays, scalars and the count of its updates."""
        return MappingProxyType(self._known)

    def _prepare(
        self, index: Index, grad: Array, weight: Array, state: OptimizationState, worked_out: WorkedOut | None
    ) -> Prepared:
        """Check, work out coefficients, allocate and compile; nothing that is kept has changed."""
        known = self._known.get(index) if type(index) is str or type(index) is int else None
        if (
            known is None
            or type(weight) is not np.ndarray
            or type(grad) is not np.ndarray
            or weight.dtype is not known.dtype
            or grad.dtype is not known.dtype
            or not weight.shape == grad.shape == known.shape
            or not weight.flags.carray
        ):  # not the plainest of cases
            index = check_index(index)
            weight = check_weight(weight, index)
            grad = check_grad(grad, weight, index)
            known = self._known.get(index)
            if known is not None:
                known.check(weight)
        optimizer, rule = self._optimizer, self._rule
        count, scalars = (0, optimizer.scalars) if known is None else (known.count, known.scalars)
        if worked_out is None:
            coefficients, scalars = rule.work_out(optimizer, state, count + 1, scalars)
        else:
            history = count, id(scalars)
            if history not in worked_out:
                worked_out[history] = rule.work_out(optimizer, state, count + 1, scalars)
            coefficients, scalars = worked_out[history]
        if known is None:
            known = self._begin(index, weight)
        job = None if known.bound is None else known.bound.job(weight, grad, coefficients)
        if job is None:
            if known.backend is None:
                known.backend = self._backend_for(weight, index)
            known.bound = known.backend.bind(rule.recording, weight, grad, tuple(known.arrays.values()))
            job = known.bound.job(weight, grad, coefficients)
        return known, scalars, job

    def _begin(self, index: Index, weight: Array) -> WeightState:
        """New slots for a weight."""
        backend = self._backend_for(weight, index)
        dtype = slot_dtype(weight.dtype)
        arrays = {name: backend.zeros(weight, dtype) for name in self._optimizer.slots}
        return WeightState(index, weight.shape, weight.dtype, device(weight), arrays, dict(self._optimizer.scalars))

    def _backend_for(self, weight: Array, index: Index) -> backends.Backend:
        of = "numpy" if isinstance(weight, np.ndarray) else "cupy"
        if self.backend == "auto":
            return backends.best(of)
        if backends.LIBRARIES[self.backend] != of:
            raise TypeError(
                f"weight {index!r}: backend={self.backend!r} takes {backends.LIBRARIES[self.backend]} arrays, got a {of} array"
            )
        return backends.load(self.backend)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Updater) and self.__getstate__() == other.__getstate__()

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __getstate__(self) -> dict[str, Any]:
        names = ("backend", "state", "_owns_clock", "_last_iteration", "_known", "_optimizer")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._places = Places()
        self._rule = Rule.of(self._optimizer)

    def __repr__(self) -> str:
        size = sum(known.nbytes for known in self._known.values())
        weights = f"{len(self._known)} weight{'' if len(self._known) == 1 else 's'}"
        return f"Updater({self._optimizer!r}, {self.state!r}, backend={self.backend!r}; {weights}, {_readable(size)} of slots)"


def get_updater(optimizer: Optimizer, state: OptimizationState | None = None, *, backend: str = "auto") -> Updater:
    """The updater of an optimizer: `update(index, grad, weight)` and `update.step(grads, weights)`.

    Args:
        optimizer: the rule and its hyperparameters.
        state: the clock that schedules read, advanced by the caller. Without one the updater has its own,
            whose iteration each `step` advances.
        backend: `"numpy"`, `"numba"` or `"cupy"`; `"auto"` goes by the array, with numba where it is installed.

    Raises:
        TypeError: `optimizer` or `state` is something else.
        ValueError: no backend has that name.
        ModuleNotFoundError: the backend's library is not installed.

    Example:
        >>> weights = {"w": np.array([[1.0, 2.0]]), "b": np.array([0.5])}
        >>> update = up.get_updater(up.SGD(0.1))
        >>> update.step({"w": np.array([[1.0, -1.0]]), "b": None}, weights)
        >>> weights["w"]
        array([[0.9, 2.1]])
    """
    return Updater(optimizer, state, backend=backend)


def check_optimizer(optimizer: object) -> None:
    """Raise unless this is an optimizer with a rule."""
    if not isinstance(optimizer, Optimizer):
        hint = " (the class; call it)" if isinstance(optimizer, type) else ""
        raise TypeError(f"optimizer must be an Optimizer, got {optimizer!r}{hint}")
    if not hasattr(optimizer, "formula"):
        raise TypeError(f"optimizer must have a rule, and {optimizer!r} has no formula")


def _pairs(grads: Any, weights: Any) -> Iterator[tuple[Any, Array, Array]]:
    """Index, gradient and weight of each weight that has a gradient."""
    if isinstance(grads, Mapping) and isinstance(weights, Mapping):
        if grads.keys() != weights.keys():
            lone = [
                f"{what} only: {_listed(keys)}"
                for what, keys in (("grads", grads.keys() - weights.keys()), ("weights", weights.keys() - grads.keys()))
                if keys
            ]
            raise ValueError(f"step takes the same indices in grads and weights; in {'; in '.join(lone)}")
        pairs: Iterable[tuple[Any, Any, Any]] = ((index, grads[index], weight) for index, weight in weights.items())
    elif all(isinstance(side, Sequence) and not isinstance(side, (str, bytes)) for side in (grads, weights)):
        if len(grads) != len(weights):
            raise ValueError(f"step takes as many grads as weights, got {len(grads)} and {len(weights)}")
        pairs = zip(range(len(weights)), grads, weights, strict=True)
    else:
        kinds = f"{type(grads).__name__} and {type(weights).__name__}"
        raise TypeError(f"step takes grads and weights as two mappings or two sequences, got {kinds}")
    return ((index, grad, weight) for index, grad, weight in pairs if grad is not None)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(repr, names))) or "nothing"


def _readable(size: float) -> str:
    power = min(3, int(np.log10(max(size, 1)) // 3))
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
