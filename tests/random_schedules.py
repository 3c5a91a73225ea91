"""Schedules that hypothesis makes up: every public class, in compositions of any kind.

Their values are finite on any clock that has begun, and below about 1e9 in magnitude; they may be negative, where `.clamp(low=0)`
makes rates of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from hypothesis import strategies as st

from updaters import learning_rate as rates
from updaters import momentum as momenta
from updaters.schedules.base import Combination, Schedule

Clock = Literal["epoch", "iteration"]
Schedules = st.SearchStrategy[Schedule]


def inverse(t: int) -> float:
    return 1 / (1 + t)


def bounded(t: int) -> float:
    return min(t, 5) / 2


FUNCTIONS: dict[str, Callable[[int], float]] = {"inverse": inverse, "bounded": bounded}
"""What `Lambda` and `PerStep` are made of, by names to register them under."""

VALUES = st.floats(0, 10)
SHARES = st.floats(0, 1)
BELOW_ONE = st.floats(0, 1, exclude_max=True)
RATIOS = st.floats(0.01, 1)
LENGTHS = st.integers(1, 50) | st.floats(0.5, 50)
COUNTS = st.integers(0, 50)
UNITS = st.integers(1, 50)
FLAGS = st.booleans()
SHAPES = st.sampled_from(["cosine", "linear"])
MODES = st.sampled_from(["triangular", "triangular2", "exp_range"])
FUNCTION = st.sampled_from(list(FUNCTIONS.values()))


@st.composite
def _piecewise(draw: st.DrawFn, clock: Clock) -> Schedule:
    boundaries = tuple(sorted(draw(st.sets(COUNTS, max_size=3))))
    count = len(boundaries) + 1
    return rates.Piecewise(draw(st.tuples(*[VALUES] * count)), boundaries, clock=clock)


@st.composite
def _sequence(draw: st.DrawFn, inner: st.SearchStrategy[Any], clock: Clock) -> Schedule:
    boundaries = tuple(sorted(draw(st.sets(UNITS, max_size=3))))
    count = len(boundaries) + 1
    return rates.Sequence(draw(st.tuples(*[inner] * count)), boundaries, clock=clock)


CURVES: dict[type[Schedule], dict[str, Any]] = {
    rates.Cosine: dict(value=VALUES, length=LENGTHS, end=VALUES, periodic=FLAGS),
    rates.CosineRestarts: dict(
        value=VALUES, period=LENGTHS, period_factor=st.integers(1, 3) | st.floats(1, 3), peak_factor=SHARES, floor=VALUES
    ),
    rates.Cyclic: dict(low=VALUES, high=VALUES, up=LENGTHS, down=LENGTHS, mode=MODES, gamma=RATIOS),
    rates.Exp: dict(value=VALUES, gamma=RATIOS, every=LENGTHS, staircase=FLAGS, begin=COUNTS, floor=VALUES),
    rates.Inv: dict(value=VALUES, gamma=VALUES, power=VALUES, every=LENGTHS, staircase=FLAGS),
    rates.InverseSqrt: dict(value=VALUES, warmup=UNITS),
    rates.Lambda: dict(value=VALUES, function=FUNCTION),
    rates.Linear: dict(value=VALUES, length=LENGTHS, end=VALUES),
    rates.LinearCosine: dict(value=VALUES, length=LENGTHS, periods=VALUES, alpha=SHARES, beta=SHARES),
    rates.MultiStep: dict(value=VALUES, milestones=st.lists(COUNTS, max_size=3).map(sorted), gamma=RATIOS),
    rates.NaturalExp: dict(value=VALUES, rate=VALUES, every=LENGTHS, staircase=FLAGS),
    rates.Noam: dict(value=VALUES, model_size=LENGTHS, warmup=UNITS),
    rates.NoisyLinearCosine: dict(
        value=VALUES, length=LENGTHS, periods=VALUES, alpha=SHARES, beta=SHARES, initial_variance=SHARES, variance_decay=SHARES,
        seed=st.integers(0, 2**70),
    ),
    rates.OneCycle: dict(
        peak=VALUES, length=LENGTHS, rise=st.floats(0, 0.5), start=VALUES, end=VALUES, shape=SHAPES, three_phase=FLAGS
    ),
    rates.PerStep: dict(function=FUNCTION, first=COUNTS),
    rates.Polynomial: dict(value=VALUES, length=LENGTHS, end=VALUES, power=VALUES, cycle=FLAGS),
    rates.Step: dict(value=VALUES, every=UNITS, gamma=RATIOS),
    rates.WarmupStableDecay: dict(
        value=VALUES, warmup=COUNTS, stable=COUNTS, decay=COUNTS, start=VALUES, end=VALUES,
        shape=st.sampled_from(["linear", "cosine", "sqrt"]),
    ),
    momenta.Cyclic: dict(low=SHARES, high=SHARES, up=LENGTHS, down=LENGTHS, mode=MODES, gamma=RATIOS),
    momenta.Nadam: dict(mu0=BELOW_ONE, delta=VALUES, gamma=SHARES, alpha=BELOW_ONE),
    momenta.OneCycle: dict(length=LENGTHS, low=SHARES, high=SHARES, rise=st.floats(0, 0.5), shape=SHAPES, three_phase=FLAGS),
}  # fmt: skip
"""The curves, and their fields but for the clock."""


def leaves(clock: Clock) -> dict[type[Schedule], Schedules]:
    """Schedules that hold no others, by class; those with a clock go by this one."""
    found: dict[type[Schedule], Schedules] = {
        kind: st.builds(kind, **fields, clock=st.just(clock)) for kind, fields in CURVES.items()
    }
    found[rates.Piecewise] = _piecewise(clock)
    found[rates.Fixed] = st.builds(rates.Fixed, VALUES)
    found[momenta.Null] = st.builds(momenta.Null)
    return found


def compositions(inner: Schedules, clock: Clock) -> dict[type[Schedule], Schedules]:
    """Schedules that hold others, by class, and that go by one clock as these do."""
    inner_or_number = inner | VALUES
    found: dict[type[Schedule], Schedules] = {
        Combination: st.builds(Combination, st.sampled_from(["+", "-", "*", "minimum", "maximum"]), inner, inner_or_number)
        | st.builds(Combination, st.just("-"), VALUES, inner)
        | st.builds(Combination, st.just("/"), inner, st.floats(0.5, 10)),
        rates.Delay: st.builds(rates.Delay, inner, COUNTS, clock=st.just(clock)),
        rates.Plateau: st.builds(
            rates.Plateau, inner_or_number, factor=st.floats(0.01, 0.99), patience=COUNTS, threshold=VALUES, relative=FLAGS,
            mode=st.sampled_from(["min", "max"]), cooldown=COUNTS, floor=VALUES,
        ),
        rates.Repeat: st.builds(rates.Repeat, inner, UNITS, times=st.none() | UNITS, clock=st.just(clock)),
        rates.Sequence: _sequence(inner_or_number, clock),
    }  # fmt: skip
    if clock == "iteration":
        found[rates.Warmup] = warmups(inner)
    return found


def warmups(inner: Schedules) -> Schedules:
    return st.builds(rates.Warmup, inner | VALUES, UNITS, start=VALUES)


def by_class(clock: Clock) -> dict[type[Schedule], Schedules]:
    """Schedules of every class, whose members are of any."""
    alone = leaves(clock)
    return alone | compositions(schedules(clock), clock)


def schedules(clock: Clock | None = None) -> Schedules:
    """Any schedule: by one clock alone, which all its members go by, or by both."""
    if clock is not None:
        one: Clock = clock
        return st.recursive(
            st.one_of(*leaves(one).values()), lambda inner: st.one_of(*compositions(inner, one).values()), max_leaves=5
        )
    epochs, iterations = schedules("epoch"), schedules("iteration")
    return (
        epochs
        | iterations
        | warmups(epochs)
        | st.builds(Combination, st.sampled_from(["+", "-", "*", "minimum", "maximum"]), epochs, iterations)
    )
