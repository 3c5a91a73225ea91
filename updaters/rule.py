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
    CLIPPED_SIZE,
    EMPTY,
    GRADIENT,
    GRADIENT_SIZE,
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
    shrink,
    transforming,
    unscaling,
)
from updaters.policy import Policy

APART = Formula("gradient", lambda w, g, gradient: (w, g), ("the gradient",), (), ())
"""The weight and the gradient side by side, for a rule of whole arrays; no slot of a rule has such a name."""


@attrs.frozen(eq=False)
class Group:
    """Weights that are clipped alike. Those of one group share the norm of their gradients.

    Attributes:
        clip: the transforms before the decay.
        pattern: what `overrides` calls the group; None for all other weights.
    """

    clip: tuple[Any, ...] = ()
    pattern: Any = None

    @property
    def of_all(self) -> Any:
        """The clip that needs the norm of all gradients, if there is one."""
        return next((clip for clip in self.clip if getattr(clip, "of_all", False)), None)

    @property
    def of_units(self) -> Any:
        """The clip of each unit of a weight, if there is one."""
        return next((clip for clip in self.clip if getattr(clip, "of_units", False)), None)


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
    """

    begin: Parts
    before: Parts
    after: Parts
    formula: Formula
    recording: Recording
    takes: bool

    @classmethod
    def of(cls, rule: Formula, begin: Parts = (), before: Parts = (), after: Parts = (), shared: Part | None = None) -> Section:
        """A section of these; those that differ in coefficients only share a recording."""
        keys = tuple(tuple((part.apply, part.slots, part.numbers) for part in parts) for parts in (begin, before, after))
        places: tuple[int, ...] = ()
        if shared is not None:
            names = [len(part.names) * [part is shared] for part in (*begin, *before)]
            places = tuple(place for place, is_shared in enumerate(chain(*names)) if is_shared)
        formula, recording = _recorded(rule, keys, places)
        return cls(begin, before, after, formula, recording, any(part.names for part in (*begin, *before, *after)))


@lru_cache(maxsize=512)
def _recorded(rule: Formula, keys: tuple[Any, ...], shared: tuple[int, ...]) -> tuple[Formula, Recording]:
    begin, before, after = ([Part(apply, slots=slots, numbers=numbers) for apply, slots, numbers in parts] for parts in keys)
    formula = composed(begin, before, rule, after)
    if shared:
        formula = attrs.evolve(formula, shared=shared)
    return formula, record(formula)


PLAIN, ALL = Policy(), Group()


@attrs.frozen(eq=False)
class Rule:
    """What is done to the weights that an optimizer, a group and a dtype's kind have in common.

    Attributes:
        optimizer: the optimizer.
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
        random: whether the weight is rounded at random; its key is then the last two coefficients.
        reports: whether norms are taken for a report.
    """

    optimizer: Optimizer
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
    random: bool = False
    reports: bool = False

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
        """The rule for weights of a dtype; None stands for all that are not of half precision."""
        name = type(optimizer).__name__
        if isinstance(optimizer.slots, str):
            raise TypeError(f"{name}.slots must be a tuple of names, got {optimizer.slots!r}")
        if optimizer.whole_array and optimizer.numbers:
            raise TypeError(
                f"{name}.numbers must be () where whole_array is set, got {optimizer.numbers!r}; use scalars or slots"
            )
        own = Formula.of(optimizer.formula, tuple(optimizer.slots), tuple(optimizer.numbers), name)
        half = dtype.name if dtype is not None and dtype.name in HALVES else None
        wide = dtype is not None and compute_dtype(dtype) == np.float64
        mastered = half is not None and policy.master_weights
        random = half is not None and policy.stochastic_rounding is not None
        accumulates = policy.accumulate > 1

        begin = [from_master(half)] if mastered and half else []
        raw = [*unscaling(optimizer, policy), *[MEAN] * accumulates]
        checks = [finite(wide)] if policy.decision else []
        shrinking = Part(shrink, lambda now, call, t: (call.factors[group],))
        clips = [shrinking if clip is group.of_all else transforming(clip) for clip in group.clip if clip is not group.of_units]
        order = None if group.of_all is None else group.of_all.order
        of_moduli = dtype is not None and dtype.kind == "c" and order not in (None, 2)
        peak = [PEAK] * (policy.loss_scale is not None and policy.loss_scale.needs_peak)

        # The clips before the units', those before the norm, and those that are left.
        units = 0 if group.of_units is None else group.clip.index(group.of_units)
        until = len(clips) if order is None else clips.index(shrinking)
        first, second, rest = clips[:units], clips[units:until], clips[until:]

        prepare = None
        seen = [*raw, *checks]
        if group.of_units is not None or of_moduli:
            if of_moduli and group.of_units is not None and second:
                raise ValueError(
                    f"clip: for complex weights nothing can be between one of units and the norm of moduli, got {group.clip}"
                )
            if of_moduli:
                first, second = [*first, *second], []
            prepare = Section.of(GRADIENT, begin, [*seen, *[GRADIENT_SIZE] * reports, *first])
            seen = raw = checks = []
        measure = None
        if policy.decision or order is not None:
            wanted = [*second, *[norm(order, wide)] * (order is not None and not of_moduli), *peak]
            measure = Section.of(NOTHING, begin, [*seen, *wanted]) if [*checks, *wanted] else None
        before = [
            *raw,
            *[GRADIENT_SIZE] * (reports and prepare is None),
            *second,
            *rest,
            *[CLIPPED_SIZE] * reports,
            *behind_clips(optimizer),
        ]
        after = [
            *averaging(policy),
            *[EMPTY] * accumulates,
            *([at_random(half)] if random and half else []),
            *[change(None if mastered else half)] * reports,
            *([into_master(half)] if mastered and half else []),
        ]
        shared = shrinking if order is not None else None
        apply = store = None
        if optimizer.whole_array:
            if begin or before:
                apply = Section.of(attrs.evolve(APART, name=name), begin, before, shared=shared)
            if after:
                store = Section.of(GRADIENT, begin, [], after)
        else:
            apply = Section.of(own, begin, before, after, shared=shared)
        gather = None
        if accumulates:
            averages = averaging(policy) if policy.average is not None and policy.average.every_call else []
            stores = [into_master(half)] if averages and mastered and half else []
            gather = Section.of(NOTHING, begin if averages else [], [*unscaling(optimizer, policy), ADD], [*averages, *stores])
        kept = {
            **({"accumulated": 0.0} if accumulates else {}),
            **({"master": "w"} if mastered else {}),
            **({"average": 0.0} if policy.average is not None else {}),
        }
        taken = {*kept} & {*optimizer.slots, *optimizer.numbers, *optimizer.scalars}
        if taken:
            raise ValueError(
                f"{name} keeps {', '.join(map(repr, sorted(taken)))} itself, a name that the updater needs for its own"
            )
        sections = [section for section in (apply, store, measure, prepare) if section is not None]
        measures = of_moduli or any(len(section.formula.numbers) > len(own.numbers) * (section is apply) for section in sections)
        return cls(
            optimizer, group, own, tuple(optimizer.scalars), apply, store, gather, measure, prepare, kept, measures, of_moduli,
            random, reports,
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
        first, last = self.around(self.apply, call, t)
        if self.store is not None:
            last = self.around(self.store, call, t)[1]
        return [*first, *numbers, *last], after
