"""A file of the first format version is loaded for ever, and the run goes on from it to the same bits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import safetensors

import updaters as up
from tests.golden.checkpoint import EXTRA, FILE, LAST, OBSERVED, SAVED, Values, as_data, plateau, run, summary, updater, weights


def loaded() -> tuple[up.Updater, dict[Any, Any], up.LoadReport]:
    update, arrays = updater(), {index: np.zeros_like(weight) for index, weight in weights().items()}
    return update, arrays, update.load(FILE, weights=arrays)


def test_a_file_of_the_first_version_has_what_was_saved() -> None:
    update, arrays, report = loaded()
    assert summary(update, arrays) == Values.read().saved
    assert report.extra == EXTRA
    assert report.left == ()
    assert report.unchecked == ("optimizer.policy.overrides[0].settings.lr_scale",)
    assert {*report.weights} == {*arrays}
    assert {*report.slots} == {*report.waiting} == {*arrays} - {"still here"}
    assert report.versions["updaters"] == "0.1.0.dev0"
    assert report.clock.iteration == SAVED


def test_a_run_of_the_first_version_goes_on_to_the_same_bits() -> None:
    update, arrays, _ = loaded()
    for metric in OBSERVED[3:]:
        plateau(update).observe(metric)
    run(update, arrays, LAST)
    assert summary(update, arrays) == Values.read().went_on


def test_a_run_from_the_beginning_comes_to_the_same_bits() -> None:
    update, arrays = updater(), weights()
    for metric in OBSERVED[:3]:
        plateau(update).observe(metric)
    run(update, arrays, SAVED)
    assert summary(update, arrays) == Values.read().saved


def test_the_file_covers_what_a_file_can_hold() -> None:
    saved = Values.read().saved
    assert {array["dtype"] for array in saved["weights"].values()} == {
        "float16", "bfloat16", "float32", "float64", "complex64", "complex128"
    }  # fmt: skip
    assert {slot["order"] for kept in saved["slots"].values() for slot in kept.values() if isinstance(slot, dict)} == {"C", "F"}
    names = {name for kept in saved["slots"].values() for name in kept}
    assert {"m", "v", "master", "average", "accumulated", "correction1", "count", "gathered"} < names
    assert {kept["gathered"] for kept in saved["slots"].values()} == {1}
    assert saved["clock"]["unfinished"] is True
    assert saved["clock"]["held"] > 0
    assert saved["loss_scale"] == 8
    assert saved["plateau"]["reductions"] == 1


def test_others_read_the_file_without_us() -> None:
    saved = Values.read().saved
    with safetensors.safe_open(FILE, framework="numpy") as file:
        text = json.loads(file.metadata()["updaters"])
        names = [*file.keys()]
        assert as_data(file.get_tensor("weights/half")) == saved["weights"]["'half'"]
        assert as_data(file.get_tensor('slots/["head", 0]/m')) == saved["slots"]["('head', 0)"]["m"]
    assert (text["format"], text["optimizer"]["type"], text["clock"]["iteration"]) == (1, "Adam", SAVED)
    assert len(names) == len(weights()) + sum(
        isinstance(slot, dict) for kept in saved["slots"].values() for slot in kept.values()
    )


@pytest.mark.parametrize("strict", [True, False])
def test_another_updater_does_not_take_it_for_its_own(strict: bool) -> None:
    update = up.get_updater(up.Lion(0.1), up.OptimizationState(batch_size=4), backend="numpy")
    if strict:
        with pytest.raises(ValueError, match="optimizer: Adam in the file, Lion here"):
            update.load(FILE)
    else:
        assert len(update.load(FILE, strict=False).left) > 10
