"""Parameter groups, clips and loss scalers by other systems' names: PyTorch's own weights, and oracles of what was read."""

import copy
import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.golden import Case, cases
from tests.parity import MODULES
from updaters.compat import oneflow, tensorlayerx, torch

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden/torch_groups.json").read_text(encoding="utf-8"))["cases"]
UPDATES = 45
with np.load(HERE / "golden/inputs.npz") as stored:
    INPUTS = {name: stored[name] for name in stored.files}
NAMES = [name.removeprefix("start/") for name in INPUTS if name.startswith("start/")]


def described(case: dict[str, Any]) -> str:
    kinds = [key for key in ("clip", "added", "changed", "scaler") if key in case]
    return "-".join([case["rule"], *kinds, *map(str, case.get("clip", ())), *map(str, case["arguments"].values())])


def numbers(array: Any) -> Any:
    parts = np.ascontiguousarray(array).reshape(-1)
    return parts.view(np.float64)


# PyTorch's own weights


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("case", GOLDEN, ids=described)
def test_groups_clips_and_scaler_give_pytorchs_weights(case: dict[str, Any], backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    kind, bound, p = [*case["clip"], None][:3] if "clip" in case else (None, None, None)
    clips = {"norm": lambda: torch.clip_grad_norm_(bound, p), "value": lambda: torch.clip_grad_value_(bound)}
    optimizer = getattr(torch, case["rule"])(case["groups"], **case["arguments"])
    update = up.get_updater(
        optimizer,
        clip=clips[kind]() if kind else None,
        loss_scale=torch.GradScaler(**case["scaler"]) if "scaler" in case else None,
        backend=backend,
    )
    weights = {name: INPUTS[f"start/{name}"].copy() for name in NAMES}
    first = case["groups"][0]["params"]
    first = first if isinstance(first, str) else first[0]
    scales = []
    for k in range(UPDATES):
        if "added" in case and case["added"][0] == k:
            torch.add_param_group(update, case["added"][1])
        if "changed" in case and case["changed"][0] == k:
            _, group, lr = case["changed"]
            patterns = torch.param_groups(update)[group]["params"]
            update.overrides = {**update.overrides, **{one: {**update.overrides[one], "lr": lr} for one in patterns}}
        grads = {name: np.array(INPUTS[f"gradients/{name}"][k]) for name in NAMES}
        if k + 1 in case.get("overflows", ()):
            grads[first].reshape(-1)[0] = math.inf
        scales.append(update.loss_scale)
        update.step({name: grad * update.loss_scale for name, grad in grads.items()}, weights)
        for name, expected in case["weights"].get(str(k + 1), {}).items():
            difference = np.abs(numbers(weights[name]) - expected) / (1 + np.abs(expected))
            assert difference.max() <= 1e-14, (name, k + 1)
    for name in {*NAMES} - case["weights"][str(UPDATES)].keys():
        np.testing.assert_array_equal(weights[name], INPUTS[f"start/{name}"])
        assert name not in update.slots
    assert scales == case.get("scales", [1.0] * UPDATES)


@pytest.mark.parametrize("case", cases("torch"), ids=repr)
def test_arguments_are_read_back_from_an_optimizer(case: Case) -> None:
    optimizer = getattr(torch, case.rule)(lr=0.1, **case.arguments)
    (group,) = torch.param_groups(up.get_updater(optimizer))
    assert group.pop("params") == ["*"]
    assert getattr(torch, case.rule)(**group) == optimizer
    assert {key: value for key, value in group.items() if key in case.arguments} == case.arguments
    (again,) = torch.param_groups(up.get_updater(getattr(torch, case.rule)([{"params": "*", **group}])))
    assert again == {"params": ["*"], **group}


# What groups become


def test_groups_become_overrides() -> None:
    optimizer = torch.AdamW(
        [
            {"params": ["*.bias", re.compile("norm")], "weight_decay": 0.0},
            {"params": ("head", 0), "lr": 0.1, "betas": (0.8, 0.999)},
        ],
        lr=0.1,
    )
    changes = {"lr": 0.1, "beta1": 0.8, "beta2": 0.999}
    assert up.get_updater(optimizer).overrides == {
        "*.bias": {"weight_decay": None},
        re.compile("norm"): {"weight_decay": None},
        ("head", 0): changes,
        "*": up.FROZEN,
    }
    assert attrs.evolve(optimizer, policy=None) == torch.AdamW(lr=0.1)


@pytest.mark.parametrize("system", [torch, oneflow])
def test_groups_come_first_or_by_name_from_any_iterable(system: Any) -> None:
    groups = [{"params": (name for name in ("a", "b")), "lr": 0.2}, {"params": 3}]
    expected = up.Policy(overrides={"a": {"lr": 0.2}, "b": {"lr": 0.2}, 3: {}, "*": up.FROZEN})
    assert system.SGD(iter(groups), 0.1, 0.9).policy == expected
    groups[0]["params"] = ["a", "b"]
    assert system.SGD(params=groups, lr=0.1, momentum=0.9).policy == expected
    assert system.SGD(groups, 0.1, 0.9).momentum == 0.9


def test_a_last_group_of_all_others_leaves_none_frozen() -> None:
    weights = {name: np.ones(2) for name in ("a.bias", "a.weight")}
    update = up.get_updater(torch.SGD([{"params": "*.bias", "lr": 1.0}, {"params": "*"}], lr=0.5))
    update.step({name: np.ones(2) for name in weights}, weights)
    assert [weight.tolist() for weight in weights.values()] == [[0.0, 0.0], [0.5, 0.5]]


def test_a_star_that_is_left_with_nothing_is_no_mistake_and_another_pattern_is() -> None:
    weight = {"a": np.ones(1)}
    up.get_updater(torch.SGD([{"params": "a"}])).step({"a": np.ones(1)}, weight)
    with pytest.warns(UserWarning, match=r"^overrides: no weight of this step is matched by 'b'$"):
        up.get_updater(torch.SGD([{"params": ["a", "b"]}])).step({"a": np.ones(1)}, weight)


def test_a_rate_that_a_group_gives_stays_where_the_optimizers_moves() -> None:
    weights = {name: np.zeros(1) for name in "ab"}
    grads = {name: np.ones(1) for name in "ab"}
    update = up.get_updater(torch.SGD([{"params": "a", "lr": 1.0}, {"params": "b"}], lr=1.0))
    update.optimizer = attrs.evolve(update.optimizer, lr=10.0)
    update.step(grads, weights)
    assert [weight.item() for weight in weights.values()] == [-1.0, -10.0]


def test_a_group_of_another_kind_of_rule_is_an_optimizer() -> None:
    optimizer = torch.Adafactor([{"params": "a", "eps": (1e-3, 1e-2)}, {"params": "b", "d": 2.0}], lr=0.5)
    update = up.get_updater(optimizer)
    assert update.overrides["a"] == torch.Adafactor(lr=0.5, eps=(1e-3, 1e-2))
    assert update.overrides["b"] == {"clip_threshold": 2.0}
    assert [(one["params"], one["lr"], one["eps"], one["d"]) for one in torch.param_groups(update)] == [
        (["a"], 0.5, (1e-3, 1e-2), 1.0),
        (["b"], 0.5, (None, 1e-3), 2.0),
    ]


def test_a_group_may_have_a_schedule() -> None:
    schedule = torch.lr_scheduler.StepLR(1.0, 1)
    update = up.get_updater(torch.SGD([{"params": "a", "lr": schedule}, {"params": "b"}], lr=1.0), up.OptimizationState(epoch=2))
    weights = {name: np.zeros(1) for name in "ab"}
    update.step({name: np.ones(1) for name in "ab"}, weights)
    assert [weight.item() for weight in weights.values()] == [-schedule(up.OptimizationState(epoch=2)), -1.0]
    assert weights["a"].item() == -0.1


# Groups in mid-run


@pytest.mark.parametrize("system", [torch, oneflow])
def test_a_group_that_is_added_comes_before_what_is_left_and_slots_stay(system: Any) -> None:
    weights = {name: np.ones(2) for name in ("head", "body", "rest")}
    grads = {name: np.full(2, 0.5) for name in weights}
    update = up.get_updater(system.Adam([{"params": "head"}, {"params": "*", "lr": 0.5}], lr=0.25, betas=(0.5, 0.75)))
    update.step(grads, weights)
    kept = {name: update.slots[name]["m"] for name in weights}
    system.add_param_group(update, {"params": "body", "betas": (0.75, 0.75)})
    assert list(update.overrides) == ["head", "body", "*"]
    assert update.overrides["body"] == {"beta1": 0.75, "beta2": 0.75}
    assert all(update.slots[name]["m"] is m for name, m in kept.items())
    moments = {name: kept[name].copy() for name in kept}
    update.step(grads, weights)
    assert {name: update.slots[name].count for name in weights} == dict.fromkeys(weights, 2)
    for name, beta in (("head", 0.5), ("body", 0.75), ("rest", 0.5)):
        np.testing.assert_allclose(kept[name], beta * moments[name] + (1 - beta) * 0.5, rtol=1e-15)


@pytest.mark.parametrize("system", [torch, oneflow])
def test_a_group_may_be_added_where_there_was_none(system: Any) -> None:
    update = up.get_updater(system.SGD(lr=0.5, momentum=0.9))
    system.add_param_group(update, {"params": ["a", 1], "momentum": 0.0})
    assert update.overrides == {"a": {"momentum": None}, 1: {"momentum": None}}
    shown = [(group["params"], group["lr"], group["momentum"]) for group in system.param_groups(update)]
    assert shown == [(["a", 1], 0.5, 0), (["*"], 0.5, 0.9)]


def test_frozen_weights_join_in_a_group_of_their_own() -> None:
    weights = {name: np.ones(1) for name in ("head", "body")}
    grads = {name: np.ones(1) for name in weights}
    update = up.get_updater(torch.SGD([{"params": "head"}], lr=0.5))
    update.step(grads, weights)
    assert (weights["head"].item(), weights["body"].item()) == (0.5, 1.0)
    torch.add_param_group(update, {"params": "body", "lr": 0.25})
    update.step(grads, weights)
    assert (weights["head"].item(), weights["body"].item()) == (0.0, 0.75)
    assert [group["params"] for group in torch.param_groups(update)] == [["head"], ["body"]]


def test_a_group_that_cannot_be_added_changes_nothing() -> None:
    weights = {"a": np.ones(2)}
    update = up.get_updater(torch.Adam([{"params": "*"}]))
    update.step({"a": np.ones(2)}, weights)
    before = copy.deepcopy(update)
    for group, message in (
        ({"params": "a", "amsgrad": True}, r"keeps 'correction1', 'correction2', 'm', 'v', 'v_max' for weight 'a'"),
        ({"params": "*"}, r"^group: params has '\*', which is in a group already$"),
        ({"params": "b", "lr": -1}, r"^group: Adam\.lr must be in \[0, inf\), got -1$"),
    ):
        with pytest.raises(ValueError, match=message):
            torch.add_param_group(update, group)
        assert update == before


def test_an_updater_of_another_system_has_no_groups() -> None:
    for optimizer in (up.SGD(0.1, momentum=0.9), up.Adam(0.1, grad_clip=1.0), up.Lion()):
        update = up.get_updater(optimizer)
        for call in (lambda update=update: torch.param_groups(update), lambda update=update: torch.add_param_group(update, {})):
            with pytest.raises(
                TypeError, match=rf"^update must have an optimizer of updaters\.compat\.torch, got {re.escape(repr(optimizer))}$"
            ):
                call()


def test_an_updater_with_groups_goes_on_from_a_pickle() -> None:
    groups = [{"params": ["a", "b"], "clip_grad_max_norm": 1.0, "clip_grad_norm_type": 2.0}, {"params": "*", "lr": 0.5}]
    update = up.get_updater(oneflow.SGD(groups, lr=0.25, momentum=0.5))
    weights = {name: np.ones(2) for name in "abc"}
    grads = {name: np.full(2, 3.0) for name in weights}
    update.step(grads, weights)
    again, others = pickle.loads(pickle.dumps((update, weights)))
    update.step(grads, weights)
    again.step(grads, others)
    assert all((weights[name] == others[name]).all() for name in weights)
    assert again == update


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.AdamW([{"params": ["*.bias", re.compile("norm")], "weight_decay": 0.0}, {"params": ("head", 0), "lr": 0.1}]),
        torch.Adafactor([{"params": "a", "eps": (1e-3, 1e-2)}, {"params": "*"}]),
        oneflow.SGD([{"params": ["a", 1], "lr_scale": 0.1}], clip_grad_max_norm=1.0, clip_grad_norm_type="inf"),
        tensorlayerx.SGD(0.1, weight_decay=0.1, grad_clip=tensorlayerx.ClipByGlobalNorm(1.0)),
    ],
    ids=["torch", "torch with an optimizer", "oneflow", "tensorlayerx"],
)
def test_groups_and_clips_are_data(optimizer: up.Optimizer) -> None:
    assert up.from_config(json.loads(json.dumps(up.to_config(optimizer)))) == optimizer


# What is wrong with a group

WRONG: list[tuple[Any, type[Exception], str]] = [
    ([{"params": "a", "momentun": 1}], ValueError, "params[0]: 'momentun' is no argument of SYSTEM.Adam; there are 'amsgrad', 'betas', "),
    ([{"params": "a"}, {"params": "b", "betas": 0.9}], TypeError, "params[1]: Adam.betas must be a pair, got 0.9"),
    ([{"params": "a"}, {"params": "b", "betas": (0.9, 1.0)}], ValueError, "params[1]: Adam.betas[1] must be in [0, 1), got 1.0"),
    ([{"params": "a"}, {"params": "b", "fused": True}], ValueError, "params[1]: Adam.fused is not taken, got True: "),
    ([{"lr": 0.1}], ValueError, "params[0] has no 'params', the patterns or indices of its weights"),
    ([{"params": "a"}, "b"], TypeError, "params[1] must be a dict, got 'b'"),
    ([{"params": "a"}, {"params": ["b", "a"]}], ValueError, "params[1]: params has 'a', which is in a group already"),
    ([{"params": ["a", "a"]}], ValueError, "params[0]: params has 'a', which is in a group already"),
    ([{"params": []}], ValueError, "params[0]: params must be at least one pattern or index, got none"),
    ([{"params": {"a"}}], TypeError, "params[0]: params must be a pattern or an index of weights, or a list of these, got set"),
    ([{"params": np.ones(2)}], TypeError, "params[0]: params must be a pattern or an index of weights, or a list of these, got ndarray"),
    ([{"params": 0.5}], TypeError, "params[0]: params must be a pattern or an index of weights, or a list of these, got float"),
    ([{"params": True}], TypeError, "params[0]: params must be a pattern or an index of weights, or a list of these, got bool"),
    ([{"params": [np.ones(2)]}], TypeError, "params[0]: params must be patterns or indices of weights, which are given to the updater, got ndarray"),
    ([{"params": ("a", np.ones(2))}], TypeError, "params[0]: params must be patterns or indices of weights, which are given to the updater, got tuple"),
]  # fmt: skip


@pytest.mark.parametrize("system", ["torch", "oneflow"])
@pytest.mark.parametrize(("groups", "error", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_an_error_names_the_group(system: str, groups: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message.replace('SYSTEM', system))}"):
        MODULES[system].Adam(groups)


ONE_SIDED = "SGD.clip_grad_max_norm goes with clip_grad_norm_type, without which it does nothing in OneFlow, got 1.0 alone"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: torch.SGD([{"params": "a", "lr_scale": 2}]), ValueError, "params[0]: 'lr_scale' is no argument of torch.SGD; "),
        (lambda: oneflow.SGD([{"params": "a", "lr_scale": -1}]), ValueError, "params[0]: lr_scale must be in [0, inf), got -1"),
        (lambda: oneflow.SGD([{"params": "a", "clip_grad_max_norm": 1.0}]), ValueError, f"params[0]: {ONE_SIDED}"),
        (lambda: torch.SGD([{"params": "a"}], momentun=0.9), TypeError, "got an unexpected keyword argument 'momentun'"),
        (lambda: torch.SGD([{"params": "a"}], lr=-1), ValueError, "SGD.lr must be in [0, inf), got -1"),
        (lambda: torch.clip_grad_norm_(0), ValueError, "clip_grad_norm_.max_norm must be in (0, inf), got 0"),
        (lambda: torch.clip_grad_norm_(1.0, 0), ValueError, "clip_grad_norm_.norm_type must be in (0, inf), got 0"),
        (lambda: torch.clip_grad_norm_(1.0, -math.inf), ValueError, "clip_grad_norm_.norm_type must be in (0, inf), got -inf"),
        (
            lambda: torch.clip_grad_norm_(1.0, error_if_nonfinite=True),
            ValueError,
            'clip_grad_norm_.error_if_nonfinite is not taken, got True: get_updater(nonfinite="raise") looks at all gradients',
        ),
        (lambda: torch.clip_grad_norm_(1.0, error_if_nonfinite=1), TypeError, "clip_grad_norm_.error_if_nonfinite must be True or False, got 1"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: torch.clip_grad_norm_(1.0, foreach=True), ValueError, "clip_grad_norm_.foreach is not taken, got True: each update is"),
        (lambda: torch.clip_grad_value_(1.0, foreach=True), ValueError, "clip_grad_value_.foreach is not taken, got True: each update is"),
        (lambda: torch.clip_grad_value_(-1), ValueError, "clip_grad_value_.clip_value must be in [0, inf), got -1"),
        (lambda: torch.GradScaler(init_scale=0), ValueError, "GradScaler.init_scale must be in [1.17549e-38, 8.50706e+37], got 0"),
        (lambda: torch.GradScaler("cuda"), TypeError, "GradScaler.init_scale must be a real number in [1.17549e-38, 8.50706e+37], got 'cuda' (str)"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: torch.GradScaler(growth_factor=1.0), ValueError, "GradScaler.growth_factor must be in (1, inf), got 1.0"),
        (lambda: torch.GradScaler(2.0**127), ValueError, "GradScaler.init_scale must be in [1.17549e-38, 8.50706e+37], got "),
        (lambda: torch.GradScaler(enabled=1), TypeError, "GradScaler.enabled must be True or False, got 1"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: oneflow.clip_grad_norm_(1.0, -math.inf), ValueError, "clip_grad_norm_.norm_type must be in (0, inf), got -inf"),
        (
            lambda: oneflow.clip_grad_norm_(1.0, error_if_nonfinite=True),
            ValueError,
            'clip_grad_norm_.error_if_nonfinite is not taken, got True: get_updater(nonfinite="raise") looks at all gradients',
        ),
        (lambda: oneflow.clip_grad_norm_(1.0, fused=True), ValueError, "clip_grad_norm_.fused is not taken, got True: each update is"),
        (
            lambda: oneflow.GradScaler(growth_factor=4.0),
            ValueError,
            "GradScaler.backoff_factor must be 1 / growth_factor, got 0.5 and growth_factor=4.0",
        ),
        (lambda: oneflow.GradScaler(0.5), ValueError, "GradScaler.init_scale must be in [1, 3.40282e+38], got 0.5"),
        (lambda: oneflow.StaticGradScaler(0), ValueError, "StaticGradScaler.scale_factor must be in (0, inf), got 0"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


# Loss scalers


def test_loss_scalers_have_their_systems_numbers() -> None:
    scaler = torch.GradScaler()
    assert scaler == up.loss_scale.GrowthInterval(min_scale=2.0**-126, max_scale=2.0**126)
    assert np.float32(1) / np.float32(scaler.max_scale) == np.finfo(np.float32).smallest_normal == scaler.min_scale
    assert torch.GradScaler(enabled=False) is None
    assert up.get_updater(torch.SGD(), loss_scale=torch.GradScaler(enabled=False)).loss_scale == 1.0
    assert oneflow.GradScaler() == up.loss_scale.GrowthInterval(max_scale=float(np.finfo(np.float32).max))
    assert oneflow.GradScaler(8.0, 4.0, 0.25, 7) == up.loss_scale.GrowthInterval(
        8.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=7, max_scale=float(np.finfo(np.float32).max)
    )
    assert oneflow.StaticGradScaler(3) == up.loss_scale.Static(3.0)


# OneFlow's clips, by hand


def steps(
    optimizer: up.Optimizer, updates: int = 12, **options: Any
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The weights before and after some updates by plain descent, and what came."""
    rng = np.random.default_rng(5)
    shapes = {"a.weight": (3, 2), "a.bias": (2,), "b.weight": (4,), "b.bias": ()}
    weights = {name: np.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    start = {name: weight.copy() for name, weight in weights.items()}
    came = [{name: rng.normal(size=shape) * 10 ** rng.uniform(-2, 1) for name, shape in shapes.items()} for _ in range(updates)]
    update = up.get_updater(optimizer, **options)
    for grads in came:
        update.step(grads, weights)
    return start, weights, came


def norm_of(arrays: list[Any], p: float) -> float:
    values = [abs(float(value)) for array in arrays for value in np.asarray(array).reshape(-1)]
    return max(values) if p == math.inf else math.fsum(value**p for value in values) ** (1 / p)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_each_group_of_oneflow_is_clipped_by_its_own_norm(p: float) -> None:
    clip = {"clip_grad_max_norm": 1.5, "clip_grad_norm_type": p}
    groups = [
        {"params": ["*.bias", "a.*"], **clip, "clip_grad_max_norm": 0.5},
        {"params": "*", "lr": 0.2, "weight_decay": 0.1},
    ]
    start, weights, came = steps(oneflow.SGD(groups, lr=0.1, **clip))
    members = [(["a.weight", "a.bias", "b.bias"], 0.5, 0.1, 0.0), (["b.weight"], 1.5, 0.2, 0.1)]
    clipped = 0
    for grads in came:
        for names, bound, lr, decay in members:
            factor = min(1.0, bound / (norm_of([grads[name] for name in names], p) + 1e-6))
            clipped += factor < 1
            for name in names:
                start[name] = start[name] - lr * (factor * grads[name] + decay * start[name])
    assert 6 < clipped < 24
    for name, expected in start.items():
        np.testing.assert_allclose(weights[name], expected, rtol=1e-13, atol=1e-13)


def test_oneflows_clip_of_the_call_is_for_all_where_there_are_no_groups() -> None:
    clip = {"clip_grad_max_norm": 0.5, "clip_grad_norm_type": "inf"}
    for optimizer, options in (
        (oneflow.SGD(lr=0.1, **clip), {}),
        (oneflow.SGD(lr=0.1), {"clip": oneflow.clip_grad_norm_(0.5, "inf")}),
    ):
        start, weights, came = steps(optimizer, **options)
        for grads in came:
            factor = min(1.0, 0.5 / (norm_of(list(grads.values()), math.inf) + 1e-6))
            start = {name: weight - 0.1 * factor * grads[name] for name, weight in start.items()}
        for name, expected in start.items():
            np.testing.assert_allclose(weights[name], expected, rtol=1e-13, atol=1e-13)


def test_oneflows_groups_keep_their_clips_and_scales() -> None:
    clip = {"clip_grad_max_norm": 1.0, "clip_grad_norm_type": 2.0}
    groups = [
        {"params": ["a", "b"], "lr_scale": 0.1},
        {"params": "c", "clip_grad_max_norm": None, "clip_grad_norm_type": None},
        {"params": "d", "clip_grad_max_norm": 3.0},
    ]
    optimizer = oneflow.Adam(groups, **clip)
    update = up.get_updater(optimizer)
    bound = up.transforms.ClipByGlobalNorm(1.0, epsilon=1e-6)
    assert update.overrides == {
        "a": {"lr_scale": 0.1, "clip": (bound,)},
        "b": {"lr_scale": 0.1, "clip_with": "a"},
        "c": {"clip": ()},
        "d": {"clip": (attrs.evolve(bound, bound=3.0),)},
        "*": up.FROZEN,
    }
    oneflow.add_param_group(update, {"params": ["e", "f"]})
    assert update.overrides["e"] == {"clip": (bound,)}
    assert update.overrides["f"] == {"clip_with": "e"}
    shown = oneflow.param_groups(update)
    named = ("params", "lr_scale", "clip_grad_max_norm", "clip_grad_norm_type")
    assert [[group.get(name) for name in named] for group in shown] == [
        [["a", "b"], 0.1, 1.0, 2.0],
        [["c"], None, None, None],
        [["d"], None, 3.0, 2.0],
        [["e", "f"], None, 1.0, 2.0],
    ]
    assert up.get_updater(oneflow.Adam(shown)).overrides.keys() == update.overrides.keys()
    assert oneflow.param_groups(up.get_updater(oneflow.Adam(shown, **clip))) == shown


def test_groups_that_say_the_same_are_shown_as_one_unless_each_has_a_norm_of_its_own() -> None:
    clip = {"clip_grad_max_norm": 1.0, "clip_grad_norm_type": 2.0}
    for options, shown in (({}, [["a", "b"]]), (clip, [["a"], ["b"]])):
        update = up.get_updater(oneflow.SGD([{"params": "a"}, {"params": "b"}], **options))
        assert [group["params"] for group in oneflow.param_groups(update)] == shown


@pytest.mark.parametrize("name", sorted(name for name in oneflow.__all__ if name[0].isupper() and "Scaler" not in name))
def test_every_function_of_oneflow_takes_groups_and_a_clip(name: str) -> None:
    options = {"clip_grad_max_norm": 1e-3, "clip_grad_norm_type": 2.0}
    (group,) = oneflow.param_groups(up.get_updater(getattr(oneflow, name)(lr=0.1, **options)))
    assert {key: group[key] for key in options} == options
    assert getattr(oneflow, name)(**{key: value for key, value in group.items() if key != "params"}).policy.clip
    optimizer = getattr(oneflow, name)([{"params": "a.*", "lr": 0.0}, {"params": "b.*", "lr_scale": 0.5}], lr=0.1, **options)
    start, weights, _ = steps(optimizer)
    assert {weight: bool((weights[weight] != start[weight]).any()) for weight in weights} == {
        "a.weight": False, "a.bias": False, "b.weight": True, "b.bias": True,
    }  # fmt: skip


# TensorLayerX's clips, by hand


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_tensorlayerx_clips_all_gradients_with_their_decay(decay: float) -> None:
    clip = tensorlayerx.ClipByGlobalNorm(2.0)
    start, weights, came = steps(tensorlayerx.SGD(lr=0.1, weight_decay=decay, grad_clip=clip))
    clipped = 0
    for grads in came:
        added = {name: grad + decay * start[name] for name, grad in grads.items()}
        norm = norm_of(list(added.values()), 2)
        clipped += norm > 2
        start = {name: weight - 0.1 * added[name] * 2 * min(1 / norm, 1 / 2) for name, weight in start.items()}
    assert 0 < clipped < len(came)
    for name, expected in start.items():
        np.testing.assert_allclose(weights[name], expected, rtol=1e-13, atol=1e-13)


def test_tensorlayerx_decay_that_is_clipped_may_be_scheduled() -> None:
    def strength(state: up.OptimizationState) -> float:
        return 0.5 * state.iteration

    update = up.get_updater(tensorlayerx.SGD(1.0, weight_decay=strength, grad_clip=tensorlayerx.ClipByGlobalNorm(1e6)))
    weight = np.array([8.0])
    for expected in (4.0, 0.0):
        update.step([np.zeros(1)], [weight])
        assert weight.tolist() == [expected]


@pytest.mark.parametrize(("name", "decay"), [("Lamb", "lamb_weight_decay"), ("LARS", "lars_weight_decay")])
def test_paddlepaddles_rules_are_clipped_before_their_decay(name: str, decay: str) -> None:
    optimizer = getattr(tensorlayerx, name)(lr=0.1, grad_clip=tensorlayerx.ClipByGlobalNorm(2.0), **{decay: 0.3})
    plain = getattr(tensorlayerx, name)(lr=0.1, **{decay: 0.3})
    assert optimizer == attrs.evolve(plain, policy=up.Policy(clip=up.transforms.ClipByGlobalNorm(2.0)))
    _, weights, came = steps(optimizer)
    update = up.get_updater(plain)
    others, _, _ = steps(plain, 0)
    for grads in came:
        factor = 2 * min(1 / norm_of(list(grads.values()), 2), 1 / 2)
        update.step({name: grad * factor for name, grad in grads.items()}, others)
    for weight, expected in others.items():
        np.testing.assert_allclose(weights[weight], expected, rtol=1e-12, atol=1e-13)


# Patterns that share a clip


def test_patterns_that_share_a_clip_share_its_norm() -> None:
    clip = up.transforms.ClipByGlobalNorm(1.0)
    weights = {name: np.zeros(1) for name in "abc"}
    grads = {"a": np.array([3.0]), "b": np.array([4.0]), "c": np.array([2.0])}
    for overrides, expected in (
        ({"a": {"clip": clip}, "b": {"clip_with": "a"}}, [-0.6, -0.8, -2.0]),
        ({"a": {"clip": clip}, "b": {"clip": clip}}, [-1.0, -1.0, -2.0]),
    ):
        for weight in weights.values():
            weight[...] = 0
        up.get_updater(up.SGD(1.0), overrides=overrides).step(grads, weights)
        assert [weight.item() for weight in weights.values()] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"a": {"clip_with": "b"}, "b": {"clip": None}}, "overrides['a']: clip_with must be a pattern further up that has a clip, got 'b'"),
        ({"a": {"clip_with": "a"}}, "overrides['a']: clip_with must be a pattern further up that has a clip, got 'a'"),
        ({"b": {"lr": 1.0}, "a": {"clip_with": "b"}}, "overrides['a']: clip_with must be a pattern further up that has a clip, got 'b'"),
        ({"b": {"clip": None}, "a": {"clip": None, "clip_with": "b"}}, "overrides['a'] must have either a clip or clip_with, got both"),
    ],
)  # fmt: skip
def test_a_clip_is_shared_with_a_pattern_further_up(overrides: dict[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        up.get_updater(up.SGD(1.0), overrides=overrides)


def test_what_no_group_has_may_become_a_group() -> None:
    update = up.get_updater(torch.SGD([{"params": "a", "lr": 0.5}], lr=0.25), backend="numpy")
    weights = {"a": np.ones(1), "b": np.ones(1)}
    grads = {"a": np.ones(1), "b": np.ones(1)}
    update.step(grads, weights)
    torch.add_param_group(update, {"params": "*"})
    update.step(grads, weights)
    assert (weights["a"].tolist(), weights["b"].tolist()) == ([0.0], [0.75])
    with pytest.raises(TypeError, match="update must be an Updater, as get_updater gives it, got SGD"):
        torch.add_param_group(torch.SGD(lr=0.1), {"params": "*"})  # type: ignore[arg-type]  # wrong on purpose


def test_a_decay_that_is_clipped_is_not_overridden_in_silence() -> None:
    sgd = tensorlayerx.SGD(0.1, weight_decay=0.3, grad_clip=tensorlayerx.ClipByGlobalNorm(0.5))
    with pytest.raises(ValueError, match=r"overrides\['b'\]: weight_decay has no effect beside AddDecay\(strength=0.3\), a clip"):
        up.get_updater(sgd, overrides={"b": {"weight_decay": None}})
    weights = {"a": np.ones(1), "b": np.ones(1)}
    update = up.get_updater(sgd, overrides={"b": {"weight_decay": None, "clip": None}}, backend="numpy")
    update.step({"a": np.zeros(1), "b": np.zeros(1)}, weights)
    assert weights["a"][0] == pytest.approx(0.97, abs=1e-15)
    assert weights["b"][0] == 1.0
