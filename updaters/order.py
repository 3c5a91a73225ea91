"""One update, in order: all that happens to a gradient and a weight, as parts that are recorded and run as one formula.

    unscale, mean over the batch       unscaling
    accumulate                         MEAN, of the calls so far and this one
    finite check                       finite
    norms, clips                       the updater's, each by `transforming`; `ClipByGlobalNorm`'s by `norm`, measured first, and
                                       `shrink`; then the rule's own, own_clip
    negate                             NEGATE, to climb
    l2 decay                           ADD_DECAY, and then the rule's transforms
    decoupled decay                    DECAY_WEIGHT
    formula                            the rule's
    average                            averaging
    store                              EMPTY the accumulated gradients; at_random, or into_master

A part that is off is not there, and costs nothing. Weights of half precision that have a master are read from it, `from_master`,
first of all. The lists `seen`, `before` and `after` of `Rule.of` are in this order; what comes before it all, the checks, and
after it, the counts, is the updater's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from inspect import signature
from itertools import chain, islice
from typing import Any, TypeAlias

import attrs
import numpy as np

from updaters.arrays import LARGEST
from updaters.backends.trace import dithered, rounded
from updaters.checks import UNIT
from updaters.formula import Formula
from updaters.optimizers.base import Optimizer, Reading, Transform
from updaters.policy import Policy
from updaters.protocols import read
from updaters.state import OptimizationState


@attrs.define
class Call:
    """What coefficients depend on besides the optimizer and the number of a weight's update.

    Attributes:
        state: the clock.
        loss_scale: by what the loss was multiplied.
        calls: over how many calls the gradient is the mean.
        factors: of each group that is clipped by the norm of all its gradients, by what these are multiplied.
    """

    state: OptimizationState
    loss_scale: float = 1.0
    calls: int = 1
    factors: dict[Any, Any] = attrs.field(factory=dict)


@cache
def _names(apply: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(signature(apply).parameters)[2:]


@attrs.frozen
class Part:
    """One part of an update.

    Attributes:
        apply: from (w, g), its slots and its coefficients to (w, g), its slots and its numbers; of a part that comes after
            the formula, the new weight and the old one take the places of w and g, and it gives the new one alone.
        coefficients: their values, at a weight's t-th update.
        slots: the names of the arrays that it keeps for a weight.
        numbers: the names of the numbers that it measures.
        takes_key: whether its coefficients are a key, each weight's own at each update; such a part is the last that has any.
    """

    apply: Callable[..., Any]
    coefficients: Callable[[Reading, Call, int], Sequence[Any]] = lambda now, call, t: ()
    slots: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    takes_key: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its coefficients."""
        return _names(self.apply)[len(self.slots) :]


# Parts before the formula.


def scale(w: Any, g: Any, factor: Any) -> Any:
    return w, factor * g


def mean(w: Any, g: Any, accumulated: Any, calls: Any) -> Any:
    return w, (accumulated + g) / calls, accumulated


def add(w: Any, g: Any, accumulated: Any) -> Any:
    return w, g, accumulated + g


def shrink(w: Any, g: Any, factor: Any) -> Any:
    return w, g * factor


def clip(w: Any, g: Any, bound: Any) -> Any:
    return w, np.minimum(np.maximum(g, -bound), bound)


def negate(w: Any, g: Any) -> Any:
    return w, -g


def add_decay(w: Any, g: Any, strength: Any) -> Any:
    return w, g + strength * w


def decay_weight(w: Any, g: Any, share: Any) -> Any:
    # The factor 1 - share, rounded to float32, would decay by a permille too much or too little.
    return w - share * w, g


UNSCALE = Part(scale, lambda now, call, t: (1 / call.loss_scale,))
UNSCALE_AND_MEAN = Part(scale, lambda now, call, t: (1 / (call.loss_scale * call.state.batch_size),))
MEAN = Part(mean, lambda now, call, t: (float(call.calls),), slots=("accumulated",))
ADD = Part(add, slots=("accumulated",))
GRAD_CLIP = Part(clip, lambda now, call, t: (now.grad_clip,))
NEGATE = Part(negate)
ADD_DECAY = Part(add_decay, lambda now, call, t: (now.weight_decay,))
DECAY_WEIGHT = Part(decay_weight, lambda now, call, t: (now.lr * now.weight_decay,))


@cache
def _transforming(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A transform's function as a part's."""

    @wraps(apply)
    def part(w: Any, g: Any, *coefficients: Any) -> Any:
        return w, apply(w, g, *coefficients)

    return part


def _read(transform: Transform, now: Reading, call: Call, t: int) -> list[float]:
    """A transform's coefficients, or an error that names it."""
    names = _names(transform.apply)
    values = transform.coefficients(now, call.state)
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        raise TypeError(f"{type(transform).__name__}.coefficients must give numbers, got {values!r}") from None
    if len(numbers) != len(names):
        raise TypeError(f"{type(transform).__name__}.coefficients must give ({', '.join(names)}), got {values!r}")
    return numbers


def transforming(transform: Transform) -> Part:
    """A transform of the gradient as a part."""
    return Part(_transforming(transform.apply), partial(_read, transform))


def unscaling(optimizer: Optimizer, policy: Policy) -> list[Part]:
    """What makes the gradient one of the loss itself, for one example."""
    if optimizer.gradient == "sum":
        return [UNSCALE_AND_MEAN]
    return [UNSCALE] if policy.loss_scale is not None else []


def own_clip(optimizer: Optimizer) -> list[Part]:
    """The optimizer's own clip, which is the last."""
    return [GRAD_CLIP] * (optimizer.grad_clip is not None)


def behind_clips(optimizer: Optimizer) -> list[Part]:
    """What comes between the clips and the formula."""
    decays = optimizer.decay if optimizer.weight_decay is not None else None
    return [
        *[NEGATE] * optimizer.maximize,
        *[ADD_DECAY] * (decays == "l2"),
        *map(transforming, optimizer.transforms),
        *[DECAY_WEIGHT] * (decays == "decoupled"),
    ]


# Parts after the formula.


def average(new: Any, old: Any, average: Any, keep: Any, take: Any) -> Any:
    return new, keep * average + take * new


def overwriting_average(new: Any, old: Any, average: Any, keep: Any, take: Any, overwrites: Any) -> Any:
    average = keep * average + take * new
    return np.where(overwrites > 0, average, new), average


def empty(new: Any, old: Any, accumulated: Any) -> Any:
    return new, 0.0


def averaging(policy: Policy) -> list[Part]:
    """The part that averages the weights."""
    if policy.average is None:
        return []
    keep, every = policy.average.keep, policy.average.overwrite_every

    def shares(now: Reading, call: Call, t: int) -> list[float]:
        share = read(keep, call.state, "Average.keep", UNIT) if t > 1 else 0.0
        return [share, 1 - share, *([float(t % every == 0)] if every else [])]

    return [Part(overwriting_average if every else average, shares, slots=("average",))]


EMPTY = Part(empty, slots=("accumulated",))


# What weights of half precision are read from, and how they are stored.


@cache
def saturating(dtype: str) -> Callable[[Any], Any]:
    """What keeps a number within a dtype's range."""
    most = LARGEST[dtype]
    return lambda x: np.minimum(np.maximum(x, -most), most)


@cache
def from_master(dtype: str) -> Part:
    """The weight as its master has it, or as it is where the caller has changed it since it was stored."""
    saturate = saturating(dtype)

    def begin(w: Any, g: Any, master: Any) -> Any:
        return np.where(w == rounded(saturate(master), dtype), master, w), g, master

    return Part(begin, slots=("master",))


@cache
def into_master(dtype: str) -> Part:
    """The new weight kept in float32, and stored in its own dtype within that dtype's range."""
    saturate = saturating(dtype)

    def store(new: Any, old: Any, master: Any) -> Any:
        return saturate(new), new

    return Part(store, slots=("master",))


@cache
def at_random(dtype: str) -> Part:
    """The new weight rounded up or down at random; its key, two halves of a number of 64 bits, is each weight's own."""
    saturate = saturating(dtype)

    def store(new: Any, old: Any, low: Any, high: Any) -> Any:
        return dithered(saturate(new), low, high, dtype)

    return Part(store, takes_key=True)


# What is measured on the way.

HUGE = 2.0**600
"""The squares of float64 numbers divided by it cannot overflow."""


def _squares(x: Any, wide: bool) -> tuple[Any, Any]:
    """The sum of squares, and the same in a range in which it is finite wherever all numbers are."""
    total = np.vdot(x, x)
    if not wide:  # squares of float32 numbers do not overflow in float64
        return total, total * HUGE**-1 * HUGE**-1
    small = x * HUGE**-1
    return total, np.vdot(small, small)


@cache
def finite(wide: bool) -> Part:
    """A number that is finite where the gradient is."""
    return Part(lambda w, g: (w, g, _squares(g, wide)[1]), numbers=("finite",))


@cache
def norm(p: float, wide: bool) -> Part:
    """What the norm of order p is made of."""

    def measure(w: Any, g: Any) -> Any:
        if p == 2:
            return w, g, *_squares(g, wide)
        if p in (1, np.inf):
            return w, g, np.linalg.norm(g, p)
        most = np.linalg.norm(g, np.inf)  # powers of what is at most 1 do not overflow
        return w, g, np.sum(np.abs(g / np.where(most > 0, most, 1.0)) ** p), most

    return Part(measure, numbers=("total",) if p in (1, np.inf) else ("total", "huge"))


PEAK = Part(lambda w, g: (w, g, np.linalg.norm(g, np.inf)), numbers=("peak",))


@cache
def size(name: str, wide: bool) -> Part:
    """The norm of the gradient as it is here."""

    def measure(w: Any, g: Any) -> Any:
        total, huge = _squares(g, wide)
        norm = np.sqrt(total)
        return w, g, np.where(total < np.inf, norm, HUGE * np.sqrt(huge)) if wide else norm

    return Part(measure, numbers=(name,))


@cache
def change(dtype: str | None) -> Part:
    """The norms of the weight and of its update; where it is stored in half precision, of what is left of the update there."""

    def measure(new: Any, old: Any) -> Any:
        stored = new if dtype is None else rounded(new, dtype)
        return new, np.linalg.norm(old), np.linalg.norm(stored - old)

    return Part(measure, numbers=("weight", "update"))


# Parts and a formula as one formula.

Parts: TypeAlias = Sequence[Part]

GRADIENT = Formula.of(lambda w, g: g, (), (), "gradient")
"""The gradient in the weight's place."""

NOTHING = Formula.of(lambda w, g: w, (), (), "measure")
"""The weight as it is."""


def composed(begin: Parts, before: Parts, rule: Formula, after: Parts) -> Formula:
    """The formula that does all of this in order.

    The old weight that parts after the rule's formula are given is the one that `begin` leaves.
    """
    if not (begin or before or after):
        return rule
    parts = (*begin, *before, *after)
    own = tuple(dict.fromkeys(chain(*(part.slots for part in parts))))
    measured = tuple(chain(*(part.numbers for part in parts)))
    names = {part: part.names for part in parts}

    def formula(w: Any, g: Any, *given: Any) -> Any:
        arguments = iter(given)
        slots = dict(zip(own, arguments, strict=False)) if own else {}
        kept = list(islice(arguments, len(rule.slots) + len(rule.numbers)))
        for _ in measured:  # of what was measured before nothing is needed
            next(arguments)
        numbers: list[Any] = []

        def take(part: Part, results: Sequence[Any]) -> None:
            slots.update(zip(part.slots, results, strict=False))
            numbers.extend(results[len(part.slots) :])

        def run(part: Part, one: Any, other: Any) -> Any:
            return part.apply(one, other, *(slots[name] for name in part.slots), *islice(arguments, len(names[part])))

        for part in begin:
            w, g, *results = run(part, w, g)
            take(part, results)
        old = w
        for part in before:
            w, g, *results = run(part, w, g)
            take(part, results)
        results = rule.function(w, g, *kept, *islice(arguments, len(rule.coefficients)))
        new, *kept = results if isinstance(results, (tuple, list)) else (results,)
        for part in after:
            results = run(part, new, old)
            new, *results = results if isinstance(results, tuple) else (results,)
            take(part, results)
        return new, *slots.values(), *kept, *numbers

    return Formula(
        rule.name,
        formula,
        (*own, *rule.slots),
        (*rule.numbers, *measured),
        (*chain(*(names[part] for part in (*begin, *before))), *rule.coefficients, *chain(*(names[part] for part in after))),
    )
