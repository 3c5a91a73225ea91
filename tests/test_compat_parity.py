"""The compatibility modules give their systems' weights."""

from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.golden import Case
from tests.make_parity import PAGE, errors_of, functions, is_current, page
from tests.parity import COMPARED, GOLDEN, MODULES, Compared, golden_error, oracle_error


@pytest.mark.parametrize(("system", "case"), GOLDEN, ids=repr)
def test_weights_are_those_that_the_system_gave(system: str, case: Case) -> None:
    assert golden_error(system, case) <= case.tolerance, case.reason


@pytest.mark.parametrize("compared", COMPARED, ids=repr)
def test_weights_are_those_of_plain_python(compared: Compared) -> None:
    assert oracle_error(compared) <= 1e-9


def test_every_function_is_compared() -> None:
    compared = {(system, case.rule) for system, case in GOLDEN} | {(row.system, row.name) for row in COMPARED}
    assert compared == {(system, name) for system in MODULES for name in functions(system)}


def test_the_page_says_what_is_measured() -> None:
    assert is_current(PAGE.read_text(encoding="utf-8"), page()), "run python tests/make_parity.py"


@pytest.mark.parametrize(
    ("measured", "current"),
    [
        ("Adam < 1e-13; < 1e-8 as it is", True),
        ("Adam < 1e-12; < 1e-7 as it is", True),
        ("Adam < 1e-14; < 1e-9 as it is", True),
        ("Adam < 1e-11; < 1e-8 as it is", False),
        ("Adam < 1e-13; < 1e-6 as it is", False),
        ("Adam < 1e-13; < 1e-10 as it is", False),
        ("Adam < 1e1; < 1e-8 as it is", False),
        ("Adam < 1e-13;  as it is", False),
        ("Adam < 1e-13< 1e-13; < 1e-8 as it is", False),
        ("Adam < 1e-13; < 1e-8 as it will be", False),
    ],
)
def test_a_page_that_says_more_or_less_than_is_measured_is_not_current(measured: str, current: bool) -> None:
    assert is_current("Adam < 1e-13; < 1e-8 as it is", measured) is current


def test_a_function_that_is_compared_with_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"^torch\.LBFGS is compared with nothing"):
        errors_of("torch", "LBFGS")


# After three updates of [1, -2], in float64, with the system's own numbers for all that is not given.
ROWS: list[tuple[str, str, dict[str, Any], float, float]] = [
    ("torch", "SGD", {}, 0.9600000000, -1.9700000000),
    ("torch", "SGD", {"momentum": 0.9}, 0.8655000000, -1.8260000000),
    ("keras", "SGD", {"momentum": 0.9}, 0.8655000000, -1.8260000000),
    ("mxnet_jl", "SGD", {"momentum": 0.9, "weight_decay": 0}, 0.8655000000, -1.8260000000),
    ("torch", "SGD", {"momentum": 0.9, "dampening": 0.1}, 0.8654000000, -1.8163000000),
    ("oneflow", "SGD", {"momentum": 0.9, "dampening": 0.1}, 0.8789500000, -1.8434000000),
    ("torch", "SGD", {"momentum": 0.9, "nesterov": True}, 0.8389500000, -1.8134000000),
    ("keras", "SGD", {"momentum": 0.9, "nesterov": True}, 0.8389500000, -1.8134000000),
    ("torch", "SGD", {"momentum": 0.9, "weight_decay": 0.01}, 0.8600947490, -1.8151394980),
    ("mxnet_jl", "SGD", {"momentum": 0.9, "weight_decay": 0.01}, 0.8600947490, -1.8151394980),
    ("keras", "SGD", {"momentum": 0.9, "weight_decay": 0.01}, 0.8626579490, -1.8202658980),
    ("torch", "Adam", {}, 0.7852605318, -1.8492092385),
    ("mxnet_jl", "ADAM", {"weight_decay": 0}, 0.7852606595, -1.8492092836),
    ("keras", "Adam", {}, 0.7852618562, -1.8492097053),
    ("keras", "Adam", {"epsilon": 1e-3}, 0.7977815423, -1.8537533498),
    ("torch", "Adam", {"eps": 1e-3}, 0.7857908748, -1.8493794133),
    ("torch", "Adam", {"weight_decay": 0.01}, 0.7821658470, -1.8442695710),
    ("torch", "AdamW", {"weight_decay": 0.01}, 0.7825437349, -1.8434579213),
    ("keras", "AdamW", {"weight_decay": 0.01}, 0.7825450575, -1.8434583874),
    ("torch", "NAdam", {}, 0.9015590573, -1.9548368840),
    ("keras", "Nadam", {}, 0.8970386065, -1.9498422139),
    ("mxnet_jl", "Nadam", {"weight_decay": 0}, 0.9155595630, -1.9613820061),
    ("torch", "RAdam", {}, 0.9101670227, -1.8632550010),
    ("torch", "Adamax", {}, 0.8202324885, -1.8632130442),
    ("keras", "Adamax", {}, 0.8202325209, -1.8632130565),
    ("mxnet_jl", "AdaMax", {"weight_decay": 0}, 0.8202324885, -1.8632130442),
    ("torch", "Adadelta", {"lr": 1.0}, 0.9976920881, -1.9999663603),
    ("keras", "Adadelta", {"learning_rate": 1.0}, 0.9989522228, -1.9999434187),
    ("mxnet_jl", "AdaDelta", {"lr": 1.0, "weight_decay": 0}, 0.9966867421, -1.9998210584),
    ("torch", "Adagrad", {}, 0.9169032237, -1.9645118762),
    ("torch", "Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}, 0.9266853732, -1.9583433747),
    ("keras", "Adagrad", {}, 0.9304406949, -1.9665812165),
    ("mxnet_jl", "AdaGrad", {"weight_decay": 0}, 0.9169034005, -1.9645118987),
    ("torch", "RMSprop", {}, 0.1712109804, -1.6494603757),
    ("oneflow", "RMSprop", {}, 0.1712125676, -1.6494605557),
    ("oneflow", "RMSprop", {"centered": True}, 0.1657546495, -1.6451788227),
    ("keras", "RMSprop", {}, 0.7446532794, -1.9025024839),
    ("mxnet_jl", "RMSProp", {"weight_decay": 0}, 0.7446579640, -1.9025029452),
    ("torch", "RMSprop", {"momentum": 0.9, "centered": True}, -1.7314524559, -0.1869463014),
    ("keras", "RMSprop", {"momentum": 0.9, "centered": True, "rho": 0.99}, -1.7313968575, -0.1869558438),
    ("torch", "ASGD", {}, 0.9599708742, -1.9699408728),
    ("torch", "Rprop", {}, 0.7800000000, -1.9500000000),
    ("torch", "Rprop", {"step_sizes": (1e-6, 0.11)}, 0.7900000000, -1.9500000000),
    ("torch", "Adafactor", {}, 0.9009873362, -2.0034216309),
    ("keras", "Adafactor", {}, 0.9009873309, -2.0034216386),
    ("keras", "Ftrl", {}, 0.3959182006, -1.3635585255),
    (
        "keras",
        "Ftrl",
        {
            "l1_regularization_strength": 0.1,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.1,
            "beta": 0.1,
        },
        0.2728997542,
        -1.1449578239,
    ),
    ("keras", "Lion", {}, 0.9000000000, -2.1000000000),
    ("keras", "Lamb", {}, 0.4811760194, -1.7043520035),
    ("keras", "Lamb", {"weight_decay": 0.01}, 0.4797339344, -1.6992440588),
    ("oneflow", "LAMB", {"weight_decay": 0.01}, 0.4753194625, -1.6882907612),
]
FLOAT32_INSIDE = {("torch", "NAdam"), ("torch", "ASGD"), ("keras", "Adafactor")}  # they keep a number in float32


@pytest.mark.parametrize(("system", "name", "arguments", "first", "second"), ROWS)
def test_three_updates_with_the_numbers_of_the_system(
    system: str, name: str, arguments: dict[str, Any], first: float, second: float
) -> None:
    lr = "learning_rate" if system == "keras" else "lr"
    update = up.get_updater(getattr(MODULES[system], name)(**{lr: 0.1} | arguments), backend="numpy")
    weight = np.array([1.0, -2.0])
    for gradient in ([0.5, -1.0], [0.1, 0.3], [-0.2, 0.4]):
        update.step({"w": np.array(gradient)}, {"w": weight})
    atol = 1e-8 if (system, name) in FLOAT32_INSIDE else 5.1e-11
    np.testing.assert_allclose(weight, [first, second], rtol=0, atol=atol)
