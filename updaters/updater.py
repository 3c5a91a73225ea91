"""The updater: checks, every weight's slots by index, and updates as transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, as_reals, check_grad, check_weight, compute_dtype, device, slot_dtype
from updaters.backends import Backend, Bound, whole
from updaters.backends.trace import Recording, record
from updaters.formula import Formula
from updaters.gradient import Step, in_front, step_coefficients, steps_of
from updaters.memory import Places
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.state import OptimizationState
from updaters.weight_state import Index, WeightState, check_index


@attrs.frozen(eq=False)
class Rule:
    """An optimizer made ready: its steps and its formula recorded as one, or for whole arrays the steps alone."""

    optimizer: Optimizer
    steps: tuple[Step, ...]
    coefficients: tuple[str, ...]
    scalars: tuple[str, ...]
    formula: Formula
    recording: Recording | None
    whole_array: bool

    @classmethod
    def of(cls, optimizer: Optimizer) -> Rule:
        """The rule of an optimizer; those that differ in numbers only share a recording."""
        name = type(optimizer).__name__
        if isinstance(optimizer.slots, str):
            raise TypeError(f"{name}.slots must be a tuple of names, got {optimizer.slots!r}")
        steps = steps_of(optimizer)
        if optimizer.whole_array and optimizer.numbers:
            raise TypeError(
                f"{name}.numbers must be () where whole_array is set, got {optimizer.numbers!r}; use scalars or slots"
            )
        own = Formula.of(optimizer.formula, tuple(optimizer.slots), tuple(optimizer.numbers), name)
        recording = _recording(tuple(step.apply for step in steps), own, optimizer.whole_array)
        return cls(optimizer, steps, own.coefficients, tuple(optimizer.scalars), own, recording, optimizer.whole_array)

    def work_out(self, state: OptimizationState, t: int, scalars: Mapping[str, float]) -> tuple[list[float], dict[str, float]]:
        """The coefficients of steps and formula in their order, and the scalars' new values."""
        values = self.optimizer.coefficients(state, t, **scalars)
        try:
            numbers = [float(values[name]) for name in self.coefficients]
            after = {name: float(values[name]) for name in self.scalars}
            complete = len(values) == len(numbers) + len(after)
        except KeyError:
            complete = False
        except (TypeError, ValueError):
            raise TypeError(f"{self.formula.name}.coefficients must give numbers by name, got {values!r}") from None
        if not complete and values.keys() != {*self.coefficients, *self.scalars}:
            wanted = {*self.coefficients, *self.scalars}
            raise TypeError(f"{self.formula.name}.coefficients must give {_listed(wanted)}, got {_listed(values)}")
        return step_coefficients(self.steps, self.optimizer, state) + numbers if self.steps else numbers, after

    def bind(self, backend: Backend, weight: Array, grad: Array, known: WeightState) -> Bound:
        """Bind the rule to what is kept for a weight, compiled."""
        slots = [known._arrays[name] for name in self.formula.slots]
        if self.whole_array:
            return whole.Bound(self.formula, slots, self.recording, backend)
        assert self.recording is not None
        return backend.bind(self.recording, weight, grad, slots, [known._arrays[name] for name in self.formula.numbers])


@lru_cache(maxsize=256)
def _recording(steps: tuple[Callable[..., Any], ...], own: Formula, whole_array: bool) -> Recording | None:
    """The steps and the rule as one; of a rule of whole arrays the steps alone, where there are any."""
    if not whole_array:
        return record(in_front(steps, own))
    return record(in_front(steps, Formula(own.name, lambda w, g, gradient: (w, g), ("gradient",), (), ()))) if steps else None


Prepared: TypeAlias = tuple[WeightState, dict[str, float], Any]
"""An update that can no longer fail, but for the formula of a rule of whole arrays: what is kept for the weight, its
scalars afterwards, and a job for its backend."""

WorkedOut: TypeAlias = dict[tuple[Rule, int, int], tuple[list[float], dict[str, float]]]
"""Coefficients and new scalars by rule, count and identity of the scalars: weights with the same history share them."""


class Updater:
    """Applies an optimizer to weights in place, and keeps every weight's slots, scalars and count.

    Made by `get_updater`. Different indices may be updated from different threads at once.
    """

    def __init__(self, optimizer: Optimizer, state: OptimizationState | None = None, *, backend: str = "auto") -> None:
        check_optimizer(optimizer)
        if state is not None and not isinstance(state, OptimizationState):
            raise TypeError(f"state must be an OptimizationState or None, got {state!r}")
        self._backend = backends.check(backend)
        self._state = OptimizationState() if state is None else state
        self._owns_clock = state is None
        self._known: dict[Index, WeightState] = {}
        self._places = Places(())
        self._optimizer, self._rules = optimizer, {id(optimizer): Rule.of(optimizer)}

    def __call__(self, index: Index, grad: Array, weight: Array) -> None:
        """Update one weight in place.

        Args:
            index: the weight's name, by which its slots are found.
            grad: its gradient; it is not written. Another float precision than the weight's is taken.
            weight: the array to change.

        Raises:
            TypeError, ValueError: on bad input, before anything has changed.
        """
        known, scalars, job = self._prepare(index, grad, weight, self._state, None)
        known.runner.run((job,))
        known.count += 1
        known._scalars = scalars
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
        state = self._state
        # Where the caller runs the updater's own clock through its data, it is not advanced twice.
        advances = self._owns_clock and not state.is_driven
        if advances:
            state = attrs.evolve(state, iteration=state.iteration + 1)
        worked_out: WorkedOut = {}
        pairs = list(_pairs(grads, weights))
        prepared = [self._prepare(index, grad, weight, state, worked_out) for index, grad, weight in pairs]
        if len({known.index for known, _, _ in prepared}) < len(prepared):
            raise ValueError(
                f"step takes an index once, got several that mean the same: {_listed(index for index, _, _ in pairs)}"
            )
        laid = [(index, weight) for index, _, weight in pairs]
        places = self._places
        if not places.are_of(laid):
            places = self._places = Places(laid)
        for place in places.held([grad for _, grad, _ in pairs]):
            index, grad, weight = pairs[place]
            prepared[place] = self._prepare(index, grad.copy(), weight, state, worked_out)
        jobs: dict[Any, list[Any]] = {whole.RUNNER: []}  # the first, since a formula that runs as it is may yet fail
        for known, _, job in prepared:
            jobs.setdefault(known.runner, []).append(job)
        for runner, ready in jobs.items():
            if ready:
                runner.run(ready)
        for known, scalars, _ in prepared:
            known.count += 1
            known._scalars = scalars
            self._known[known.index] = known
        if prepared:
            self._state.iteration += advances

    def evaluation_weight(self, index: Index, weight: Array) -> Array:
        """The weight to evaluate with, as a new array of the weight's dtype: what the rule averages, or a plain copy.

        Args:
            index: the weight's name.
            weight: the weight as its last update left it; it is not written.

        Raises:
            TypeError, ValueError: on bad input, as an update would.
            KeyError: the weight has had no update.
        """
        index = check_index(index)
        weight = check_weight(weight, index, written=False)
        known = self._known.get(index)
        if known is None:
            raise KeyError(f"weight {index!r} has had no update; there are {_listed(self._known)}")
        known.check(weight)
        on_device = nullcontext() if isinstance(weight, np.ndarray) else weight.device
        with np.errstate(all="ignore"), on_device:
            arrays = {name: as_reals(array) for name, array in known.arrays.items()}
            w = as_reals(weight).astype(compute_dtype(weight.dtype))
            rule = known.rule or self._rule_for(index, known.shape, known.dtype, self._optimizer)
            better = rule.optimizer.evaluation(w, {**arrays, **known.scalars})
            if isinstance(weight, np.ndarray):
                better = np.asarray(better)
            if weight.dtype.kind == "c":
                better = better.astype(better.dtype, order="C").view(slot_dtype(weight.dtype))[..., 0]
            return better.astype(weight.dtype)

    @property
    def state(self) -> OptimizationState:
        """The clock: the caller's, or the updater's own, whose iteration each `step` advances."""
        return self._state

    @property
    def backend(self) -> str:
        """The name of the backend, or `"auto"`."""
        return self._backend

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer. Another with the same slots and scalars may take its place at any time."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        own = Rule.of(optimizer)
        rules = {index: self._rule_for(index, known.shape, known.dtype, optimizer) for index, known in list(self._known.items())}
        for index, rule in rules.items():
            known = self._known[index]
            old, new = {*known.arrays}, {*rule.formula.slots, *rule.formula.numbers}
            if (old, {*known.scalars}) != (new, {*rule.scalars}):
                raise ValueError(
                    f"{rule.optimizer!r} keeps {_listed(new | {*rule.scalars})} for weight {index!r}, and {self._optimizer!r} "
                    f"has kept {_listed(old | {*known.scalars})}; a new updater begins with new slots"
                )
        self._optimizer, self._rules = optimizer, {id(rule.optimizer): rule for rule in (own, *rules.values())}
        for index, rule in rules.items():
            known = self._known[index]
            known.rule, known.bound = rule, None

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
        rule: Rule | None = None if known is None else known.rule
        if rule is None:
            rule = self._rule_for(index, weight.shape, weight.dtype, self._optimizer)
        count, scalars = (0, rule.optimizer.scalars) if known is None else (known.count, known._scalars)
        if worked_out is None:
            coefficients, scalars = rule.work_out(state, count + 1, scalars)
        else:
            history = rule, count, id(scalars)
            if history not in worked_out:
                worked_out[history] = rule.work_out(state, count + 1, scalars)
            coefficients, scalars = worked_out[history]
        if known is None:
            known = self._begin(index, weight, rule.optimizer, state)
        job = None if known.bound is None else known.bound.job(weight, grad, coefficients)
        if job is None:
            if known.backend is None:
                known.backend = self._backend_for(weight, index)
            known.rule = rule
            known.runner = whole.RUNNER if rule.whole_array else known.backend
            known.bound = rule.bind(known.backend, weight, grad, known)
            job = known.bound.job(weight, grad, coefficients)
        return known, scalars, job

    def _rule_for(self, index: Index, shape: tuple[int, ...], dtype: np.dtype[Any], optimizer: Optimizer) -> Rule:
        """The rule for a weight, by an optimizer."""
        chosen = optimizer.for_weight(index, shape, dtype)
        if id(chosen) not in self._rules:
            self._rules[id(chosen)] = Rule.of(chosen)  # which holds the optimizer, so that its id stays its own
        return self._rules[id(chosen)]

    def _begin(self, index: Index, weight: Array, optimizer: Optimizer, state: OptimizationState) -> WeightState:
        """New slots and numbers for a weight."""
        backend = self._backend_for(weight, index)
        start = optimizer.initial(state)
        arrays = {}
        for name in optimizer.slots:
            dtype: Any = compute_dtype(weight.dtype) if optimizer.is_real(name) else slot_dtype(weight.dtype)
            arrays[name] = backend.slot(weight, optimizer.slot_shape(name, weight.shape), dtype, start.get(name, 0.0))
        arrays |= {name: backend.number(weight, float(start.get(name, 0.0))) for name in optimizer.numbers}
        return WeightState(index, weight.shape, weight.dtype, device(weight), arrays, dict(optimizer.scalars))

    def _backend_for(self, weight: Array, index: Index) -> Backend:
        of = "numpy" if isinstance(weight, np.ndarray) else "cupy"
        if self._backend == "auto":
            return backends.best(of)
        if backends.LIBRARIES[self._backend] != of:
            raise TypeError(
                f"weight {index!r}: backend={self._backend!r} takes {backends.LIBRARIES[self._backend]} arrays, got a {of} array"
            )
        return backends.load(self._backend)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Updater) and self.__getstate__() == other.__getstate__()

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __getstate__(self) -> dict[str, Any]:
        names = ("_backend", "_state", "_owns_clock", "_optimizer")
        return {name: getattr(self, name) for name in names} | {"_known": dict(self._known)}

    def __setstate__(self, values: dict[str, Any]) -> None:
        backends.check(values["_backend"])
        self.__dict__.update(values)
        self._places = Places(())
        self._rules = {id(self._optimizer): Rule.of(self._optimizer)}

    def __repr__(self) -> str:
        size = sum(known.nbytes for known in list(self._known.values()))
        weights = f"{len(self._known)} weight{'' if len(self._known) == 1 else 's'}"
        return f"Updater({self._optimizer!r}, {self._state!r}, backend={self._backend!r}; {weights}, {_readable(size)} of slots)"


def get_updater(optimizer: Optimizer, state: OptimizationState | None = None, *, backend: str = "auto") -> Updater:
    """The updater of an optimizer: `update(index, grad, weight)` and `update.step(grads, weights)`.

    Args:
        optimizer: the rule and its hyperparameters.
        state: the clock that schedules read, advanced by the caller. Without one the updater has its own, of batch
            size 1, whose iteration each `step` advances (unless a loop over its `batches` does). Threads that
            step at once need a clock of the caller's.
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
