"""Every rule against its oracle, against other systems, and the tests themselves against mutated coefficients."""

from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.rules import ORACLES, RULES, oracle
from updaters.updater import Rule

BATCH_SIZE = 3
STEPS = 12


def compare(optimizer: up.Optimizer) -> None:
    """Raise if a rule differs from its oracle by 1e-12 of a weight's path, for gradients of all sizes and weights from 0."""
    rng = np.random.default_rng(7)
    sizes = np.tile(np.logspace(-9, 2, 12), 2)
    gradients = rng.choice([-1, 1], (STEPS, 24)) * sizes * rng.uniform(0.5, 1.5, (STEPS, 24))
    start = np.where(np.arange(24) < 12, 0.0, rng.standard_normal(24))
    weight = start.copy()
    state = up.OptimizationState(BATCH_SIZE)
    update = up.get_updater(optimizer, state, backend="numpy")
    for gradient in state.batches(gradients):
        update("w", gradient, weight)
    for element in range(24):
        expected, path = oracle(optimizer, start[element], list(gradients[:, element]), BATCH_SIZE)
        assert abs(weight[element] - expected) <= 1e-12 * path, (element, weight[element], expected)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_its_oracle(name: str) -> None:
    compare(RULES[name])


def coefficients_of(optimizer: up.Optimizer) -> int:
    return len(Rule.of(optimizer).recording.scalars)


MUTANTS = [(name, place) for name, optimizer in RULES.items() for place in range(coefficients_of(optimizer))]


@pytest.mark.parametrize(("name", "place"), MUTANTS)
def test_an_error_of_a_permille_in_any_coefficient_is_noticed(name: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Rule.work_out

    def mutated(self: Rule, *arguments: Any) -> Any:
        numbers, scalars = honest(self, *arguments)
        return [number * (1.001 if n == place else 1) for n, number in enumerate(numbers)], scalars

    monkeypatch.setattr(Rule, "work_out", mutated)
    with pytest.raises(AssertionError):
        compare(RULES[name])


@pytest.mark.parametrize("scalar", ["correction1", "correction2"])
def test_an_error_of_a_permille_in_a_scalar_is_noticed(scalar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Rule.work_out

    def mutated(self: Rule, *arguments: Any) -> Any:
        numbers, scalars = honest(self, *arguments)
        return numbers, scalars | {scalar: scalars[scalar] * 1.001}

    monkeypatch.setattr(Rule, "work_out", mutated)
    with pytest.raises(AssertionError):
        compare(RULES["scheduled adam"])


def test_every_public_rule_has_an_oracle_and_a_configuration() -> None:
    public = {value for name in up.__all__ if isinstance(value := getattr(up, name), type) and issubclass(value, up.Optimizer)}
    public.remove(up.Optimizer)
    assert public == set(ORACLES) == {type(optimizer) for optimizer in RULES.values()}


# After three updates of [1, -2], in float64; from the systems themselves, except JL, evaluated from its source's formulas.
GOLDEN = [
    ("PyTorch SGD", up.SGD(0.1), 0.9600000000, -1.9700000000),
    ("PyTorch, Keras, MXNet.jl SGD", up.SGD(0.1, momentum=0.9), 0.8655000000, -1.8260000000),
    ("PyTorch, Keras SGD nesterov", up.SGD(0.1, momentum=0.9, nesterov=True), 0.8389500000, -1.8134000000),
    ("PyTorch, MXNet.jl SGD decay", up.SGD(0.1, momentum=0.9, weight_decay=0.01), 0.8600947490, -1.8151394980),
    ("Keras SGD decay", up.SGD(0.1, momentum=0.9, weight_decay=0.01, decay="decoupled"), 0.8626579490, -1.8202658980),
    ("PyTorch Adam", up.Adam(0.1), 0.7852605318, -1.8492092385),
    ("PyTorch Adam epsilon 1e-3", up.Adam(0.1, epsilon=1e-3), 0.7857908748, -1.8493794133),
    ("PyTorch Adam decay", up.Adam(0.1, weight_decay=0.01), 0.7821658470, -1.8442695710),
    ("PyTorch AdamW", up.AdamW(0.1), 0.7825437349, -1.8434579213),
    ("MXNet.jl ADAM", up.Adam(0.1, epsilon_hat=True), 0.7852606595, -1.8492092836),
    ("Keras Adam", up.Adam(0.1, epsilon=1e-7, epsilon_hat=True), 0.7852618562, -1.8492097053),
    ("Keras Adam epsilon 1e-3", up.Adam(0.1, epsilon=1e-3, epsilon_hat=True), 0.7977815423, -1.8537533498),
    ("Keras AdamW", up.AdamW(0.1, epsilon=1e-7, epsilon_hat=True), 0.7825450575, -1.8434583874),
]


@pytest.mark.parametrize(("optimizer", "first", "second"), [pytest.param(*row[1:], id=row[0]) for row in GOLDEN])
def test_a_rule_gives_the_numbers_of_other_systems(optimizer: up.Optimizer, first: float, second: float) -> None:
    weight = np.array([1.0, -2.0])
    update = up.get_updater(optimizer)
    for gradient in ([0.5, -1.0], [0.1, 0.3], [-0.2, 0.4]):
        update("w", np.array(gradient), weight)
    np.testing.assert_allclose(weight, [first, second], rtol=0, atol=5.1e-11)


def test_a_momentum_schedule_that_gives_zero_keeps_its_slot_and_null_keeps_none() -> None:
    for momentum, slots in ((lambda state: 0.0, {"velocity"}), (0, {"velocity"}), (up.momentum.Null(), set()), (None, set())):
        update = up.get_updater(up.SGD(0.1, momentum=momentum))
        update("w", np.ones(2), np.ones(2))
        assert set(update.slots["w"].arrays) == slots


def test_a_decoupled_decay_is_right_in_float32() -> None:
    # The factor 1 - 1e-6, rounded to float32, would decay every weight by 1.3 % too much.
    start = np.random.default_rng(0).uniform(0.5, 1.5, 10_000)
    weights = {dtype: start.astype(dtype) for dtype in (np.float32, np.float64)}
    for dtype, weight in weights.items():
        update = up.get_updater(up.AdamW(1e-3, weight_decay=1e-3))
        for _ in range(10):
            update("w", np.zeros(10_000, dtype), weight)
    decays = [np.mean(start.astype(dtype).astype(np.float64) - weight.astype(np.float64)) for dtype, weight in weights.items()]
    np.testing.assert_allclose(*decays, rtol=1e-3)
