"""Every rule against its oracle, against other systems, and the tests themselves against mutated coefficients."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests import weight_rules
from tests.rules import EVALUATIONS, ORACLES, RULES, on_the_edge, oracle
from updaters.rule import Rule

BATCH_SIZE = 3
STEPS = 12


@cache
def problem(optimizer: up.Optimizer) -> tuple[Any, Any, list[tuple[float, float, float]]]:
    """Gradients of all sizes, weights of which some start from 0, and where its oracle takes each."""
    rng = np.random.default_rng(7)
    sizes = np.tile(np.logspace(-9, 2, 12), 2)
    gradients = rng.choice([-1, 1], (STEPS, 24)) * sizes * rng.uniform(0.5, 1.5, (STEPS, 24))
    start = np.where(np.arange(24) < 12, 0.0, rng.standard_normal(24))
    if isinstance(optimizer, up.Lion):
        gradients[:, 20:] = np.array(on_the_edge(optimizer, STEPS))[:, np.newaxis] * [1, -1, 1e-6, -1e-6]
    return gradients, start, [oracle(optimizer, w, list(g), BATCH_SIZE) for w, g in zip(start, gradients.T, strict=True)]


def compare(optimizer: up.Optimizer) -> None:
    """Raise if a rule's weight, or the one to evaluate with, differs from its oracle's by 1e-12 of the weight's path."""
    gradients, start, results = problem(optimizer)
    weight = start.copy()
    state = up.OptimizationState(BATCH_SIZE)
    update = up.get_updater(optimizer, state, backend="numpy")
    for gradient in state.batches(gradients):
        update("w", gradient, weight)
    found = zip(weight, update.evaluation_weight("w", weight), strict=True)
    for element, (pair, (*expected, path)) in enumerate(zip(found, results, strict=True)):
        assert all(abs(a - b) <= 1e-12 * path for a, b in zip(pair, expected, strict=True)), (element, pair, expected)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_its_oracle(name: str) -> None:
    compare(RULES[name])


EQUIVALENT = {  # mutants that change nothing, and why
    ("rmsprop", "inside"): "0 with epsilon outside",
    ("rmsprop of steps", "outside"): "0 with epsilon inside",
    ("scheduled rmsprop of gradients", "inside"): "0 with epsilon outside",
    ("rmsprop centered", "inside"): "0 with epsilon outside",
    ("scheduled rmsprop centered of steps", "outside"): "0 with epsilon inside",
    ("rmsprop centered of gradients", "inside"): "0 with epsilon outside",
    ("scheduled schedule-free adamw", "decay"): "0 where the decay is l2",
    ("adam uncorrected", "correction1"): "kept, and not used without a correction",
    ("adam uncorrected", "correction2"): "kept, and not used without a correction",
    ("yogi", "correction1"): "kept, and not used without a correction",
    ("yogi", "correction2"): "kept, and not used without a correction",
}


def names_of(optimizer: up.Optimizer) -> list[str]:
    """The names of all coefficients, those of decay and clip included; the rule's come last where a name occurs twice."""
    return [name.rpartition("_")[0] for name in Rule.of(optimizer).recording.scalars]


COEFFICIENTS = [(name, place, of) for name, optimizer in RULES.items() for place, of in enumerate(names_of(optimizer))]
SCALARS = [(name, scalar) for name, optimizer in RULES.items() for scalar in optimizer.scalars]


@contextmanager
def noticed_unless_equivalent(mutant: tuple[str, str]) -> Iterator[None]:
    if mutant in EQUIVALENT:
        yield
    else:
        with pytest.raises(AssertionError):
            yield


def test_every_mutant_that_is_listed_exists() -> None:
    assert EQUIVALENT.keys() <= {(name, of) for name, _, of in COEFFICIENTS} | {*SCALARS}


@pytest.mark.parametrize(("name", "place", "of"), COEFFICIENTS)
def test_an_error_of_a_permille_in_any_coefficient_is_noticed(
    name: str, place: int, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Rule.work_out

    def mutated(self: Rule, *arguments: Any) -> Any:
        numbers, scalars = honest(self, *arguments)
        return [number * (1.001 if n == place else 1) for n, number in enumerate(numbers)], scalars

    monkeypatch.setattr(Rule, "work_out", mutated)
    with noticed_unless_equivalent((name, of)):
        compare(RULES[name])


@pytest.mark.parametrize(("name", "scalar"), SCALARS)
def test_an_error_of_a_permille_in_any_scalar_is_noticed(name: str, scalar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Rule.work_out

    def mutated(self: Rule, *arguments: Any) -> Any:
        numbers, scalars = honest(self, *arguments)
        return numbers, scalars | {scalar: scalars[scalar] * 1.001}

    monkeypatch.setattr(Rule, "work_out", mutated)
    with noticed_unless_equivalent((name, scalar)):
        compare(RULES[name])


def test_every_public_rule_has_an_oracle_and_a_configuration() -> None:
    public = {value for name in up.__all__ if isinstance(value := getattr(up, name), type) and issubclass(value, up.Optimizer)}
    public.remove(up.Optimizer)
    assert public == set(ORACLES) | set(weight_rules.ORACLES)
    assert set(ORACLES) == {type(optimizer) for optimizer in RULES.values()}
    assert {rule for rule in public if rule.evaluation is not up.Optimizer.evaluation} == set(EVALUATIONS)


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
    ("PyTorch SGD dampening", up.SGD(0.1, momentum=0.9, dampening=0.1, buffer="gradients"), 0.8654000000, -1.8163000000),
    ("OneFlow SGD dampening", up.SGD(0.1, momentum=0.9, dampening=0.1, damp_first=True, buffer="gradients"), 0.8789500000, -1.8434000000),
    ("PyTorch NAdam", up.Nadam(0.1), 0.9015590573, -1.9548368840),
    ("Keras Nadam", up.Nadam(0.1, epsilon=1e-7, momentum_decay=1.0), 0.8970386065, -1.9498422139),
    ("MXNet.jl Nadam", up.Nadam(0.1, beta1=0.99), 0.9155595630, -1.9613820061),
    ("PyTorch RAdam", up.RAdam(0.1, epsilon_hat=True), 0.9101670227, -1.8632550010),
    ("PyTorch Adamax", up.Adamax(0.1, epsilon_inside=True), 0.8202324885, -1.8632130442),
    ("Keras Adamax", up.Adamax(0.1, epsilon=1e-7), 0.8202325209, -1.8632130565),
    ("MXNet.jl AdaMax", up.Adamax(0.1), 0.8202324885, -1.8632130442),
    ("PyTorch Adadelta", up.Adadelta(rho=0.9), 0.9976920881, -1.9999663603),
    ("Keras Adadelta", up.Adadelta(epsilon=1e-7), 0.9989522228, -1.9999434187),
    ("MXNet.jl AdaDelta", up.Adadelta(), 0.9966867421, -1.9998210584),
    ("PyTorch Adagrad", up.Adagrad(0.1), 0.9169032237, -1.9645118762),
    ("PyTorch Adagrad decay", up.Adagrad(0.1, lr_decay=0.1, initial_accumulator=0.1), 0.9266853732, -1.9583433747),
    ("Keras Adagrad", up.Adagrad(0.1, epsilon=1e-7, epsilon_inside=True, initial_accumulator=0.1), 0.9304406949, -1.9665812165),
    ("MXNet.jl AdaGrad", up.Adagrad(0.1, epsilon=1e-6, epsilon_inside=True), 0.9169034005, -1.9645118987),
    ("PyTorch RMSprop", up.RMSProp(0.1, rho=0.99), 0.1712109804, -1.6494603757),
    ("OneFlow RMSprop", up.RMSProp(0.1, rho=0.99, epsilon_inside=True), 0.1712125676, -1.6494605557),
    ("OneFlow RMSprop centered", up.RMSProp(0.1, rho=0.99, epsilon_inside=True, centered=True), 0.1657546495, -1.6451788227),
    ("Keras RMSprop", up.RMSProp(0.1, epsilon=1e-7, epsilon_inside=True), 0.7446532794, -1.9025024839),
    ("MXNet.jl RMSProp", up.RMSProp(0.1, epsilon=1e-6, epsilon_inside=True), 0.7446579640, -1.9025029452),
    ("PyTorch RMSprop momentum centered", up.RMSProp(0.1, rho=0.99, momentum=0.9, centered=True, buffer="gradients"), -1.7314524559, -0.1869463014),
    ("Keras RMSprop momentum centered", up.RMSProp(0.1, rho=0.99, epsilon=1e-7, epsilon_inside=True, momentum=0.9, centered=True), -1.7313968575, -0.1869558438),
    ("PyTorch ASGD", up.ASGD(0.1), 0.9599708742, -1.9699408728),
    ("PyTorch Rprop", up.Rprop(0.1), 0.7800000000, -1.9500000000),
    ("Keras Ftrl", up.Ftrl(0.1, beta=0.0, initial_accumulator=0.1), 0.3959182006, -1.3635585255),
    # Keras's l2 and shrinkage are half of ours.
    ("Keras Ftrl penalties", up.Ftrl(0.1, beta=0.1, l1=0.1, l2=0.2, l2_shrinkage=0.2, initial_accumulator=0.1), 0.2728997542, -1.1449578239),
    ("MXNet Ftrl", up.Ftrl(0.1, l1=0.01), 0.3056325994, -0.9830623218),
    ("Keras Lion", up.Lion(0.1), 0.9000000000, -2.1000000000),
]  # fmt: skip
FLOAT32_INSIDE = {"PyTorch NAdam", "PyTorch ASGD"}  # these systems keep a coefficient in float32


@pytest.mark.parametrize(("name", "optimizer", "first", "second"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_a_rule_gives_the_numbers_of_other_systems(name: str, optimizer: up.Optimizer, first: float, second: float) -> None:
    weight = np.array([1.0, -2.0])
    update = up.get_updater(optimizer, backend="numpy")
    for gradient in ([0.5, -1.0], [0.1, 0.3], [-0.2, 0.4]):
        update("w", np.array(gradient), weight)
    np.testing.assert_allclose(weight, [first, second], rtol=0, atol=1e-8 if name in FLOAT32_INSIDE else 5.1e-11)


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


def test_steps_of_radam_that_are_not_rectified_know_no_second_moment() -> None:
    weight = np.zeros(1, np.float32)
    up.get_updater(up.RAdam(1e-30))("w", np.full(1, 1e30, np.float32), weight)
    np.testing.assert_allclose(weight, -1, rtol=1e-6)


def test_a_variance_that_rounding_makes_negative_is_zero() -> None:
    weight = np.zeros(1000, np.float32)
    gradient = np.random.default_rng(0).uniform(0.1, 10, 1000).astype(np.float32)
    update = up.get_updater(up.RMSProp(1e-6, rho=0.5, epsilon=1e-3, centered=True))
    for _ in range(40):
        update("w", gradient, weight)
    kept = update.slots["w"]
    assert (kept["s"] < kept["a"] * kept["a"]).any()
    assert np.isfinite(weight).all()


@pytest.mark.parametrize(
    "optimizer", [up.Rprop(lambda state: 0.1 * (state.iteration > 1)), up.ScheduleFreeSGD(0), up.ScheduleFreeAdamW(0)]
)
def test_a_learning_rate_of_zero_moves_nothing(optimizer: up.Optimizer) -> None:
    weight = np.ones(3)
    state = up.OptimizationState(iteration=1)
    update = up.get_updater(optimizer, state)
    update("w", np.array([0.5, -1.0, 0.0]), weight)
    assert np.array_equal(weight, np.ones(3))
    assert np.array_equal(update.evaluation_weight("w", weight), np.ones(3))


def test_rprop_goes_on_after_a_learning_rate_of_zero() -> None:
    weights = np.zeros(2), np.zeros(2)
    schedules = (lambda state: 0.0 if state.iteration == 2 else 0.1), (lambda state: 0.1)
    for weight, schedule in zip(weights, schedules, strict=True):
        state = up.OptimizationState()
        update = up.get_updater(up.Rprop(schedule), state)
        for _ in state.batches(range(3)):
            update("w", np.array([1.0, -2.0]), weight)
    np.testing.assert_allclose(weights[0], -np.array([1, -1]) * 0.1 * (1 + 1.2**2))
    np.testing.assert_allclose(weights[1], -np.array([1, -1]) * 0.1 * (1 + 1.2 + 1.2**2))


def test_rprop_sees_the_signs_of_gradients_whose_product_underflows() -> None:
    weight = np.zeros(1, np.float32)
    update = up.get_updater(up.Rprop(1.0, max_step=1e9))
    for _ in range(2):
        update("w", np.full(1, 1e-30, np.float32), weight)
    np.testing.assert_allclose(weight, -2.2)
