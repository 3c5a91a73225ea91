"""The updater: checks, every weight's slots by index, and updates as transactions."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, check_grad, check_weight, extent, library, slot_dtype
from updaters.backends.trace import Recording, record
from updaters.formula import Formula
from updaters.gradient import Step, in_front, step_coefficients, steps_of
from updaters.optimizers.base import Optimizer
from updaters.state import OptimizationState

Index: TypeAlias = str | int | tuple[Any, ...]
"""The name of a weight: a str, an int, or a tuple of these."""


@attrs.define(eq=False)
class WeightState:
    """What the optimizer keeps for one weight. `state["m"]` finds an array or a scalar by its name.

    Attributes:
        shape: the weight's shape.
        dtype: the weight's dtype.
        device: the CuPy device the weight is on, or None.
        arrays: the slots by name, as they are and not copied.
        scalars: the host numbers by name.
        count: the updates that the weight has had.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: Any
    arrays: dict[str, Array]
    scalars: dict[str, float]
    count: int = 0

    def __getitem__(self, name: str) -> Any:
        if name in self.arrays:
            return self.arrays[name]
        if name in self.scalars:
            return self.scalars[name]
        raise KeyError(f"no slot or scalar {name!r}; there are {', '.join((*self.arrays, *self.scalars)) or 'none'}")

    @property
    def nbytes(self) -> int:
        """The size of the slots in bytes."""
        return sum(int(array.nbytes) for array in self.arrays.values())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, WeightState)
            and (self.shape, self.dtype, self.scalars, self.count) == (other.shape, other.dtype, other.scalars, other.count)
            and self.arrays.keys() == other.arrays.keys()
            and all(bool(((a == b) | ((a != a) & (b != b))).all()) for a, b in zip(self.arrays.values(), other.arrays.values(), strict=True))
        )


@attrs.frozen(eq=False)
class Rule:
    """An optimizer made ready: its steps and its formula, recorded as one."""

    steps: tuple[Step, ...]
    formula: Formula
    recording: Recording

    @classmethod
    def of(cls, optimizer: Optimizer) -> Rule:
        return _rule(steps_of(optimizer), optimizer.formula, tuple(optimizer.slots), type(optimizer).__name__)

    def coefficients(
        self, optimizer: Optimizer, state: OptimizationState, t: int, scalars: Mapping[str, float]
    ) -> tuple[list[float], dict[str, float]]:
        """The coefficients of steps and formula in their order, and the scalars' new values."""
        values = optimizer.coefficients(state, t, **scalars)
        if values.keys() != {*self.formula.coefficients, *scalars}:
            wanted = ", ".join(dict.fromkeys((*self.formula.coefficients, *scalars)))
            raise TypeError(f"{self.formula.name}.coefficients must give {wanted}; got {', '.join(values)}")
        own = [float(values[name]) for name in self.formula.coefficients]
        return step_coefficients(self.steps, optimizer, state) + own, {name: float(values[name]) for name in scalars}


@lru_cache(maxsize=256)
def _rule(steps: tuple[Step, ...], function: Any, slots: tuple[str, ...], name: str) -> Rule:
    formula = Formula.of(function, slots, name)
    return Rule(steps, formula, record(in_front(steps, formula)))


@attrs.frozen(eq=False)
class Item:
    """One weight's part in a transaction."""

    index: Index
    grad: Array
    weight: Array
    known: WeightState | None


class Updater:
    """Applies an optimizer to weights in place, and keeps every weight's slots, scalars and count.

    Made by `get_updater`. Different indices may be updated from different threads at once.

    Attributes:
        state: the clock.
        backend: the name of the backend, or `"auto"`.
    """

    def __init__(self, optimizer: Optimizer, state: OptimizationState | None = None, *, backend: str = "auto") -> None:
        if not isinstance(optimizer, Optimizer):
            hint = " (the class; call it)" if isinstance(optimizer, type) and issubclass(optimizer, Optimizer) else ""
            raise TypeError(f"optimizer must be an Optimizer, got {optimizer!r}{hint}")
        if state is not None and not isinstance(state, OptimizationState):
            raise TypeError(f"state must be an OptimizationState or None, got {state!r}")
        self.backend = backends.check(backend)
        self.state = OptimizationState() if state is None else state
        self._owns_clock = state is None
        self._last_iteration = self.state.iteration
        self._known: dict[Index, WeightState] = {}
        self._apart: list[weakref.ref[Any]] = []
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
        self._apply([self._check(index, grad, weight)], self.state)

    def step(self, grads: Mapping[Any, Array | None] | Sequence[Array | None], weights: Mapping[Any, Array] | Sequence[Array]) -> None:
        """Update several weights in place, all or none.

        Args:
            grads: the gradients by index, or in a sequence, whose positions are then the indices. A weight
                whose gradient is None is left as it is, and the update does not count for it.
            weights: the arrays to change, under the same indices.

        Raises:
            TypeError, ValueError: on bad input, before anything has changed, the clock included.
        """
        items = [self._check(index, grad, weight) for index, grad, weight in _pairs(grads, weights)]
        self._check_apart(items)
        if not self._owns_clock:
            self._apply(items, self.state)
        elif items:
            # Where the caller advances the updater's own clock, it is not advanced twice.
            still = self.state.iteration == self._last_iteration
            self._apply(items, attrs.evolve(self.state, iteration=self.state.iteration + 1) if still else self.state)
            self.state.iteration += still
            self._last_iteration = self.state.iteration

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer. Another with the same slots and scalars may take its place at any time."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer, got {optimizer!r}")
        old, new = ({*of.slots, *of.scalars} for of in (self._optimizer, optimizer))
        if self._known and old != new:
            raise ValueError(
                f"{optimizer!r} keeps {_listed(new)} for a weight, and the slots of {self._optimizer!r} are {_listed(old)}; "
                "a new updater begins with new slots"
            )
        rule = Rule.of(optimizer)
        for known in self._known.values():
            known.arrays = {name: known.arrays[name] for name in optimizer.slots}
        self._optimizer, self._rule = optimizer, rule

    @property
    def slots(self) -> Mapping[Index, WeightState]:
        """What is kept for each weight, by index: arrays, scalars and the count of its updates."""
        return MappingProxyType(self._known)

    def _check(self, index: Index, grad: Array, weight: Array) -> Item:
        index = check_index(index)
        weight = check_weight(weight, index)
        grad = check_grad(grad, weight, index)
        known = self._known.get(index)
        if known is not None:
            for what, now, then in (
                ("shape", weight.shape, known.shape),
                ("dtype", weight.dtype, known.dtype),
                ("device", _device(weight), known.device),
            ):
                if now != then:
                    raise ValueError(f"weight {index!r}: expected {what} {then} as in its earlier updates, got {now}")
        return Item(index, grad, weight, known)

    def _check_apart(self, items: Sequence[Item]) -> None:
        """Raise if weights of one step share memory; what was found apart last time is not looked at again."""
        if len(items) == len(self._apart) and all(ref() is item.weight for ref, item in zip(self._apart, items, strict=True)):
            return
        placed = sorted(((*extent(item.weight), place) for place, item in enumerate(items)))
        for position, (_, end, place) in enumerate(placed):
            for low, _, other in placed[position + 1 :]:
                if low >= end:
                    break
                first, second = sorted((place, other))
                if _share(items[first].weight, items[second].weight):
                    raise ValueError(
                        f"weights {items[first].index!r} and {items[second].index!r} share memory, "
                        "so the result of one step would depend on their order"
                    )
        self._apart = [weakref.ref(item.weight) for item in items]

    def _apply(self, items: Sequence[Item], state: OptimizationState) -> None:
        optimizer, rule = self._optimizer, self._rule
        # Weights with the same history share their coefficients.
        worked_out: dict[tuple[float, ...], tuple[list[float], dict[str, float]]] = {}
        new_scalars = []
        coefficients = []
        for item in items:
            count, scalars = (item.known.count, item.known.scalars) if item.known else (0, optimizer.scalars)
            key = (count, *scalars.values())
            if key not in worked_out:
                worked_out[key] = rule.coefficients(optimizer, state, count + 1, scalars)
            numbers, after = worked_out[key]
            coefficients.append(numbers)
            new_scalars.append(after)
        jobs: dict[str, list[Any]] = {}
        states = []
        for item, numbers in zip(items, coefficients, strict=True):
            backend = self._backend_for(item.weight, item.index)
            known = item.known or _new_state(optimizer, item.weight, backend)
            job = backend.prepare(rule.recording, item.weight, item.grad, tuple(known.arrays.values()), numbers)
            jobs.setdefault(backend.name, []).append(job)
            states.append(known)
        for name, ready in jobs.items():
            backends.load(name).run(ready)
        for item, known, after in zip(items, states, new_scalars, strict=True):
            known.count += 1
            known.scalars = after
            self._known[item.index] = known

    def _backend_for(self, weight: Array, index: Index) -> backends.Backend:
        of = library(weight)
        assert of is not None
        if self.backend == "auto":
            return backends.best(of)
        if backends.LIBRARIES[self.backend] != of:
            raise TypeError(f"weight {index!r}: backend={self.backend!r} takes {backends.LIBRARIES[self.backend]} arrays, got a {of} array")
        return backends.load(self.backend)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Updater) and self.__getstate__() == other.__getstate__()

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __getstate__(self) -> dict[str, Any]:
        names = ("backend", "state", "_owns_clock", "_last_iteration", "_known", "_optimizer")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._apart = []
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
        >>> update = get_updater(SGD(0.1))
        >>> update.step({"w": np.array([[1.0, -1.0]]), "b": None}, weights)
        >>> weights["w"]
        array([[0.9, 2.1]])
    """
    return Updater(optimizer, state, backend=backend)


def check_index(index: object) -> Index:
    """An index with NumPy's integers as ints, or an error that says what an index may be."""
    if type(index) is str or type(index) is int:
        return index
    if isinstance(index, str):
        return str(index)
    if isinstance(index, tuple):
        return tuple(check_index(part) for part in index)
    if not isinstance(index, bool):
        try:
            return operator.index(index)  # type: ignore[arg-type]  # refusing what has no index is the point
        except TypeError:
            pass
    raise TypeError(f"an index must be a str, an int or a tuple of these, got {index!r} ({type(index).__name__})")


def _pairs(grads: Any, weights: Any) -> Iterator[tuple[Any, Array, Array]]:
    """Index, gradient and weight of each weight that has a gradient."""
    if isinstance(grads, Mapping) and isinstance(weights, Mapping):
        if grads.keys() != weights.keys():
            lone = [f"{what} only: {_listed(keys)}" for what, keys in (("grads", grads.keys() - weights.keys()), ("weights", weights.keys() - grads.keys())) if keys]
            raise ValueError(f"step takes the same indices in grads and weights; in {'; in '.join(lone)}")
        pairs: Iterable[tuple[Any, Any, Any]] = ((index, grads[index], weight) for index, weight in weights.items())
    elif all(isinstance(side, Sequence) and not isinstance(side, (str, bytes)) for side in (grads, weights)):
        if len(grads) != len(weights):
            raise ValueError(f"step takes as many grads as weights, got {len(grads)} and {len(weights)}")
        pairs = zip(range(len(weights)), grads, weights, strict=True)
    else:
        raise TypeError(f"step takes two mappings or two sequences, got grads of {type(grads).__name__} and weights of {type(weights).__name__}")
    return ((index, grad, weight) for index, grad, weight in pairs if grad is not None)


def _new_state(optimizer: Optimizer, weight: Array, backend: backends.Backend) -> WeightState:
    dtype = slot_dtype(weight.dtype)
    arrays = {name: backend.zeros(weight, dtype) for name in optimizer.slots}
    return WeightState(weight.shape, weight.dtype, _device(weight), arrays, dict(optimizer.scalars))


def _device(weight: Array) -> Any:
    return None if isinstance(weight, np.ndarray) else weight.device


def _share(a: Array, b: Array) -> bool:
    try:
        return bool(np.shares_memory(a, b, max_work=10_000)) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else True
    except np.exceptions.TooHardError:
        return True


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(repr, names))) or "nothing"


def _readable(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000
    return f"{size:.3g} {unit}"
