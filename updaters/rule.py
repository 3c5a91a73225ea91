"""An optimizer made ready for a weight: the sections of its update, each recorded as one formula."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import attrs
import numpy as np

from updaters.arrays import HALVES, compute_dtype
from updaters.backends.trace import Recording, record
from updaters.checks import listed
from updaters.formula import Formula
from updaters.optimizers.base import Optimizer
from updaters.order import (
    ADD,
    EMPTY,
    GRADIENT,
    MEAN,
    NOTHING,
    PEAK,
    Call,
    Part,
    Parts,
    at_random,
    averaging,
    behind_clips,
    change,
    composed,
    finite,
    from_master,
    into_master,
    norm,
    own_clip,
    shrink,
    size,
    transforming,
    unscaling,
)
from updaters.policy import Policy

APART = Formula("gradient", lambda w, g, gradient: (w, g), ("the gradient",), (), ())
"""The weight and the gradient side by side, for a rule of whole arrays; no slot of a rule has such a name."""


def _only(kind: str) -> Any:
    """A field for the one clip of a kind, if there is one."""
    found = attrs.Factory(lambda self: next((clip for clip in self.clip if getattr(clip, kind, False)), None), takes_self=True)
    return attrs.field(default=found, init=False)


@attrs.frozen(eq=False)
class Group:
    """Weights that are clipped alike. Those of one group share the norm of their gradients.

    Attributes:
        clip: the transforms before the decay.
        pattern: what `overrides` calls the group; None for all other weights.
        of_all: the clip that needs the norm of all gradients, if there is one.
        of_units: the clip of each unit of a weight, if there is one.
    """

    clip: tuple[Any, ...] = ()
    pattern: Any = None
    of_all: Any = _only("of_all")
    of_units: Any = _only("of_units")


@attrs.frozen(eq=False)
class Section:
    """A stretch of an update that is run as one formula: parts, a formula, and further parts.

    Attributes:
        begin: the parts after which the weight is the old one.
        before: those before the formula.
        after: those after it.
        formula: all of it as one.
        recording: the same, recorded.
        takes: whether parts take coefficients.
        takes_key: whether the last two coefficients are the weight's own key.
    """

    begin: Parts
    before: Parts
    after: Parts
    formula: Formula
    recording: Recording
    takes: bool
    takes_key: bool

    @classmethod
    def of(cls, rule: Formula, begin: Parts = (), before: Parts = (), after: Parts = (), shared: Part | None = None) -> Section:
        """A section of these; those that differ in coefficients only share a recording."""
        keys = tuple(tuple((part.apply, part.slots, part.numbers) for part in parts) for parts in (begin, before, after))
        places: tuple[int, ...] = ()
        if shared is not None:
            names = [len(part.names) * [part is shared] for part in (*begin, *before)]
            places = tuple(place for place, is_shared in enumerate(chain(*names)) if is_shared)
        formula, recording = _recorded(rule, keys, places)
        parts = (*begin, *before, *after)
        takes, takes_key = any(part.names for part in parts), any(part.takes_key for part in parts)
        return cls(begin, before, after, formula, recording, takes, takes_key)


@lru_cache(maxsize=512)
def _recorded(rule: Formula, keys: tuple[Any, ...], shared: tuple[int, ...]) -> tuple[Formula, Recording]:
    begin, before, after = ([Part(apply, slots=slots, numbers=numbers) for apply, slots, numbers in parts] for parts in keys)
    formula = composed(begin, before, rule, after)
    if shared:
        formula = attrs.evolve(formula, shared=shared)
    return formula, record(formula)


@attrs.frozen
class Storage:
    """How the weights of a dtype are read and stored.

    Attributes:
        half: the name of the dtype, where it is of half precision.
        wide: whether its squares may overflow in float64.
        is_complex: whether it is complex.
        mastered: whether there is a float32 master.
        random: whether it is rounded at random.
    """

    half: str = ""
    wide: bool = False
    is_complex: bool = False
    mastered: bool = False
    random: bool = False

    @classmethod
    def of(cls, dtype: np.dtype[Any] | None, policy: Policy) -> Storage:
        """How it is under a policy."""
        if dtype is None:
            return cls()
        half = dtype.name if dtype.name in HALVES else ""
        return cls(
            half,
            compute_dtype(dtype) == np.float64,
            dtype.kind == "c",
            bool(half) and policy.master_weights,
            bool(half) and policy.stochastic_rounding is not None,
        )

    def of_moduli(self, group: Group) -> bool:
        """Whether the norm of the group is one of moduli, which are no sums over real and imaginary parts."""
        return self.is_complex and group.of_all is not None and group.of_all.order != 2

    @property
    def begin(self) -> list[Part]:
        """What reads the weight."""
        return [from_master(self.half)] if self.mastered else []

    @property
    def rounding(self) -> list[Part]:
        """What rounds the new weight."""
        return [at_random(self.half)] if self.random else []

    @property
    def change(self) -> list[Part]:
        """What measures the change."""
        return [change(self.half if self.half and not self.mastered else None)]

    @property
    def keep(self) -> list[Part]:
        """What stores the weight, and keeps its master."""
        return [into_master(self.half)] if self.mastered else []


@attrs.frozen
class Clips:
    """A group's clips, cut where something is measured.

    Attributes:
        apart: whether the gradient is first made apart, up to the clip of units, or for the norm of moduli.
        first: the clips on the way there.
        second: those before the norm of all gradients.
        norm: what measures it.
        rest: the others, of which the first is by that norm.
        shared: the one by that norm.
    """

    apart: bool
    first: Parts
    second: Parts
    norm: Parts
    rest: Parts
    shared: Part | None

    @classmethod
    def of(cls, group: Group, stored: Storage) -> Clips:
        """The clips of a group for weights that are stored so."""
        by_norm = Part(shrink, lambda now, call, t: (call.factors[group],))
        clips = [by_norm if clip is group.of_all else transforming(clip) for clip in group.clip if clip is not group.of_units]
        units = 0 if group.of_units is None else group.clip.index(group.of_units)
        until = len(clips) if group.of_all is None else clips.index(by_norm)
        first, second, rest = clips[:units], clips[units:until], clips[until:]
        of_moduli = stored.of_moduli(group)
        if of_moduli and group.of_units is not None and second:
            raise ValueError(
                f"clip: for complex weights nothing can be between one of units and the norm of moduli, got {group.clip}"
            )
        if of_moduli:
            first, second = [*first, *second], []
        measured = [norm(group.of_all.order, stored.wide)] if group.of_all is not None and not of_moduli else []
        shared = None if group.of_all is None else by_norm
        return cls(group.of_units is not None or of_moduli, first, second, measured, rest, shared)


PLAIN, ALL = Policy(), Group()


@attrs.frozen(eq=False)
class Rule:
    """What is done to the weights that an optimizer, a group and a dtype's kind have in common.

    Attributes:
        optimizer: the optimizer.
        policy: what is done besides.
        group: how gradients are clipped.
        own: the optimizer's own formula.
        scalars: the names of its scalars.
        apply: the update; of a rule of whole arrays what comes before it, where anything does.
        store: of a rule of whole arrays, what comes after it, where anything does.
        gather: what a call does that only accumulates.
        measure: what is measured before the update is decided on, and nothing written.
        prepare: what makes a gradient apart, where a clip of units, or a norm of moduli, wants one.
        kept: the slots that are not the optimizer's, with what they hold at first.
        measures: whether numbers are measured of its weights.
        of_moduli: whether the norm of the group is one of moduli, which are no sums over real and imaginary parts.
        takes: whether parts of the update take coefficients.
        takes_key: whether the last two of these are the weight's own key.
        reports: whether norms are taken for a report.
        peak_of_clipped: whether a loss scale goes by the peak of clipped gradients.
    """

    optimizer: Optimizer
    policy: Policy
    group: Group
    own: Formula
    scalars: tuple[str, ...]
    apply: Section | None
    store: Section | None = None
    gather: Section | None = None
    measure: Section | None = None
    prepare: Section | None = None
    kept: Mapping[str, Any] = attrs.field(factory=dict)
    measures: bool = False
    of_moduli: bool = False
    takes: bool = False
    takes_key: bool = False
    reports: bool = False
    peak_of_clipped: bool = False

    @property
    def whole_array(self) -> bool:
        """Whether the rule takes whole arrays."""
        return self.optimizer.whole_array

    @property
    def recording(self) -> Recording | None:
        """What is recorded of the update."""
        return None if self.apply is None else self.apply.recording

    @property
    def coefficients(self) -> tuple[str, ...]:
        """The names of the own formula's coefficients."""
        return self.own.coefficients

    @property
    def steps(self) -> Parts:
        """The parts that come before the own formula."""
        return () if self.apply is None else (*self.apply.begin, *self.apply.before)

    def kept_numbers(self, section: Section) -> int:
        """How many of a section's numbers, the first, are the optimizer's own; the others are measured, whatever their names."""
        return len(self.own.numbers) if section is self.apply else 0

    @classmethod
    def of(
        cls,
        optimizer: Optimizer,
        policy: Policy = PLAIN,
        group: Group = ALL,
        dtype: np.dtype[Any] | None = None,
        reports: bool = False,
    ) -> Rule:
        """The rule for weights of a dtype; None stands for all that need nothing of their own.

        Raises:
            TypeError, ValueError: the optimizer is not made as it should be, or clips do not go together.
        """
        own, stored = _own(optimizer), Storage.of(dtype, policy)
        accumulates = policy.accumulate > 1
        averages = averaging(policy)
        clips = Clips.of(group, stored)

        unscale = unscaling(optimizer, policy)
        needs_peak = policy.loss_scale is not None and policy.loss_scale.needs_peak
        of_clipped = needs_peak and getattr(policy.loss_scale, "peak_of_clipped", False)
        seen = [*unscale, *[MEAN] * accumulates, *[finite(stored.wide)] * bool(policy.decision)]
        seen += [PEAK] * (needs_peak and not of_clipped)
        prepare = measure = None
        if clips.apart:
            prepare = Section.of(GRADIENT, stored.begin, [*seen, *[size("gradient", stored.wide)] * reports, *clips.first])
            seen = []
        wanted = [*seen, *clips.second, *clips.norm, *[PEAK] * of_clipped]
        if wanted and (policy.decision or clips.shared is not None):
            measure = Section.of(NOTHING, stored.begin, wanted)

        raw = [] if clips.apart else [*unscale, *[MEAN] * accumulates, *[size("gradient", stored.wide)] * reports]
        before = [*raw, *clips.second, *clips.rest, *own_clip(optimizer)]
        before += [*[size("clipped", stored.wide)] * reports, *behind_clips(optimizer)]
        after = [*averages, *[EMPTY] * accumulates, *stored.rounding, *stored.change * reports, *stored.keep]
        apply = store = gather = None
        if not optimizer.whole_array:
            apply = Section.of(own, stored.begin, before, after, clips.shared)
        else:
            if stored.begin or before:
                apply = Section.of(attrs.evolve(APART, name=own.name), stored.begin, before, shared=clips.shared)
            if after:
                store = Section.of(GRADIENT, stored.begin, [], after)
        if accumulates:
            if policy.average is not None and policy.average.every_call:
                gather = Section.of(NOTHING, stored.begin, [*unscale, ADD], [*averages, *stored.rounding, *stored.keep])
            else:
                gather = Section.of(NOTHING, before=[*unscale, ADD])

        kept = {
            **({"accumulated": 0.0} if accumulates else {}),
            **({"master": "w"} if stored.mastered else {}),
            **({"average": 0.0} if averages else {}),
        }
        taken = {*kept} & {*optimizer.slots, *optimizer.numbers, *optimizer.scalars}
        if taken:
            raise ValueError(f"{own.name} keeps {listed(taken)} itself, which the updater was to keep for it")
        sections = [section for section in (apply, store, measure, prepare) if section is not None]
        applied = [section for section in (apply, store) if section is not None]
        measures = any(len(section.formula.numbers) > len(own.numbers) * (section is apply) for section in sections)
        return cls(
            optimizer, policy, group, own, tuple(optimizer.scalars), apply, store, gather, measure, prepare, kept,
            measures or stored.of_moduli(group), stored.of_moduli(group), any(section.takes for section in applied),
            any(section.takes_key for section in applied), reports, of_clipped,
        )  # fmt: skip

    def around(self, section: Section | None, call: Call, t: int) -> tuple[list[float], list[float]]:
        """The coefficients of a section's parts, before its formula and after it."""
        if section is None or not section.takes:
            return [], []
        now = self.optimizer.at(call.state)
        first, last = (
            [coefficient for part in parts for coefficient in part.coefficients(now, call, t)]
            for parts in ((*section.begin, *section.before), section.after)
        )
        return first, last

    def work_out(self, call: Call, t: int, scalars: Mapping[str, float]) -> tuple[list[float], dict[str, float]]:
        """The coefficients of an update in their order, and the scalars' new values."""
        values = self.optimizer.coefficients(call.state, t, **scalars)
        try:
            numbers = [float(values[name]) for name in self.coefficients]
            after = {name: float(values[name]) for name in self.scalars}
            complete = len(values) == len(numbers) + len(after)
        except KeyError:
            complete = False
        except (TypeError, ValueError):
            raise TypeError(f"{self.own.name}.coefficients must give numbers by name, got {values!r}") from None
        if not complete and values.keys() != {*self.coefficients, *self.scalars}:
            wanted = {*self.coefficients, *self.scalars}
            raise TypeError(f"{self.own.name}.coefficients must give {listed(wanted)}, got {listed(values)}")
        if not self.takes:
            return numbers, after
        first, last = self.around(self.apply, call, t)
        if self.store is not None:
            last = self.around(self.store, call, t)[1]
        return [*first, *numbers, *last], after


def _own(optimizer: Optimizer) -> Formula:
    """An optimizer's own formula."""
    name = type(optimizer).__name__
    if isinstance(optimizer.slots, str):
        raise TypeError(f"{name}.slots must be a tuple of names, got {optimizer.slots!r}")
    if optimizer.whole_array and optimizer.numbers:
        raise TypeError(f"{name}.numbers must be () where whole_array is set, got {optimizer.numbers!r}; use scalars or slots")
    return Formula.of(optimizer.formula, tuple(optimizer.slots), tuple(optimizer.numbers), name)
