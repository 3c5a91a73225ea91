"""The updater: checks, every weight's slots by index, and updates as transactions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Literal

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, as_reals, check_grad, check_weight, compute_dtype, device, slot_dtype
from updaters.backends import Backend, whole
from updaters.checks import listed
from updaters.loss_scale import LossScale
from updaters.measured import Tables
from updaters.memory import Places
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.order import Call
from updaters.overrides import Choice, as_mapping
from updaters.policy import FROZEN, Average, Frozen, Policy
from updaters.report import ALONE, Happened, Report, rows_of
from updaters.rule import Rule
from updaters.state import OptimizationState
from updaters.transaction import Entry, bind, factors, job, largest, measured, numbers_of, recorded, run
from updaters.weight_state import Index, WeightState, check_index


class Updater:
    """Applies an optimizer to weights in place, and keeps every weight's slots, scalars and count.

    Made by `get_updater`. Different indices may be updated from different threads at once.
    """

    _plain: bool
    _call: Call

    def __init__(
        self,
        optimizer: Optimizer,
        state: OptimizationState | None = None,
        *,
        backend: str = "auto",
        policy: Policy | None = None,
        report: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if state is not None and not isinstance(state, OptimizationState):
            raise TypeError(f"state must be an OptimizationState or None, got {state!r}")
        self._backend = backends.check(backend)
        self._state = OptimizationState() if state is None else state
        self._owns_clock = state is None
        self._known: dict[Index, WeightState] = {}
        self._calls = 0  # of step, that wait for others
        policy = (optimizer.policy or Policy()) if policy is None else policy
        self._scaling = {} if policy.loss_scale is None else policy.loss_scale.initial()
        self._reports = _flag(report, "report")
        self._take_up(Choice(optimizer, policy), {})

    def __call__(self, index: Index, grad: Array, weight: Array) -> None:
        """Update one weight in place.

        Args:
            index: the weight's name, by which its slots are found.
            grad: its gradient; it is not written. Another float precision than the weight's is taken.
            weight: the array to change.

        Raises:
            TypeError, ValueError: on bad input, before anything has changed; or something needs all gradients at once.
            FloatingPointError: the gradient is not finite, and `nonfinite="raise"`; nothing has changed then.
        """
        if not self._plain:
            self._call_alone(index, grad, weight)
            return
        state = self._state
        call = self._call
        if state.last_held == state.iteration > 0:  # by another updater
            call = attrs.evolve(call, state=_free(state))
        entry = self._admit(index, grad, weight, call.state)
        if entry is None:
            return
        known, grad, weight = entry
        scalars, ready = self._ready(known, grad, weight, call, None)
        known.runner.run((ready,))
        if state._applied != state.iteration:
            state.release()
        known.count += 1
        known._scalars = scalars
        self._known[known.index] = known
        self._happened = ALONE

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
            FloatingPointError: a gradient is not finite, and `nonfinite="raise"`; nothing has changed then.
        """
        # Where the caller runs the updater's own clock through its data, it is not advanced twice.
        advances = self._owns_clock and not self._state.is_driven
        now = attrs.evolve(self._state, iteration=self._state.iteration + 1) if advances else self._state
        now = _free(now)
        triples = list(_triples(grads, weights))
        if self._plain:
            entries = self._entries(triples, now)
            self._happened = Happened()
            if entries:
                self._apply(entries, dict.fromkeys({known.device for known, _, _ in entries}, Call(now, self.loss_scale)))
                self._state.iteration += advances
                self._state.release()
                self._happened = Happened("applied", tuple(known.index for known, _, _ in entries), self.loss_scale)
            return
        calls = self._calls + 1
        applies = calls == self._policy.accumulate
        if applies and calls > 1:  # a weight that has no gradient now may have had one before
            triples = [(index, self._nothing(index, weight) if grad is None else grad, weight) for index, grad, weight in triples]
        entries = self._entries(triples, now)
        if entries or self._calls:
            self._check_group(entries, applies)
            self._transact(entries, Call(now, self.loss_scale, calls), applies)
            self._state.iteration += advances
            self._settle(0 if applies else calls)
        else:
            self._happened = Happened()

    def flush(self, weights: Mapping[Any, Array] | Sequence[Array]) -> None:
        """Apply what has been accumulated: the mean of fewer gradients than `accumulate` says. Where there is none, do nothing.

        The clock stays where it is; its iteration becomes one that was applied.

        Args:
            weights: the arrays to change, by index or in a sequence, as `step` takes them.

        Raises:
            TypeError, ValueError: on bad input, or a weight with accumulated gradients is missing; nothing has changed then.
            FloatingPointError: a mean is not finite, and `nonfinite="raise"`; nothing has changed then.
        """
        now = _free(self._state)
        none: Any = dict.fromkeys(weights) if isinstance(weights, Mapping) else [None] * len(weights)
        triples = [(index, self._nothing(index, weight), weight) for index, _, weight in _triples(none, weights)]
        entries = self._entries(triples, now)
        waiting = self._calls or next((known.gathered for known, _, _ in entries), 0)
        if any(known.gathered != waiting for known, _, _ in entries) and not self._calls:
            counts = {known.index: known.gathered for known, _, _ in entries}
            raise ValueError(f"flush takes weights with as many accumulated gradients each, got {counts}")
        self._check_group(entries, applies=True)
        if entries or self._calls:
            self._transact(entries, Call(now, self.loss_scale, waiting), applies=True)
            self._settle(0)

    def _call_alone(self, index: Index, grad: Array, weight: Array) -> None:
        """Update one weight where there is more to it than its rule."""
        if self._of_all:
            what = f"{self._policy.loss_scale!r}" if self._policy.moves else "ClipByGlobalNorm"
            raise TypeError(f"{what} needs all gradients at once: update.step(grads, weights) in place of update({index!r}, ...)")
        if self._calls:
            raise ValueError(f"update({index!r}, ...) comes between calls of step that wait for others; call flush or step")
        now = _free(self._state)
        entry = self._admit(index, grad, weight, now)
        if entry is not None:
            calls = entry[0].gathered + 1
            self._transact([entry], Call(now, self.loss_scale, calls), calls == self._policy.accumulate)
            self._happened = attrs.evolve(self._happened, indices=None)
            self._settle(0)

    def evaluation_weight(self, index: Index, weight: Array) -> Array:
        """The weight to evaluate with, as a new array of the weight's dtype: an average where there is one, or a plain copy.

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
        if known is None or not known.count:
            raise KeyError(f"weight {index!r} has had no update; there has been one for {listed(self._known)}")
        known.check(weight)
        on_device = nullcontext() if isinstance(weight, np.ndarray) else weight.device
        with np.errstate(all="ignore"), on_device:
            arrays = {name: as_reals(array) for name, array in known.arrays.items()}
            if "average" in arrays:
                better = arrays["average"]
            else:
                rule = known.rule or self._rule_for(index, known.shape, known.dtype)
                optimizer = self._optimizer if isinstance(rule, Frozen) else rule.optimizer
                w = arrays["master"] if "master" in arrays else as_reals(weight).astype(compute_dtype(weight.dtype))
                better = optimizer.evaluation(w, {**arrays, **known.scalars})
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
    def policy(self) -> Policy:
        """What the updater does beyond its rule."""
        return self._policy

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer. Another with the same slots and scalars may take its place at any time."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        if optimizer.policy not in (None, self._optimizer.policy):
            stays = "an updater's policy stays what it is, but for its overrides"
            raise ValueError(f"{stays}, got {optimizer.policy!r}; update.overrides takes these")
        self._change(Choice(optimizer, self._policy))

    @property
    def overrides(self) -> Mapping[Any, Any]:
        """What is different for some weights, by pattern. Others may take their place at any time: slots stay as they are."""
        return as_mapping(self._policy.overrides)

    @overrides.setter
    def overrides(self, overrides: Mapping[Any, Any] | None) -> None:
        self._change(Choice(self._optimizer, attrs.evolve(self._policy, overrides=overrides or {})))

    def override(self, pattern: Any, settings: Any) -> None:
        """Change what is different for the weights of a pattern, from now on; slots stay as they are.

        Args:
            pattern: one of `overrides`, which keeps its place there; or a new one, which comes before all others.
            settings: as `get_updater` takes them; None takes the pattern away.

        Raises:
            TypeError, ValueError: they are not what they may be, or a weight would need other slots; nothing has changed then.

        Example:
            >>> update = up.get_updater(up.SGD(0.5), overrides={"*": {"lr_scale": 0.5}})
            >>> update.override("head.*", up.FROZEN)
            >>> update.overrides
            {'head.*': FROZEN, '*': {'lr_scale': 0.5}}
        """
        overrides = dict(self.overrides)
        if settings is None:
            overrides.pop(pattern, None)
        elif pattern in overrides:
            overrides[pattern] = settings
        else:
            overrides = {pattern: settings, **overrides}
        self.overrides = overrides

    @property
    def slots(self) -> Mapping[Index, WeightState]:
        """What is kept for each weight, by index: arrays, scalars and the count of its updates."""
        return MappingProxyType(self._known)

    @property
    def loss_scale(self) -> float:
        """By what the loss is to be multiplied now; 1 where there is no loss scale."""
        return self._scaling.get("scale", 1.0)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the loss scale: what gradients are to be taken of."""
        return loss * self.loss_scale

    @property
    def reports(self) -> bool:
        """Whether norms are taken for `report`. It may be changed at any time."""
        return self._reports

    @reports.setter
    def reports(self, reports: bool) -> None:
        before, self._reports = self._reports, _flag(reports, "reports")
        if reports is not before:
            self._change(self._choice)

    def report(self) -> Report:
        """What the last call did: the norms of each weight's gradient and update, and by what clips changed them.

        Norms are there where the updater was made with `report=True`, or `update.reports` is set; what was skipped, the
        loss scale and norms that were taken anyway always are. On a GPU numbers stay there until they are asked for here.

        Example:
            >>> update = up.get_updater(up.SGD(0.1), clip=up.transforms.ClipByNorm(2.5), report=True)
            >>> update("w", np.array([3.0, 4.0]), np.array([1.0, 0.0]))
            >>> update.report()
            applied at iteration 0, 0 held
            weight  gradient  clip  update  norm  update/norm  updates
            w              5   0.5    0.25     1         0.25        1
        """
        happened = self._happened
        indices = tuple(self._known) if happened.indices is None else happened.indices
        return Report(
            happened.what,
            rows_of(indices, happened, self._known),
            happened.loss_scale,
            happened.nonfinite,
            {group.pattern: float(norm) for group, norm in happened.norms.items()},
            tuple(self._choice.unmatched),
            self._state.iteration,
            self._state.held,
        )

    # Who has what rule.

    def _take_up(self, choice: Choice, rules: dict[Any, Rule]) -> None:
        """Have these rules from now on."""
        self._optimizer, self._policy, self._choice, self._rules = choice.optimizer, choice.policy, choice, rules
        self._places, self._tables = Places(()), Tables()
        self._happened = Happened()
        self._warned = not choice.policy.overrides
        of_all = any(group.of_all is not None for group in choice.groups)
        of_units = any(group.of_units is not None for group in choice.groups)
        self._of_all = of_all or choice.policy.moves
        self._plain = not (of_all or of_units or choice.policy.decision or choice.policy.accumulate > 1)
        self._call = Call(self._state, self.loss_scale)
        self._made(choice, rules, choice.optimizer, choice.group, None)  # whose errors come now

    def _change(self, choice: Choice) -> None:
        """Go on with other rules, if they keep the same for every weight."""
        rules: dict[Any, Rule] = {}
        chosen: dict[Index, Rule | Frozen] = {}
        for index, known in list(self._known.items()):
            found = choice.of(index, known.shape, known.dtype)
            if isinstance(found, Frozen):
                chosen[index] = found
                continue
            rule = chosen[index] = self._made(choice, rules, *found, known.dtype)
            old, new = {*known.arrays}, {*rule.own.slots, *rule.own.numbers, *rule.kept}
            if (old, {*known.scalars}) != (new, {*rule.scalars}):
                raise ValueError(
                    f"{rule.optimizer!r} keeps {listed(new | {*rule.scalars})} for weight {index!r}, and {self._optimizer!r} "
                    f"has kept {listed(old | {*known.scalars})}; a new updater begins with new slots"
                )
        happened = self._happened
        self._take_up(choice, rules)
        self._happened = happened
        for index, rule_or_frozen in chosen.items():
            known = self._known[index]
            known.unbind(rule_or_frozen)
            if known.gathered and isinstance(rule_or_frozen, Frozen):  # or it would wait for a group that goes on without it
                known.empty()

    def _rule_for(self, index: Index, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Rule | Frozen:
        """The rule for a weight."""
        found = self._choice.of(index, shape, dtype)
        return found if isinstance(found, Frozen) else self._made(self._choice, self._rules, *found, dtype)

    def _made(self, choice: Choice, rules: dict[Any, Rule], optimizer: Optimizer, group: Any, dtype: Any) -> Rule:
        """The rule of an optimizer, made once."""
        policy = choice.policy
        differ = (
            policy.master_weights or policy.stochastic_rounding is not None or policy.decision or group.of_all or self._reports
        )
        key = id(optimizer), id(group), dtype if differ else None
        if key not in rules:  # each holds its optimizer and its group, so that their ids stay their own
            rules[key] = Rule.of(optimizer, policy, group, key[2], self._reports)
        return rules[key]

    # One update, in its order.

    def _entries(self, triples: Sequence[tuple[Any, Array | None, Array]], state: OptimizationState) -> list[Entry]:
        """What a step is to do: weights that have a gradient and are not frozen, checked."""
        admitted = [self._admit(index, grad, weight, state) for index, grad, weight in triples if grad is not None]
        entries = [entry for entry in admitted if entry is not None]
        if len({known.index for known, _, _ in entries}) < len(entries):
            given = listed(index for index, grad, _ in triples if grad is not None)
            raise ValueError(f"step takes an index once, got several that mean the same: {given}")
        laid = [(known.index, weight) for known, _, weight in entries]
        places = self._places
        if not places.are_of(laid):
            places = self._places = Places(laid)
        for place in places.held([grad for _, grad, _ in entries]):
            known, grad, weight = entries[place]
            entries[place] = known, grad.copy(), weight
        if not self._warned:
            self._warned = True
            for index, _, _ in triples:
                self._choice.match(check_index(index))
            if triples and self._choice.unmatched:
                patterns = ", ".join(map(repr, self._choice.unmatched))
                warnings.warn(f"overrides: no weight of this step is matched by {patterns}", stacklevel=3)
        return entries

    def _admit(self, index: Index, grad: Array, weight: Array, state: OptimizationState) -> Entry | None:
        """Check a weight and its gradient, and find or make what is kept for it; None where it is frozen."""
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
        rule = None if known is None else known.rule
        if rule is None:
            rule = self._rule_for(index, weight.shape, weight.dtype)
        if rule is FROZEN:
            return None
        if known is None:
            known = self._first(index, weight, rule, state)
        if known.rule is not rule or known.backend is None:
            known.rule = rule
            known.backend = self._backend_for(weight, index)
        if rule.measures and known.table is None:
            known.table = self._tables.of(weight, known.backend)
            known.row = known.table.row(known.index, weight)
        return known, grad, weight

    def _ready(
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
        if rule.random:
            coefficients = [*coefficients, *self._key(known)]
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

    def _key(self, known: WeightState) -> tuple[float, float]:
        """The key of a weight's rounding at its next update, as two numbers of 32 bits."""
        text = repr((self._policy.stochastic_rounding, known.index, known.count))
        digest = blake2b(text.encode(), digest_size=8).digest()
        return float(int.from_bytes(digest[:4], "little")), float(int.from_bytes(digest[4:], "little"))

    def _transact(self, entries: list[Entry], call: Call, applies: bool) -> None:
        """Measure, decide, and then apply or accumulate; all or nothing."""
        policy = self._policy
        raises, skips = policy.decision == "raise", policy.decision == "skip" and applies
        ready, kept = entries, self._scaling
        bad: tuple[Index, ...] = ()
        norms: dict[Any, Any] = {}
        if entries and (applies or raises):
            ready = measured(entries, call)
        if entries and (raises or skips):
            numbers = numbers_of(entries)
            bad = tuple(index for index, one in numbers.items() if not math.isfinite(one["finite"]))
            if bad and raises:
                raise FloatingPointError(f"gradients are not finite for weights {listed(bad)}; nothing has changed")
            if policy.loss_scale is not None:
                peak = largest(ready, numbers, call) if policy.loss_scale.needs_peak and not bad else None
                kept = policy.loss_scale.after(kept, not bad, peak)
        what: Literal["applied", "accumulated", "skipped"] = "accumulated"
        if not applies:
            self._gather(entries, call)
        elif bad:
            what = "skipped"
            for known, _, _ in entries:
                if known.gathered:
                    known.empty()
        else:
            what = "applied"
            calls, norms = factors(ready, call)
            self._apply(ready, calls)
        self._scaling = kept
        self._happened = Happened(what, tuple(known.index for known, _, _ in entries), call.loss_scale, bad, norms)

    def _apply(self, entries: Sequence[Entry], calls: Mapping[str, Call]) -> None:
        """Update weights, each by the call of its device."""
        worked_out: dict[Any, Any] = {}
        done, jobs = [], []
        for known, grad, weight in entries:
            scalars, ready = self._ready(known, grad, weight, calls[known.device], worked_out)
            done.append((known, scalars))
            jobs.append((known.runner, ready))
        run(jobs)
        for known, scalars in done:
            known.count += 1
            known.gathered = 0
            known._scalars = scalars
            self._known[known.index] = known

    def _gather(self, entries: Sequence[Entry], call: Call) -> None:
        """Accumulate gradients."""
        run([(entry[0].backend, job("gather", entry[0].rule.gather, entry, call)) for entry in entries])
        for known, _, _ in entries:
            known.gathered += 1
            self._known[known.index] = known

    def _settle(self, calls: int) -> None:
        """Count what has happened."""
        self._calls = calls
        happened, state = self._happened, self._state
        if happened.what == "applied":
            state.release()
        elif happened.what == "skipped" or not self._policy.count_calls:
            state.hold()
        self._call = Call(state, self.loss_scale)

    def _nothing(self, index: Any, weight: Array) -> Array | None:
        """A gradient of zeros for a weight that has accumulated gradients, and None for any other."""
        index = check_index(index)
        known = self._known.get(index)
        if known is None or not known.gathered:
            return None
        known.check(weight := check_weight(weight, index))
        return self._backend_for(weight, index).slot(weight, known.shape, slot_dtype(known.dtype), 0.0)

    def _check_group(self, entries: Sequence[Entry], applies: bool) -> None:
        """Raise where calls that belong together would be left half done."""
        here = {known.index for known, _, _ in entries}
        waiting = {index for index, known in list(self._known.items()) if known.gathered and known.rule is not FROZEN}
        if waiting and not self._calls and not applies:
            raise ValueError(f"weights {listed(waiting)} have gradients of update(...) that wait for others; call flush")
        if applies and waiting - here:
            raise ValueError(
                f"weights {listed(waiting - here)} have accumulated gradients that are to be applied, and are not given"
            )

    def _first(self, index: Index, weight: Array, rule: Rule, state: OptimizationState) -> WeightState:
        """New slots and numbers for a weight."""
        backend, optimizer = self._backend_for(weight, index), rule.optimizer
        start = {**optimizer.initial(state), **rule.kept}
        arrays = {}
        for name in (*optimizer.slots, *rule.kept):
            shape, real = weight.shape, False
            if name not in rule.kept:
                shape, real = optimizer.slot_shape(name, weight.shape), optimizer.is_real(name)
            dtype: Any = compute_dtype(weight.dtype) if real else slot_dtype(weight.dtype)
            arrays[name] = backend.slot(weight, shape, dtype, start.get(name, 0.0))
        arrays |= {name: backend.number(weight, float(start.get(name, 0.0))) for name in optimizer.numbers}
        return WeightState(index, weight.shape, weight.dtype, device(weight), arrays, optimizer.scalars)

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
        names = ("_backend", "_state", "_owns_clock", "_optimizer", "_policy", "_calls", "_scaling", "_reports")
        return {name: getattr(self, name) for name in names} | {"_known": dict(self._known)}

    def __setstate__(self, values: dict[str, Any]) -> None:
        backends.check(values["_backend"])
        self.__dict__.update(values)
        self._take_up(Choice(self._optimizer, self._policy), {})

    def __repr__(self) -> str:
        size = sum(known.nbytes for known in list(self._known.values()))
        weights = f"{len(self._known)} weight{'' if len(self._known) == 1 else 's'}"
        policy = "" if self._policy == Policy() else f"{self._policy!r}, "
        what = f"{self._optimizer!r}, {self._state!r}, {policy}backend={self._backend!r}"
        return f"Updater({what}; {weights}, {_readable(size)} of slots)"


def get_updater(
    optimizer: Optimizer,
    state: OptimizationState | None = None,
    *,
    overrides: Mapping[Any, Any] | None = None,
    clip: Any = None,
    nonfinite: Literal["ignore", "raise", "skip"] | None = None,
    accumulate: int | None = None,
    loss_scale: LossScale | float | None = None,
    master_weights: bool | None = None,
    stochastic_rounding: int | None = None,
    average: Average | None = None,
    report: bool = False,
    backend: str = "auto",
) -> Updater:
    """The updater of an optimizer: `update(index, grad, weight)` and `update.step(grads, weights)`.

    All that is left out is off, or as the optimizer's own `policy` has it; `overrides` come before those that it has.

    Args:
        optimizer: the rule and its hyperparameters.
        state: the clock that schedules read, advanced by the caller. Without one the updater has its own, of batch
            size 1, whose iteration each `step` advances (unless a loop over its `batches` does). Threads that
            step at once need a clock of the caller's.
        overrides: what is different for some weights, by pattern: a glob over indices (the parts of a tuple are joined by dots),
            a compiled regular expression, which is searched for, or an index itself. The first that matches counts. It gives
            hyperparameters by name, with `lr_scale`, by which the learning rate is multiplied, and a `clip` of their own, or
            `clip_with`, a pattern further up whose clip, and norm of all gradients, they share; or another optimizer; or
            `FROZEN`.
        clip: one of `updaters.transforms`, or several, for gradients before their decay.
        nonfinite: where a gradient is infinite or NaN, `"ignore"` that; `"raise"` an error, at each call; or `"skip"` the update
            of all weights, and with it all calls that it was accumulated over.
        accumulate: so many calls make one update, from the mean of their gradients.
        loss_scale: by what the loss was multiplied, a number or one of `updaters.loss_scale`; gradients are divided by it.
        master_weights: keep float32 copies of float16 and bfloat16 weights, and update these.
        stochastic_rounding: a seed, by which updates of float16 and bfloat16 weights are rounded at random, without a bias.
        average: an average of the weights, for `evaluation_weight`.
        report: take the norms that `update.report()` shows.
        backend: `"numpy"`, `"numba"` or `"cupy"`; `"auto"` goes by the array, with numba where it is installed.

    Raises:
        TypeError, ValueError: an argument is something else than it may be; or two of them contradict each other.
        ModuleNotFoundError: the backend's library is not installed.

    Example:
        >>> weights = {"w": np.array([[1.0, 2.0]]), "b": np.array([0.5])}
        >>> update = up.get_updater(up.SGD(0.1), overrides={"b": {"lr_scale": 10}})
        >>> update.step({"w": np.array([[1.0, -1.0]]), "b": np.array([0.1])}, weights)
        >>> weights["w"], weights["b"]
        (array([[0.9, 2.1]]), array([0.4]))
    """
    check_optimizer(optimizer)
    given = {
        "overrides": overrides, "clip": clip, "nonfinite": nonfinite, "accumulate": accumulate, "loss_scale": loss_scale,
        "master_weights": master_weights, "stochastic_rounding": stochastic_rounding, "average": average,
    }  # fmt: skip
    said = {name: value for name, value in given.items() if value is not None}
    if overrides is not None and optimizer.policy is not None and isinstance(overrides, Mapping):
        others = as_mapping(optimizer.policy.overrides)
        said["overrides"] = {**overrides, **{pattern: others[pattern] for pattern in others if pattern not in overrides}}
    policy: Policy = attrs.evolve(optimizer.policy or Policy(), **said)
    return Updater(optimizer, state, backend=backend, policy=policy, report=report)


def _free(state: OptimizationState) -> OptimizationState:
    """The clock as an update is to read it: an iteration in which something is applied is not held."""
    if state.last_held and state.last_held == state.iteration:
        state = attrs.evolve(state)
        state.release()
    return state


def _triples(grads: Any, weights: Any) -> Iterator[tuple[Any, Array | None, Array]]:
    """Index, gradient and weight of each weight."""
    if isinstance(grads, Mapping) and isinstance(weights, Mapping):
        if grads.keys() != weights.keys():
            lone = [
                f"{what} only: {listed(keys)}"
                for what, keys in (("grads", grads.keys() - weights.keys()), ("weights", weights.keys() - grads.keys()))
                if keys
            ]
            raise ValueError(f"step takes the same indices in grads and weights; in {'; in '.join(lone)}")
        return ((index, grads[index], weight) for index, weight in weights.items())
    if all(isinstance(side, Sequence) and not isinstance(side, (str, bytes)) for side in (grads, weights)):
        if len(grads) != len(weights):
            raise ValueError(f"step takes as many grads as weights, got {len(grads)} and {len(weights)}")
        return zip(range(len(weights)), grads, weights, strict=True)
    kinds = f"{type(grads).__name__} and {type(weights).__name__}"
    raise TypeError(f"step takes grads and weights as two mappings or two sequences, got {kinds}")


def _flag(value: bool, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def _readable(size: float) -> str:
    power = min(3, int(np.log10(max(size, 1)) // 3))
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
