"""What a report says, against NumPy's norms, and what it costs where it is off."""

from __future__ import annotations

import copy
import math
from itertools import cycle
from typing import Any

import numpy as np
import pytest

import updaters as up
from updaters.report import Row
from updaters.transforms import AGC, LARC, ClipByGlobalNorm, ClipByNorm, ClipByValue

Array = np.ndarray[Any, Any]
NUMBERS = ("gradient_norm", "clip_factor", "update_norm", "weight_norm", "ratio")


def norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.complex128).ravel()))


RULES = {
    "adam": up.Adam(0.1, weight_decay=0.1, maximize=True, gradient="sum"),
    "lamb": up.LAMB(0.1, weight_decay=0.1),
    "muon": up.Muon(0.1, weight_decay=0.1, otherwise=up.SGD(0.1, momentum=0.9)),
    "rprop": up.Rprop(0.1),
}
CLIPS: dict[str, Any] = {
    "none": (),
    "global": ClipByGlobalNorm(0.5),
    "units": (ClipByValue(-1, 1), AGC(0.3), ClipByGlobalNorm(0.5)),
    "each": ClipByNorm(0.5),
    "larc": LARC(0.1),
}


NORMS = [(rule, clip, "numpy") for rule in RULES for clip in CLIPS]
NORMS += [(rule, clip, "numba") for rule, clip in zip(RULES, cycle(CLIPS))]  # one of each, since it compiles for each


@pytest.mark.parametrize(("rule", "clip", "backend"), NORMS)
def test_numbers_are_numpys_norms(rule: str, clip: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((4, 3)), "b": rng.standard_normal(5), "zero": np.zeros((2, 2))}
    state = up.OptimizationState(4)
    policy: dict[str, Any] = {"clip": CLIPS[clip], "accumulate": 2, "loss_scale": 8.0, "backend": backend}
    update = up.get_updater(RULES[rule], state, report=True, **policy)
    by = 8.0 * (4 if RULES[rule].gradient == "sum" else 1)
    for t in (1, 2, 3):
        both = [{name: rng.standard_normal(weight.shape) for name, weight in weights.items()} for _ in range(2)]
        before = copy.deepcopy(weights)
        clipped = seen_by_the_rule(weights, {name: (both[0][name] + both[1][name]) / 2 for name in weights}, clip)
        for grads in both:
            state.iteration += 1
            update.step({name: by * g for name, g in grads.items()}, weights)
        report = update.report()
        assert (report.what, report.loss_scale, report.iteration, report.held) == ("applied", 8.0, 2 * t, t)
        assert [*report.weights] == ["a", "b", "zero"]
        for name, row in report.weights.items():
            mean = (both[0][name] + both[1][name]) / 2
            expected = [norm(mean), norm(clipped[name]) / norm(mean), norm(weights[name] - before[name]), norm(before[name])]
            np.testing.assert_allclose([getattr(row, field) for field in NUMBERS[:4]], expected, rtol=1e-12)
            assert row.ratio == (row.update_norm / row.weight_norm if row.weight_norm else math.inf)  # type: ignore[operator]
            assert (row.finite, row.updates) == (True, t)


def seen_by_the_rule(weights: dict[str, Array], means: dict[str, Array], clip: str) -> dict[str, Array]:
    """Gradients as they are once they are clipped."""
    found = {}
    for name, g in means.items():
        w = weights[name]
        if clip == "each":
            g = g * min(1.0, 0.5 / norm(g))
        elif clip == "larc":
            g = g * min(1.0, max(0.1 * norm(w) / (norm(g) + 1e-7) / 0.1, 1e-7))
        elif clip == "units":
            g = g.clip(-1, 1)
            axes = tuple(range(1, g.ndim)) if g.ndim > 1 else None
            sizes = [np.sqrt((array**2).sum(axis=axes, keepdims=True)) for array in (w, g)]
            g = g * np.minimum(1.0, 0.3 * np.maximum(sizes[0], 1e-3) / sizes[1])
        found[name] = g
    if clip in ("global", "units"):
        size = math.sqrt(sum(norm(g) ** 2 for g in found.values()))
        found = {name: g * min(1.0, 0.5 / size) for name, g in found.items()}
    return found


def test_numbers_of_complex_weights_and_of_single_calls() -> None:
    update = up.get_updater(up.SGD(0.5), report=True)
    update("a", np.array([3j, 4.0 + 0j]), np.array([1 + 1j, 0j]))
    update("b", np.zeros(2), np.zeros(2))
    rows = update.report().weights
    assert (rows["a"].gradient_norm, rows["a"].update_norm, rows["a"].clip_factor) == (5.0, 2.5, 1.0)
    np.testing.assert_allclose(rows["a"].weight_norm, math.sqrt(2), rtol=1e-15)
    assert rows["b"] == Row(0.0, 1.0, 0.0, 0.0, 0.0, True, 1)
    update("c", np.array([math.inf]), np.zeros(1))
    assert update.report().weights["c"] == Row(math.inf, 1.0, math.inf, 0.0, math.inf, True, 1)


def test_the_update_is_what_is_left_of_it_in_half_precision() -> None:
    for dtype, policy, stalls in (
        ("float16", {}, True),
        ("float16", {"master_weights": True}, False),
        ("float32", {}, False),
    ):
        weight = np.ones(4, dtype)
        update = up.get_updater(up.SGD(1e-4), report=True, **policy)  # type: ignore[arg-type]
        update("w", np.ones(4, dtype), weight)
        row = update.report().weights["w"]
        np.testing.assert_allclose(row.update_norm, 0.0 if stalls else 2e-4, rtol=1e-3)
        assert row.weight_norm == 2.0
    weight = np.ones(4, np.float16)
    update = up.get_updater(up.SGD(1e-2), report=True)
    update("w", np.ones(4, np.float16), weight)
    assert update.report().weights["w"].update_norm == norm(weight - np.float16(1))


# What is there when.


def test_what_is_off_is_none_and_what_is_free_is_there() -> None:
    weights = [np.ones(2), np.ones(2)]
    update = up.get_updater(
        up.SGD(0.1), clip=ClipByGlobalNorm(1.0), nonfinite="skip", loss_scale=2.0, overrides={0: {"lr_scale": 2}}
    )
    first = update.report()
    assert (first.what, first.weights, first.global_norms, first.loss_scale) == ("nothing", {}, {}, 1.0)
    update.step([np.array([6.0, 0.0]), np.array([0.0, 8.0])], weights)
    report = update.report()
    assert report.weights == {0: Row(updates=1), 1: Row(updates=1)}
    assert (report.what, report.skipped, report.global_norms, report.loss_scale) == ("applied", False, {None: 5.0}, 2.0)
    update.step([np.array([6.0, 0.0]), np.array([0.0, math.nan])], weights)
    skipped = update.report()
    assert skipped.weights == {0: Row(updates=1), 1: Row(finite=False, updates=1)}
    assert (skipped.what, skipped.skipped, skipped.nonfinite, skipped.global_norms) == ("skipped", True, (1,), {})
    assert report.what == "applied"  # a value


def test_reports_may_be_switched() -> None:
    weight, plain = np.ones(2), np.ones(2)
    update, other = up.get_updater(up.Adam(0.1)), up.get_updater(up.Adam(0.1))
    for on in (False, True, False, True):
        update.reports = on
        assert update.reports is on
        assert update.report().weights == ({} if not update.slots else {"w": Row(updates=update.slots["w"].count)})
        before = update.report()
        update.reports = on
        assert update.report() == before
        update("w", np.ones(2), weight)
        other("w", np.ones(2), plain)
        row = update.report().weights["w"]
        assert (row.gradient_norm is not None) == on
        assert on == (None not in (getattr(row, name) for name in NUMBERS))
    assert weight.tobytes() == plain.tobytes()
    with pytest.raises(TypeError, match="^reports must be True or False, got 1$"):
        update.reports = 1  # type: ignore[assignment]
    assert update.reports


def test_where_it_is_off_nothing_is_measured() -> None:
    update, on = (up.get_updater(up.Adam(0.1), report=report) for report in (False, True))
    for one in (update, on):
        one("w", np.ones(2), np.ones(2))
    known, measured = update.slots["w"], on.slots["w"]
    assert (known.table, known.row, known.rule.measures, known.others) == (None, {}, False, {})
    own = known.rule.own
    assert known.rule.apply.formula == own  # nothing was put before it or after it
    assert [*measured.rule.apply.formula.numbers[len(own.numbers) :]] == ["gradient", "clipped", "weight", "update"]
    assert (measured.rule.prepare, measured.rule.measure) == (None, None)
    policy = up.get_updater(up.Adam(0.1), nonfinite="skip")
    policy("w", np.ones(2), np.ones(2))
    assert policy.slots["w"].rule.apply.formula == policy.slots["w"].rule.own
    assert policy.slots["w"].rule.measure.formula.numbers == ("finite",)


def test_what_is_accumulated_has_no_numbers_yet() -> None:
    update = up.get_updater(up.SGD(0.1), accumulate=2, report=True)
    weight = np.ones(2)
    for what in ("accumulated", "applied", "accumulated"):
        update.step([np.ones(2)], [weight])
        assert update.report().what == what
        assert (update.report().weights[0].gradient_norm is None) == (what == "accumulated")
    assert update.report().held == 2


# For a logger, and for the terminal.


def test_as_dict() -> None:
    update = up.get_updater(
        up.SGD(0.5), clip=ClipByGlobalNorm(2.5), report=True, overrides={("b", 0): {"clip": ClipByGlobalNorm(1.0)}}
    )
    update.step({"a": np.array([3.0, 4.0]), ("b", 0): np.array([0.5])}, {"a": np.array([1.0, 0.0]), ("b", 0): np.array([2.0])})
    numbers = update.report().as_dict()
    assert numbers == {
        "loss_scale": 1.0, "skipped": 0.0, "held": 0.0, "global_norm": 5.0, "global_norm/b.0": 0.5,
        "gradient_norm/a": 5.0, "clip_factor/a": 0.5, "update_norm/a": 1.25, "weight_norm/a": 1.0, "ratio/a": 1.25, "updates/a": 1.0,
        "gradient_norm/b.0": 0.5, "clip_factor/b.0": 1.0, "update_norm/b.0": 0.25, "weight_norm/b.0": 2.0,
        "ratio/b.0": 0.125, "updates/b.0": 1.0,
    }  # fmt: skip
    assert {type(value) for value in numbers.values()} == {float}
    assert [name.replace(":", "/") for name in update.report().as_dict(":")] == [*numbers]
    off = up.get_updater(up.SGD(0.5), nonfinite="skip")
    off.step([np.array([math.inf])], [np.ones(1)])
    assert off.report().as_dict() == {"loss_scale": 1.0, "skipped": 1.0, "held": 1.0, "updates/0": 0.0}


def test_the_table() -> None:
    update = up.get_updater(up.SGD(0.5), clip=ClipByGlobalNorm(2.5), report=True, loss_scale=1024.0, nonfinite="skip")
    assert repr(update.report()) == "nothing at iteration 0, 0 held"
    grads = {"long.name": np.array([3072.0, 4096.0]), "b": np.array([0.0])}
    weights = {"long.name": np.array([1.0, 0.0]), "b": np.array([0.0])}
    update.step(grads, weights)
    assert repr(update.report()).splitlines() == [
        "applied at iteration 1, 0 held; loss scale 1024",
        "norm of all gradients: 5",
        "weight     gradient  clip  update  norm  update/norm  updates",
        "long.name         5   0.5    1.25     1         1.25        1",
        "b                 0     1       0     0            0        1",
    ]
    grads["b"][0] = math.nan
    update.step(grads, weights)
    assert repr(update.report()).splitlines() == [
        "skipped at iteration 2, 1 held; loss scale 1024",
        "weight       gradient  clip  update  norm  update/norm  updates",
        "long.name           -     -       -     -            -        1",
        "b          not finite     -       -     -            -        1",
    ]
    grouped = up.get_updater(up.SGD(0.5), overrides={"b": {"clip": ClipByGlobalNorm(1.0)}})
    grouped.step({"b": np.array([2.0])}, {"b": np.array([1.0])})
    assert repr(grouped.report()).splitlines()[:2] == ["applied at iteration 1, 0 held", "norm of all gradients of 'b': 2"]


def test_a_report_of_single_calls_has_the_loss_scale_and_indices_of_one_text_are_told_apart() -> None:
    update = up.get_updater(up.SGD(1.0, grad_clip=1.0), loss_scale=1024.0, report=True)
    for index in (1, "1", ("l", 0)):
        update(index, np.array([2048.0]), np.zeros(1))
    report = update.report()
    assert report.loss_scale == 1024.0
    assert {row.clip_factor for row in report.weights.values()} == {0.5}
    numbers = report.as_dict()
    assert {name for name in numbers if name.startswith("update_norm/")} == {
        "update_norm/1",
        "update_norm/'1'",
        "update_norm/l.0",
    }
    assert not [name for name in numbers if name.startswith("ratio/")]  # of weights of zeros


def test_norms_of_float64_gradients_whose_squares_overflow() -> None:
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(1.0), report=True)
    update.step([np.array([3e200, 4e200])], [np.zeros(2)])
    row = update.report().weights[0]
    assert row.gradient_norm == pytest.approx(5e200, rel=1e-14)
    assert row.clip_factor == pytest.approx(2e-201, rel=1e-14)
