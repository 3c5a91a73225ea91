"""How an updater is got: its optimizer, its clock, and what it does besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from updaters.loss_scale import LossScale
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.overrides import as_mapping
from updaters.policy import Average, Policy
from updaters.state import OptimizationState
from updaters.updater import Updater


def get_updater(
    optimizer: Optimizer,
    state: OptimizationState | None = None,
    *,
    overrides: Mapping[Any, Any] | None = None,
    clip: Any = None,
    nonfinite: Literal["ignore", "raise", "skip"] | None = None,
    accumulate: int | None = None,
    loss_scale: LossScale | float | None = None,
    master_weights: bool | None = None,
    stochastic_rounding: int | None = None,
    average: Average | None = None,
    report: bool = False,
    backend: str = "auto",
) -> Updater:
    """The updater of an optimizer: `update(index, grad, weight)` and `update.step(grads, weights)`.

    All that is left out is off, or as the optimizer's own `policy` has it; `overrides` come before those that it has.

    Args:
        optimizer: the rule and its hyperparameters.
        state: the clock that schedules read, advanced by the caller. Without one the updater has its own, of batch
            size 1, whose iteration each `step` advances (unless a loop over its `batches` does). Threads that
            step at once need a clock of the caller's.
        overrides: what is different for some weights, by pattern: a glob over indices (the parts of a tuple are joined by dots),
            a compiled regular expression, which is searched for, or an index itself. The first that matches counts. It gives
            hyperparameters by name, with `lr_scale`, by which the learning rate is multiplied, and a `clip` of their own, or
            `clip_with`, a pattern further up whose clip, and norm of all gradients, they share; or another optimizer; or
            `FROZEN`.
        clip: one of `updaters.transforms`, or several, for gradients before their decay.
        nonfinite: where a gradient is infinite or NaN, `"ignore"` that; `"raise"` an error, at each call; or `"skip"` the update
            of all weights, and with it all calls that it was accumulated over.
        accumulate: so many calls make one update, from the mean of their gradients.
        loss_scale: by what the loss was multiplied, a number or one of `updaters.loss_scale`; gradients are divided by it.
        master_weights: keep float32 copies of float16 and bfloat16 weights, and update these.
        stochastic_rounding: a seed, by which updates of float16 and bfloat16 weights are rounded at random, without a bias.
        average: an average of the weights, for `evaluation_weight`.
        report: take the norms that `update.report()` shows.
        backend: `"numpy"`, `"numba"` or `"cupy"`; `"auto"` goes by the array, with numba where it is installed.

    Raises:
        TypeError, ValueError: an argument is something else than it may be; or two of them contradict each other.
        ModuleNotFoundError: the backend's library is not installed.

    Example:
        >>> weights = {"w": np.array([[1.0, 2.0]]), "b": np.array([0.5])}
        >>> update = up.get_updater(up.SGD(0.1), overrides={"b": {"lr_scale": 10}})
        >>> update.step({"w": np.array([[1.0, -1.0]]), "b": np.array([0.1])}, weights)
        >>> weights["w"], weights["b"]
        (array([[0.9, 2.1]]), array([0.4]))
    """
    check_optimizer(optimizer)
    given = {
        "overrides": overrides, "clip": clip, "nonfinite": nonfinite, "accumulate": accumulate, "loss_scale": loss_scale,
        "master_weights": master_weights, "stochastic_rounding": stochastic_rounding, "average": average,
    }  # fmt: skip
    said = {name: value for name, value in given.items() if value is not None}
    if overrides is not None and optimizer.policy is not None and isinstance(overrides, Mapping):
        others = as_mapping(optimizer.policy.overrides)
        said["overrides"] = {**overrides, **{pattern: others[pattern] for pattern in others if pattern not in overrides}}
    if said:
        optimizer = attrs.evolve(optimizer, policy=attrs.evolve(optimizer.policy or Policy(), **said))
    return Updater(optimizer, state, backend=backend, report=report)
