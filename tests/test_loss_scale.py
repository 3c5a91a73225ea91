"""Loss scales: beside loops that say the same otherwise, beside what PyTorch and Keras gave, and whatever comes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import updaters as up
from updaters.compat import openseq2seq
from updaters.compat.openseq2seq.loss_scaling import AutomaticLossScaler, LogMaxOfPower
from updaters.loss_scale import Backoff, GrowthInterval, LogMax, LossScale, Static

WIDE = {"scale_min": 2.0**-900, "scale_max": 2.0**900}
Step = tuple[bool, float]


def scales(rule: LossScale, steps: list[Step]) -> list[float]:
    """The scale after each step, whose gradients are finite or not and have a peak."""
    kept, found = rule.initial(), []
    for finite, peak in steps:
        kept = rule.after(MappingProxyType(kept), finite, peak if rule.needs_peak else None)
        found.append(kept["scale"])
    return found


def steps_of(flags: str) -> list[Step]:
    """Steps from a string with an x for each overflow."""
    return [(flag == ".", 1.0) for flag in flags]


def random_steps(seed: int, overflows: float, count: int = 10_000) -> list[Step]:
    """Steps whose peaks wander over many powers of 2."""
    draw = random.Random(seed)
    return [(draw.random() >= overflows, 2.0 ** draw.gauss(6 * math.sin(k / 500), 3)) for k in range(count)]


# By intervals.


def by_interval(
    steps: list[Step], scale: float, fall: float, rise: float, window: int, low: float, high: float
) -> Iterator[float]:
    """The number of the step less that of the last overflow, in the place of a count that begins anew."""
    last = -1
    for k, (finite, _) in enumerate(steps):
        if not finite:
            scale, last = max(scale * fall, low), k
        elif (k - last) % window == 0:
            scale = min(scale * rise, high)
        yield scale


@pytest.mark.parametrize(("window", "overflows"), [(1, 0.5), (3, 0.25), (20, 0.04), (2000, 1 / 1500)])
def test_10_000_steps_of_growth_and_backoff(window: int, overflows: float) -> None:
    steps = random_steps(window, overflows)
    rule = GrowthInterval(3.0, growth_factor=1.7, backoff_factor=0.6, growth_interval=window, min_scale=0.02, max_scale=40.0)
    found = scales(rule, steps)
    assert found == list(by_interval(steps, 3.0, 0.6, 1.7, window, 0.02, 40.0))
    assert len(set(found)) > 5
    backoff = Backoff(scale_min=0.125, scale_max=1024.0, step_factor=4.0, step_window=window)
    found = scales(backoff, steps)
    assert found == list(by_interval(steps, 1024.0, 0.25, 4.0, window, 0.125, 1024.0))
    assert len(set(found)) > 2


def test_the_bounds_are_reached_and_left() -> None:
    rule = GrowthInterval(4.0, growth_interval=2, min_scale=1.5, max_scale=5.0)
    found = scales(rule, steps_of("....xxxx...."))
    assert found == [4.0, 5.0, 5.0, 5.0, 2.5, 1.5, 1.5, 1.5, 1.5, 3.0, 3.0, 5.0]


def test_growth_comes_after_2000_clean_steps_and_2000_more() -> None:
    for rule in (GrowthInterval(8.0), Backoff()):
        found = scales(rule, steps_of("xxx" + "." * 4001 + "x" + "." * 2001))
        assert [k for k in range(1, len(found)) if found[k] > found[k - 1]] == [2002, 4002, 6004]


# What torch._amp_update_scale_ of PyTorch 2.13 and LossScaleOptimizer of Keras 3.15 gave, both, in powers of 2.
FLAGS = "..x....x..xx.......x...xxxx..........."
GIVEN = "66555665554333444554445432111222333444"


def test_pytorch_and_keras_gave_the_same() -> None:
    found = scales(GrowthInterval(64.0, growth_interval=3), steps_of(FLAGS))
    assert found == [2.0 ** int(power) for power in GIVEN]


def test_the_numbers_are_those_of_the_systems() -> None:
    assert attrs.astuple(GrowthInterval()) == (65536.0, 2.0, 0.5, 2000, 1.0, 16777216.0)
    assert attrs.asdict(Backoff()) == {"scale_min": 1.0, "scale_max": 16384.0, "step_factor": 2.0, "step_window": 2000}
    assert attrs.asdict(LogMax()) == attrs.asdict(LogMaxOfPower()) == {
        "scale_min": 1.0, "scale_max": 16384.0, "log_max": 16.0, "beta1": 0.99, "beta2": 0.999, "overflow_std_dev": 3.09,
    }  # fmt: skip
    assert [rule.initial()["scale"] for rule in (GrowthInterval(), Backoff(), LogMax())] == [65536.0, 16384.0, 1.0]


def test_what_intervals_begin_with() -> None:
    assert GrowthInterval(4.0).initial() == {"scale": 4.0, "clean": 0.0}
    assert Backoff(scale_max=4.0).initial() == {"scale": 4.0, "clean": 0.0}


def test_only_the_first_scale_may_be_given_by_position() -> None:
    for rule, count in ((Static, 1), (GrowthInterval, 1), (Backoff, 0), (LogMax, 0), (LogMaxOfPower, 0)):
        fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(rule)
        assert [field.kw_only for field in fields] == [False] * count + [True] * (len(fields) - count)


def test_division_is_by_the_factor_itself() -> None:
    assert scales(Backoff(scale_max=5.0, step_factor=3.0), steps_of("x")) == [5.0 / 3.0]
    assert 5.0 * (1 / 3.0) != 5.0 / 3.0


def test_another_rule_takes_over_what_was_kept() -> None:
    kept = {"scale": 64.0, "clean": 7.0}
    assert GrowthInterval(growth_interval=5).after(kept, True, None) == {"scale": 128.0, "clean": 0.0}
    assert GrowthInterval(2.0, max_scale=16.0).after(kept, True, None) == {"scale": 16.0, "clean": 8.0}
    assert Backoff(scale_max=512.0).after(kept, False, None) == {"scale": 32.0, "clean": 0.0}


def test_static_stays() -> None:
    rule = Static(128)
    assert scales(rule, steps_of("..xx..")) == [128.0] * 6
    assert rule.after({"scale": 3.0}, True, None) == {"scale": 128.0}


# By logarithms.


def by_logarithms(
    steps: list[Step], ceiling: float, overflowed: float, beta1: float, beta2: float, deviations: float
) -> np.ndarray[Any, Any]:
    """The logarithm of the scale by weighted means over all steps so far, and the weighted mean of squared distances."""
    x = np.array([math.log(peak) / math.log(2.0) if finite else overflowed for finite, peak in steps])
    exponents = []
    for t in range(1, len(x) + 1):
        fast, slow = beta1 ** np.arange(t - 1, -1, -1.0), beta2 ** np.arange(t - 1, -1, -1.0)
        mean = fast @ x[:t] / fast.sum()
        center = slow @ x[:t] / slow.sum()
        variance = slow @ (x[:t] - center) ** 2 / slow.sum()
        exponents.append(ceiling - (mean + deviations * variance**0.5))
    return np.array(exponents)


@pytest.mark.parametrize("overflows", [0.0, 0.01])
def test_10_000_steps_of_log_max(overflows: float) -> None:
    steps = random_steps(7, overflows)
    exponents = by_logarithms(steps, 16.0, 16.0, 0.99, 0.999, 3.09)
    found = np.log2(scales(LogMax(scale_min=WIDE["scale_min"], scale_max=WIDE["scale_max"]), steps))
    np.testing.assert_allclose(found, exponents, rtol=0, atol=1e-9)
    bounded = scales(LogMax(scale_min=0.5, scale_max=2.0), steps)
    np.testing.assert_allclose(bounded, np.clip(2.0**exponents, 0.5, 2.0), rtol=1e-9)
    assert {0.5, 2.0} < {*bounded}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"log_max": 15.5, "beta1": 0.9, "beta2": 0.95, "overflow_std_dev": 2.0}, (15.5, 15.5, 0.9, 0.95, 2.0)),
        ({"log_max": 128.0, "beta1": 0.0, "beta2": 0.5, "overflow_std_dev": 0.5}, (128.0, 128.0, 0.0, 0.5, 0.5)),
        ({"beta1": 0.999, "beta2": 0.9, "overflow_std_dev": 0.0}, (16.0, 16.0, 0.999, 0.9, 0.0)),
    ],
)
def test_other_numbers_of_log_max(fields: dict[str, float], expected: tuple[float, ...]) -> None:
    steps = random_steps(8, 0.02, 1000)
    found = np.log2(scales(LogMax(scale_min=WIDE["scale_min"], scale_max=WIDE["scale_max"], **fields), steps))
    np.testing.assert_allclose(found, by_logarithms(steps, *expected), rtol=0, atol=1e-9)


def test_the_first_steps_of_log_max_by_hand() -> None:
    found = np.log2(scales(LogMax(scale_max=2.0**40), [(True, 2.0**-3), (True, 0.5), (False, math.inf)]))
    mean = (0.99 * -3 - 1) / 1.99
    deviation = 2 * 0.999**0.5 / 1.999
    assert found[:2] == pytest.approx([19.0, 16 - mean - 3.09 * deviation], abs=1e-9)
    mean = (0.99**2 * -3 + 0.99 * -1 + 16) / (0.99**2 + 0.99 + 1)
    weights = 0.999**2, 0.999, 1
    center = (weights[0] * -3 + weights[1] * -1 + 16) / sum(weights)
    variance = (weights[0] * (-3 - center) ** 2 + weights[1] * (-1 - center) ** 2 + (16 - center) ** 2) / sum(weights)
    assert scales(LogMax(scale_min=1e-9), [(True, 2.0**-3), (True, 0.5), (False, math.inf)])[2] == pytest.approx(
        2.0 ** (16 - mean - 3.09 * variance**0.5), rel=1e-9
    )


def test_what_log_max_keeps() -> None:
    rule = LogMax(beta1=0.5, beta2=0.75)
    kept = rule.initial()
    assert kept == {"scale": 1.0, "steps": 0.0, "mean": 0.0, "slow_mean": 0.0, "mean_square": 0.0}
    kept = rule.after(rule.after(kept, True, 0.25), False, None)
    assert kept == {"scale": 1.0, "steps": 2.0, "mean": 7.5, "slow_mean": 3.625, "mean_square": 64.75}


def test_a_scale_beyond_all_numbers_is_the_upper_bound() -> None:
    assert scales(LogMax(log_max=1024, scale_max=8.0), [(True, 5e-324)]) == [8.0]
    assert scales(LogMax(log_max=1024, scale_max=8.0), [(True, 1.0)]) == [8.0]


def test_a_scale_of_one_is_where_the_first_step_overflows() -> None:
    assert scales(LogMax(scale_min=1e-9), [(False, math.nan)]) == [1.0]


@pytest.mark.parametrize("rule", [LogMax(), LogMaxOfPower()])
def test_a_peak_of_0_leaves_all_as_it_is(rule: LogMax) -> None:
    assert rule.after(rule.initial(), True, 0.0) == rule.initial()
    kept = rule.after(rule.initial(), True, 3.0)
    for zero in (0.0, -0.0):
        assert rule.after(kept, True, zero) == kept
    assert rule.after(kept | {"scale": 2.0**20}, True, 0.0) == kept | {"scale": 2.0**14}


def test_finite_gradients_whose_magnitude_overflows_are_an_overflow() -> None:
    rule = LogMax()
    for peak in (math.inf, math.nan):
        assert rule.after(rule.initial(), True, peak) == rule.after(rule.initial(), False, None)


@pytest.mark.parametrize("peak", [None, -1.0, -5e-324, -math.inf])
def test_what_is_no_peak(peak: Any) -> None:
    with pytest.raises(ValueError, match="LogMax.after.peak. must be the largest magnitude of the gradients, got ") as info:
        LogMax().after(LogMax().initial(), True, peak)
    assert str(info.value).endswith(f"got {peak!r}")


def test_it_begins_within_its_bounds() -> None:
    assert LogMax(scale_min=4.0).initial()["scale"] == 4.0
    assert LogMax(scale_min=0.25, scale_max=0.5).initial()["scale"] == 0.5


# Whatever comes.

positive = st.floats(5e-324, allow_infinity=False)
above_one = st.floats(1.0, exclude_min=True, allow_infinity=False)
below_one = st.floats(0.0, 1.0, exclude_max=True)


@st.composite
def rules(draw: st.DrawFn) -> Any:
    low, between, high = sorted(draw(st.tuples(positive, positive, positive)))
    bounds = {"scale_min": low, "scale_max": high}
    kind = draw(st.sampled_from([Static, GrowthInterval, Backoff, LogMax, LogMaxOfPower]))
    if kind is Static:
        return Static(low)
    if kind is GrowthInterval:
        back = draw(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
        return GrowthInterval(
            between, growth_factor=draw(above_one), backoff_factor=back, growth_interval=draw(st.integers(1, 3)),
            min_scale=low, max_scale=high,
        )  # fmt: skip
    if kind is Backoff:
        return Backoff(step_factor=draw(above_one), step_window=draw(st.integers(1, 3)), **bounds)
    top = 64.0 if kind is LogMaxOfPower else 1024.0
    return kind(
        log_max=draw(st.floats(0.0, top, exclude_min=True, exclude_max=top == 64.0)),
        beta1=draw(below_one), beta2=draw(below_one),
        overflow_std_dev=draw(st.floats(0.0, allow_infinity=False)), **bounds,
    )  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(rules(), st.lists(st.tuples(st.booleans(), st.floats(0.0)), max_size=12))
def test_scales_stay_within_their_bounds_and_numbers_finite(rule: Any, steps: list[Step]) -> None:
    names = ("min_scale", "max_scale") if isinstance(rule, GrowthInterval) else ("scale_min", "scale_max")
    low, high = (rule.scale, rule.scale) if isinstance(rule, Static) else (getattr(rule, name) for name in names)
    kept = rule.initial()
    for finite, peak in [(True, 1.0), *steps]:
        assert low <= kept["scale"] <= high
        assert all(type(value) is float and math.isfinite(value) for value in kept.values())
        before = dict(kept)
        after = rule.after(kept, finite, peak)
        assert kept == before
        assert after is not kept
        assert after.keys() == kept.keys()
        assert rule.moves or after == kept
        kept = after
    assert low <= kept["scale"] <= high


def test_what_moves_and_what_needs_a_peak() -> None:
    rules: list[LossScale] = [Static(1.0), GrowthInterval(), Backoff(), LogMax(), LogMaxOfPower()]
    assert [(rule.moves, rule.needs_peak) for rule in rules] == [(False, False), *[(True, False)] * 2, *[(True, True)] * 2]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Static(0), ValueError, "Static.scale must be in (0, inf), got 0"),
        (lambda: Static(math.inf), ValueError, "Static.scale must be in (0, inf), got inf"),
        (lambda: Static("1"), TypeError, "Static.scale must be a real number in (0, inf), got '1' (str)"),
        (lambda: GrowthInterval(True), TypeError, "GrowthInterval.initial_scale must be a real number in (0, inf), got True (bool)"),
        (lambda: GrowthInterval(0.5), ValueError, "GrowthInterval.min_scale must be at most initial_scale, got 1.0 and 0.5"),
        (lambda: GrowthInterval(2.0**25), ValueError, "GrowthInterval.initial_scale must be at most max_scale, got 33554432.0 and 16777216.0"),
        (lambda: GrowthInterval(growth_factor=1), ValueError, "GrowthInterval.growth_factor must be in (1, inf), got 1"),
        (lambda: GrowthInterval(backoff_factor=1), ValueError, "GrowthInterval.backoff_factor must be in (0, 1), got 1"),
        (lambda: GrowthInterval(backoff_factor=0), ValueError, "GrowthInterval.backoff_factor must be in (0, 1), got 0"),
        (lambda: GrowthInterval(growth_interval=0), ValueError, "GrowthInterval.growth_interval must be an integer of at least 1, got 0"),
        (lambda: GrowthInterval(growth_interval=2.5), TypeError, "GrowthInterval.growth_interval must be an integer of at least 1, got 2.5"),
        (lambda: GrowthInterval(min_scale=0), ValueError, "GrowthInterval.min_scale must be in (0, inf), got 0"),
        (lambda: GrowthInterval(max_scale=math.inf), ValueError, "GrowthInterval.max_scale must be in (0, inf), got inf"),
        (lambda: Backoff(scale_min=0), ValueError, "Backoff.scale_min must be in (0, inf), got 0"),
        (lambda: Backoff(scale_max=0.5), ValueError, "Backoff.scale_min must be at most scale_max, got 1.0 and 0.5"),
        (lambda: Backoff(step_factor=1.0), ValueError, "Backoff.step_factor must be in (1, inf), got 1.0"),
        (lambda: Backoff(step_window=0), ValueError, "Backoff.step_window must be an integer of at least 1, got 0"),
        (lambda: LogMax(scale_min=0), ValueError, "LogMax.scale_min must be in (0, inf), got 0"),
        (lambda: LogMax(scale_max=0.5), ValueError, "LogMax.scale_min must be at most scale_max, got 1.0 and 0.5"),
        (lambda: LogMax(log_max=0), ValueError, "LogMax.log_max must be in (0, 1024], got 0"),
        (lambda: LogMax(log_max=1025), ValueError, "LogMax.log_max must be in (0, 1024], got 1025"),
        (lambda: LogMax(beta1=1), ValueError, "LogMax.beta1 must be in [0, 1), got 1"),
        (lambda: LogMax(beta2=-0.1), ValueError, "LogMax.beta2 must be in [0, 1), got -0.1"),
        (lambda: LogMax(overflow_std_dev=-1), ValueError, "LogMax.overflow_std_dev must be in [0, inf), got -1"),
        (lambda: LogMaxOfPower(log_max=64), ValueError, "LogMaxOfPower.log_max must be in (0, 64), got 64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_a_field_does_not_take(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        make()
    assert str(info.value) == message


def test_numbers_may_be_at_the_ends_of_what_they_take() -> None:
    GrowthInterval(1.0, min_scale=1.0, max_scale=1.0, growth_interval=1)
    LogMax(log_max=1024, beta1=0, beta2=0, overflow_std_dev=0, scale_min=1.0, scale_max=1.0)


# OpenSeq2Seq's scaler.


def run(scaler: AutomaticLossScaler, steps: list[Step]) -> list[float]:
    found = []
    for finite, peak in steps:
        scaler.update(False, peak if finite else math.inf)
        found.append(scaler.loss_scale)
    return found


def test_backoff_of_openseq2seq() -> None:
    params = {"scale_min": 0.5, "scale_max": 64.0, "step_factor": 4.0, "step_window": 3}
    steps = random_steps(3, 0.2)
    assert run(openseq2seq.AutomaticLossScaler("Backoff", params), steps) == list(
        by_interval(steps, 64.0, 0.25, 4.0, 3, 0.5, 64.0)
    )
    assert openseq2seq.AutomaticLossScaler("Backoff", params).scaler == Backoff(**params)  # type: ignore[arg-type]


def test_backoff_of_openseq2seq_as_it_is() -> None:
    scaler = AutomaticLossScaler()
    assert (scaler.loss_scale, scaler.scaler, scaler.kept) == (2.0**14, Backoff(), Backoff().initial())
    found = run(scaler, steps_of("xxxxxx" + "." * 4000))
    assert found[:6] == [2.0**k for k in (13, 12, 11, 10, 9, 8)]
    assert [found[k] for k in (2004, 2005, 4004, 4005)] == [2.0**8, 2.0**9, 2.0**9, 2.0**10]


@pytest.mark.parametrize("overflows", [0.0, 0.01])
def test_log_max_of_openseq2seq(overflows: float) -> None:
    steps = random_steps(9, overflows, 3000)
    found = np.log2(run(AutomaticLossScaler("LogMax", {**WIDE, "log_max": 4.5}), steps))
    np.testing.assert_allclose(found, by_logarithms(steps, 16.0, 2**4.5, 0.99, 0.999, 3.09), rtol=0, atol=1e-9)


def test_an_overflow_holds_the_scale_of_openseq2seq_down_and_not_ours() -> None:
    steps = [(True, 2.0**10)] * 5 + [(False, 0.0)] + [(True, 2.0**10)] * 2000
    theirs, ours = AutomaticLossScaler("LogMax"), LogMax()
    assert set(run(theirs, steps)[5:]) == {1.0}
    assert scales(ours, steps)[-1] == pytest.approx(2.0 ** (6 - 3.09 * math.sqrt(variance_of_one_in(steps))), rel=1e-6)
    assert scales(ours, steps)[-1] > 32.0


def variance_of_one_in(steps: list[Step]) -> float:
    """The variance, by slow weights, of 10s with a 16 where the gradients are not finite."""
    weights = [0.999 ** (len(steps) - k) for k in range(1, len(steps) + 1)]
    share = sum(weight for weight, (finite, _) in zip(weights, steps, strict=True) if not finite) / sum(weights)
    return 36.0 * share * (1.0 - share)


@pytest.mark.parametrize("algorithm", ["Backoff", "backoff", " BACKOFF ", "LogMax", "logmax", "LOGMAX\n"])
def test_algorithms_go_by_their_names_in_any_case(algorithm: str) -> None:
    scaler = AutomaticLossScaler(algorithm, {})
    assert scaler.scaler == (Backoff() if "back" in algorithm.lower() else LogMaxOfPower())


@pytest.mark.parametrize("amax", [math.inf, -math.inf, math.nan, np.float32("inf"), np.array(np.nan), 1.0])
@pytest.mark.parametrize("nan", [True, np.True_, np.array(True), np.array([True])])
def test_overflows(nan: Any, amax: Any) -> None:
    for has_nan in (nan, False):
        scaler = AutomaticLossScaler()
        scaler.update(has_nan, amax)
        overflowed = bool(has_nan) or not np.isfinite(amax)
        assert scaler.loss_scale == (2.0**13 if overflowed else 2.0**14)


@pytest.mark.parametrize("amax", [4, 4.0, np.float16(4.0), np.array([4.0], np.float32), np.int64(4)])
def test_peaks_may_be_of_any_kind(amax: Any) -> None:
    scaler = AutomaticLossScaler("LogMax", {"scale_max": 1e9})
    scaler.update(np.False_, amax)
    assert scaler.loss_scale == pytest.approx(2.0**14)
    assert all(type(value) is float for value in scaler.kept.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("static",), ValueError, "AutomaticLossScaler.algorithm must be 'Backoff' or 'LogMax', got 'static'"),
        ((None,), ValueError, "AutomaticLossScaler.algorithm must be 'Backoff' or 'LogMax', got None"),
        (("Backoff", 5), TypeError, "AutomaticLossScaler.params must be a mapping or None, got 5"),
        (
            ("Backoff", {"log_max": 1.0}), ValueError,
            "AutomaticLossScaler.params['log_max'] is no parameter of Backoff; there are scale_min, scale_max, step_factor, step_window",
        ),
        (
            ("logmax", {"step_window": 5}), ValueError,
            "AutomaticLossScaler.params['step_window'] is no parameter of LogMax; there are scale_min, scale_max, beta1, beta2, overflow_std_dev, log_max",
        ),
        (("Backoff", {"scale_min": "1"}), TypeError, "AutomaticLossScaler.params['scale_min'] must be a real number in (0, inf), got '1' (str)"),
        (("Backoff", {"step_window": 2.0}), TypeError, "AutomaticLossScaler.params['step_window'] must be an integer of at least 1, got 2.0"),
        (("Backoff", {"scale_min": 2.0, "scale_max": 1.0}), ValueError, "AutomaticLossScaler.params['scale_min'] must be at most params['scale_max'], got 2.0 and 1.0"),
        (("LogMax", {"log_max": 64.0}), ValueError, "AutomaticLossScaler.params['log_max'] must be in (0, 64), got 64.0"),
        (("LogMax", {"beta1": None}), TypeError, "AutomaticLossScaler.params['beta1'] must be a real number in [0, 1), got None (NoneType)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_openseq2seqs_scaler_does_not_take(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        AutomaticLossScaler(*arguments)
    assert str(info.value) == message


@pytest.mark.parametrize(
    ("has_nan", "amax", "error", "message"),
    [
        (None, 1.0, TypeError, "AutomaticLossScaler.update(has_nan) must be True or False, got None"),
        (0, 1.0, TypeError, "AutomaticLossScaler.update(has_nan) must be True or False, got 0"),
        (np.zeros(2, bool), 1.0, TypeError, "AutomaticLossScaler.update(has_nan) must be True or False, got array([False, False])"),
        (False, None, TypeError, "AutomaticLossScaler.update(amax) must be a real number in [0, inf), got None (NoneType)"),
        (False, True, TypeError, "AutomaticLossScaler.update(amax) must be a real number in [0, inf), got True (bool)"),
        (False, -1.0, ValueError, "AutomaticLossScaler.update(amax) must be in [0, inf), got -1.0"),
    ],
)  # fmt: skip
def test_what_an_update_does_not_take_changes_nothing(has_nan: Any, amax: Any, error: type[Exception], message: str) -> None:
    scaler = AutomaticLossScaler("LogMax")
    scaler.update(False, 8.0)
    before = scaler.kept
    with pytest.raises(error) as info:
        scaler.update(has_nan, amax)
    assert str(info.value) == message
    assert scaler.kept == before


def test_it_shows_its_rule_and_what_it_keeps() -> None:
    assert repr(AutomaticLossScaler(params={"step_window": 5})) == (
        "AutomaticLossScaler(scaler=Backoff(scale_min=1.0, scale_max=16384.0, step_factor=2.0, step_window=5), "
        "kept={'scale': 16384.0, 'clean': 0.0})"
    )


def test_they_are_public() -> None:
    assert up.loss_scale.LogMax is LogMax
    assert openseq2seq.AutomaticLossScaler is AutomaticLossScaler
