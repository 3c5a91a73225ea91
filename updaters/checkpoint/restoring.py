"""What was saved, compared with what is here, and taken: all of it, or what fits."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import numpy as np

from updaters.arrays import Array, device
from updaters.backends import load
from updaters.backends.threads import crew
from updaters.checkpoint.contents import Contents, Kept, Source, clock_of
from updaters.checkpoint.described import Difference, described, differences, moving, remembered, unchecked
from updaters.checkpoint.files import dtype_name, dtype_named
from updaters.checks import POSITIVE, number
from updaters.policy import Frozen, Policy
from updaters.state import OptimizationState
from updaters.weight_state import Index, WeightState
from updaters.weights import Weights

SHOWN = 10
"""How many of the things that do not fit an error names."""


@attrs.frozen(repr=False)
class LoadReport:
    """What `update.load` took. It prints as a few lines.

    Attributes:
        source: the path; None for a dictionary.
        found: whether there was a file.
        slots: the indices of the weights whose slots were taken.
        waiting: those among them that the updater has not been given yet, for whose first update they wait.
        weights: the indices of the weights that were themselves taken.
        left: what was not taken, and why, a line each. Without `strict=False` there is none.
        unchecked: where there are functions and classes of your own that have no name in configs, so that they were not compared.
        clock: the clock as it stood.
        versions: of what it was saved by.
        extra: what was given to `save` as `extra`.

    Example:
        >>> update = up.get_updater(up.Adam(0.1))
        >>> update.step([np.ones(2)], [np.ones(2)])
        >>> up.get_updater(up.Adam(0.2)).load_state_dict(update.state_dict(), strict=False)
        loaded a state dict: epoch 0, batch 0, iteration 1
        weights: 0; slots: of 1, of which 1 wait for their weights
        left: optimizer.lr: 0.1 in the file, 0.2 here
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
        yield from (f"left: {line}" for line in self.left[:SHOWN])
        if len(self.left) > SHOWN:
            yield f"and {len(self.left) - SHOWN} more, in left"
        if self.unchecked:
            yield f"not compared: {', '.join(self.unchecked)}"


@attrs.frozen
class Taken:
    """What is taken for a weight: slots as they lie where they are taken from, and the numbers beside them."""

    kept: Kept
    slots: dict[str, Array]
    gathered: int

    def begun(self, index: Index) -> WeightState:
        """What is to hold it for a weight that has not been given yet."""
        kept = self.kept
        slots = {
            name: np.empty(values.shape, dtype_named(kept.dtypes[name]), kept.order)  # type: ignore[call-overload]
            for name, values in self.slots.items()
        }
        return WeightState(index, kept.shape, dtype_named(kept.dtype), "cpu", slots, {}, waiting=True)


@attrs.frozen
class Restored:
    """All that is to change, worked out; writing it cannot fail.

    Attributes:
        new: what is kept for weights that have not been given here.
        fills: arrays to be written over, with what they are to hold.
        taken: what is taken for these and for others.
        clock: the clock as it is to stand.
        loss_scale: what the loss scale is to keep.
        calls: the calls of `step` that wait for others.
        met: the indices of all weights that have been given.
        report: what is said of it.
    """

    new: list[WeightState]
    fills: list[tuple[Array, Array]]
    taken: list[tuple[WeightState, Taken]]
    clock: OptimizationState
    loss_scale: dict[str, float]
    calls: int
    met: tuple[Index, ...]
    report: LoadReport

    def write(self, weights: Weights, state: OptimizationState) -> None:
        """Change the arrays, what is kept, and the clock."""
        for known in weights.known.values():
            if known.gathered:
                known.empty()
        on_host = [fill for fill in self.fills if isinstance(fill[0], np.ndarray)]
        size = crew().size
        crew().run([partial(_fill_each, on_host[first::size]) for first in range(size)])
        _fill_each([fill for fill in self.fills if not isinstance(fill[0], np.ndarray)])
        for known, taken in self.taken:
            known.count, known.gathered, known._scalars = taken.kept.count, taken.gathered, dict(taken.kept.scalars)
        for known in self.new:
            weights.known[known.index] = known
        for index in self.met:
            weights.choice.match(index)
        for name, value in clock_of(self.clock).items():  # the epoch comes before what another one begins anew
            setattr(state, name, value)


def _ready(array: Array, values: Array) -> tuple[Array, Array]:
    """Values as they are written over an array without any more memory."""
    if isinstance(array, np.ndarray):
        return array, values
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return array, np.asarray(values, dtype=array.dtype, order="C" if array.flags.c_contiguous else "F")
    return array, load("cupy").from_host(values, device(array))


def _fill_each(fills: Sequence[tuple[Array, Array]]) -> None:
    for array, values in fills:
        if isinstance(array, np.ndarray):
            array[...] = values
            continue
        with array.device:
            if isinstance(values, np.ndarray):
                array.set(values)
            else:
                array[...] = values


def restore(
    contents: Contents,
    weights: Weights,
    state: OptimizationState,
    loss_scale: Mapping[str, float],
    arrays: Mapping[Index, Array] | None,
    strict: bool,
    source: str | None,
) -> Restored:
    """Compare what was saved with what is here, and work out the changes. What moves in schedules has moved then, nothing else.

    Raises:
        TypeError, ValueError: weights are not what they may be; or something does not fit, and all is to.
    """
    optimizer, policy = weights.choice.optimizer, weights.choice.policy
    here = described(optimizer)
    moves = dict(moving(optimizer))
    of_those = {f"{place}.{name}" for place, one in moves.items() for name in remembered(one, place)}
    found: list[Difference | str] = list(differences(contents.optimizer, here, of_those))

    clock = attrs.evolve(contents.clock)
    if clock.batch_size != state.batch_size:
        found.append(Difference("clock.batch_size", str(clock.batch_size), str(state.batch_size)))
        clock.batch_size = state.batch_size

    name = source or "the state dict"
    kept_scale, unlike_scale = _scale(contents.loss_scale, loss_scale, policy, name)
    found += unlike_scale
    chosen, unlike_slots = _chosen(contents, weights)
    found += unlike_slots
    lacking = [index for index in weights.known if index not in contents.kept]
    found += [Difference(f"weight {index!r}", "nothing", "slots") for index in lacking]
    unlike_gathered = _unlike_gathered(contents, chosen, policy.accumulate)
    found += unlike_gathered
    gathers = not unlike_gathered  # all or none, since a step needs all
    if not gathers:
        chosen = {index: (kept, [name for name in names if name != "accumulated"]) for index, (kept, names) in chosen.items()}

    theirs = {} if contents.weights is None else contents.weights
    filled, unlike_weights = ({}, []) if arrays is None else _filled(theirs, arrays)
    found += unlike_weights

    found = list(dict.fromkeys(found))  # a weight and its slots may differ by the same
    if strict and found:
        raise unfit(name, found)
    if theirs and arrays is None:
        if strict:  # or it would go on with slots of other weights than these
            raise ValueError(f"{name} has weights too: load(..., weights=weights) takes them, and strict=False leaves them")
        found.append(f"{len(theirs)} weights, which were not asked for; load(..., weights=weights) takes them")

    new, taken, fills = [], [], [*filled.values()]
    for index, (kept, names) in chosen.items():
        slots = {name: _array(kept.dtypes[name], kept.slots[name]) for name in names}
        one = Taken(kept, slots, kept.gathered if "accumulated" in slots else 0)
        known = weights.known.get(index)
        if known is None or known.waiting:
            known = one.begun(index)
            new.append(known)
        taken.append((known, one))
        fills += [(known._arrays[name], values) for name, values in slots.items()]
    fills = [_ready(*fill) for fill in fills]
    found += _move(contents.moving, moves, strict, name)  # after which nothing can fail

    left = [*map(str, found), *(f"weight {index!r}: nothing of it" for index in contents.kept if index not in chosen)]
    report = LoadReport(
        source, True, tuple(chosen), tuple(known.index for known in new), tuple(filled), tuple(left),
        tuple(unchecked(here, "optimizer")), clock, contents.versions, contents.extra,
    )  # fmt: skip
    return Restored(new, fills, taken, clock, kept_scale, contents.calls if gathers else 0, contents.met, report)


def unfit(name: str, found: Sequence[Difference | str]) -> ValueError:
    """The error about a file or a dictionary of which something does not fit."""
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    shown = "; ".join(f"{one!s:.500}" for one in found[:SHOWN])
    return ValueError(f"{name} is not of this updater: {shown}{more}. strict=False takes what fits")


def _scale(
    there: Mapping[str, float], here: Mapping[str, float], policy: Policy, name: str
) -> tuple[dict[str, float], list[Difference | str]]:
    """What the loss scale is to keep, and what does not fit."""
    wanted = {} if policy.loss_scale is None else policy.loss_scale.initial()
    if there.keys() != wanted.keys():
        return dict(here), [Difference("loss_scale", ", ".join(there) or "nothing", ", ".join(wanted) or "nothing")]
    if there:
        number(there["scale"], f"{name}: the loss scale", POSITIVE)
    return dict(there if policy.moves else wanted), []  # one that does not move is what its field says


def _chosen(contents: Contents, weights: Weights) -> tuple[dict[Index, tuple[Kept, list[str]]], list[Difference | str]]:
    """What is taken for each weight, with the names of its slots, and what does not fit."""
    chosen: dict[Index, tuple[Kept, list[str]]] = {}
    found: list[Difference | str] = []
    met = dict(weights.choice.matches)
    try:
        for index, kept in contents.kept.items():
            names, scalars, unlike = _fitting(index, kept, weights)
            found += unlike
            if kept.scalars.keys() > {*scalars}:
                kept = attrs.evolve(kept, scalars={name: kept.scalars[name] for name in scalars})
            if names is not None:
                chosen[index] = kept, names
    finally:
        weights.choice.matches = met  # to ask for a weight's rule is not to meet the weight
    return chosen, found


def _unlike_gathered(contents: Contents, chosen: Mapping[Index, tuple[Kept, list[str]]], most: int) -> list[Difference | str]:
    """What of the accumulated gradients does not fit."""
    fewer = f"less than accumulate={most}"
    found: list[Difference | str] = []
    if contents.calls >= most:
        found.append(Difference("calls that wait for others", str(contents.calls), fewer))
    for index, kept in contents.kept.items():
        if kept.gathered and (kept.gathered >= most or "accumulated" not in kept.slots):
            found.append(Difference(f"weight {index!r}: accumulated gradients", str(kept.gathered), f"{fewer}, in a slot"))
        elif kept.gathered and "accumulated" not in chosen.get(index, (kept, []))[1]:
            found.append(f"weight {index!r}: accumulated gradients are not taken")
    return found


def _fitting(index: Index, kept: Kept, weights: Weights) -> tuple[list[str] | None, Collection[str], list[Difference | str]]:
    """Which slots and scalars of a weight are taken, if it is taken at all, and what does not fit.

    What the rule itself keeps comes with the count, as a whole or not at all, since one without the other is no state of it.
    """
    where = f"weight {index!r}"
    dtype = dtype_named(kept.dtype)
    known = weights.known.get(index)
    if known is not None and (known.shape, known.dtype) != (kept.shape, dtype):
        return None, (), [Difference(where, _shown(kept.shape, kept.dtype), _shown(known.shape, dtype_name(known.dtype)))]
    try:
        rule = weights.rule_for(index, kept.shape, dtype)
    except (TypeError, ValueError) as error:
        return None, (), [f"{where}: {error}"]
    if isinstance(rule, Frozen):
        names = [name for name in kept.slots if name != "accumulated" or not kept.gathered]  # or it would wait for ever
        if known is None:
            return names, kept.scalars, []
        expected = {name: (array.shape, array.dtype) for name, array in known.arrays.items() if name in names}
        scalars, own = {*known.scalars}, {*expected}
    else:
        expected = weights.expected(rule, kept.shape, dtype)
        scalars, own = {*rule.scalars}, {*rule.own.slots, *rule.own.numbers}
    wanted = {name: (shape, dtype_name(dtype)) for name, (shape, dtype) in expected.items()}
    found = {name: (_shape(kept, name), kept.dtypes[name]) for name in kept.slots}
    unlike: list[Difference | str] = []
    for name in (*wanted, *(name for name in found if name not in wanted)):
        if found.get(name) != wanted.get(name):
            texts = ("nothing" if one is None else _shown(*one) for one in (found.get(name), wanted.get(name)))
            unlike.append(Difference(f"{where}: slot {name!r}", *texts))
    if kept.scalars.keys() != scalars:
        texts = (", ".join(sorted(names)) or "nothing" for names in (kept.scalars, scalars))
        unlike.append(Difference(f"{where}: scalars", *texts))
    fitting = [name for name in wanted if found.get(name) == wanted[name]]
    return (fitting if own <= {*fitting} and kept.scalars.keys() >= scalars else None), scalars, unlike


def _shape(kept: Kept, name: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = kept.slots[name].shape
    return shape[:-1] if kept.dtypes[name].startswith("complex") else shape


def _shown(shape: tuple[int, ...], dtype: str) -> str:
    return f"{dtype}{list(shape)}"


def _filled(
    there: Mapping[Index, tuple[str, Source]], here: Mapping[Index, Array]
) -> tuple[dict[Index, tuple[Array, Array]], list[Difference | str]]:
    """The weights that are written over, with what they are to hold, and what does not fit."""
    filled, found = {}, list[Difference | str]()
    for index, array in here.items():
        unlike = _unlike_weight(index, array, there.get(index))
        if unlike is None:
            filled[index] = array, _array(*there[index])
        else:
            found.append(unlike)
    return filled, [*found, *(Difference(f"weight {index!r}", "a weight", "none given") for index in there if index not in here)]


def _unlike_weight(index: Index, array: Array, there: tuple[str, Source] | None) -> Difference | None:
    """How a weight differs from the one in the file, if it does."""
    here = tuple(array.shape), dtype_name(array.dtype)
    if there is None:
        return Difference(f"weight {index!r}", "no weight", _shown(*here))
    dtype, source = there
    shape = source.shape[:-1] if "complex" in dtype else source.shape
    return None if (shape, dtype) == here else Difference(f"weight {index!r}", _shown(shape, dtype), _shown(*here))


def _array(dtype: str, source: Source) -> Array:
    """An array as it was saved, where it lies."""
    array = source.view()
    return np.ascontiguousarray(array).view(f"<c{2 * array.itemsize}")[..., 0] if "complex" in dtype else array


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
        raise unfit(name, found)
    before = {place: copy.deepcopy(remembered(one, place)) for place, one in here.items() if place in there}
    for place in before:
        try:
            here[place].load_state_dict(there[place])
        except BaseException as error:
            refused = isinstance(error, Exception)
            for moved in before if strict or not refused else [place]:
                with suppress(Exception):
                    here[moved].load_state_dict(before[moved])
            if not refused:  # an interruption
                raise
            if strict:
                raise ValueError(f"{name}: {place}: {error!s:.500}") from error
            found.append(f"{place}: {error}")
    return found
