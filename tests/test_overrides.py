"""Other hyperparameters, clips and optimizers for some weights, by the patterns of their indices."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from updaters.learning_rate import Linear
from updaters.transforms import AGC, ClipByGlobalNorm, ClipByNorm, ClipByValue

Array = np.ndarray[Any, Any]


def moved(update: up.Updater, *indices: Any) -> list[float]:
    """How far weights of these indices move by a gradient of ones."""
    weights = [np.zeros(1) for _ in indices]
    for index, weight in zip(indices, weights, strict=True):
        update(index, np.ones(1), weight)
    return [-float(weight[0]) for weight in weights]


# Which override is an index's.


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("w", ["w"], ["ww", "W", ("w", 0), 0]),
        ("*.bias", ["a.bias", "a.b.bias", ("a", "bias"), ("a", 0, "bias")], ["bias", "a.bias.0", "a.Bias"]),
        ("layer.?", ["layer.1", ("layer", 1)], ["layer.12", "layer"]),
        ("[ab]", ["a", "b", "[ab]"], ["c", "ab"]),
        ("3", ["3", 3], [13, (3, 3)]),
        ("*", ["w", 3, ("a", ("b", 2))], []),
        ("a.b.2", ["a.b.2", ("a", "b", 2), ("a", ("b", 2))], ["a.b"]),
        (3, [3, np.int64(3)], ["3", 4, (3,)]),
        (np.int8(3), [3], [4]),
        (("layer", 3), [("layer", 3), ("layer", np.int32(3))], ["layer.3", ("layer", "3")]),
        (re.compile("bias"), ["bias", "a.bias.0", ("a", "bias", 1)], ["Bias"]),
        (re.compile("^(a|b)$"), ["a", "b", ("a",)], ["ab", ("a", 0)]),
        (re.compile("BIAS", re.IGNORECASE), ["a.bias"], ["a"]),
        (re.compile(r"\.0$"), [("layer", 0), "x.0"], [0]),
    ],
    ids=repr,
)
def test_patterns(pattern: Any, matched: list[Any], others: list[Any]) -> None:
    update = up.get_updater(up.SGD(1.0), overrides={pattern: {"lr": 5.0}})
    assert update.report().unmatched == ((pattern,) if pattern != "*" else ())  # which says: all others
    assert moved(update, *others) == [1.0] * len(others)
    assert len(update.report().unmatched) == (pattern != "*")
    for index in matched:  # some of which mean the same
        assert moved(up.get_updater(up.SGD(1.0), overrides={pattern: {"lr": 5.0}}), index) == [5.0]
    moved(update, matched[0])
    assert update.report().unmatched == ()


def test_the_first_match_counts_and_alone() -> None:
    overrides: dict[Any, Any] = {
        re.compile("^a$"): {"lr": 2.0},
        "[ab]": {"lr": 3.0, "maximize": True},
        "b": {"lr": 4.0},
        "*": {"lr_scale": 5.0},
    }
    update = up.get_updater(up.SGD(1.0), overrides=overrides)
    assert moved(update, "a", "b", "c") == [2.0, -3.0, 5.0]
    assert update.report().unmatched == ("b",)
    assert moved(up.get_updater(up.SGD(1.0), overrides=dict(reversed(overrides.items()))), "a", "b") == [5.0, 5.0]


# What may be different.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, up.SGD(0.5, weight_decay=0.1)),
        ({"weight_decay": None}, up.SGD(0.5)),
        ({"lr": 0.25}, up.SGD(0.25, weight_decay=0.1)),
        ({"lr_scale": 0.5}, up.SGD(0.25, weight_decay=0.1)),
        ({"lr": 0.125, "lr_scale": 2}, up.SGD(0.25, weight_decay=0.1)),
        ({"lr_scale": 0}, up.SGD(0.0, weight_decay=0.1)),
        ({"grad_clip": 0.1, "maximize": True}, up.SGD(0.5, weight_decay=0.1, grad_clip=0.1, maximize=True)),
        ({"decay": "decoupled", "gradient": "sum"}, up.SGD(0.5, weight_decay=0.1, decay="decoupled", gradient="sum")),
        ({"momentum": 0.5, "nesterov": True}, up.SGD(0.5, weight_decay=0.1, momentum=0.5, nesterov=True)),
        ({"transforms": (ClipByValue(-0.2, 0.2),)}, up.SGD(0.5, weight_decay=0.1, transforms=ClipByValue(-0.2, 0.2))),
        (up.Adam(0.1), up.Adam(0.1)),
        (up.LAMB(0.1), up.LAMB(0.1)),
    ],
    ids=repr,
)
def test_any_field_may_be_different(settings: Any, expected: up.Optimizer) -> None:
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal(5) for _ in range(2))
    same, plain = w.copy(), v.copy()
    update = up.get_updater(up.SGD(0.5, weight_decay=0.1), up.OptimizationState(3), overrides={"w": settings})
    alone, others = up.get_updater(expected, up.OptimizationState(3)), up.get_updater(up.SGD(0.5, weight_decay=0.1))
    for _ in range(3):
        g, h = rng.standard_normal((2, 5))
        update.step({"w": g, "v": h}, {"w": w, "v": v})
        alone.step({"w": g}, {"w": same})
        others.step({"v": h}, {"v": plain})
    assert (w.tobytes(), v.tobytes()) == (same.tobytes(), plain.tobytes())
    assert set(update.slots["w"].arrays) == set(alone.slots["w"].arrays)


def test_a_scale_multiplies_a_schedule_and_may_be_one() -> None:
    falling = Linear(1.0, 10, end=0.0, clock="iteration")
    rising = Linear(0.0, 10, end=1.0, clock="iteration")
    for lr, scale in ((falling, 0.5), (2.0, rising), (falling, rising), (lambda state: 3.0, lambda state: 2.0 * state.iteration)):
        update = up.get_updater(up.SGD(lr), up.OptimizationState(), overrides={"w": {"lr_scale": scale}})
        for iteration in (1, 4, 7):
            update.state.iteration = iteration
            read = [value(update.state) if callable(value) else value for value in (lr, scale)]
            before, after = np.zeros(1), np.zeros(1)
            update("w", np.ones(1), after)
            up.get_updater(up.SGD(read[0] * read[1]))("w", np.ones(1), before)
            np.testing.assert_allclose(after, before, rtol=1e-15)


def test_a_clip_of_ones_own_has_a_norm_of_its_own() -> None:
    overrides = {"[ab]": {"clip": ClipByGlobalNorm(0.5)}, "c": {"clip": None}, "d": {"clip": [ClipByValue(-0.1, 0.1)]}}
    update = up.get_updater(up.SGD(1.0), clip=ClipByGlobalNorm(1.0), overrides=overrides)
    weights = {name: np.zeros(1) for name in "abcdef"}
    grads = dict(zip("abcdef", map(np.atleast_1d, (3.0, 4.0, 5.0, 6.0, 0.0, -8.0)), strict=True))
    update.step(grads, weights)
    found = [-float(weight[0]) for weight in weights.values()]
    np.testing.assert_allclose(found, [0.3, 0.4, 5.0, 0.1, 0.0, -1.0], rtol=1e-15)
    assert update.report().global_norms == {None: 8.0, "[ab]": 5.0}


def test_weights_of_several_patterns_may_share_a_clip() -> None:
    overrides = {
        "a": {"clip": ClipByGlobalNorm(0.5)}, re.compile("c"): {"clip": ClipByGlobalNorm(2.0)},
        "b": {"clip_with": "a", "lr": 2.0}, "d": {"clip_with": re.compile("c")},
    }  # fmt: skip
    update = up.get_updater(up.SGD(1.0), overrides=overrides)
    weights = {name: np.zeros(1) for name in "abcde"}
    update.step({name: np.full(1, size) for name, size in zip("abcde", (3.0, 4.0, 6.0, 8.0, 10.0), strict=True)}, weights)
    np.testing.assert_allclose([-weight[0] for weight in weights.values()], [0.3, 0.8, 1.2, 1.6, 10.0], rtol=1e-15)
    assert update.report().global_norms == {"a": 5.0, re.compile("c"): 10.0}


def test_muon_for_matrices_by_pattern() -> None:
    rng = np.random.default_rng(1)
    shapes = {"embed": (6, 3), "layer.weight": (4, 3), "layer.bias": (4,)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    expected = copy.deepcopy(weights)
    muon = up.Muon(0.1, otherwise=up.AdamW(0.01))
    update = up.get_updater(up.AdamW(0.02), overrides={"layer.*": muon})
    grads = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    update.step(grads, weights)
    for optimizer, name in ((up.AdamW(0.02), "embed"), (muon, "layer.weight"), (up.AdamW(0.01), "layer.bias")):
        up.get_updater(optimizer)(name, grads[name], expected[name])
        assert weights[name].tobytes() == expected[name].tobytes()
    # Settings reach the optimizer that a weight has in the end.
    scaled = up.get_updater(muon, overrides={"layer.*": {"lr_scale": 0.5, "beta1": 0.5, "momentum": 0.5}})
    for optimizer, name in ((up.Muon(0.05, momentum=0.5), "layer.weight"), (up.AdamW(0.005, beta1=0.5), "layer.bias")):
        one, other = (np.ones(shapes[name]) for _ in range(2))
        scaled(name, grads[name], one)
        up.get_updater(optimizer)(name, grads[name], other)
        assert one.tobytes() == other.tobytes()


# Frozen weights, and other overrides on the way.


def test_what_is_frozen_stays_as_it_is_and_may_be_thawed() -> None:
    update = up.get_updater(up.Adam(0.1), overrides={"w": up.FROZEN})
    w, v = np.ones(2), np.ones(2)
    grads = {"w": np.ones(2), "v": np.ones(2)}
    update.step(grads, {"w": w, "v": v})
    assert w.tolist() == [1.0, 1.0]
    assert set(update.slots) == {"v"}
    assert [*update.report().weights] == ["v"]
    update("w", np.ones(2), w)
    assert w.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="gradient 'w': expected shape"):
        update("w", np.ones(3), w)
    update.overrides = {}
    update.step(grads, {"w": w, "v": v})
    assert (update.slots["w"].count, update.slots["v"].count) == (1, 2)
    update.overrides = {"v": up.FROZEN}
    before, slots = v.copy(), {name: array.copy() for name, array in update.slots["v"].arrays.items()}
    arrays = [*update.slots["v"].arrays.values(), *update.slots["w"].arrays.values()]
    update.step(grads, {"w": w, "v": v})
    assert v.tobytes() == before.tobytes()
    assert all(np.array_equal(array, slots[name]) for name, array in update.slots["v"].arrays.items())
    assert [*update.slots["v"].arrays.values(), *update.slots["w"].arrays.values()] != []
    assert all(
        a is b for a, b in zip(arrays, [*update.slots["v"].arrays.values(), *update.slots["w"].arrays.values()], strict=True)
    )
    iteration = update.state.iteration
    update.step({"v": np.ones(2)}, {"v": v})
    assert (update.state.iteration, update.report().what) == (iteration, "nothing")
    assert update.evaluation_weight("v", v).tobytes() == v.tobytes()


def test_overrides_of_the_run_go_on_with_what_is_kept() -> None:
    rng = np.random.default_rng(2)
    grads = [rng.standard_normal(3) for _ in range(6)]
    weight, expected = np.zeros(3), np.zeros(3)
    state = up.OptimizationState()
    update = up.get_updater(up.Adam(0.1), state, backend="numpy", overrides={"w": {"lr_scale": 2.0}})
    other = up.get_updater(up.Adam(0.2), state, backend="numpy")
    for k, g in enumerate(grads):
        if k == 3:
            arrays = list(update.slots["w"].arrays.values())
            update.overrides = {"w": {"beta1": 0.5}, "other": up.FROZEN}
            other.optimizer = up.Adam(0.1, beta1=0.5)
            assert all(a is b for a, b in zip(arrays, update.slots["w"].arrays.values(), strict=True))
            assert update.slots["w"].count == 3
        update("w", g, weight)
        other("w", g, expected)
    assert weight.tobytes() == expected.tobytes()
    assert update.overrides == {"w": {"beta1": 0.5}, "other": up.FROZEN}
    assert update.report().unmatched == ("other",)
    for twin in (copy.deepcopy(update), pickle.loads(pickle.dumps(update))):
        assert twin == update
        assert twin.overrides == update.overrides
        twin("w", grads[0], twin_weight := weight.copy())
        update_weight = weight.copy()
        copy.deepcopy(update)("w", grads[0], update_weight)
        assert twin_weight.tobytes() == update_weight.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda update: setattr(update, "overrides", {"w": {"amsgrad": True}}), "Adam(lr=0.1, amsgrad=True) keeps 'correction1', 'correction2', 'm', 'v', 'v_max' for weight 'w', and Adam(lr=0.1) has kept 'correction1', 'correction2', 'm', 'v'; a new updater begins with new slots"),
        (lambda update: setattr(update, "overrides", {"w": up.SGD(0.1)}), "SGD(lr=0.1) keeps nothing for weight 'w', and Adam(lr=0.1) has kept 'correction1', 'correction2', 'm', 'v'; a new updater begins with new slots"),
        (lambda update: setattr(update, "overrides", {"*": {"momentum": 0.5}}), "overrides['*']: 'momentum' is no field of Adam; there are"),
        (lambda update: setattr(update, "overrides", {"w": {"clip": (AGC(axis=1), AGC())}}), "overrides['w']: clip takes one clip of its kind, got AGC(ratio=0.01, epsilon=0.001, axis=1) and AGC(ratio=0.01, epsilon=0.001, axis=0)"),
        (lambda update: setattr(update, "overrides", {"w": {"clip": AGC(axis=1)}}), None),
        (lambda update: setattr(update, "optimizer", up.SGD(0.1)), "overrides['v']: 'beta1' is no field of SGD; there are"),
        (lambda update: setattr(update, "optimizer", up.Adam(amsgrad=True)), "Adam(lr=0.001, amsgrad=True) keeps 'correction1', 'correction2', 'm', 'v', 'v_max' for weight 'w', and Adam(lr=0.1) has kept 'correction1', 'correction2', 'm', 'v'; a new updater begins with new slots"),
        (lambda update: setattr(update, "optimizer", up.Adam(policy=up.Policy(accumulate=2))), "an updater's policy stays what it is, but for its overrides, got Policy(accumulate=2)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(change: Callable[[up.Updater], None], message: str | None) -> None:
    update = up.get_updater(up.Adam(0.1), overrides={"v": {"beta1": 0.5}})
    w = np.ones(2)
    update("w", np.ones(2), w)
    twin, twin_w, arrays = copy.deepcopy(update), w.copy(), list(update.slots["w"].arrays.values())
    if message is None:
        change(update)
        return
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        change(update)
    assert update == twin
    assert all(a is b for a, b in zip(arrays, update.slots["w"].arrays.values(), strict=True))
    for one, weight in ((update, w), (twin, twin_w)):
        one("w", np.full(2, 0.3), weight)
    assert w.tobytes() == twin_w.tobytes()


# What cannot be.


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (5, TypeError, "overrides must be a mapping from patterns, got 5"),
        ("w", TypeError, "overrides must be a mapping from patterns, got 'w'"),
        ([("w", {})], TypeError, "overrides must be a mapping from patterns, got ('w', {})"),
        ({1.5: {}}, TypeError, "an index must be a str, an int or a tuple of these, got 1.5 (float)"),
        ({True: {}}, TypeError, "an index must be a str, an int or a tuple of these, got True (bool)"),
        ({re.compile(b"w"): {}}, TypeError, "overrides[re.compile(b'w')] must be a pattern of str, got one of bytes"),
        ({"w": 3}, TypeError, "overrides['w'] must be a mapping of settings, an optimizer or FROZEN, got 3"),
        ({"w": None}, TypeError, "overrides['w'] must be a mapping of settings, an optimizer or FROZEN, got None"),
        ({"w": up.SGD}, TypeError, f"overrides['w'] must be a mapping of settings, an optimizer or FROZEN, got {up.SGD!r}"),
        ({"w": up.SGD(policy=up.Policy())}, ValueError, "overrides['w'] must have no policy of its own, got Policy()"),
        ({"w": {"learning_rate": 1.0}}, ValueError, "overrides['w']: 'learning_rate' is no field of SGD; there are 'buffer', 'clip', 'clip_with', 'damp_first', 'dampening', 'decay', 'grad_clip', 'gradient', 'lr', 'lr_scale', 'maximize', 'momentum', 'nesterov', 'transforms', 'weight_decay'"),
        ({"w": {"policy": None}}, ValueError, "overrides['w']: 'policy' is no field of SGD; there are 'buffer', 'clip', 'clip_with', 'damp_first', 'dampening', 'decay', 'grad_clip', 'gradient', 'lr', 'lr_scale', 'maximize', 'momentum', 'nesterov', 'transforms', 'weight_decay'"),
        ({"w": {"lr": -1}}, ValueError, "overrides['w']: SGD.lr must be in [0, inf), got -1"),
        ({"w": {"lr": "0.1"}}, TypeError, "overrides['w']: SGD.lr must be a real number in [0, inf) or a scheduler, got '0.1' (str)"),
        ({"w": {"lr_scale": -1}}, ValueError, "overrides['w']: lr_scale must be in [0, inf), got -1"),
        ({"w": {"lr_scale": None}}, TypeError, "overrides['w']: lr_scale must be a real number in [0, inf) or a scheduler, got None (NoneType)"),
        ({"w": {"nesterov": True}}, ValueError, "overrides['w']: SGD.nesterov needs a momentum, got momentum=None"),
        ({"w": {"clip_with": "v"}, "v": {"clip": None}}, ValueError, "overrides['w']: clip_with must be a pattern further up that has a clip, got 'v'"),
        ({"v": {"clip": None}, "w": {"clip": None, "clip_with": "v"}}, ValueError, "overrides['w'] must have either a clip or clip_with, got both"),
        ({"w": {"clip": 5}}, TypeError, "overrides['w']: clip must hold transforms of gradients, as those of updaters.transforms are, got 5"),
        ({"w": {"clip": AGC}}, TypeError, f"overrides['w']: clip must hold transforms of gradients, as those of updaters.transforms are, got {AGC!r}"),
        ({"w": {"clip": [ClipByGlobalNorm(1.0), ClipByGlobalNorm(2.0)]}}, ValueError, "overrides['w']: clip takes one clip of its kind, got ClipByGlobalNorm(bound=1.0, p=2.0, epsilon=0.0) and ClipByGlobalNorm(bound=2.0, p=2.0, epsilon=0.0)"),
        ({"w": {"clip": [ClipByGlobalNorm(1.0), AGC()]}}, ValueError, "overrides['w']: clip: a clip of units comes before one of the norm of all gradients, got (ClipByGlobalNorm(bound=1.0, p=2.0, epsilon=0.0), AGC(ratio=0.01, epsilon=0.001, axis=0))"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_overrides_cannot_be(overrides: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        up.get_updater(up.SGD(0.1), overrides=overrides)
    assert str(info.value) == message


def test_patterns_that_match_nothing_are_told_once() -> None:
    update = up.get_updater(up.SGD(0.1), overrides={"w": {}, "bias": {}, re.compile("^x"): up.FROZEN})
    weights = {"w": np.zeros(1)}
    update("w", np.ones(1), weights["w"])
    with pytest.warns(
        UserWarning, match=r"^overrides: no weight of this step is matched by 'bias', re.compile\('\^x'\)$"
    ) as caught:
        update.step({"w": np.ones(1)}, weights)
    assert caught[0].filename == __file__
    update.step({"w": np.ones(1)}, weights)
    assert update.report().unmatched == ("bias", re.compile("^x"))
    assert "overrides that match no weight: 'bias', re.compile('^x')" in repr(update.report())
    found = up.get_updater(up.SGD(0.1), overrides={"w": {}})
    found.step({"w": None, "v": np.ones(1)}, {"w": np.zeros(1), "v": np.zeros(1)})  # one without a gradient is a match
    assert found.report().unmatched == ()


def test_an_override_is_a_value() -> None:
    policy = up.Policy(overrides={"w": {"lr": 0.5}, "v": up.FROZEN})
    assert hash(policy) == hash(copy.deepcopy(policy))
    assert attrs.evolve(policy) == policy
    assert policy != up.Policy(overrides={"v": up.FROZEN, "w": {"lr": 0.5}})
    assert repr(up.FROZEN) == "FROZEN"
    assert copy.deepcopy(up.FROZEN) is pickle.loads(pickle.dumps(up.FROZEN)) is up.FROZEN


def test_one_override_changes_in_its_place_and_a_new_one_comes_first() -> None:
    weights = {name: np.ones(1) for name in ("body.w", "tail.b", "head.w")}
    grads = {name: np.ones(1) for name in weights}
    update = up.get_updater(up.SGD(0.5, momentum=0.5), overrides={"body.*": {"lr_scale": 0.5}, "*.b": {"lr_scale": 0.0}, "*": {}})
    update.step(grads, weights)
    slots = {index: known["velocity"] for index, known in update.slots.items()}
    update.override("body.*", {"lr_scale": 2})
    before = update.overrides
    assert list(before.items()) == [("body.*", {"lr_scale": 2}), ("*.b", {"lr_scale": 0.0}), ("*", {})]
    with pytest.raises(ValueError, match=r"keeps nothing for weight 'head\.w'"):
        update.override("head.*", {"momentum": None})
    assert update.overrides == before
    update.override("head.*", up.FROZEN)
    update.override("head.*", {"lr": 0.0})
    update.override("*.b", None)
    update.override("nothing", None)
    assert list(update.overrides.items()) == [("head.*", {"lr": 0.0}), ("body.*", {"lr_scale": 2}), ("*", {})]
    assert all(known["velocity"] is slots[index] for index, known in update.slots.items())
    update.step(grads, weights)
    assert {name: weight.tolist() for name, weight in weights.items()} == {
        "body.w": [1 - 0.25 - 0.125 - 1.0], "tail.b": [1 - 0.0 - 0.5], "head.w": [1 - 0.5 - 0.25]
    }  # fmt: skip


def test_overrides_that_are_given_come_before_those_that_the_optimizer_has() -> None:
    carried = up.Policy(overrides={"*.b": {"lr_scale": 2}, "head.*": {"lr_scale": 3}})
    update = up.get_updater(up.SGD(0.1, policy=carried), overrides={"head.*": up.FROZEN})
    assert update.overrides == {"head.*": up.FROZEN, "*.b": {"lr_scale": 2}}
    assert update.policy.overrides[0].settings is up.FROZEN


def test_what_is_read_of_overrides_cannot_be_written_to() -> None:
    update = up.get_updater(up.SGD(0.1), overrides={"a": {"lr_scale": 10}})
    for change in (
        lambda: update.overrides.__setitem__("b", up.FROZEN),  # type: ignore[attr-defined]
        lambda: update.overrides["a"].__setitem__("lr_scale", 1),
        lambda: update.overrides["a"].update(lr_scale=1),
        lambda: update.overrides["a"].pop("lr_scale"),
    ):
        with pytest.raises(TypeError, match=r"overrides are changed by update\.override\(pattern, settings\)"):
            change()
    assert update.overrides == {"a": {"lr_scale": 10}}
    assert pickle.loads(pickle.dumps(update.overrides)) == update.overrides
    assert repr(update.overrides) == "{'a': {'lr_scale': 10}}"


def test_what_has_matched_is_known_to_copies_and_warned_about_once() -> None:
    update = up.get_updater(up.SGD(0.1), overrides={"a": {"lr_scale": 2}, "zz*": {"lr_scale": 2}})
    weights = {"a": np.ones(1)}
    with pytest.warns(UserWarning, match="no weight of this step is matched by 'zz\\*'"):
        update.step({"a": np.ones(1)}, weights)
    for other in (update, pickle.loads(pickle.dumps(update)), copy.deepcopy(update)):
        other.reports = not other.reports
        other.optimizer = up.SGD(0.2)
        assert other.report().unmatched == ("zz*",)
        other.step({"a": np.ones(1)}, weights)
    update.override("zz*", {"lr_scale": 3})
    with pytest.warns(UserWarning, match="is matched by 'zz"):
        update.step({"a": np.ones(1)}, weights)


def test_the_optimizer_has_the_policy_and_another_takes_it_over() -> None:
    update = up.get_updater(up.SGD(0.1), clip=ClipByNorm(1.0), overrides={"b": up.FROZEN})
    assert update.optimizer == up.SGD(0.1, policy=update.policy)
    assert up.from_config(up.to_config(update.optimizer)) == update.optimizer
    policy, mine = update.policy, update.optimizer
    update.optimizer = up.SGD(0.2)
    assert update.optimizer == up.SGD(0.2, policy=policy)
    update.optimizer = mine
    update.optimizer = up.SGD(0.3, policy=attrs.evolve(policy, overrides={"c": up.FROZEN}))
    assert update.overrides == {"c": up.FROZEN}
    with pytest.raises(ValueError, match="an updater's policy stays what it is, but for its overrides"):
        update.optimizer = up.SGD(0.3, policy=up.Policy(clip=ClipByNorm(2.0)))
    inner = up.Muon(otherwise=up.SGD(policy=policy))
    with pytest.raises(ValueError, match="SGD, which is for some weights of Muon, must have no policy of its own"):
        up.get_updater(inner)
