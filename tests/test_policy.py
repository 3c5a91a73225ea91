"""What an updater does beyond its rule, against the recipe by hand, in all its combinations."""

from __future__ import annotations

import copy
import math
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import updaters as up
from tests.policy_oracle import BATCH_SIZE, FACTORS, SHAPES, Case, Oracle, pairwise

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
BACKENDS = ("numpy", "numba")


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-3, 0.5, shape))


def kept(update: up.Updater) -> dict[Any, Any]:
    """All that an updater keeps, as bytes and numbers."""
    return {
        index: ({name: (array.dtype, array.tobytes()) for name, array in known.arrays.items()}, dict(known.scalars), known.count)
        for index, known in update.slots.items()
    } | {"calls": update._calls, "scaling": update._scaling, "clock": attrs.astuple(update.state)}


def bits(weights: Arrays) -> dict[str, bytes]:
    return {name: weight.tobytes() for name, weight in weights.items()}


def play(case: Case, seed: int, backends: tuple[str, ...] = BACKENDS, calls: int = 16) -> None:
    """Hold updaters to the oracle through calls with gradients, without, and with some that are not finite."""
    rng = np.random.default_rng(seed)
    start = {name: np.asarray(drawn(rng, shape).astype(case.dtype)) for name, shape in SHAPES.items()}
    oracle = Oracle(case, start)
    updates = [case.updater(backend) for backend in backends]
    weights = [copy.deepcopy(start) for _ in backends]
    states = [update.state for update in updates]
    for _ in range(calls):
        flushes, breaks, lacks = rng.random(3) < (0.1, 0.2, 0.4)
        by = updates[0].loss_scale * (BATCH_SIZE if case.gradient == "sum" else 1)
        with np.errstate(over="ignore"):  # as gradients of half precision do where the loss scale is too large
            grads: dict[str, Any] = {
                name: np.asarray((by * drawn(rng, shape)).astype(case.dtype)) for name, shape in SHAPES.items()
            }
        if lacks:
            grads = {name: g if rng.random() < 0.5 else None for name, g in grads.items()}
        if breaks and (case.skips or case.nonfinite == "raise"):
            name = rng.choice(list(SHAPES))
            if grads[name] is not None:
                grads[name].flat[rng.integers(grads[name].size)] = rng.choice([math.nan, math.inf, -math.inf])
        if flushes:
            happened = oracle.flush()
            for update, mine in zip(updates, weights, strict=True):
                update.flush(mine)
        else:
            happened = oracle.step(grads)
            for update, mine, state in zip(updates, weights, states, strict=True):
                before, bytes_before = kept(update), bits(mine)
                state.iteration += 1
                if happened == "raised":
                    with pytest.raises(FloatingPointError, match="gradients are not finite for weights .*; nothing has changed"):
                        update.step(grads, mine)
                else:
                    update.step(grads, mine)
                if happened in ("raised", "nothing"):
                    state.iteration -= 1
                    assert (kept(update), bits(mine)) == (before, bytes_before)
        if happened not in ("raised", "nothing"):
            assert {update.report().what for update in updates} == {happened}
        for update, mine in zip(updates, weights, strict=True):
            compare(case, oracle, update, mine)
            if case.clip != "global 3":  # which raises an array to a power: backends agree to rounding
                assert bits(mine) == bits(weights[0])
                assert kept(update) == kept(updates[0])


def compare(case: Case, oracle: Oracle, update: up.Updater, weights: Arrays) -> None:
    tolerance = 1e-12 if case.dtype == "float64" else 1e-4 if case.rule == "muon" else 5e-6
    assert (update.state.iteration, update.state.held) == (oracle.iteration, oracle.held)
    assert math.isclose(update.loss_scale, oracle.scaling["scale"], rel_tol=tolerance)
    for name, expected in oracle.weights.items():
        known = update.slots.get(name)
        if known is None or not known.count:
            assert not expected.count
            continue
        assert (known.count, known.gathered) == (expected.count, len(expected.gathered))
        w = weights[name]
        if "master" in known.arrays:
            assert w.tobytes() == known["master"].astype(w.dtype).tobytes()
            w = known["master"]
        close(w, expected.w, tolerance * expected.path, name)
        if "average" in known.arrays and expected.average is not None:
            close(known["average"], expected.average, tolerance * expected.path, name)
            rounding = 1e-3 if case.dtype == "float16" else tolerance
            close(update.evaluation_weight(name, weights[name]), expected.average, rounding * expected.path, name)


def close(found: Array, expected: list[float], most: float, name: str) -> None:
    apart = np.abs(found.ravel().astype(float) - np.array(expected)).max(initial=0)
    assert apart <= most, f"{name}: {apart} > {most}"


PAIRWISE = pairwise()


@pytest.mark.parametrize("place", range(len(PAIRWISE)))
def test_any_two_parts_together_are_the_recipe(place: int) -> None:
    play(PAIRWISE[place], place)


@settings(max_examples=60, deadline=None)
@given(st.builds(Case, **{name: st.sampled_from(list(values)) for name, values in FACTORS.items()}), st.integers(0, 10**6))
def test_any_parts_together_are_the_recipe(case: Case, seed: int) -> None:
    if case.is_allowed:
        play(case, seed, ("numpy",), 10)


def test_the_cases_meet_in_pairs_and_take_every_way() -> None:
    for name, values in FACTORS.items():
        assert {getattr(case, name) for case in PAIRWISE} == set(values)
