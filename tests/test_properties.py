"""What holds of every rule, for arrays that hypothesis makes up."""

import copy
import pickle
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import updaters as up
from tests.rules import POWERS, RULES

Array = np.ndarray[Any, Any]

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
DTYPES = st.sampled_from(["f2", "f4", "f8", "c8", "c16", ">f4", ">f8"])
BACKENDS = st.sampled_from(["numpy", "auto"])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, list[Array]]:
    """A weight and a few gradients of its shape and dtype."""
    dtype, shape = np.dtype(draw(DTYPES)), draw(SHAPES)
    parts = st.floats(-100, 100, width=16)
    elements = st.builds(complex, parts, parts) if dtype.kind == "c" else parts
    arrays = hnp.arrays(dtype, shape, elements=elements)
    return draw(arrays), draw(st.lists(arrays, min_size=1, max_size=4))


def run(update: up.Updater, index: Any, weight: Array, gradients: list[Array]) -> None:
    for gradient in update.state.batches(gradients):
        update(index, gradient, weight)


def updater(optimizer: up.Optimizer, backend: str) -> up.Updater:
    return up.get_updater(optimizer, up.OptimizationState(3), backend=backend)


every_rule = pytest.mark.parametrize("name", RULES)
few = settings(max_examples=8, deadline=None)  # of each rule, of which there are many


@every_rule
@few
@given(problems(), BACKENDS)
def test_dtype_shape_and_gradients_stay(name: str, problem: tuple[Array, list[Array]], backend: str) -> None:
    weight, gradients = problem
    dtype, shape, before = weight.dtype, weight.shape, copy.deepcopy(gradients)
    run(updater(RULES[name], backend), "w", weight, gradients)
    assert (weight.dtype, weight.shape) == (dtype, shape)
    assert all(np.array_equal(a, b) for a, b in zip(gradients, before, strict=True))


MOVE_ANYHOW = {up.Ftrl: "its weights are made anew of its slots", up.ASGD: "it decays weights towards 0"}


@pytest.mark.parametrize(
    "name", [name for name, rule in RULES.items() if rule.weight_decay is None and type(rule) not in MOVE_ANYHOW]
)
@few
@given(problems(), BACKENDS)
def test_a_gradient_of_zero_moves_nothing(name: str, problem: tuple[Array, list[Array]], backend: str) -> None:
    weight, _ = problem
    before = weight.copy()
    run(updater(RULES[name], backend), "w", weight, [np.zeros_like(weight)] * 3)
    assert np.array_equal(weight, before)


# NumPy may have another algorithm for the powers of many numbers than for those of few.
@pytest.mark.parametrize("name", [name for name in RULES if name not in POWERS])
@few
@given(problems(), BACKENDS, st.integers(0, 6))
def test_a_split_array_equals_the_whole(name: str, problem: tuple[Array, list[Array]], backend: str, cut: int) -> None:
    weight, gradients = problem
    whole = weight.reshape(-1).copy()
    flat = [gradient.reshape(-1) for gradient in gradients]
    parts = [whole[:cut].copy(), whole[cut:].copy()]
    run(updater(RULES[name], backend), "w", whole, flat)
    run(updater(RULES[name], backend), "w", parts[0], [gradient[:cut] for gradient in flat])
    run(updater(RULES[name], backend), "w", parts[1], [gradient[cut:] for gradient in flat])
    assert np.array_equal(np.concatenate(parts), whole)


# Schedules read a clock that interleaving would share.
@pytest.mark.parametrize("name", [name for name in RULES if "scheduled" not in name])
@few
@given(problems(), problems(), st.randoms())
def test_indices_are_independent(name: str, first: Any, second: Any, random: Any) -> None:
    optimizer = RULES[name]
    (a, a_gradients), (b, b_gradients) = first, second
    alone = [a.copy(), b.copy()]
    for weight, gradients in ((alone[0], a_gradients), (alone[1], b_gradients)):
        run(updater(optimizer, "auto"), "w", weight, gradients)
    together: Any = updater(optimizer, "auto")
    a_turns = [("a", gradient, a) for gradient in a_gradients]
    b_turns = [(("b", 0), gradient, b) for gradient in b_gradients]
    while turns_left := [turns for turns in (a_turns, b_turns) if turns]:
        together(*random.choice(turns_left).pop(0))
    assert np.array_equal(a, alone[0])
    assert np.array_equal(b, alone[1])


@every_rule
@few
@given(problems(), BACKENDS)
def test_copied_midway_and_gone_on_with_is_bitwise_the_same(name: str, problem: Any, backend: str) -> None:
    weight, gradients = problem
    update = updater(RULES[name], backend)
    run(update, "w", weight, gradients)
    other, other_weight = copy.deepcopy(update), weight.copy()
    if "scheduled" not in name:
        other = pickle.loads(pickle.dumps(update))
    for each, array in ((update, weight), (other, other_weight)):
        run(each, "w", array, gradients[::-1])
    assert update == other
    assert weight.tobytes() == other_weight.tobytes()


@every_rule
@few
@given(problems())
def test_maximize_climbs_as_minimize_descends(name: str, problem: tuple[Array, list[Array]]) -> None:
    weight, gradients = problem
    other = weight.copy()
    run(updater(RULES[name], "numpy"), "w", weight, gradients)
    opposite = attrs.evolve(RULES[name], maximize=not RULES[name].maximize)
    run(updater(opposite, "numpy"), "w", other, [-gradient for gradient in gradients])
    assert np.array_equal(weight, other)
