"""Runs that are saved in the middle, for the tests of checkpoints: every rule, policy, dtype and layout, and what is left of a run."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import ml_dtypes
import numpy as np

import updaters as up
from tests.fake_cupy import dtype_of, put, take
from tests.policy_oracle import CLIPS, share
from tests.rules import RULES as ELEMENT_RULES
from tests.weight_rules import ARRAY_RULES, NORM_RULES
from updaters.arrays import device
from updaters.compat import keras, openseq2seq, tensorlayerx, torch

Array = np.ndarray[Any, Any]

COMPAT_RULES: dict[str, Any] = {
    "asgd of torch": torch.ASGD(0.1, t0=2, weight_decay=0.1),
    "rprop of torch": torch.Rprop(0.1, etas=(0.25, 1.5)),
    "adafactor of torch": torch.Adafactor(),
    "muon of keras": keras.Muon(0.1, adam_lr_ratio=0.5, exclude_layers=["in.*"]),
    "rmsprop of openseq2seq": openseq2seq.rules.RMSProp(0.1, momentum=0.9, centered=True),
    "sgd of tensorlayerx": tensorlayerx.SGD(0.1, weight_decay=0.1, grad_clip=tensorlayerx.ClipByGlobalNorm(5.0)),
}
RULES: dict[str, up.Optimizer] = ELEMENT_RULES | NORM_RULES | ARRAY_RULES | COMPAT_RULES

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES: dict[str, Any] = {
    "float16": np.float16, "bfloat16": BFLOAT16, "float32": np.float32, "float64": np.float64, "complex64": np.complex64,
    "complex128": np.complex128, ">f2": ">f2", ">f4": ">f4", ">f8": ">f8", ">c8": ">c8", ">c16": ">c16",
}  # fmt: skip


def falling(state: up.OptimizationState) -> float:
    return 0.1 / (1 + 0.2 * (state.iteration - state.held))


@attrs.frozen
class Setting:
    """What an updater is given beside its rule, and what happens to it.

    Attributes:
        arguments: what `get_updater` is given.
        count_calls: of its policy.
        bad: the step whose gradients are not finite, if there is one.
        special: whether elements of gradients are NaN and infinite at all steps.
        alone: whether weights are updated one by one.
    """

    arguments: Mapping[str, Any] = {}
    count_calls: bool = False
    bad: int | None = None
    special: bool = False
    alone: bool = False


OVERRIDES: dict[Any, Any] = {
    re.compile("float16$|^[78]$"): {"lr_scale": 0.5, "clip": CLIPS["value"]},
    ("in", 0, "float32"): up.FROZEN,
    "out.float64": up.Adam(0.2, amsgrad=True),
    "in.*": {"lr_scale": falling, "weight_decay": 0.01},
    "*": {},
}
GROWING = up.loss_scale.GrowthInterval(512.0, growth_interval=2)

SETTINGS: dict[str, Setting] = {
    "plain": Setting(),
    "special": Setting(special=True),
    "alone": Setting(alone=True),
    **{name: Setting({"clip": clip}) for name, clip in CLIPS.items() if clip is not None},
    "accumulate": Setting({"accumulate": 3}),
    "accumulate alone": Setting({"accumulate": 3}, alone=True),
    "accumulate special": Setting({"accumulate": 3}, special=True),
    "skip": Setting({"nonfinite": "skip"}, bad=2),
    "raise": Setting({"nonfinite": "raise", "report": True}),
    "static scale": Setting({"loss_scale": 128.0}),
    "growing scale": Setting({"loss_scale": GROWING}, bad=2),
    "backoff": Setting({"loss_scale": up.loss_scale.Backoff(step_window=2)}, bad=2),
    "peaks": Setting({"loss_scale": up.loss_scale.LogMax(scale_max=2.0**10)}, bad=1),
    "masters": Setting({"master_weights": True}),
    "random rounding": Setting({"stochastic_rounding": 7}),
    "average": Setting({"average": up.Average(0.6)}),
    "overwriting average": Setting({"average": up.Average(share, 2), "master_weights": True}),
    "average of every call": Setting({"average": up.Average(0.7, 3, every_call=True), "accumulate": 2}),
    "overrides": Setting({"overrides": OVERRIDES}),
    "counted calls": Setting({"accumulate": 3, "nonfinite": "skip", "stochastic_rounding": 1}, count_calls=True, bad=2),
    "all": Setting(
        {
            "accumulate": 2, "loss_scale": GROWING, "master_weights": True, "average": up.Average(0.5), "overrides": OVERRIDES,
            "clip": CLIPS["global 1"], "report": True,
        },
        bad=3,
    ),
}  # fmt: skip


def draw(name: object, shape: tuple[int, ...], dtype: Any, special: bool = False) -> Array:
    """Numbers that depend on a name alone."""
    rng = np.random.default_rng(zlib.crc32(repr(name).encode()))
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    if special:
        values = np.where(rng.random(shape) < 0.3, rng.choice([math.nan, math.inf, -math.inf, -0.0], shape), values)
    return np.asarray(values).astype(dtype)


NEEDED = {"out.float32", "out.float64", "out.>f4", ("in", 0, "float32"), "strided", 7}
"""The weights that settings and steps treat in ways of their own."""


def weights_of(third: int | None = None) -> dict[Any, Array]:
    """A weight of each dtype in each order, of indices of each kind; or those that are needed and a third of the others."""
    weights: dict[Any, Array] = {}
    for name, dtype in DTYPES.items():
        weights[f"out.{name}"] = draw(f"out.{name}", (2, 3), dtype)
        weights["in", 0, name] = np.asfortranarray(draw(f"in.{name}", (3, 2), dtype))
    weights[7] = draw(7, (), np.float32)
    weights[8] = draw(8, (), np.complex128)
    weights["strided"] = draw("strided", (4, 6), np.float64)[::2, ::2]
    weights["empty"] = np.zeros((0, 2))
    weights["a", ("b", -1)] = np.asfortranarray(draw("d", (2, 1, 2, 2), np.float32))
    taken = {*weights} if third is None else NEEDED | {*[index for index in weights if index not in NEEDED][third::3]}
    return {index: weight for index, weight in weights.items() if index in taken}


def alike(weights: Mapping[Any, Array]) -> dict[Any, Array]:
    """Other weights that lie as these do."""
    return {index: np.ones_like(weight) for index, weight in weights.items()}


@attrs.frozen
class Case:
    """A rule in a setting, and the third of the weights that it has besides those that are needed; None for all."""

    rule: str
    setting: str
    backend: str = "numpy"
    third: int | None = None

    def __str__(self) -> str:
        return f"{self.rule}-{self.setting}"

    def updater(self) -> up.Updater:
        setting, optimizer = SETTINGS[self.setting], RULES[self.rule]
        if setting.count_calls:
            optimizer = attrs.evolve(optimizer, policy=attrs.evolve(optimizer.policy or up.Policy(), count_calls=True))
        return up.get_updater(optimizer, backend=self.backend, **setting.arguments)

    def step(self, update: up.Updater, weights: Mapping[Any, Array], iteration: int) -> None:
        """The step of an iteration, whose gradients depend on nothing else; one weight comes late, and one has none at times."""
        setting = SETTINGS[self.setting]
        scale = update.loss_scale
        grads: dict[Any, Any] = {}
        for index, weight in weights.items():
            grad = draw((index, iteration), weight.shape, weight.dtype, setting.special)
            with np.errstate(invalid="ignore"):
                grads[index] = np.asarray(grad * grad.dtype.type(scale))
        if setting.bad == iteration:
            grads["out.float32"][0, 0] = math.inf
        if setting.alone:
            update.state.iteration = iteration
            for index, grad in grads.items():
                if index != "strided" or iteration > 3:
                    update(index, grad, weights[index])
            return
        grads["out.>f4"] = None if iteration == 2 else grads["out.>f4"]
        grads["strided"] = grads["strided"] if iteration > 3 else None
        update.step(grads, weights)


def kept(update: up.Updater, weights: Mapping[Any, Array]) -> dict[Any, Any]:
    """All that there is of a run, to the bit, and how it lies in memory."""
    state = update.state
    found: dict[Any, Any] = {
        "clock": tuple(getattr(state, field.name) for field in attrs.fields(type(state)) if field.init),
        "scale": update.loss_scale,
        "known": list(update.slots),
        "state_dict": bits(update.state_dict()),
    }
    for index, weight in weights.items():
        found["weight", index] = bits(weight)
    for index, known in update.slots.items():
        found["counts", index] = known.shape, known.dtype.str, known.device, known.count, known.gathered
        found["scalars", index] = bits(dict(known.scalars))
        for name, array in known.arrays.items():
            found["slot", index, name] = bits(array), array.flags.c_contiguous, array.flags.f_contiguous
    return found


def bits(value: Any) -> Any:
    """A value in which what has the same bits, and nothing else, is equal."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.dtype.name, value.shape, value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: bits(part) for name, part in value.items()}
    return [bits(part) for part in value] if isinstance(value, (list, tuple)) else value


def unlike(found: dict[Any, Any], wanted: dict[Any, Any]) -> list[Any]:
    """Where two runs differ."""
    return [name for name in wanted.keys() | found.keys() if found.get(name) != wanted.get(name)]


# Devices

DEVICE_RULES = {
    "adam": up.Adam(0.1),
    "prodigy": up.Prodigy(0.5),  # keeps numbers on the device
    "masters": up.SGD(
        0.1,
        momentum=0.9,
        policy=up.Policy(master_weights=True, accumulate=2, average=up.Average(0.5), clip=up.transforms.ClipByNorm(1.0)),
    ),
}


def hosts(dtypes: Iterable[str]) -> dict[Any, Array]:
    """Weights of each dtype in each order, and of no dimension."""
    found: dict[Any, Array] = {}
    for dtype in dtypes:
        found[dtype] = draw(dtype, (2, 3), dtype_of(dtype))
        found["in", dtype] = np.asfortranarray(draw(("in", dtype), (3, 2), dtype_of(dtype)))
    return found | {0: draw(0, (), np.float32), "strided": draw("strided", (4, 6), np.float32)}


def there(cupy: Any, weights: Mapping[Any, Array], other: int) -> dict[Any, Any]:
    """The same on a device, one of them on another; one has strides there."""
    found = {}
    for index, host in weights.items():
        with cupy.cuda.Device(other if index == "float64" else 0):
            found[index] = put(cupy, host)
    found["strided"] = put(cupy, np.repeat(weights["strided"], 2, axis=0))[::2]
    return found


def device_step(cupy: Any, update: up.Updater, weights: Mapping[Any, Any], iteration: int) -> None:
    grads: dict[Any, Any] = {}
    for index, weight in weights.items():
        host = draw((index, iteration), weight.shape, weight.dtype)
        if isinstance(weight, np.ndarray):
            grads[index] = host
        else:
            with weight.device:
                grads[index] = put(cupy, host)
    update.step(grads, weights)


def on_host(update: up.Updater, weights: Mapping[Any, Any]) -> dict[Any, Any]:
    """Weights, slots and counts of a run on any device, to the bit."""
    found: dict[Any, Any] = {index: bits(w if isinstance(w, np.ndarray) else take(w)) for index, w in weights.items()}
    for index, known in update.slots.items():
        found["counts", index] = known.count, known.gathered, bits(dict(known.scalars))
        for name, array in known.arrays.items():
            found["slot", index, name] = (
                bits(array if isinstance(array, np.ndarray) else take(array)),
                array.flags.c_contiguous,
                array.flags.f_contiguous,
            )
    return found


def check_devices(
    cupy: Any, rule: str, dtypes: Iterable[str], saves: str, loads: str, has_run: bool, folder: Path, *, other: int
) -> None:
    """Hold a run that is saved on one kind of device and goes on on another to one that does not."""

    def make(kind: str) -> up.Updater:
        return up.get_updater(DEVICE_RULES[rule], backend="cupy" if kind == "gpu" else "numpy")

    def place(kind: str, weights: dict[Any, Array]) -> dict[Any, Any]:
        return there(cupy, weights, other) if kind == "gpu" else weights

    whole, weights = make(saves), place(saves, hosts(dtypes))
    for iteration in (1, 2, 3):
        device_step(cupy, whole, weights, iteration)
    whole.save(folder / "run.safetensors", weights=weights)
    values = whole.state_dict()

    again, others = make(loads), place(loads, alike(hosts(dtypes)))
    if has_run:
        device_step(cupy, again, others, 7)
    arrays = {(index, name): array for index, known in again.slots.items() for name, array in known.arrays.items()}
    again.load(folder / "run.safetensors", weights=others)
    assert on_host(again, others) == on_host(whole, weights)
    assert all(again.slots[index][name] is array for (index, name), array in arrays.items())
    for update, those in ((whole, weights), (again, others)):
        for iteration in (4, 5):
            device_step(cupy, update, those, iteration)
    assert on_host(again, others) == on_host(whole, weights)
    for index, known in again.slots.items():
        assert {known.device, *map(device, known.arrays.values())} == {device(others[index])}

    third, fourth = make(loads), make(loads)
    third.load_state_dict(values)
    fourth.load(folder / "run.safetensors", strict=False)
    assert bits(third.state_dict()) == bits(fourth.state_dict())
