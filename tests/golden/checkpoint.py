"""The run of which `checkpoint_v1.safetensors` was saved: its updater, its weights and its gradients, which any version can make.

All numbers are exact in every dtype, and whatever is raised to a power is a power of 2, so that the bits depend on no library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import ml_dtypes
import numpy as np

import updaters as up

FILE = Path(__file__).with_name("checkpoint_v1.safetensors")
VALUES = Path(__file__).with_name("checkpoint_v1.json")

Array = np.ndarray[Any, Any]

EXTRA = {"name": "Überprüfung", "best": float("-inf"), "seen": [1, [2.5, None, True]], "float": {"float": "nan"}}
OBSERVED = (4.0, 2.0, 3.0, 3.0, 1.0)


def halving(state: up.OptimizationState) -> float:
    """A scheduler that has no name in configs."""
    return 1.0 if state.iteration - state.held < 3 else 0.5


def updater() -> up.Updater:
    """A new one, with a clock of its own."""
    lr = up.learning_rate.Plateau(up.learning_rate.Exp(0.25, gamma=0.5), factor=0.5, patience=0, cooldown=1)
    return up.get_updater(
        up.Adam(lr, beta1=0.75, beta2=up.momentum.Fixed(0.875), epsilon=0.125, amsgrad=True, weight_decay=0.0625),
        up.OptimizationState(batch_size=4),
        overrides={
            ("head", 0): {"lr_scale": halving, "clip": up.transforms.ClipByNorm(0.5)},
            re.compile("^tail", re.IGNORECASE): up.Nadam(0.5, beta1=0.5, beta2=0.75, momentum=0.5),
            "still*": up.FROZEN,
            7: up.Prodigy(1.0, beta1=0.5, beta2=0.75, d0=0.5, epsilon=0.125),
        },
        clip=(up.transforms.ClipByValue(-8.0, 8.0), up.transforms.ClipByGlobalNorm(64.0)),
        loss_scale=up.loss_scale.GrowthInterval(16.0, growth_interval=3),
        accumulate=2,
        master_weights=True,
        average=up.Average(0.75),
        backend="numpy",
    )


def plateau(update: up.Updater) -> up.learning_rate.Plateau:
    """The schedule of its learning rate."""
    lr: Any = update.optimizer.lr
    assert isinstance(lr, up.learning_rate.Plateau)
    return lr


def weights() -> dict[Any, Array]:
    """A weight for each dtype, each order, and each kind of index."""
    of: dict[Any, tuple[tuple[int, ...], Any]] = {
        "half": ((3,), np.float16),
        "brain": ((2, 2), ml_dtypes.bfloat16),
        "[1, \"größe\"]": ((4,), np.float32),
        ("head", 0): ((2, 3), np.float64),
        ("head", ("bias", -1)): ((2, 3), np.float32),
        "tail/complex": ((2,), np.complex64),
        "Tail": ((2, 2), np.complex128),
        "big": ((3,), ">f8"),
        7: ((2, 2), np.float64),
        -8: ((), np.float32),
        "empty": ((0, 2), np.float64),
        "still here": ((2,), np.float64),
    }  # fmt: skip
    made = {index: numbers(shape, dtype, place) for place, (index, (shape, dtype)) in enumerate(of.items())}
    return made | {index: np.asfortranarray(made[index]) for index in (("head", ("bias", -1)), "Tail")}


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    """Numbers from -0.625 to 0.625 in steps of 0.125."""
    first = (np.arange(np.prod(shape, dtype=int)) * 7 + 3 * seed) % 11 - 5
    values = (first + 1j * ((first * 5 + seed) % 11 - 5) if np.dtype(dtype).kind == "c" else first) / 8
    return values.reshape(shape).astype(dtype)


def run(update: up.Updater, arrays: Mapping[Any, Array], until: int) -> None:
    """Epochs of four batches, up to an iteration; in the third one gradient is infinite."""
    state = update.state
    for _ in state.epochs(4):
        for batch in state.batches(range(4)):
            grads = {
                index: np.asarray(
                    numbers(weight.shape, weight.dtype, state.iteration + place) * weight.dtype.type(update.loss_scale)
                )
                for place, (index, weight) in enumerate(arrays.items())
            }
            if state.iteration == 3:
                grads["half"][1] = np.inf
            update.step(grads, arrays)
            if state.iteration == until:
                return
            assert batch < 4


def summary(update: up.Updater, arrays: Mapping[Any, Array]) -> dict[str, Any]:
    """All that a run consists of, as data, to the bit."""
    state = update.state
    counters = ("batch_size", "epoch", "batch", "iteration", "held", "unfinished", "last_held", "last_applied")
    return {
        "weights": {repr(index): as_data(weight) for index, weight in arrays.items()},
        "averages": {repr(index): as_data(update.evaluation_weight(index, weight)) for index, weight in arrays.items()},
        "slots": {
            repr(index): {
                "count": known.count,
                "gathered": known.gathered,
                **{name: value.hex() for name, value in known.scalars.items()},
                **{name: as_data(array) for name, array in known.arrays.items()},
            }
            for index, known in update.slots.items()
        },
        "clock": {name: getattr(state, name) for name in counters},
        "loss_scale": update.loss_scale,
        "plateau": plateau(update).state_dict(),
    }


def as_data(array: Array) -> dict[str, Any]:
    """An array as data: its bytes in C order, the least significant ones first."""
    little = array.astype(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return {"dtype": array.dtype.name, "shape": list(array.shape), "order": order, "bytes": little.tobytes().hex()}


@attrs.frozen
class Values:
    """What the file holds, and where the run that goes on from it ends."""

    saved: dict[str, Any]
    went_on: dict[str, Any]

    @classmethod
    def read(cls) -> Values:
        """The values beside the file."""
        return cls(**json.loads(VALUES.read_text()))


SAVED, LAST = 9, 14
