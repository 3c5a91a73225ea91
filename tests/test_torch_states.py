"""What `torch.optim` keeps, taken over by updaters and given back: by stored dictionaries, and by PyTorch where it is installed."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import updaters as up
from tests.golden import make_torch_states as golden
from updaters.compat import torch as optim
from updaters.optimizers.correction import corrected, corrected_by

HERE = Path(__file__).parent
CASES = json.loads((HERE / "golden/torch_states.json").read_text(encoding="utf-8"))["cases"]
HALF = golden.HALF
with np.load(HERE / "golden/inputs.npz") as stored:
    INPUTS = {name: stored[name] for name in stored.files}


def described(case: dict[str, Any]) -> str:
    kinds = [kind for kind in ("groups", "changed") if kind in case]
    return "-".join([case["rule"], *kinds, *(f"{name}={value}" for name, value in case["arguments"].items())])


def decoded(tensor: dict[str, Any]) -> Any:
    array = np.array(tensor["values"]).view(tensor["dtype"]).reshape(tensor["shape"])
    return array.copy()


def dictionary(case: dict[str, Any]) -> dict[str, Any]:
    state = {int(n): {name: decoded(one) for name, one in kept.items()} for n, kept in case["state"].items()}
    return {"state": state, "param_groups": case["param_groups"]}


def weights_at(case: dict[str, Any], when: str) -> dict[str, Any]:
    return {name: decoded(one) for name, one in case[when].items()}


def updater(case: dict[str, Any]) -> up.Updater:
    """The updater of a case, whose rates are all schedules where one is changed half of the way."""
    arguments = dict(case["arguments"])
    if "changed" in case:
        before, after = arguments["lr"], case["changed"]
        arguments["lr"] = lambda state: before if state.iteration <= HALF else after
    function = getattr(optim, case["rule"])
    return up.get_updater(function(*([case["groups"]] if "groups" in case else []), **arguments), backend="numpy")


def go(update: up.Updater, weights: dict[str, Any], updates: range) -> None:
    for k in updates:
        update.step({name: np.array(INPUTS[f"gradients/{name}"][k]) for name in weights}, weights)


def reals(array: Any) -> Any:
    array = np.ascontiguousarray(array)
    return array.reshape(-1).view(np.float64) if array.dtype.kind == "c" else array.reshape(-1)


def assert_close(here: Any, there: Any, what: object) -> None:
    assert np.shape(here) == np.shape(there), what
    here, there = reals(here), reals(there)
    assert np.abs(here - there).max(initial=0.0) <= 1e-12 * (1 + np.abs(there).max(initial=0.0)), what


def plain(value: Any) -> Any:
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture
def arrays_for_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the place of PyTorch, with arrays for tensors."""
    stand_in = SimpleNamespace(
        float32=np.float32, float64=np.float64, get_default_dtype=lambda: np.float64, from_numpy=lambda array: array,
        tensor=lambda value, dtype: np.array(value, dtype),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", stand_in)


@pytest.fixture
def real() -> Iterator[Any]:
    module = pytest.importorskip("torch", reason="PyTorch is not installed")
    with golden.in_float64():
        yield module


# By stored dictionaries


@pytest.mark.parametrize("case", CASES, ids=described)
def test_an_updater_goes_on_from_what_pytorch_kept(case: dict[str, Any]) -> None:
    update = updater(case)
    report = optim.load_state_dict(update, dictionary(case))
    update.state.iteration = HALF
    assert set(report.slots) == {golden.order(case)[int(number)] for number in case["state"]}
    weights = weights_at(case, "half")
    go(update, weights, range(HALF, 2 * HALF))
    for name, expected in weights_at(case, "whole").items():
        assert_close(weights[name], expected, name)


@pytest.mark.parametrize("case", CASES, ids=described)
@pytest.mark.usefixtures("arrays_for_tensors")
def test_what_an_updater_keeps_is_what_pytorch_keeps(case: dict[str, Any]) -> None:
    update = updater(case)
    weights = {name: INPUTS[f"start/{name}"].copy() for name in case["weights"]}
    go(update, weights, range(HALF))
    found, stored = optim.state_dict(update, golden.order(case)), dictionary(case)
    assert {n: kept.keys() for n, kept in found["state"].items()} == {n: kept.keys() for n, kept in stored["state"].items()}
    for number, kept in stored["state"].items():
        for name, expected in kept.items():
            assert_close(found["state"][number][name], expected, (number, name))
    assert len(found["param_groups"]) == len(stored["param_groups"])
    for here, there in zip(found["param_groups"], stored["param_groups"], strict=True):
        there = {**there, "lr": here["lr"]} if "changed" in case else there
        there = {name: value or "original" if name == "adjust_lr_fn" else value for name, value in there.items()}  # the same
        assert {name: plain(value) for name, value in here.items()} == {
            name: value for name, value in there.items() if name != "param_names"
        }


@pytest.mark.parametrize("case", CASES, ids=described)
@pytest.mark.usefixtures("arrays_for_tensors")
def test_a_dictionary_brings_back_what_it_was_made_of(case: dict[str, Any]) -> None:
    update, again = updater(case), updater(case)
    go(update, {name: INPUTS[f"start/{name}"].copy() for name in case["weights"]}, range(HALF))
    order = golden.order(case)
    optim.load_state_dict(again, optim.state_dict(update, order), order)
    for index, kept in again.slots.items():
        assert kept.scalars == update.slots[index].scalars
        assert kept.dtype == update.slots[index].dtype
        assert kept.arrays.keys() == update.slots[index].arrays.keys()
        for name, array in kept.arrays.items():
            if name == "factor":  # times a rate and divided by it
                np.testing.assert_allclose(reals(array), reals(update.slots[index][name]), rtol=3e-16)
            else:
                np.testing.assert_array_equal(array, update.slots[index][name])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("count", [0, 1, 5, 60_000])
def test_a_correction_is_rebuilt_bit_for_bit(beta: float, count: int) -> None:
    correction = 0.0
    for _ in range(count):
        correction = corrected(correction, beta)
    assert corrected_by(count, beta) == correction


# Our own rules

OWN: list[tuple[up.Optimizer, up.Optimizer]] = [
    (up.SGD(0.01, momentum=0.9), optim.SGD(0.01, momentum=0.9)),
    (up.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.1), optim.SGD(0.01, 0.9, nesterov=True, weight_decay=0.1)),
    (up.SGD(0.01, momentum=0.9, dampening=0.3), optim.SGD(0.01, momentum=0.9, dampening=0.3)),
    (up.SGD(0.01, momentum=0.9, buffer="gradients"), optim.SGD(0.01, momentum=0.9)),
    (up.RMSProp(0.01, momentum=0.9), optim.RMSprop(0.01, alpha=0.9, momentum=0.9)),
    (up.RMSProp(0.01, momentum=0.9, centered=True), optim.RMSprop(0.01, alpha=0.9, momentum=0.9, centered=True)),
    (up.Adam(0.01, amsgrad=True), optim.Adam(0.01, amsgrad=True)),
    (up.AdamW(0.01), optim.AdamW(0.01)),
    (up.AdamW(0.01, decay="l2"), optim.Adam(0.01, weight_decay=0.01)),
    (up.Adam(0.01, decay="decoupled"), optim.Adam(0.01)),
    (up.RAdam(0.01, epsilon_hat=True), optim.RAdam(0.01)),
    (up.Adamax(0.01, epsilon_inside=True), optim.Adamax(0.01)),
    (up.Nadam(0.01), optim.NAdam(0.01)),
    (up.Adadelta(0.5), optim.Adadelta(0.5, rho=0.95)),
    (up.Adagrad(0.01, lr_decay=0.1), optim.Adagrad(0.01, lr_decay=0.1)),
    (up.ASGD(0.003, start=2), optim.ASGD(0.003, t0=2)),
    (up.Rprop(0.03), optim.Rprop(0.03)),
]


@pytest.mark.parametrize(("ours", "theirs"), OWN, ids=[repr(ours) for ours, _ in OWN])
@pytest.mark.parametrize("back", [False, True], ids=["to", "from"])
@pytest.mark.usefixtures("arrays_for_tensors")
def test_our_own_rules_go_on_as_pytorchs_and_back(ours: up.Optimizer, theirs: up.Optimizer, back: bool) -> None:
    first, second = (theirs, ours) if back else (ours, theirs)
    names = golden.WEIGHTS
    expected = {name: INPUTS[f"start/{name}"].copy() for name in names}
    go(up.get_updater(first, backend="numpy"), expected, range(2 * HALF))
    weights = {name: INPUTS[f"start/{name}"].copy() for name in names}
    update, other = up.get_updater(first, backend="numpy"), up.get_updater(second, backend="numpy")
    go(update, weights, range(HALF))
    report = optim.load_state_dict(other, optim.state_dict(update, names), names)
    assert report.left == ()
    go(other, weights, range(HALF, 2 * HALF))
    for name in names:
        assert_close(weights[name], expected[name], name)


@pytest.mark.usefixtures("arrays_for_tensors")
def test_a_momentum_of_steps_takes_the_rate_in_force() -> None:
    update = up.get_updater(up.SGD(lambda state: 0.5 / state.iteration, momentum=0.9), backend="numpy")
    weights = {"w": np.zeros(2)}
    for _ in range(2):
        update.step({"w": np.array([1.0, -2.0])}, weights)
    found = optim.state_dict(update, ["w"])
    assert found["param_groups"][0]["lr"] == 0.25
    np.testing.assert_array_equal(found["state"][0]["momentum_buffer"], -update.slots["w"]["velocity"] / 0.25)
    found["param_groups"][0]["lr"] = 0.125
    optim.load_state_dict(update, found, ["w"])
    np.testing.assert_array_equal(update.slots["w"]["velocity"], -0.125 * found["state"][0]["momentum_buffer"])


UNLIKE: list[tuple[up.Optimizer, str]] = [
    (up.AdaBelief(), "weight 'w': PyTorch has no counterpart of AdaBelief; it has those of 'ASGD', 'Adadelta'"),
    (up.LAMB(), "weight 'w': PyTorch has no counterpart of LAMB"),
    (up.RAdam(), "weight 'w': RAdam.epsilon_hat must be True, as in PyTorch's RAdam, got False"),
    (up.Adamax(), "weight 'w': Adamax.epsilon_inside must be True, as in PyTorch's Adamax, got False"),
    (up.Adam(bias_correction=False), "weight 'w': Adam.bias_correction must be True, as in PyTorch's Adam, got False"),
    (up.Adam(epsilon_hat=True), "weight 'w': Adam.epsilon_hat must be False"),
    (up.Nadam(momentum=0.5), "weight 'w': Nadam.momentum must be None"),
    (up.SGD(weight_decay=0.1, decay="decoupled"), "weight 'w': SGD.decay must be 'l2', as in PyTorch's SGD, got 'decoupled'"),
    (up.SGD(momentum=0.9, dampening=0.1, damp_first=True), "weight 'w': SGD.damp_first must be False"),
    (up.SGD(transforms=up.transforms.ClipByNorm(1.0)), r"weight 'w': SGD.transforms must be \(\), as in PyTorch's SGD"),
    (up.RMSProp(epsilon_inside=True), "weight 'w': RMSProp.epsilon_inside must be False, as in PyTorch's RMSprop"),
    (up.Adagrad(epsilon_inside=True), "weight 'w': Adagrad.epsilon_inside must be False"),
    (up.Adafactor(), "weight 'w': Adafactor.epsilon_added must be False, as in PyTorch's Adafactor, got True"),
    (up.Muon(), "weight 'w': Muon.epsilon_added must be False, as in PyTorch's Muon, got True"),
]


@pytest.mark.parametrize(("optimizer", "message"), UNLIKE, ids=[repr(one) for one, _ in UNLIKE])
def test_what_pytorch_has_no_counterpart_of_is_an_error_that_names_it(optimizer: up.Optimizer, message: str) -> None:
    update = up.get_updater(optimizer, backend="numpy")
    with pytest.raises(ValueError, match=f"^{message}"):
        optim.state_dict(update, ["w"])
    group = {"lr": 0.01, "params": [0]}
    with pytest.raises(ValueError, match=message):
        optim.load_state_dict(update, {"state": {}, "param_groups": [group]}, ["w"])


# Groups and weights

SOME = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False, "params": [0, 1]}


def some(**changes: Any) -> dict[str, Any]:
    """A dictionary of SGD's with two parameters."""
    state = {0: {"momentum_buffer": np.array([1.0, -1.0])}, 1: {"momentum_buffer": np.array([2.0])}}
    return {"state": state, "param_groups": [{**SOME, "params": [0, 1]}]} | changes


def sgd(**options: Any) -> up.Updater:
    return up.get_updater(optim.SGD(0.1, momentum=0.9), backend="numpy", **options)


def stepped(**options: Any) -> up.Updater:
    update = sgd(**options)
    update.step({"a": np.ones(2), "b": np.ones(1)}, {"a": np.zeros(2), "b": np.zeros(1)})
    return update


def test_weights_that_are_there_take_what_was_kept_and_their_counts_and_the_clock_stay() -> None:
    update = stepped()
    update.step({"a": np.ones(2), "b": np.ones(1)}, {"a": np.zeros(2), "b": np.zeros(1)})
    given = some()
    report = optim.load_state_dict(update, given, ["a", "b"])
    assert (report.slots, report.waiting, report.left) == (("a", "b"), (), ())
    assert (update.slots["a"].count, update.state.iteration) == (2, 2)
    np.testing.assert_array_equal(update.slots["a"]["buffer"], [1.0, -1.0])
    optim.load_state_dict(fresh := sgd(), given, ["a", "b"])
    for one in (update, fresh):
        one.slots["a"]["buffer"][...] = 7.0
        np.testing.assert_array_equal(given["state"][0]["momentum_buffer"], [1.0, -1.0])
    assert fresh.slots["a"].count == 1


@pytest.mark.usefixtures("arrays_for_tensors")
def test_a_dictionary_shares_no_memory_with_the_updater() -> None:
    update = stepped()
    found = optim.state_dict(update, ["a", "b"])
    found["state"][0]["momentum_buffer"][...] = 7.0
    np.testing.assert_array_equal(update.slots["a"]["buffer"], [1.0, 1.0])


def test_weights_that_params_leave_out_stay_as_they_are() -> None:
    update = stepped()
    group = {**SOME, "params": [0]}
    report = optim.load_state_dict(update, {"state": {0: some()["state"][1]}, "param_groups": [group]}, ["b"])
    assert report.slots == ("b",)
    np.testing.assert_array_equal(update.slots["a"]["buffer"], [1.0, 1.0])
    np.testing.assert_array_equal(update.slots["b"]["buffer"], [2.0])


@pytest.mark.parametrize("empty", [{}, {"momentum_buffer": None}], ids=["absent", "None"])
def test_parameters_without_updates_are_left_to_their_first_one(empty: dict[str, Any]) -> None:
    update = sgd()
    optim.load_state_dict(update, some(state={0: empty, 1: some()["state"][1]}), ["a", "b"])
    assert list(update.slots) == ["b"]


def test_adagrad_has_a_sum_before_its_first_update_which_is_no_state() -> None:
    update = up.get_updater(optim.Adagrad(0.1), backend="numpy")
    group = {"lr": 0.1, "lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10, "params": [0]}
    optim.load_state_dict(update, {"state": {0: {"step": np.array(0.0), "sum": np.zeros(2)}}, "param_groups": [group]}, ["a"])
    assert not update.slots


@pytest.mark.usefixtures("arrays_for_tensors")
def test_groups_are_those_of_the_updater_in_the_order_of_params() -> None:
    update = stepped(overrides={"b": {"lr": 0.5}})
    found = optim.state_dict(update, ["c", "a", "b"])
    assert [(group["params"], group["lr"]) for group in found["param_groups"]] == [([0, 1], 0.1), ([2], 0.5)]
    assert list(found["state"]) == [1, 2]
    with pytest.raises(ValueError, match=r"^params must be in PyTorch's order, group after group; 'c' is after those of another"):
        optim.state_dict(update, ["a", "b", "c"])


@pytest.mark.usefixtures("arrays_for_tensors")
def test_muon_and_the_rule_for_all_others_are_two_dictionaries() -> None:
    def made() -> up.Updater:
        return up.get_updater(up.Muon(0.1, epsilon_added=False, otherwise=up.AdamW(0.01)), backend="numpy")

    update, again = made(), made()
    update.step({"m": np.eye(2), "b": np.ones(2)}, {"m": np.eye(2), "b": np.ones(2)})
    with pytest.raises(
        ValueError, match=r"^an optimizer of PyTorch's has one rule, and weight 'm' has Muon and 'b' Adam; params"
    ):
        optim.state_dict(update, ["m", "b"])
    for name in ("m", "b"):
        optim.load_state_dict(again, optim.state_dict(update, [name]), [name])
    for name in ("m", "b"):
        assert again.slots[name].arrays.keys() == update.slots[name].arrays.keys()
        assert all((again.slots[name][slot] == update.slots[name][slot]).all() for slot in update.slots[name].arrays)


@pytest.mark.usefixtures("arrays_for_tensors")
def test_halves_have_float32_and_come_up_to_it() -> None:
    update = sgd()
    update.step({"a": np.array([1 / 3, 2.0], np.float16)}, {"a": np.zeros(2, np.float16)})
    assert optim.state_dict(update, ["a"])["state"][0]["momentum_buffer"].dtype == np.float32
    values = np.array([0.1, -3.0], np.float16)
    state = {"state": {0: {"momentum_buffer": values}}, "param_groups": [{**SOME, "params": [0]}]}
    for one in (update, fresh := sgd()):
        optim.load_state_dict(one, state, ["a"])
        assert one.slots["a"]["buffer"].dtype == np.float32
        np.testing.assert_array_equal(one.slots["a"]["buffer"], values)
    assert fresh.slots["a"].dtype == np.float16


def test_accumulated_gradients_stay_and_are_none_for_weights_that_are_new() -> None:
    update = sgd(accumulate=2)
    weights = {"a": np.zeros(2)}
    for _ in range(3):
        update.step({"a": np.ones(2)}, weights)
    optim.load_state_dict(update, some(), ["a", "b"])
    assert (update.slots["a"].gathered, update.slots["b"].gathered) == (1, 0)
    np.testing.assert_array_equal(update.slots["a"]["accumulated"], [1.0, 1.0])
    np.testing.assert_array_equal(update.slots["b"]["accumulated"], [0.0])
    with pytest.raises(ValueError, match=r"^weight 'a' has accumulated gradients, which PyTorch keeps none of; call flush first"):
        optim.state_dict(update, ["a"])


def test_masters_begin_at_the_first_update_of_weights_that_are_new_and_stay_where_they_are_there() -> None:
    update = sgd(master_weights=True)
    weights = {"a": np.ones(2, np.float16)}
    state = {0: {"momentum_buffer": np.array([1.0, -1.0], np.float16)}}
    given = {"state": state, "param_groups": [{**SOME, "params": [0]}]}
    with pytest.raises(ValueError, match=r"weight 'a': slot 'master': nothing in the file, float32\[2\] here"):
        optim.load_state_dict(update, given, ["a"])
    optim.load_state_dict(update, given, ["a"], strict=False)
    update.step({"a": np.zeros(2, np.float16)}, weights)
    np.testing.assert_allclose(update.slots["a"]["master"], [0.91, 1.09], rtol=1e-6)
    before = update.slots["a"]["master"].copy()
    assert optim.load_state_dict(update, given, ["a"]).left == ()
    np.testing.assert_array_equal(update.slots["a"]["master"], before)


def test_a_scheduled_beta_has_no_correction_that_pytorch_keeps() -> None:
    update = up.get_updater(optim.Adam(0.1, betas=(lambda state: 0.9, 0.999)), backend="numpy")
    kept = {"step": np.array(3.0), "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
    group = {"lr": 0.1, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0, "params": [0]}
    found = {"state": {0: kept}, "param_groups": [group]}
    with pytest.raises(ValueError, match="weight 'a': Adam.beta1 is scheduled, and PyTorch keeps no product of the betas so far"):
        optim.load_state_dict(update, found, ["a"])
    weights = {"a": np.zeros(2)}
    for _ in range(3):
        update.step({"a": np.ones(2)}, weights)
    before = dict(update.slots["a"].scalars)
    optim.load_state_dict(update, found, ["a"])
    assert update.slots["a"].scalars == before
    np.testing.assert_array_equal(update.slots["a"]["m"], [1.0, 1.0])


# Bad input

ADAM = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "maximize": False, "params": [0]}
STRICT = "strict=False takes what fits"


def change(**values: Any) -> dict[str, Any]:
    return some(param_groups=[{**SOME, **values}])


BAD: list[tuple[str, Callable[[], dict[str, Any]], Any, str]] = [
    ("rule", lambda: some(param_groups=[{**ADAM, "params": [0, 1]}]), ["a", "b"], "param_groups[0] has no 'momentum', as SGD's have"),
    ("lr", lambda: change(lr=0.2), ["a", "b"], "param_groups[0]['lr']: 0.2 in the state dict, 0.1 here"),
    ("decay", lambda: change(weight_decay=0.5), ["a", "b"], "param_groups[0]['weight_decay']: 0.5 in the state dict, 0 here"),
    ("momentum", lambda: change(momentum=0), ["a", "b"], "param_groups[0]['momentum']: 0 in the state dict, 0.9 here"),
    ("nesterov", lambda: change(nesterov=True), ["a", "b"], "param_groups[0]['nesterov']: True in the state dict, False here"),
    ("value", lambda: change(lr=-1.0), ["a", "b"], "param_groups[0]: SGD.lr must be in [0, inf), got -1.0"),
    ("many", some, ["a", "b", "c"], "params has 3 indices, and the state dict 2 parameters"),
    ("few", some, ["a"], "params has 1 indices, and the state dict 2 parameters"),
    ("twice", some, ["a", "a"], "params has 'a' more than once"),
    ("names", some, None, "param_groups[0] has no 'param_names'; params=[...] says which weights its parameters are"),
    ("unknown", lambda: change(param_names=["x", "y"]), None, "weight 'a': nothing in the file, slots here"),
    ("unlike names", lambda: change(param_names=["x"]), None, "param_groups[0] has 1 'param_names' and 2 'params'"),
    ("other key", lambda: some(state={0: {"exp_avg": np.ones(2)}}), ["a", "b"],
     "state[0] has no 'momentum_buffer', which weight 'a' needs for SGD; it has 'exp_avg'"),
    ("further key", lambda: some(state={0: {"momentum_buffer": np.ones(2), "exp_avg": np.ones(2)}}), ["a", "b"],
     "state[0] has 'exp_avg', and weight 'a' keeps no such thing here"),
    ("no parameter", lambda: some(state={7: {"momentum_buffer": np.ones(2)}}), ["a", "b"], "state[7] is of no parameter"),
    ("absent", lambda: some(state={0: {"momentum_buffer": np.ones(2)}}), ["a", "b"], "weight 'b': nothing in the file, slots here"),
    ("shape", lambda: some(state={0: {"momentum_buffer": np.ones(3)}, 1: {"momentum_buffer": np.ones(1)}}), ["a", "b"],
     "weight 'a': float64[3] in the file, float64[2] here"),
    ("kind", lambda: some(state={0: {"momentum_buffer": np.ones(2, complex)}}), ["a", "b"],
     "state[0]['momentum_buffer'] is complex128, and weight 'a' has float64"),
    ("integers", lambda: some(state={0: {"momentum_buffer": np.ones(2, int)}}), ["a", "b"], "state[0]['momentum_buffer'] must be a tensor of floats, got int64"),
    ("no groups", lambda: {"state": {}}, ["a", "b"],
     "state_dict must have 'state' and 'param_groups', as an optimizer's has in PyTorch; it has 'state'"),
    ("no params", lambda: some(param_groups=[{"lr": 0.1}]), ["a", "b"], "param_groups[0] must have a list of 'params', got None"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "params", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_an_error_and_changes_nothing(made: Callable[[], dict[str, Any]], params: Any, message: str) -> None:
    update = stepped()
    before = update.state_dict()
    with pytest.raises(ValueError, match=re.escape(message)):
        optim.load_state_dict(update, made(), params)
    after = update.state_dict()
    for index, kept in before["kept"].items():
        np.testing.assert_array_equal(after["kept"][index].pop("slots")["buffer"], kept.pop("slots")["buffer"])
    assert before == after


@pytest.mark.parametrize("value", [np.array(1.5), np.array(-1.0), np.array(np.inf), np.ones(2), "many"], ids=repr)
def test_a_step_is_a_count(value: Any) -> None:
    update = up.get_updater(optim.Adam(0.1), backend="numpy")
    kept = {"step": value, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
    with pytest.raises(ValueError, match=r"state\[0\]\['step'\] must be a "):
        optim.load_state_dict(update, {"state": {0: kept}, "param_groups": [ADAM]}, ["a"])


@pytest.mark.parametrize("given", [[], None, {"state": [], "param_groups": []}, {"state": {}, "param_groups": {}}], ids=repr)
def test_what_is_no_dictionary_of_pytorchs_is_an_error(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^(state_dict|state|param_groups) must be "):
        optim.load_state_dict(sgd(), given, [])


def test_what_is_no_updater_or_no_indices_is_an_error() -> None:
    for call in (lambda: optim.state_dict(optim.SGD(), []), lambda: optim.load_state_dict(None, some())):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^update must be an Updater"):
            call()
    for params in ("ab", 3):
        with pytest.raises(TypeError, match=r"^params must be the indices of weights in PyTorch's order, got "):
            optim.state_dict(sgd(), params)  # type: ignore[arg-type]


def test_weights_that_stand_still_have_no_place_in_pytorchs_optimizers() -> None:
    update = sgd(overrides={"a": up.FROZEN})
    with pytest.raises(ValueError, match=r"^weight 'a' stands still, and is no parameter of an optimizer of PyTorch's"):
        optim.state_dict(update, ["a"])
    with pytest.raises(ValueError, match=r"weight 'a' stands still here, and has state\[0\]"):
        optim.load_state_dict(update, some(), ["a", "b"])
    report = optim.load_state_dict(update, some(state={1: some()["state"][1]}), ["a", "b"])
    assert (report.slots, report.left) == (("b",), ())
    update = stepped()
    update.overrides = {"a": up.FROZEN}
    report = optim.load_state_dict(update, some(state={1: some()["state"][1]}), ["a", "b"])
    assert (report.slots, report.left) == (("b",), ())
    np.testing.assert_array_equal(update.slots["a"]["buffer"], [1.0, 1.0])


def test_descent_without_a_momentum_keeps_nothing_and_its_counts_stay() -> None:
    update = up.get_updater(optim.SGD(0.1), backend="numpy")
    update.step({"a": np.ones(2), "b": np.ones(1)}, {"a": np.zeros(2), "b": np.zeros(1)})
    report = optim.load_state_dict(update, change(momentum=0) | {"state": {0: {"momentum_buffer": None}}}, ["a", "b"])
    assert report.left == ()
    assert [kept.count for kept in update.slots.values()] == [1, 1]
    with pytest.raises(ValueError, match=r"state\[0\] has 'momentum_buffer', and weight 'a' keeps no such thing here"):
        optim.load_state_dict(update, change(momentum=0), ["a", "b"])


@pytest.mark.parametrize(("there", "here"), [(float, np.float32), (float, complex)], ids=["width", "kind"])
def test_tensors_that_are_not_exact_in_the_slots_are_refused(there: Any, here: Any) -> None:
    update = sgd()
    update.step({"a": np.ones(2, here)}, {"a": np.zeros(2, here)})
    given = {"state": {0: {"momentum_buffer": np.ones(2, there)}}, "param_groups": [{**SOME, "params": [0]}]}
    name = np.dtype(here).name
    with pytest.raises(ValueError, match=rf"state\[0\]\['momentum_buffer'\] is float64, and weight 'a' has {name}"):
        optim.load_state_dict(update, given, ["a"])


def test_rows_and_columns_of_unlike_dimensions_are_refused() -> None:
    update = up.get_updater(optim.Adafactor(0.1, eps=(1e-3, 1e-3)), backend="numpy")
    group = {"lr": 0.1, "eps": (1e-3, 1e-3), "beta2_decay": -0.8, "d": 1.0, "weight_decay": 0.0, "params": [0]}
    kept = {"step": np.array(1.0), "row_var": np.ones((2, 1)), "col_var": np.ones(3)}
    with pytest.raises(ValueError, match=r"weight 'a': slot 'column': float64\[3\] in the file, float64\[1\] here"):
        optim.load_state_dict(update, {"state": {0: kept}, "param_groups": [group]}, ["a"])


def test_a_new_weight_of_integers_is_refused() -> None:
    given = some(state={0: {"momentum_buffer": np.ones(2, int)}})
    with pytest.raises(ValueError, match="weight 'a': dtype must be one of float16, .*, got 'int64'"):
        optim.load_state_dict(sgd(), given, ["a", "b"])


@pytest.mark.usefixtures("arrays_for_tensors")
def test_what_is_done_to_gradients_before_the_rule_is_not_pytorchs_and_does_not_count() -> None:
    update = up.get_updater(up.SGD(0.1, momentum=0.9, grad_clip=1.0, gradient="sum"), backend="numpy")
    report = optim.load_state_dict(update, some(), ["a", "b"])
    assert report.left == ()
    found = optim.state_dict(update, ["a", "b"])["state"]
    np.testing.assert_allclose(found[0]["momentum_buffer"], [1.0, -1.0], rtol=1e-15)


@pytest.mark.usefixtures("arrays_for_tensors")
def test_a_step_size_is_of_the_rate_that_a_weight_began_with() -> None:
    update = up.get_updater(optim.Rprop(lambda state: 0.1 if state.iteration == 1 else 0.5), backend="numpy")
    weights = {"a": np.zeros(2)}
    for _ in range(3):
        update.step({"a": np.array([1.0, -1.0])}, weights)
    np.testing.assert_allclose(optim.state_dict(update, ["a"])["state"][0]["step_size"], 0.1 * 1.2**2, rtol=1e-15)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_the_last_rate_of_asgd_is_read_from_eta(dtype: Any, digits: float) -> None:
    last, group = 0.25, {"lr": 0.1, "lambd": 0.5, "alpha": 0.75, "t0": 1e6, "weight_decay": 0, "params": [0]}
    eta = np.array(last / (1 + 0.5 * last * 3) ** 0.75, dtype)
    kept = {"step": np.array(3.0), "eta": eta, "mu": np.array(1.0), "ax": np.ones(2)}
    update = up.get_updater(optim.ASGD(lambda state: 0.1, lambd=0.5), backend="numpy")
    optim.load_state_dict(update, {"state": {0: kept}, "param_groups": [group]}, ["a"])
    assert update.slots["a"]["last_lr"] == pytest.approx(last, rel=digits)
    optim.load_state_dict(update, {"state": {0: kept}, "param_groups": [{**group, "lr": last}]}, ["a"])
    assert update.slots["a"]["last_lr"] == last


def test_a_rate_of_0_says_nothing_of_a_momentum_of_steps() -> None:
    update = up.get_updater(up.SGD(0.0, momentum=0.9), backend="numpy")
    update.step({"a": np.ones(2)}, {"a": np.zeros(2)})
    message = "weight 'a': at a learning rate of 0 a momentum of steps says nothing of one of gradients"
    with pytest.raises(ValueError, match=f"^{message}"):
        optim.state_dict(update, ["a"])
    with pytest.raises(ValueError, match=message):
        optim.load_state_dict(update, change(lr=0.0), ["a", "b"])


def test_complex_weights_are_refused_where_pytorch_does() -> None:
    update = up.get_updater(optim.Adafactor(0.1, eps=(1e-3, 1e-3)), backend="numpy")
    update.step({"a": np.ones((2, 2), complex)}, {"a": np.zeros((2, 2), complex)})
    with pytest.raises(ValueError, match=r"^weight 'a': PyTorch's Adafactor takes no complex weights"):
        optim.state_dict(update, ["a"])


def test_without_strictness_what_fits_is_taken_and_the_rest_is_named() -> None:
    update = stepped()
    state = {0: {"momentum_buffer": np.array([1.0, -1.0]), "more": np.ones(2)}, 1: {"other": np.ones(1)}, 5: {"x": np.ones(1)}}
    given = some(state=state, param_groups=[{**SOME, "lr": 0.5}])
    report = optim.load_state_dict(update, given, ["a", "b"], strict=False)
    assert report.slots == ("a",)
    assert report.left == (
        "param_groups[0]['lr']: 0.5 in the state dict, 0.1 here",
        "state[0] has 'more', and weight 'a' keeps no such thing here",
        "state[1] has no 'momentum_buffer', which weight 'b' needs for SGD; it has 'other'",
        "state[5] is of no parameter",
        "weight 'b': nothing in the file, slots here",
    )
    np.testing.assert_array_equal(update.slots["a"]["buffer"], [1.0, -1.0])
    np.testing.assert_array_equal(update.slots["b"]["buffer"], [1.0])


def test_an_eta_that_no_rate_gives_is_an_error() -> None:
    update = up.get_updater(optim.ASGD(lambda state: 0.1, lambd=0.5, alpha=1.0), backend="numpy")
    kept = {"step": np.array(3.0), "eta": np.array(5.0), "mu": np.array(1.0), "ax": np.ones(2)}
    group = {"lr": 0.1, "lambd": 0.5, "alpha": 1.0, "t0": 1e6, "weight_decay": 0, "params": [0]}
    with pytest.raises(ValueError, match=r"state\[0\]\['eta'\] is 5.0, which no learning rate gives after 3 updates"):
        optim.load_state_dict(update, {"state": {0: kept}, "param_groups": [group]}, ["a"])


def test_without_pytorch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install torch$"):
        optim.state_dict(stepped(), ["a", "b"])


# By PyTorch itself


@pytest.mark.parametrize("named", [False, True], ids=["positions", "names"])
@pytest.mark.parametrize("case", CASES, ids=described)
def test_pytorch_half_of_the_way_and_an_updater_the_other(real: Any, case: dict[str, Any], named: bool) -> None:
    optimizer, parameters = halfway(real, case, named)
    update = updater(case)
    params = None if named else golden.order(case)
    kept = optimizer.state_dict()
    report = optim.load_state_dict(update, kept, params)
    assert report.left == ()
    update.state.iteration = HALF
    weights = {name: parameter.detach().numpy().copy() for name, parameter in parameters.items()}
    go(update, weights, range(HALF, 2 * HALF))
    golden.go(optimizer, parameters, gradients(case), range(HALF, 2 * HALF))
    for name, parameter in parameters.items():
        assert_close(weights[name], parameter.detach().numpy(), name)


@pytest.mark.parametrize("case", CASES, ids=described)
def test_an_updater_half_of_the_way_and_pytorch_the_other(real: Any, case: dict[str, Any]) -> None:
    update = updater(case)
    weights = {name: INPUTS[f"start/{name}"].copy() for name in case["weights"]}
    go(update, weights, range(HALF))
    parameters = {name: real.nn.Parameter(real.from_numpy(weights[name].copy())) for name in case["weights"]}
    optimizer = golden.optimizer_of(case, parameters, named=False)
    wanted, _ = halfway(real, case, named=False)
    found = optim.state_dict(update, golden.order(case))
    assert [group.keys() for group in found["param_groups"]] == [group.keys() for group in wanted.state_dict()["param_groups"]]
    for number, kept in wanted.state_dict()["state"].items():
        shown = {name: (tensor.dtype, tensor.shape) for name, tensor in kept.items()}
        assert {name: (one.dtype, one.shape) for name, one in found["state"].get(number, {}).items()} == shown
    optimizer.load_state_dict(found)
    for group in optimizer.param_groups if "changed" in case else ():
        group["lr"] = case["changed"]
    golden.go(optimizer, parameters, gradients(case), range(HALF, 2 * HALF))
    go(update, weights, range(HALF, 2 * HALF))
    for name, parameter in parameters.items():
        assert_close(parameter.detach().numpy(), weights[name], name)


def test_tensors_of_any_kind_are_taken_and_copied(real: Any) -> None:
    values = real.tensor([0.1, -3.0], dtype=real.bfloat16)
    assert values.dtype == real.bfloat16
    update = sgd()
    update.step(
        {"a": np.ones(2, np.float32), "b": np.ones(2, complex)}, {"a": np.zeros(2, np.float32), "b": np.zeros(2, complex)}
    )
    lazy = real.tensor([1 + 2j, 3 - 4j]).conj()
    state = {0: {"momentum_buffer": values.requires_grad_()}, 1: {"momentum_buffer": lazy}}
    rate = {**SOME, "lr": real.tensor(0.1)}
    optim.load_state_dict(update, {"state": state, "param_groups": [rate]}, ["a", "b"])
    np.testing.assert_array_equal(update.slots["a"]["buffer"], values.detach().to(real.float32).numpy())
    np.testing.assert_array_equal(update.slots["b"]["buffer"], [1 - 2j, 3 + 4j])
    found = optim.state_dict(update, ["a", "b"])
    found["state"][0]["momentum_buffer"].zero_()
    assert update.slots["a"]["buffer"].all()
    negated = real.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert negated.is_neg()
    optim.load_state_dict(
        fresh := sgd(), {"state": {0: {"momentum_buffer": negated}}, "param_groups": [{**rate, "params": [0]}]}, ["a"]
    )
    np.testing.assert_array_equal(fresh.slots["a"]["buffer"], [-2.0, 4.0])


def test_steps_are_counted_in_pytorchs_own_dtype(real: Any) -> None:
    update = up.get_updater(optim.NAdam(0.1), backend="numpy")
    update.step({"a": np.ones(2)}, {"a": np.zeros(2)})
    for dtype in (real.float32, real.float64):
        real.set_default_dtype(dtype)
        kept = optim.state_dict(update, ["a"])["state"][0]
        assert (kept["step"].dtype, kept["mu_product"].dtype) == (dtype, real.float64)


def gradients(case: dict[str, Any]) -> dict[str, Any]:
    return {name: INPUTS[f"gradients/{name}"] for name in case["weights"]}


def halfway(real: Any, case: dict[str, Any], named: bool) -> tuple[Any, dict[str, Any]]:
    """PyTorch's optimizer and parameters after the first half, with what is changed then."""
    parameters = {name: real.nn.Parameter(real.from_numpy(INPUTS[f"start/{name}"].copy())) for name in case["weights"]}
    optimizer = golden.optimizer_of(case, parameters, named)
    golden.go(optimizer, parameters, gradients(case), range(HALF))
    for group in optimizer.param_groups if "changed" in case else ():
        group["lr"] = case["changed"]
    return optimizer, parameters
