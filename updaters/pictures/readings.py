"""What schedules and optimizers say over a run, read at as few clocks as show it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import attrs

from updaters.checks import FINITE, Interval, number, whole
from updaters.optimizers import Optimizer
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState
from updaters.updater import Updater

Drawable: TypeAlias = Schedulable | Optimizer
"""What has a picture: an optimizer, a schedule, any other scheduler, or a number."""

# In a run of more updates than this, some are read: first that many, spread evenly, and then where the value moves.
MOST = 2000
EVENLY = 1000
# A move of less than this share of the height of a picture cannot be seen.
VISIBLE = 1 / 400


@attrs.frozen
class Line:
    """The values of one hyperparameter or schedule over a run.

    Attributes:
        panel: what it is a value of.
        label: which of several such lines it is.
        updates: the updates that were read, counted from 1, in order.
        values: the values in force at them.
    """

    panel: str
    label: str
    updates: list[int]
    values: list[float]


def _epochs(value: object) -> int:
    return whole(value, "epochs", 1)


def _batches(value: object) -> int:
    return whole(value, "batches_per_epoch", 1)


@attrs.frozen
class Run:
    """A run of epochs, each of as many updates."""

    epochs: int = attrs.field(converter=_epochs)
    batches_per_epoch: int = attrs.field(converter=_batches)

    @property
    def updates(self) -> int:
        return self.epochs * self.batches_per_epoch

    def clock(self, update: int) -> OptimizationState:
        """The clock as it stands at an update."""
        done, batch = divmod(update - 1, self.batches_per_epoch)
        return OptimizationState(epoch=done + 1, batch=batch + 1, iteration=update, unfinished=True)

    def lines(self, what: Drawable | Mapping[str, Drawable]) -> list[Line]:
        """What there is to draw, those of one panel together."""
        if isinstance(what, Mapping):
            if not what:
                raise ValueError("what is drawn must be one thing at least, got an empty mapping")
            named = [(str(label), f"{label!r}", one) for label, one in what.items()]
        else:
            named = [(type(what).__name__, "what is drawn", what)]
        sources = [source for label, name, one in named for source in _sources(one, label, name)]
        if not sources:
            raise ValueError(f"what is drawn must have a learning rate, a momentum or something scheduled, got {what!r}")
        panels = list(dict.fromkeys(panel for panel, *_ in sources))
        sources.sort(key=lambda source: panels.index(source[0]))
        return [self._line(*source) for source in sources]

    def _line(self, panel: str, label: str, one: Schedulable, name: str, interval: Interval) -> Line:
        def value(update: int) -> float:
            return read(one, self.clock(update), name, interval)

        return Line(panel, label, *self._read(value))

    def _read(self, value: Callable[[int], float]) -> tuple[list[int], list[float]]:
        """Updates in order, and the values at them: all updates of a short run, and in a long one those that matter.

        These are the first and last update, one at an irregular place in each of `EVENLY` equal parts of the run, so that no
        period falls in with them, and the ends of all epochs unless there are too many; then, as long as two neighbours
        differ visibly, an update halfway between the two that differ most. So a jump is narrowed down to the update at
        which it comes.
        """
        last = self.updates
        if last <= MOST:
            return list(range(1, last + 1)), [value(k) for k in range(1, last + 1)]
        golden = (5**0.5 - 1) / 2
        chosen = {1, last} | {int((part + part * golden % 1) * last / EVENLY) + 1 for part in range(EVENLY)}
        if self.epochs <= EVENLY // 4:
            ends = range(self.batches_per_epoch, last, self.batches_per_epoch)
            chosen |= {update for end in ends for update in (end, end + 1)}
        values = {k: value(k) for k in sorted(chosen)}
        order = list(values)
        gaps = [(-abs(values[b] - values[a]), a, b) for a, b in pairwise(order) if b - a > 1]
        heapq.heapify(gaps)
        low, high = min(values.values()), max(values.values())
        while gaps and len(values) < MOST and -gaps[0][0] > VISIBLE * (high - low):
            _, a, b = heapq.heappop(gaps)
            middle = (a + b) // 2
            values[middle] = found = value(middle)
            low, high = min(low, found), max(high, found)
            for left, right in ((a, middle), (middle, b)):
                if right - left > 1:
                    heapq.heappush(gaps, (-abs(values[right] - values[left]), left, right))
        order = sorted(values)
        return order, [values[k] for k in order]


def bounds(values: list[float]) -> tuple[float, float]:
    """The lowest and highest value of an axis: those of the values, or 0 where that is not far."""
    low, high = min(values), max(values)
    still = high - low <= 1e-9 * max(abs(low), abs(high))  # rounding is no movement
    if low >= 0 and (still or low < high / 2):
        low = 0.0
    if high <= 0 and (still or high > low / 2):
        high = 0.0
    return (low, high) if low < high else (low, low + 1.0)


def _sources(what: Any, label: str, name: str) -> Iterator[tuple[str, str, Schedulable, str, Interval]]:
    """For each line: its panel and label, what is read, what an error calls it, and where it must lie."""
    if isinstance(what, Updater):
        raise TypeError(f"{name} must be an optimizer or a scheduler, got {what!r}, which has one: draw its `optimizer`")
    if isinstance(what, Optimizer):
        yield from _hyperparameters(what, label)
        return
    if not callable(what) or isinstance(what, type):
        what = number(what, name, FINITE, kinds=", a scheduler, an optimizer or a mapping of these")
    yield "value", label, what, name, FINITE


def _hyperparameters(optimizer: Optimizer, label: str) -> Iterator[tuple[str, str, Schedulable, str, Interval]]:
    """The learning rate, the momentum or what stands for it, and all else that is scheduled, in parts of the rule too."""
    fields = [field for field in attrs.fields(type(optimizer)) if "interval" in field.metadata]
    momentum = next((name for name in ("momentum", "beta1") if getattr(optimizer, name, None) is not None), None)
    for field in sorted(fields, key=lambda field: (field.name != "lr", field.name != momentum)):
        value = getattr(optimizer, field.name)
        if value is not None and (field.name in ("lr", momentum) or callable(value)):
            panel = "learning rate" if field.name == "lr" else field.name
            yield panel, label, value, f"{type(optimizer).__name__}.{field.name}", field.metadata["interval"]
    for transform in optimizer.transforms:
        kind: Any = type(transform)
        for field in attrs.fields(kind) if attrs.has(kind) else ():
            value = getattr(transform, field.name)
            if "interval" in field.metadata and callable(value):
                name = f"{kind.__name__}.{field.name}"
                yield name, label, value, name, field.metadata["interval"]
    for field in attrs.fields(type(optimizer)):
        if isinstance(part := getattr(optimizer, field.name), Optimizer):
            yield from _hyperparameters(part, f"{label}.{field.name}")
