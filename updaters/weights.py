"""Every weight that an updater has: what is kept for it, by which rule it is updated, and updates of several at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import LARGEST, Array, DType, as_reals, check_grad, check_weight, compute_dtype, device, slot_dtype
from updaters.backends import Backend, whole
from updaters.checks import listed
from updaters.measured import Tables
from updaters.memory import Places
from updaters.optimizers.base import Optimizer
from updaters.order import Call
from updaters.overrides import Choice
from updaters.policy import FROZEN, Frozen
from updaters.rule import Rule
from updaters.state import OptimizationState
from updaters.transaction import Entry, bind, job, key, read, recorded, run
from updaters.weight_state import Index, WeightState, check_index


class Weights:
    """What is kept for each weight, and what updates it.

    Attributes:
        backend: the name of the backend, or `"auto"`.
        choice: which optimizer each weight has.
        known: what is kept, by index.
        reports: whether norms are taken for a report.
    """

    def __init__(self, choice: Choice, known: dict[Index, WeightState], backend: str, reports: bool) -> None:
        self.backend, self.known, self.reports = backend, known, reports
        for index in known:
            choice.match(index)
        self.take_up(choice, {})

    def take_up(self, choice: Choice, rules: dict[Any, Rule]) -> None:
        """Have these rules from now on."""
        before: Choice | None = getattr(self, "choice", None)
        if before is None or before.policy.overrides != choice.policy.overrides:
            self.warned = not choice.policy.overrides
            for index in [] if before is None else list(before.matches):  # weights that have stood still too
                choice.match(index)
        else:
            choice.matches = before.matches
        self.choice, self.rules = choice, rules
        self.places, self.tables = Places(()), Tables()
        self.made(choice, rules, choice.optimizer, choice.group, None)  # whose errors come now

    def change(self, choice: Choice) -> None:
        """Go on with other rules, if they keep the same for every weight."""
        rules: dict[Any, Rule] = {}
        chosen: dict[Index, Rule | Frozen] = {}
        for index, known in list(self.known.items()):
            found = choice.of(index, known.shape, known.dtype)
            if isinstance(found, Frozen):
                chosen[index] = found
                continue
            rule = chosen[index] = self.made(choice, rules, *found, known.dtype)
            old, new = {*known.arrays}, {*rule.own.slots, *rule.own.numbers, *rule.kept}
            if (old | ({*rule.kept} if known.waiting else set()), {*known.scalars}) != (new, {*rule.scalars}):
                mine, theirs = (attrs.evolve(each, policy=None) for each in (self.choice.optimizer, rule.optimizer))
                before = f"{mine!r} has kept {listed(old | {*known.scalars})}"
                raise ValueError(
                    f"{theirs!r} keeps {listed(new | {*rule.scalars})} for weight {index!r}, and {before}; "
                    "a new updater begins with new slots"
                )
            if known.waiting:
                self._check_loaded(known, rule)
        self.take_up(choice, rules)
        for index, rule_or_frozen in chosen.items():
            known = self.known[index]
            known.unbind(rule_or_frozen)
            if known.gathered and isinstance(rule_or_frozen, Frozen):  # or it would wait for a group that goes on without it
                known.empty()

    def _check_loaded(self, known: WeightState, rule: Rule) -> None:
        """Raise where what was loaded for a weight that stood still is not what its rule keeps."""
        for name, (shape, dtype) in self.expected(rule, known.shape, known.dtype).items():
            array = known.arrays.get(name)
            if array is not None and (array.shape, array.dtype) != (shape, dtype):
                there, here = f"{array.dtype}{list(array.shape)}", f"{dtype}{list(shape)}"
                raise ValueError(f"weight {known.index!r}: slot {name!r}: {there} was loaded, {here} here")

    def rule_for(self, index: Index, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Rule | Frozen:
        """The rule for a weight."""
        found = self.choice.of(index, shape, dtype)
        return found if isinstance(found, Frozen) else self.made(self.choice, self.rules, *found, dtype)

    def made(self, choice: Choice, rules: dict[Any, Rule], optimizer: Optimizer, group: Any, dtype: Any) -> Rule:
        """The rule of an optimizer, made once."""
        policy = choice.policy
        differ = (
            policy.master_weights or policy.stochastic_rounding is not None or policy.decision or group.of_all or self.reports
        )
        key = id(optimizer), id(group), dtype if differ else None
        if key not in rules:  # each holds its optimizer and its group, so that their ids stay their own
            rules[key] = Rule.of(optimizer, policy, group, key[2], self.reports)
        return rules[key]

    def entries(self, triples: Sequence[tuple[Any, Array | None, Array]], state: OptimizationState) -> list[Entry]:
        """What a step is to do: weights that have a gradient and are not frozen, checked."""
        admitted = [self.admit(index, grad, weight, state) for index, grad, weight in triples if grad is not None]
        entries = [entry for entry in admitted if entry is not None]
        if len({known.index for known, _, _ in entries}) < len(entries):
            given = listed(index for index, grad, _ in triples if grad is not None)
            raise ValueError(f"step takes an index once, got several that mean the same: {given}")
        laid = [(known.index, weight) for known, _, weight in entries]
        places = self.places
        if not places.are_of(laid):
            places = self.places = Places(laid)
        for place in places.held([grad for _, grad, _ in entries]):
            known, grad, weight = entries[place]
            entries[place] = known, grad.copy(), weight
        if not self.warned:
            self.warned = True
            for index, _, _ in triples:
                self.choice.match(check_index(index))
            if triples and self.choice.unmatched:
                patterns = ", ".join(map(repr, self.choice.unmatched))
                warnings.warn(f"overrides: no weight of this step is matched by {patterns}", stacklevel=3)
        return entries

    def admit(self, index: Index, grad: Array, weight: Array, state: OptimizationState) -> Entry | None:
        """Check a weight and its gradient, and find or make what is kept for it; None where it is frozen."""
        known = self.known.get(index) if type(index) is str or type(index) is int else None
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
            known = self.known.get(index)
            if known is not None:
                known.check(weight)
        rule = None if known is None else known.rule
        if rule is None:
            rule = self.rule_for(index, weight.shape, weight.dtype)
        if rule is FROZEN:
            return None
        if known is None:
            known = self.first(index, weight, rule, state)
        if known.waiting:
            self.arrived(known, weight, rule)
        if known.rule is not rule or known.backend is None:
            known.rule = rule
            known.backend = self.backend_for(weight, index)
        if rule.measures and known.table is None:
            known.table = self.tables.of(weight, known.backend)
            known.row = known.table.row(known.index, weight)
        return known, grad, weight

    def ready(
        self, known: WeightState, grad: Array, weight: Array, call: Call, worked_out: dict[Any, Any] | None
    ) -> tuple[dict[str, float], Any]:
        """The scalars after an update, and the update as a job that can no longer fail, but for a formula of whole arrays."""
        rule: Rule = known.rule
        if worked_out is None:
            coefficients, scalars = rule.work_out(call, known.count + 1, known._scalars)
        else:  # weights with the same history share them
            history = rule, known.count, *known._scalars.values(), known.device
            if history not in worked_out:
                worked_out[history] = rule.work_out(call, known.count + 1, known._scalars)
            coefficients, scalars = worked_out[history]
        if rule.takes_key:
            coefficients = [*coefficients, *key(known)]
        ready = None if known.bound is None else known.bound.job(weight, grad, coefficients)
        if ready is None:
            assert known.backend is not None
            if rule.whole_array:
                before, after = (recorded(known, section) if section else None for section in (rule.apply, rule.store))
                slots = [known._arrays[name] for name in rule.own.slots]
                known.runner, known.bound = whole.RUNNER, whole.Bound(rule.own, slots, before, after, known.backend)
            else:
                assert rule.apply is not None
                known.runner, known.bound = known.backend, bind(known, rule.apply, weight, grad)
            ready = known.bound.job(weight, grad, coefficients)
        return scalars, ready

    def apply(self, entries: Sequence[Entry], calls: Mapping[str, Call]) -> None:
        """Update weights, each by the call of its device."""
        worked_out: dict[Any, Any] = {}
        done, jobs = [], []
        for known, grad, weight in entries:
            scalars, ready = self.ready(known, grad, weight, calls[known.device], worked_out)
            done.append((known, scalars))
            jobs.append((known.runner, ready))
        run(jobs)
        for known, scalars in done:
            known.count += 1
            known.gathered = 0
            known._scalars = scalars
            self.known[known.index] = known

    def gather(self, entries: Sequence[Entry], call: Call) -> None:
        """Accumulate gradients."""
        run([(entry[0].backend, job("gather", entry[0].rule.gather, entry, call)) for entry in entries])
        for known, _, _ in entries:
            known.gathered += 1
            self.known[known.index] = known

    def first(self, index: Index, weight: Array, rule: Rule, state: OptimizationState) -> WeightState:
        """New slots and numbers for a weight."""
        expected = self.expected(rule, weight.shape, weight.dtype)
        start = {**rule.optimizer.initial(state), **rule.kept}
        arrays = self.begun(index, weight, rule, {name: (*of, start.get(name, 0.0)) for name, of in expected.items()})
        return WeightState(index, weight.shape, weight.dtype, device(weight), arrays, rule.optimizer.scalars)

    def expected(self, rule: Rule, shape: tuple[int, ...], dtype: DType) -> dict[str, tuple[tuple[int, ...], DType]]:
        """The shape and the dtype of every slot and number that a rule keeps for a weight."""
        optimizer, found = rule.optimizer, {}
        for name in (*optimizer.slots, *rule.kept):
            own = name not in rule.kept
            kept: Any = compute_dtype(dtype) if own and optimizer.is_real(name) else slot_dtype(dtype)
            found[name] = optimizer.slot_shape(name, shape) if own else shape, kept
        return found | {name: ((), np.dtype(np.float64)) for name in optimizer.numbers}

    def begun(
        self, index: Index, weight: Array, rule: Rule, wanted: Mapping[str, tuple[tuple[int, ...], DType, float | Literal["w"]]]
    ) -> dict[str, Array]:
        """Slots and numbers on a weight's device, each with what it begins with."""
        backend = self.backend_for(weight, index)
        return {
            name: backend.number(weight, float(start))
            if name in rule.optimizer.numbers
            else backend.slot(weight, shape, dtype, start)
            for name, (shape, dtype, start) in wanted.items()
        }

    def arrived(self, known: WeightState, weight: Array, rule: Rule) -> None:
        """Go on with what was loaded for a weight, now that it is there; what was not in the file begins here."""
        lacking = {
            name: (*of, "w" if name in ("master", "average") else 0.0)
            for name, of in self.expected(rule, known.shape, known.dtype).items()
            if name not in known.arrays
        }
        known._arrays = {**known.arrays, **self.begun(known.index, weight, rule, lacking)}  # type: ignore[arg-type]
        known.waiting = False

    def backend_for(self, weight: Array, index: Index) -> Backend:
        of = "numpy" if isinstance(weight, np.ndarray) else "cupy"
        if self.backend == "auto":
            return backends.best(of)
        if backends.LIBRARIES[self.backend] != of:
            raise TypeError(
                f"weight {index!r}: backend={self.backend!r} takes {backends.LIBRARIES[self.backend]} arrays, got a {of} array"
            )
        return backends.load(self.backend)

    def nothing(self, index: Any, weight: Array) -> Array | None:
        """A gradient of zeros for a weight that has accumulated gradients, and None for any other."""
        index = check_index(index)
        known = self.known.get(index)
        if known is None or not known.gathered:
            return None
        known.check(weight := check_weight(weight, index))
        return self.backend_for(weight, index).slot(weight, known.shape, slot_dtype(known.dtype), 0.0)

    def evaluation(self, index: Index, weight: Array) -> Array:
        """The weight to evaluate with, as a new array of the weight's dtype."""
        index = check_index(index)
        weight = check_weight(weight, index, written=False)
        known = self.known.get(index)
        if known is None and index not in self.choice.matches:
            raise KeyError(f"weight {index!r} has been in no update; those that have are {listed(self.choice.matches)}")
        on_device = nullcontext() if isinstance(weight, np.ndarray) else weight.device
        with np.errstate(all="ignore"), on_device:
            if known is None:
                return weight.copy()
            known.check(weight)
            if known.waiting and not isinstance(rule := self.rule_for(index, known.shape, known.dtype), Frozen):
                self.arrived(known, weight, rule)
            better, policy = self._better(known, weight), self.choice.policy
            if weight.dtype.name in LARGEST and (policy.master_weights or policy.stochastic_rounding is not None):
                better = np.minimum(np.maximum(better, -LARGEST[weight.dtype.name]), LARGEST[weight.dtype.name])
            if isinstance(weight, np.ndarray):
                better = np.asarray(better)
            if weight.dtype.kind == "c":
                better = better.astype(better.dtype, order="C").view(slot_dtype(weight.dtype))[..., 0]
            return better.astype(weight.dtype)

    def _better(self, known: WeightState, weight: Array) -> Array:
        """The weight to evaluate with, in the dtype of slots, as reals."""
        average = self.choice.policy.average
        arrays = {name: as_reals(array) for name, array in known.arrays.items()}
        if average is not None and "average" in arrays and (known.count or (known.gathered and average.every_call)):
            return arrays["average"]
        w = as_reals(read(known, weight, self.choice.policy).astype(slot_dtype(weight.dtype), copy=False))
        if not known.count:
            return w
        rule = known.rule or self.rule_for(known.index, known.shape, known.dtype)
        optimizer = self.choice.optimizer if isinstance(rule, Frozen) else rule.optimizer
        return optimizer.evaluation(w, {**arrays, **known.scalars})
