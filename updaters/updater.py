"""The updater: checks, every weight's slots by index, and updates as transactions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import attrs
import numpy as np

from updaters import backends
from updaters.arrays import Array, check_weight
from updaters.checkpoint import files, replacing
from updaters.checkpoint.background import Background
from updaters.checkpoint.contents import Contents, Kept, read_text
from updaters.checkpoint.described import described, moving, remembered
from updaters.checkpoint.restoring import LoadReport, restore
from updaters.checks import POSITIVE, listed, number
from updaters.given import as_pairs, as_triples
from updaters.loss_scale import LossScale
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.order import Call
from updaters.overrides import Choice, as_mapping
from updaters.policy import FROZEN, Policy
from updaters.report import Happened, Report, rows_of
from updaters.state import OptimizationState
from updaters.transaction import Entry, factors, largest, measured, numbers_of
from updaters.weight_state import Index, WeightState, check_index
from updaters.weights import Weights


class Updater:
    """Applies an optimizer to weights in place, and keeps every weight's slots, scalars and count.

    Made by `get_updater`. Different indices may be updated from different threads at once; the optimizer, overrides and `reports`
    are changed between updates.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        state: OptimizationState | None = None,
        *,
        backend: str = "auto",
        report: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if state is not None and not isinstance(state, OptimizationState):
            raise TypeError(f"state must be an OptimizationState or None, got {state!r}")
        self._state = OptimizationState() if state is None else state
        self._owns_clock = state is None
        self._calls = 0  # of step, that wait for others
        self._saving: Background | None = None
        self._weights = Weights(Choice(optimizer), {}, backends.check(backend), _flag(report, "report"))
        scale = self.policy.loss_scale
        self._scaling = {} if scale is None else _checked(scale, scale.initial())
        self._begin()

    def _begin(self) -> None:
        """Look at what has to be done besides each weight's own update."""
        groups, policy = self._weights.choice.groups, self.policy
        of_all = any(group.of_all is not None for group in groups)
        of_units = any(group.of_units is not None for group in groups)
        self._of_all = of_all or policy.moves
        self._plain = not (of_all or of_units or policy.decision or policy.accumulate > 1)
        # Updates of one weight after another, which are most, share these.
        self._call = Call(self._state, self.loss_scale)
        self._alone = Happened("applied", None, self.loss_scale)
        self._happened = Happened()

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
        if self._saving is not None:
            self._look_at_saving()
        if not self._plain:
            self._call_alone(index, grad, weight)
            return
        state = self._state
        call = self._call
        if state.last_held == state.iteration > 0:  # by another updater
            call = attrs.evolve(call, state=_free(state))
        entry = self._weights.admit(index, grad, weight, call.state)
        if entry is None:
            return
        known, grad, weight = entry
        scalars, ready = self._weights.ready(known, grad, weight, call, None)
        known.runner.run((ready,))
        if state.last_applied != state.iteration:
            state.release()
        known.count += 1
        known._scalars = scalars
        self._weights.known[known.index] = known
        self._happened = self._alone

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
        if self._saving is not None:
            self._look_at_saving()
        # Where the caller runs the updater's own clock through its data, it is not advanced twice.
        advances = self._owns_clock and not self._state.is_driven
        now = attrs.evolve(self._state, iteration=self._state.iteration + 1) if advances else self._state
        now = _free(now)
        triples = list(as_triples(grads, weights))
        if self._plain:
            entries = self._weights.entries(triples, now)
            self._happened = Happened()
            if entries:
                self._weights.apply(entries, dict.fromkeys({known.device for known, _, _ in entries}, Call(now, self.loss_scale)))
                self._state.iteration += advances
                self._state.release()
                self._happened = Happened("applied", tuple(known.index for known, _, _ in entries), self.loss_scale)
            return
        calls = self._calls + 1
        applies = calls == self.policy.accumulate
        if applies and calls > 1:  # a weight that has no gradient now may have had one before
            triples = [
                (index, self._weights.nothing(index, weight) if grad is None else grad, weight) for index, grad, weight in triples
            ]
        entries = self._weights.entries(triples, now)
        if entries or self._calls or (self.policy.accumulate > 1 and triples):
            self._check_group(entries, applies)
            happened = self._transact(entries, Call(now, self.loss_scale, calls), applies)
            self._state.iteration += advances
            self._settle(happened, 0 if applies else calls)
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
        if self._saving is not None:
            self._look_at_saving()
        now = _free(self._state)
        triples = [(index, self._weights.nothing(index, weight), weight) for index, weight in as_pairs(weights)]
        entries = self._weights.entries(triples, now)
        waiting = self._calls or next((known.gathered for known, _, _ in entries), 0)
        if any(known.gathered != waiting for known, _, _ in entries) and not self._calls:
            counts = {known.index: known.gathered for known, _, _ in entries}
            raise ValueError(f"flush takes weights with as many accumulated gradients each, got {counts}")
        self._check_group(entries, applies=True)
        if entries or self._calls:
            self._settle(self._transact(entries, Call(now, self.loss_scale, waiting), applies=True), 0)
        else:
            self._calls = 0

    def _call_alone(self, index: Index, grad: Array, weight: Array) -> None:
        """Update one weight where there is more to it than its rule."""
        if self._of_all:
            what = f"{self.policy.loss_scale!r}" if self.policy.moves else "ClipByGlobalNorm"
            raise TypeError(f"{what} needs all gradients at once: update.step(grads, weights) in place of update({index!r}, ...)")
        if self._calls:
            raise ValueError(f"update({index!r}, ...) comes between calls of step that wait for others; call flush or step")
        now = _free(self._state)
        entry = self._weights.admit(index, grad, weight, now)
        if entry is not None:
            calls = entry[0].gathered + 1
            happened = self._transact([entry], Call(now, self.loss_scale, calls), calls == self.policy.accumulate)
            self._settle(attrs.evolve(happened, indices=None), 0)

    def evaluation_weight(self, index: Index, weight: Array) -> Array:
        """The weight to evaluate with, as a new array of the weight's dtype: an average where there is one, or a plain copy.

        Args:
            index: the weight's name.
            weight: the weight as its last update left it; it is not written.

        Raises:
            TypeError, ValueError: on bad input, as an update would.
            KeyError: the weight has been in no update.
        """
        return self._weights.evaluation(index, weight)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        weights: Mapping[Any, Array] | Sequence[Array] | None = None,
        extra: Any = None,
        keep: int | None = None,
        wait: bool = True,
    ) -> None:
        """Write all that the updater keeps into one file, in place of the one that is there.

        That is every slot, scalar and count, what is accumulated, the loss scale, the clock, and what a `Plateau` remembers; with
        the optimizer's configuration, which `load` compares. The file is in the safetensors format with JSON in its header,
        and nothing in it is code. Whatever happens, a whole file is at `path`, the old one or the new one.

        Args:
            path: where. The file is written beside it first, and `.partial` is added to the name until it is on the disk.
            weights: the weights, by index or in a sequence, to be saved too.
            extra: what else is to be in the file, as data that JSON can hold; `load` gives it back.
            keep: how many files to keep: before this one there was `run.1.safetensors`, and so on.
            wait: False copies all arrays, and writes the file while the run goes on. Where that fails, the next call of the
                updater says so.

        Raises:
            OSError: the file cannot be written; what was there is as it was.
            TypeError, ValueError: on bad input; or something that moves remembers more than JSON can hold.

        Example:
            >>> weights = {"w": np.array([1.0, 2.0])}
            >>> update = up.get_updater(up.SGD(0.1, momentum=0.9))
            >>> update.step({"w": np.array([1.0, -1.0])}, weights)
            >>> update.save("run.safetensors", weights=weights)
            >>> again = up.get_updater(up.SGD(0.1, momentum=0.9))
            >>> again.load("run.safetensors", weights=weights)
            loaded run.safetensors: epoch 0, batch 0, iteration 1
            weights: 1; slots: of 1, of which 1 wait for their weights
        """
        self.finish_saving()
        target, kept = replacing.check_path(path), replacing.check_keep(keep)
        given = None if weights is None else self._given(weights, written=False)
        if given is not None and (lacking := [index for index in self._weights.known if index not in given]):
            raise ValueError(f"save takes all weights that have slots, or none; there is no {listed(lacking)}")
        contents = self._contents(given, extra)
        text = contents.text()
        if _flag(wait, "wait"):
            files.write(target, contents.arrays(), text, kept)
            return
        arrays = contents.copied().arrays()
        self._saving = Background(self, target, lambda: files.write(target, arrays, text, kept))

    def finish_saving(self) -> None:
        """Wait until a file that is written in the background is on the disk.

        Raises:
            OSError: it could not be written; what was there is as it was.
        """
        saving = self._saving  # there still where the wait for it is interrupted
        if saving is not None:
            saving.wait()
            if self._saving is saving:  # and not one that another thread has begun since
                self._saving = None
            saving.finish()

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        weights: Mapping[Any, Array] | Sequence[Array] | None = None,
        strict: bool = True,
        missing_ok: bool = False,
    ) -> LoadReport:
        """Go on from a file that `save` wrote: slots, counts, the clock and all else are as they were then.

        The optimizer, its policy and its overrides are the updater's own, and must be those of the file; change them afterwards.
        Slots of weights that the updater has not been given yet wait for them, and lie where these do, on a GPU or not.

        Args:
            path: the file.
            weights: the weights to be written over with those of the file, which are asked for where it has some.
            strict: False takes what fits and leaves the rest as it is here; the report says what it left. What a rule keeps for a
                weight is taken as a whole, with its count, or not at all.
            missing_ok: where there is no file, do nothing, as the first run of a script does.

        Raises:
            FileNotFoundError, OSError: there is no file, or it cannot be read.
            TypeError, ValueError: the file is damaged, or of a later version, or of another updater, with what is there and
                what is here; or on bad input; or within a loop over the clock's epochs or batches. Nothing has changed then.
        """
        self.finish_saving()
        self._check_loops()
        given = None if weights is None else self._given(weights, written=True)
        target = replacing.check_path(path)
        if _flag(missing_ok, "missing_ok") and not target.exists():
            return LoadReport(os.fspath(path), found=False, clock=attrs.evolve(self._state))
        with files.opened(target, read_text) as (data, arrays):
            try:
                contents = Contents.from_data(data, arrays)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}: {error!s:.500}") from None
            return self._take(contents, given, strict, os.fspath(path))

    def state_dict(self) -> dict[str, Any]:
        """All that `save` writes as a dictionary of data and NumPy arrays, copies in the host's memory, for files of your own."""
        return self._contents(None, None).to_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool = True) -> LoadReport:
        """Go on from what `state_dict` gave, as `load` does from a file; arrays are copied.

        Raises:
            TypeError, ValueError: it is no such dictionary, or of another updater. Nothing has changed then.
        """
        self.finish_saving()
        self._check_loops()
        try:
            contents = Contents.from_dict(state_dict)
        except RecursionError:
            raise ValueError("the state dict is nested too deep") from None
        return self._take(contents, None, strict, None)

    def _contents(self, weights: Mapping[Index, Array] | None, extra: Any) -> Contents:
        return Contents(
            described(self.optimizer),
            {place: remembered(one, place) for place, one in moving(self.optimizer)},
            self._state,
            self._scaling,
            self._calls,
            {index: Kept.of(known) for index, known in self._weights.known.items()},
            tuple(self._weights.choice.matches),
            weights,
            extra,
        )

    def _take(self, contents: Contents, weights: Mapping[Index, Array] | None, strict: bool, source: str | None) -> LoadReport:
        restored = restore(contents, self._weights, self._state, self._scaling, weights, _flag(strict, "strict"), source)
        restored.write(self._weights, self._state)
        self._calls, self._scaling = restored.calls, restored.loss_scale
        self._begin()
        return restored.report

    def _given(self, weights: Mapping[Any, Array] | Sequence[Array], *, written: bool) -> dict[Index, Array]:
        """Weights by index, each of which an update would take."""
        given = {}
        for name, weight in as_pairs(weights):
            index = check_index(name)
            given[index] = check_weight(weight, index, written=written)
            if index in self._weights.known:
                self._weights.known[index].check(given[index])
        return given

    def _check_loops(self) -> None:
        if self._state.is_looped:
            raise ValueError("load comes before the loops over the clock's epochs and batches, which would lose their places")

    def _look_at_saving(self) -> None:
        """Raise where a file could not be written in the background."""
        saving = self._saving  # which another thread may take
        if saving is not None and saving.done:
            self.finish_saving()

    @property
    def state(self) -> OptimizationState:
        """The clock: the caller's, or the updater's own, whose iteration each `step` advances."""
        return self._state

    @property
    def backend(self) -> str:
        """The name of the backend, or `"auto"`."""
        return self._weights.backend

    @property
    def policy(self) -> Policy:
        """What the updater does beyond its rule."""
        return self._weights.choice.policy

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, with the policy. Another with the same slots and scalars may take its place at any time.

        One without a policy takes the policy over; one with a policy may have other overrides.
        """
        return self._weights.choice.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        if optimizer.policy is None:
            optimizer = attrs.evolve(optimizer, policy=self.optimizer.policy)
        elif attrs.evolve(optimizer.policy, overrides=self.policy.overrides) != self.policy:
            raise ValueError(f"an updater's policy stays what it is, but for its overrides, got {optimizer.policy!r}")
        self._change(Choice(optimizer))

    @property
    def overrides(self) -> Mapping[Any, Any]:
        """What is different for some weights, by pattern. Others may take their place at any time: slots stay as they are."""
        return as_mapping(self.policy.overrides)

    @overrides.setter
    def overrides(self, overrides: Mapping[Any, Any] | None) -> None:
        self._change(Choice(attrs.evolve(self.optimizer, policy=attrs.evolve(self.policy, overrides=overrides or {}))))

    def override(self, pattern: Any, settings: Any) -> None:
        """Change what is different for the weights of a pattern, from now on; slots stay as they are.

        Args:
            pattern: one of `overrides`, which keeps its place there; or a new one, which comes before all others, so that the
                weights that it matches no longer have what these say.
            settings: all of the pattern's, as `get_updater` takes them; `{**update.overrides[pattern], "lr": 0.1}` adds to those
                that it has, and None takes the pattern away.

        Raises:
            TypeError, ValueError: they are not what they may be, or a weight would need other slots; nothing has changed then.

        Example:
            >>> update = up.get_updater(up.SGD(0.5), overrides={"*": {"lr_scale": 0.5}})
            >>> update.override("head.*", up.FROZEN)
            >>> list(update.overrides)
            ['head.*', '*']
        """
        overrides = dict(self.overrides)
        if settings is None:
            overrides.pop(pattern, None)
        elif pattern in overrides:
            overrides[pattern] = settings
        else:
            overrides = {pattern: settings, **overrides}
        self.overrides = overrides

    def _change(self, choice: Choice) -> None:
        """Go on with other rules, if they keep the same for every weight."""
        happened = self._happened
        self._weights.change(choice)
        self._begin()
        self._happened = happened

    @property
    def slots(self) -> Mapping[Index, WeightState]:
        """What is kept for each weight, by index: arrays, scalars and the count of its updates."""
        return MappingProxyType(self._weights.known)

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
        return self._weights.reports

    @reports.setter
    def reports(self, reports: bool) -> None:
        if _flag(reports, "reports") is not self._weights.reports:
            self._weights.reports = reports
            self._change(self._weights.choice)

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
        indices = tuple(self._weights.known) if happened.indices is None else happened.indices
        return Report(
            happened.what,
            rows_of(indices, happened, self._weights.known),
            happened.loss_scale,
            happened.nonfinite,
            {group.pattern: float(norm) for group, norm in happened.norms.items()},
            tuple(self._weights.choice.unmatched),
            self._state.iteration,
            self._state.held,
        )

    def _transact(self, entries: list[Entry], call: Call, applies: bool) -> Happened:
        """Measure, decide, and then apply or accumulate; all or nothing."""
        policy = self.policy
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
                raise FloatingPointError(f"gradients are not finite for weights {_first_of(bad)}; nothing has changed")
            if policy.loss_scale is not None:
                peak = largest(ready, numbers, call) if policy.loss_scale.needs_peak and not bad else None
                kept = _checked(policy.loss_scale, policy.loss_scale.after(kept, not bad, peak))
        what: Literal["nothing", "applied", "accumulated", "skipped"] = "nothing"
        if not applies:
            what = "accumulated"
            self._weights.gather(entries, call)
        elif bad:
            what = "skipped"
            for known, _, _ in entries:
                if known.gathered:
                    known.empty()
        elif entries:
            what = "applied"
            calls, norms = factors(ready, call)
            self._weights.apply(ready, calls)
        self._scaling = kept
        return Happened(what, tuple(known.index for known, _, _ in entries), call.loss_scale, bad, norms)

    def _settle(self, happened: Happened, calls: int) -> None:
        """Count what has happened."""
        self._calls, self._happened = calls, happened
        state = self._state
        if happened.what == "applied":
            state.release()
        elif happened.what != "accumulated" or not self.policy.count_calls:
            state.hold()
        self._call = Call(state, self.loss_scale)  # of a scale that may have moved

    def _check_group(self, entries: Sequence[Entry], applies: bool) -> None:
        """Raise where calls that belong together would be left half done."""
        here = {known.index for known, _, _ in entries}
        waiting = {index for index, known in list(self._weights.known.items()) if known.gathered and known.rule is not FROZEN}
        if waiting and not self._calls and not applies:
            raise ValueError(f"weights {listed(waiting)} have gradients of update(...) that wait for others; call flush")
        if applies and waiting - here:
            raise ValueError(
                f"weights {listed(waiting - here)} have accumulated gradients that are to be applied, and are not given"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Updater):
            return False
        mine, theirs = self.__getstate__(), other.__getstate__()
        return all(mine[name] == theirs[name] for name in mine if name not in ("met", "warned"))

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __getstate__(self) -> dict[str, Any]:
        weights = self._weights
        names = ("_state", "_owns_clock", "_calls", "_scaling")
        return {name: getattr(self, name) for name in names} | {
            "optimizer": self.optimizer,
            "backend": weights.backend,
            "reports": weights.reports,
            "warned": weights.warned,
            "known": dict(weights.known),
            "met": dict.fromkeys(list(weights.choice.matches)),
        }

    def __setstate__(self, values: dict[str, Any]) -> None:
        kept = [values.pop(name) for name in ("optimizer", "known", "backend", "reports", "warned", "met")]
        optimizer, known, backend, reports, warned, met = kept
        self.__dict__.update(values)
        choice = Choice(optimizer)
        for index in met:  # in the order in which they came
            choice.match(index)
        self._weights = Weights(choice, known, backends.check(backend), reports)
        self._weights.warned = warned
        self._saving = None
        self._begin()

    def __repr__(self) -> str:
        size = sum(known.nbytes for known in list(self._weights.known.values()))
        weights = f"{len(self._weights.known)} weight{'' if len(self._weights.known) == 1 else 's'}"
        kept = f"{weights}, {_readable(size)} of slots"
        return f"Updater({self.optimizer!r}, {self._state!r}, backend={self.backend!r}; {kept})"


def _free(state: OptimizationState) -> OptimizationState:
    """The clock as an update is to read it: an iteration in which something is applied is not held."""
    if state.last_held and state.last_held == state.iteration:
        state = attrs.evolve(state)
        state.release()
    return state


def _checked(scale: LossScale, kept: Mapping[str, float]) -> Mapping[str, float]:
    """What a loss scale keeps, whose scale is one."""
    number(kept["scale"], f"the scale of {scale!r}", POSITIVE)
    return kept


def _first_of(indices: Sequence[Index]) -> str:
    """Indices in their order, the first ten of many."""
    more = f" and {len(indices) - 10} more" if len(indices) > 10 else ""
    return ", ".join(map(repr, indices[:10])) + more


def _flag(value: bool, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def _readable(size: float) -> str:
    power = min(3, int(np.log10(max(size, 1)) // 3))
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
