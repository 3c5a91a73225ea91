"""What was saved, compared with what is here, and taken: all of it, or what fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs
import numpy as np

from updaters.arrays import Array, DType, device
from updaters.backends import load
from updaters.checkpoint.contents import Contents, Kept, Source, clock_from, clock_of, dtype_name, dtype_named
from updaters.checkpoint.described import Difference, described, differences, moving, unchecked
from updaters.checks import POSITIVE, number
from updaters.policy import Frozen
from updaters.state import OptimizationState
from updaters.weight_state import Index, WeightState
from updaters.weights import Weights

SHOWN = 10


@attrs.frozen(repr=False)
class LoadReport:
    """What `update.load` took. It prints as a few lines.

    Attributes:
        source: the path; None for a dictionary.
        found: whether there was a file.
        slots: the indices of the weights whose slots were taken.
        waiting: those among them that the updater has not been given yet, for whose first update they wait.
        weights: the indices of the weights that were themselves taken.
        left: what was not taken, and why, a line each. Without `strict=False` there is none, but for weights not asked for.
        unchecked: where there are functions and classes of your own that have no name in configs, so that they were not compared.
        clock: the clock as it stood.
        versions: of what it was saved by.
        extra: what was given to `save` as `extra`.
    """

    source: str | None
    found: bool = True
    slots: tuple[Index, ...] = ()
    waiting: tuple[Index, ...] = ()
    weights: tuple[Index, ...] = ()
    left: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    clock: OptimizationState = attrs.field(factory=OptimizationState)
    versions: Mapping[str, str] = attrs.field(factory=dict)
    extra: Any = None

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.found:
            yield f"nothing loaded: there is no {self.source}"
            return
        clock = self.clock
        where = f"epoch {clock.epoch}, batch {clock.batch}, iteration {clock.iteration}"
        yield f"loaded {self.source or 'a state dict'}: {where}"
        waiting = f", of which {len(self.waiting)} wait for their weights" if self.waiting else ""
        yield f"weights: {len(self.weights)}; slots: of {len(self.slots)}{waiting}"
        yield from (f"left: {line}" for line in self.left)
        if self.unchecked:
            yield f"not compared: {', '.join(self.unchecked)}"


@attrs.frozen
class Taken:
    """What is taken for a weight."""

    kept: Kept
    slots: dict[str, Array]
    scalars: dict[str, float]
    gathered: int


@attrs.frozen
class Restored:
    """All that is to change, worked out and read; writing it cannot fail.

    Attributes:
        new: what is kept for weights that have not been given here.
        fills: arrays to be written over, with what they are to hold.
        counted: what is kept for weights that have been, with what is taken for them.
        clock: the clock as it is to stand.
        loss_scale: what the loss scale is to keep.
        calls: the calls of `step` that wait for others.
        met: the indices of all weights that have been given.
        report: what is said of it.
    """

    new: list[WeightState]
    fills: list[tuple[Array, Array]]
    counted: list[tuple[WeightState, Taken]]
    clock: OptimizationState
    loss_scale: dict[str, float]
    calls: int
    met: tuple[Index, ...]
    report: LoadReport

    def write(self, weights: Weights, state: OptimizationState) -> None:
        """Change the arrays, what is kept, and the clock."""
        for array, values in self.fills:
            _fill(array, values)
        for known, taken in self.counted:
            known.count, known.gathered, known._scalars = taken.kept.count, taken.gathered, taken.scalars
        for known in self.new:
            weights.known[known.index] = known
        for index in self.met:
            weights.choice.match(index)
        for name, value in clock_of(self.clock).items():  # the epoch comes before what another one begins anew
            setattr(state, name, value)


def _fill(array: Array, values: Array) -> None:
    if isinstance(array, np.ndarray):
        array[...] = values
        return
    with array.device:
        if array.flags.c_contiguous or array.flags.f_contiguous:  # straight into its memory, with none besides
            array.set(np.asarray(values, dtype=array.dtype, order="C" if array.flags.c_contiguous else "F"))
        else:
            array[...] = load("cupy").from_host(values, device(array))


def restore(
    contents: Contents,
    weights: Weights,
    state: OptimizationState,
    loss_scale: Mapping[str, float],
    arrays: Mapping[Index, Array] | None,
    strict: bool,
    source: str | None,
) -> Restored:
    """Compare what was saved with what is here, and read what is taken. What moves in schedules has moved then, nothing else.

    Raises:
        TypeError, ValueError: weights are not what they may be; or something does not fit, and all is to.
    """
    met = set(weights.choice.matches)
    try:
        return _restore(contents, weights, state, loss_scale, arrays, strict, source)
    except BaseException:
        for index in [index for index in weights.choice.matches if index not in met]:
            del weights.choice.matches[index]
        raise


def _restore(
    contents: Contents,
    weights: Weights,
    state: OptimizationState,
    loss_scale: Mapping[str, float],
    arrays: Mapping[Index, Array] | None,
    strict: bool,
    source: str | None,
) -> Restored:
    optimizer, policy = weights.choice.optimizer, weights.choice.policy
    here = described(optimizer)
    found: list[Difference | str] = list(differences(contents.optimizer, here))

    clock = clock_from(contents.clock)
    if clock.batch_size != state.batch_size:
        found.append(Difference("clock.batch_size", str(clock.batch_size), str(state.batch_size)))
        clock.batch_size = state.batch_size

    name = source or "the state dict"
    wanted = {} if policy.loss_scale is None else policy.loss_scale.initial()
    kept_scale = dict(contents.loss_scale)
    if kept_scale.keys() != wanted.keys():
        found.append(Difference("loss_scale", f"{', '.join(kept_scale) or 'nothing'}", f"{', '.join(wanted) or 'nothing'}"))
        kept_scale = dict(loss_scale)
    elif kept_scale:
        number(kept_scale["scale"], f"{name}: the loss scale", POSITIVE)

    chosen: dict[Index, tuple[Kept, list[str]]] = {}
    for index, kept in contents.kept.items():
        names, unlike = _fitting(index, kept, weights)
        found += unlike
        if names is not None:
            chosen[index] = kept, names
        if kept.gathered and (kept.gathered >= policy.accumulate or "accumulated" not in kept.slots):
            most = f"less than accumulate={policy.accumulate}, in a slot"
            found.append(Difference(f"weight {index!r}: accumulated gradients", str(kept.gathered), most))
    lacking = [index for index in weights.known if index not in contents.kept]
    found += [Difference(f"weight {index!r}", "nothing", "slots") for index in lacking]
    calls = contents.calls if contents.calls < policy.accumulate else 0
    if calls != contents.calls:
        found.append(Difference("calls that wait for others", str(contents.calls), f"less than accumulate={policy.accumulate}"))

    theirs = {} if contents.weights is None else contents.weights
    fills: list[tuple[Array, tuple[str, Source]]] = []
    if arrays is not None:
        for index, array in arrays.items():
            unlike_weight = _unlike_weight(index, array, theirs.get(index))
            if unlike_weight is None:
                fills.append((array, theirs[index]))
            else:
                found.append(unlike_weight)
        found += [Difference(f"weight {index!r}", "a weight", "none given") for index in theirs if index not in arrays]

    if strict and found:
        raise ValueError(f"{name} is not of this updater: {_listed(found)}. strict=False takes what fits")

    taken = {index: _read(kept, names, policy.accumulate) for index, (kept, names) in chosen.items()}
    read = [(array, _array(dtype, one, "C")) for array, (dtype, one) in fills]
    new = [_waiting(index, one) for index, one in taken.items() if index not in weights.known]
    counted = [(weights.known[index], one) for index, one in taken.items() if index in weights.known]
    read += [(known._arrays[slot], values) for known, one in counted for slot, values in one.slots.items()]
    found += _move(contents.moving, dict(moving(optimizer)), strict, name)  # after which nothing can fail
    left = list(map(str, found))
    if theirs and arrays is None:
        left.append(f"{len(theirs)} weights, which were not asked for; load(..., weights=weights) takes them")
    report = LoadReport(
        source, True, tuple(taken), tuple(known.index for known in new),
        tuple(index for index in theirs if arrays is not None and any(array is arrays.get(index) for array, _ in fills)),
        tuple(left), tuple(unchecked(here, "optimizer")), clock, contents.versions, contents.extra,
    )  # fmt: skip
    return Restored(new, read, counted, clock, kept_scale, calls, contents.met, report)


def _listed(found: list[Difference | str]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(f"{one!s:.500}" for one in found[:SHOWN]) + more


def _fitting(index: Index, kept: Kept, weights: Weights) -> tuple[list[str] | None, list[Difference | str]]:
    """Which slots of a weight are taken, if it is taken at all, and what does not fit.

    What the rule itself keeps comes with the count, as a whole or not at all, since one without the other is no state of it.
    """
    where = f"weight {index!r}"
    dtype = dtype_named(kept.dtype)
    known = weights.known.get(index)
    if known is not None and (known.shape, known.dtype) != (kept.shape, dtype):
        return None, [Difference(where, _shown(kept.shape, kept.dtype), _shown(known.shape, dtype_name(known.dtype)))]
    try:
        rule = weights.rule_for(index, kept.shape, dtype)
    except (TypeError, ValueError) as error:
        return None, [f"{where}: {error}"]
    if isinstance(rule, Frozen):
        if known is None:
            return list(kept.slots), []
        expected = {name: (array.shape, array.dtype) for name, array in known.arrays.items()}
        own, scalars = {*expected}, {*known.scalars}
    else:
        expected = weights.expected(rule, kept.shape, dtype)
        own, scalars = {*rule.own.slots, *rule.own.numbers}, {*rule.scalars}
    found = {name: (_shape(kept, name), kept.dtypes[name]) for name in kept.slots}
    unlike: list[Difference | str] = []
    for name in (*expected, *(name for name in found if name not in expected)):
        there, here = found.get(name), expected.get(name)
        if there != (None if here is None else (here[0], here[1].name)):
            texts = ("nothing" if one is None else _shown(one[0], str(one[1])) for one in (there, here))
            unlike.append(Difference(f"{where}: slot {name!r}", *texts))
    if kept.scalars.keys() != scalars:
        texts = (", ".join(sorted(names)) or "nothing" for names in (kept.scalars, scalars))
        unlike.append(Difference(f"{where}: scalars", *texts))
    fitting = [name for name in expected if found.get(name) == (expected[name][0], expected[name][1].name)]
    whole = own <= {*fitting} and kept.scalars.keys() >= scalars
    return (fitting if whole else None), unlike


def _shape(kept: Kept, name: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = kept.slots[name].shape
    return shape[:-1] if kept.dtypes[name].startswith("complex") else shape


def _shown(shape: tuple[int, ...], dtype: str) -> str:
    return f"{dtype}{list(shape)}"


def _unlike_weight(index: Index, array: Array, there: tuple[str, Source] | None) -> Difference | None:
    """How a weight differs from the one in the file, if it does."""
    here = tuple(array.shape), dtype_name(array.dtype)
    if there is None:
        return Difference(f"weight {index!r}", "no weight", _shown(*here))
    dtype, source = there
    shape = source.shape[:-1] if "complex" in dtype else source.shape
    return None if (shape, dtype) == here else Difference(f"weight {index!r}", _shown(shape, dtype), _shown(*here))


def _array(dtype: str, source: Source, order: str) -> Array:
    """An array as it was saved, on the host."""
    array = source.read()
    if "complex" in dtype:
        array = array.view(dtype.removeprefix(">"))[..., 0]
    return np.asfortranarray(array) if order == "F" and array.ndim else array


def _read(kept: Kept, names: list[str], accumulate: int) -> Taken:
    slots = {name: _array(kept.dtypes[name], kept.slots[name], kept.order) for name in names}
    gathers = "accumulated" in slots and kept.gathered < accumulate
    if "accumulated" in slots and not gathers:
        slots["accumulated"][...] = 0
    return Taken(kept, slots, dict(kept.scalars), kept.gathered if gathers else 0)


def _waiting(index: Index, taken: Taken) -> WeightState:
    """What is kept for a weight that has not been given yet."""
    kept = taken.kept
    dtype: DType = dtype_named(kept.dtype)
    return WeightState(
        index, kept.shape, dtype, "cpu", taken.slots, taken.scalars, kept.count, taken.gathered, waiting=True
    )  # fmt: skip


def _move(there: Mapping[str, Any], here: Mapping[str, Any], strict: bool, name: str) -> list[Difference | str]:
    """Have schedules remember what those of the file did; all of them, or, where all must, none."""
    found: list[Difference | str] = [
        Difference(
            place,
            "something that remembers" if place in there else "nothing",
            "something that remembers" if place in here else "nothing",
        )
        for place in (*here, *(place for place in there if place not in here))
        if place not in there or place not in here
    ]
    if strict and found:
        raise ValueError(f"{name} is not of this updater: {_listed(found)}. strict=False takes what fits")
    before = {place: one.state_dict() for place, one in here.items() if place in there}
    for place in before:
        try:
            here[place].load_state_dict(there[place])
        except Exception as error:
            if strict:
                for earlier, numbers in before.items():
                    with suppress(Exception):
                        here[earlier].load_state_dict(numbers)
                raise ValueError(f"{name}: {place}: {error!s:.500}") from error
            found.append(f"{place}: {error}")
    return found
