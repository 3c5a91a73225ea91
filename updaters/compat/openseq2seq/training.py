"""OpenSeq2Seq's `optimize_loss` and what belongs to it: an updater that does to gradients what a training step did there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, signature
from math import hypot
from typing import Any, Literal, TypeVar

import attrs
import numpy as np

from updaters import loss_scale as scales
from updaters import transforms
from updaters.arrays import Array, as_reals, check_weight
from updaters.checks import NONNEGATIVE, POSITIVE, listed, number, whole
from updaters.compat._arguments import build
from updaters.compat.openseq2seq import rules
from updaters.compat.openseq2seq.loss_scaling import AutomaticLossScaler
from updaters.get import get_updater
from updaters.learning_rate import per_step
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.policy import Policy
from updaters.protocols import LearningRateScheduler, get_learning_rate
from updaters.report import Report
from updaters.schedules.base import Schedule
from updaters.state import OptimizationState
from updaters.updater import Updater

__all__ = ["MixedPrecisionOptimizerWrapper", "get_regularization_loss", "optimize_loss", "summaries_of"]

Rule = TypeVar("Rule", bound=Optimizer)

OPTIMIZER_CLS_NAMES: Mapping[str, Callable[..., Optimizer]] = {
    "Adagrad": rules.Adagrad,
    "Adam": rules.Adam,
    "AdamW": rules.AdamW,
    "Ftrl": rules.Ftrl,
    "Momentum": rules.Momentum,
    "NovoGrad": rules.NovoGrad,
    "RMSProp": rules.RMSProp,
    "SGD": rules.SGD,
}
"""The optimizers that `optimize_loss` knows by name."""

OPTIMIZER_SUMMARIES = (
    "learning_rate",
    "gradients",
    "gradient_norm",
    "global_gradient_norm",
    "variables",
    "variable_norm",
    "larc_summaries",
    "loss_scale",
)
"""What `optimize_loss` and `summaries_of` can be asked for."""

OF_NORMS = {"gradient_norm", "global_gradient_norm", "variable_norm", "larc_summaries"}
LARC_PARAMS = {"larc_eta": "eta", "larc_mode": "mode", "min_update": "min_update", "epsilon": "epsilon"}


def optimize_loss(
    optimizer: str | Optimizer | Callable[..., Optimizer], optimizer_params: Mapping[str, Any] | None = None,
    learning_rate_decay_fn: Schedule | Callable[[int], Any] | None = None,
    dtype: Literal["float16", "float32", "mixed"] | type[np.floating[Any]] | np.dtype[Any] = "float32",
    clip_gradients: float | None = None, summaries: Sequence[str] | None = None, larc_params: Mapping[str, Any] | None = None,
    loss_scaling: float | str = 1.0, loss_scaling_params: Mapping[str, Any] | None = None, iter_size: int = 1,
    state: OptimizationState | None = None, overrides: Mapping[Any, Any] | None = None, backend: str = "auto",
) -> Updater:  # fmt: skip
    """OpenSeq2Seq's optimize_loss, as an updater: `update.step(grads, weights)` is what its training operation was.

    In order: gradients are divided by the loss scale; averaged over `iter_size` calls; clipped, or scaled by LARC; tested, for a
    loss scale that moves; and applied by the rule, to float32 masters of half-precision weights in mixed precision. A group of
    calls that overflows is left out as a whole, and the global step then stays where it is, and with it the learning rate.

    Args:
        optimizer: a name, of those in `OPTIMIZER_CLS_NAMES`, with TensorFlow 1's numerics; a class, or a function, that takes
            `learning_rate` or `lr`; or one of our optimizers.
        optimizer_params: the arguments of a name, a class or a function.
        learning_rate_decay_fn: a function of the global step, which is 0 at first and counts applied updates; or a schedule, as
            those of `lr_policies` are. Without one the learning rate is in `optimizer_params`, or the optimizer's own.
        dtype: `"mixed"` for masters and a loss scale; else `"float32"` or `"float16"`, which change nothing, since each weight
            goes by its own dtype.
        clip_gradients: the largest norm of all gradients together.
        summaries: what `summaries_of(update, summaries)` will be asked for, of those in `OPTIMIZER_SUMMARIES`.
        larc_params: `larc_eta`, and where they are to be others `larc_mode`, `min_update` and `epsilon`.
        loss_scaling: in mixed precision, by what the loss was multiplied: a number; or `"Backoff"` or `"LogMax"` in any case,
            with which `update.loss_scale` says it before each call.
        loss_scaling_params: those of the algorithm's parameters that are to be others.
        iter_size: so many calls make one update. As there, nothing is clipped before the last of them.
        state: the clock, as `get_updater` takes it.
        overrides: what is different for some weights, as `get_updater` takes it.
        backend: as `get_updater` takes it.

    Raises:
        TypeError, ValueError: an argument is something else than it may be; or there are both `clip_gradients` and `larc_params`,
            an AttributeError there.

    Conventions:
        There are no `loss`, `var_list`, `on_horovod`, `skip_update_ph` and `model`: gradients are yours, of the loss times
        `update.loss_scale`, averaged over workers; weights that are to stay as they are get no gradient, or
        `overrides={pattern: updaters.FROZEN}`; and every call counts, so that the `iter_size`-th is the one that applies.

        A regularizer's gradient is part of the gradient there, before any clip; in mixed precision it is taken at the float32
        master, and multiplied by the loss scale before all is divided by that. `overrides={pattern: {"weight_decay": scale,
        "decay": "l2"}}` is the same where nothing is clipped and the optimizer has no decay of its own, whose place it takes; it
        comes after clips and LARC otherwise: add `scale * w`, times `update.loss_scale`, to the gradients that you give instead.

        Different on purpose: where not all gradients are finite and the loss scale is a number, `clip_gradients` leaves them as
        they are, where there the others become 0; t counts a weight's own updates; moments of half-precision weights are
        float32 without masters too. What else the scalers differ in, `AutomaticLossScaler` says.

    Example:
        >>> from updaters.compat.openseq2seq import lr_policies, optimize_loss
        >>> rate = lr_policies.poly_decay(0.5, 10)
        >>> update = optimize_loss("Momentum", {"momentum": 0.9}, rate, dtype="mixed", loss_scaling="Backoff")
        >>> weights = {"w": np.array([1.0, -2.0])}
        >>> update.step({"w": np.array([np.inf, 0.0])}, weights)
        >>> update.loss_scale, weights["w"]
        (8192.0, array([ 1., -2.]))
        >>> update.step({"w": update.scale_loss(np.array([1.0, -2.0]))}, weights)
        >>> weights["w"]
        array([ 0.5, -1. ])
    """
    rate = _rate(learning_rate_decay_fn)
    made = _optimizer(optimizer, _mapping(optimizer_params, "optimizer_params"), rate)
    scale = _loss_scale(loss_scaling, loss_scaling_params)
    wanted = _summaries(summaries, "optimize_loss.summaries")
    calls = whole(iter_size, "optimize_loss.iter_size", 1)
    if clip_gradients is not None and larc_params is not None:
        raise ValueError(
            f"optimize_loss takes either clip_gradients or larc_params, got {clip_gradients!r} and {larc_params!r}"
        )  # fmt: skip
    clip: Any = None
    if clip_gradients is not None:
        clip = build(transforms.ClipByGlobalNorm, "optimize_loss", {"bound": "clip_gradients"}, bound=clip_gradients)
    if larc_params is not None:
        clip = _larc(_mapping(larc_params, "larc_params"))
    return get_updater(
        MixedPrecisionOptimizerWrapper(made, scale) if _is_mixed(dtype) else made,
        state,
        clip=clip,
        accumulate=calls if calls > 1 else None,
        overrides=overrides,
        report=bool(OF_NORMS & wanted),
        backend=backend,
    )


def MixedPrecisionOptimizerWrapper(optimizer: Rule, loss_scale: float | AutomaticLossScaler | None = None) -> Rule:
    """OpenSeq2Seq's MixedPrecisionOptimizerWrapper: an optimizer with float32 masters of weights, and a loss scale.

    What comes back is the optimizer with a `policy`, for `get_updater`. Weights of half precision get masters, which norms, clips
    and decays go by, and which are stored in the weights within the range of their dtype. Of a scaler the updater takes the rule;
    where it has moved to, `update.loss_scale` says.

    Args:
        optimizer: one of our optimizers.
        loss_scale: a number, an `AutomaticLossScaler` that has not moved, or None for 1.

    Raises:
        TypeError, ValueError: an argument is something else than it may be.

    Example:
        >>> from updaters.compat.openseq2seq import MixedPrecisionOptimizerWrapper
        >>> MixedPrecisionOptimizerWrapper(up.SGD(0.1), 128.0).policy
        Policy(loss_scale=Static(scale=128.0), master_weights=True)
    """
    check_optimizer(optimizer)
    scale: scales.LossScale | None = None
    name = "MixedPrecisionOptimizerWrapper.loss_scale"
    if isinstance(loss_scale, AutomaticLossScaler):
        scale = loss_scale.scaler
        if loss_scale.kept != scale.initial():
            raise ValueError(f"{name} must be a scaler that has not moved, got {loss_scale!r}")
    elif loss_scale is not None:
        scale = scales.Static(number(loss_scale, name, POSITIVE, kinds=", an AutomaticLossScaler or None"))
    policy: Policy = attrs.evolve(optimizer.policy or Policy(), master_weights=True, loss_scale=scale)
    return attrs.evolve(optimizer, policy=policy)


def get_regularization_loss(scale: float, weights: Mapping[Any, Array] | Sequence[Array]) -> float:
    """OpenSeq2Seq's get_regularization_loss: the sum of the l2 regularizers of some weights.

        loss = scale / 2 * sum of |w|**2 over all elements of all weights

    Its gradient is `scale * w`. In mixed precision weights of half precision have no part in it there, since their regularizers
    are felt in their masters' gradients alone: leave them out.

    Args:
        scale: the strength that all of the regularizers have, as TensorFlow's `l2_regularizer` takes it.
        weights: the weights that have one, by index or in a sequence. Without any the loss is 0.

    Raises:
        TypeError, ValueError: an argument is something else than it may be.

    Conventions:
        There TensorFlow has collected the losses, and `scope` and `name` choose among them and name the sum. Squares are summed
        in float64.

    Example:
        >>> from updaters.compat.openseq2seq import get_regularization_loss
        >>> get_regularization_loss(0.5, {"a": np.array([1.0, 2.0]), "b": np.array([3.0])})
        3.5
    """
    strength = number(scale, "get_regularization_loss.scale", NONNEGATIVE)
    if not isinstance(weights, (Mapping, Sequence)) or isinstance(weights, (str, bytes)):
        raise TypeError(f"get_regularization_loss.weights must be a mapping or a sequence of arrays, got {weights!r}")
    total = 0.0
    for index, weight in weights.items() if isinstance(weights, Mapping) else enumerate(weights):
        parts = as_reals(check_weight(weight, index, written=False)).astype(np.float64).ravel()
        total += float(np.vdot(parts, parts))
    return strength / 2 * total


def summaries_of(update: Updater, summaries: Sequence[str] = OPTIMIZER_SUMMARIES) -> dict[str, float]:
    """The numbers of the last call under the names that OpenSeq2Seq's summaries have, for a logger.

    - "learning_rate": the rate of that call.
    - "loss_scale": by what its loss was multiplied.
    - "global_gradient_norm": the norm of all gradients; with a clip also "global_clipped_gradient_norm", the norm after it.
    - "gradient_norm": as "gradient_norm/INDEX", the norm of each gradient, after a clip and before LARC.
    - "variable_norm": as "variable_norm/INDEX", the norm of each weight before its update.
    - "larc_summaries": with LARC, as "larc_grad_update/INDEX" its factor, as "larc_final_lr/INDEX" the learning rate times that,
      and, where it clips, as "larc_clip_on/INDEX" whether it did.
    - "gradients" and "variables", histograms there, are arrays of your own, and add nothing.

    A call that only accumulated, or was skipped, has no norms.

    Args:
        update: the updater, as `optimize_loss` gives it.
        summaries: which of these.

    Raises:
        TypeError, ValueError: a name is unknown; or norms are asked for that the updater does not take.

    Example:
        >>> from updaters.compat.openseq2seq import optimize_loss, summaries_of
        >>> update = optimize_loss("SGD", {"learning_rate": 0.5}, clip_gradients=2.5, summaries=["gradient_norm"])
        >>> update.step({"w": np.array([3.0, 4.0])}, {"w": np.array([1.0, 0.0])})
        >>> summaries_of(update, ["learning_rate", "gradient_norm"])
        {'learning_rate': 0.5, 'gradient_norm/w': 2.5}
    """
    wanted = _summaries(summaries, "summaries_of.summaries")
    norms = wanted & OF_NORMS
    if norms and not update.reports:
        raise ValueError(
            f"summaries_of.summaries: {listed(norms)} need norms; give optimize_loss these names, or set update.reports"
        )
    report = update.report()
    if report.what == "nothing":
        return {}
    clock = attrs.evolve(update.state)
    clock.release()  # of an iteration that is held the rate is the one that it was held with
    lr = get_learning_rate(update.optimizer.lr, clock)  # type: ignore[attr-defined]  # all rules have one
    found = dict(_numbers(report, update.policy.clip, lr))
    return {name: value for kind in OPTIMIZER_SUMMARIES if kind in wanted for name, value in found.get(kind, {}).items()}


def _numbers(report: Report, clips: Sequence[Any], lr: float) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The numbers of each summary, by their names."""
    yield "learning_rate", {"learning_rate": lr}
    yield "loss_scale", {"loss_scale": report.loss_scale}
    norms = {index: row.gradient_norm for index, row in report.weights.items() if row.gradient_norm is not None}
    if not norms:
        return
    factors = {index: row.clip_factor or 0.0 for index, row in report.weights.items()}
    clipped = {index: norm * factors[index] for index, norm in norms.items()}
    larc = next((clip for clip in clips if isinstance(clip, transforms.LARC)), None)
    total = {"global_gradient_norm": hypot(*norms.values())}
    if any(isinstance(clip, transforms.ClipByGlobalNorm) for clip in clips):
        total["global_clipped_gradient_norm"] = hypot(*clipped.values())
    yield "global_gradient_norm", total
    yield "gradient_norm", {f"gradient_norm/{index}": norm for index, norm in (norms if larc else clipped).items()}
    yield "variable_norm", {f"variable_norm/{index}": report.weights[index].weight_norm or 0.0 for index in norms}
    if larc is not None:
        of_larc = {}
        for index in norms:
            if larc.mode == "clip":
                of_larc[f"larc_clip_on/{index}"] = float(factors[index] < 1)
            of_larc[f"larc_grad_update/{index}"] = factors[index]
            of_larc[f"larc_final_lr/{index}"] = lr * factors[index]
        yield "larc_summaries", of_larc


# The arguments of optimize_loss


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"optimize_loss.{name} must be a mapping, got {value!r}")
    return value


def _rate(function: Any) -> LearningRateScheduler | None:
    if function is None or isinstance(function, Schedule):
        return function
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"optimize_loss.learning_rate_decay_fn must be a function of the global step or one of lr_policies, got {function!r}"
        )
    return per_step(function)


def _optimizer(optimizer: Any, params: Mapping[str, Any], rate: LearningRateScheduler | None) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if params:
            raise ValueError(f"optimize_loss.optimizer_params go with a name, a class or a function, got {params!r}")
        return optimizer if rate is None else attrs.evolve(optimizer, lr=rate)  # type: ignore[call-arg]  # all rules have one
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZER_CLS_NAMES:
            raise ValueError(f"optimize_loss.optimizer must be one of {listed(OPTIMIZER_CLS_NAMES)}, got {optimizer!r}")
        optimizer = OPTIMIZER_CLS_NAMES[optimizer]
    if not callable(optimizer):
        raise TypeError(f"optimize_loss.optimizer must be a name, a class, a function or an optimizer, got {optimizer!r}")
    called = getattr(optimizer, "__name__", repr(optimizer))
    parameters = signature(optimizer).parameters.values()
    takes = {one.name: one for one in parameters if one.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
    takes_any = any(one.kind is Parameter.VAR_KEYWORD for one in parameters)
    its_rate = "lr" if "lr" in takes and "learning_rate" not in takes else "learning_rate"
    for name in params:
        if name not in takes and not takes_any:
            raise TypeError(f"optimize_loss.optimizer_params[{name!r}] is no argument of {called}; there are {listed(takes)}")
    if rate is not None and its_rate in params:
        raise TypeError(
            f"optimize_loss takes either learning_rate_decay_fn or optimizer_params[{its_rate!r}], got {rate!r} and "
            f"{params[its_rate]!r}"
        )
    given = {**params} if rate is None else {**params, its_rate: rate}
    for name, one in takes.items():
        if one.default is Parameter.empty and name not in given:
            what = f"{name!r}, or learning_rate_decay_fn be given" if name == its_rate else f"{name!r}"
            raise TypeError(f"optimize_loss.optimizer_params must have {what}, for {called}, got {dict(params)!r}")
    made = optimizer(**given)
    check_optimizer(made, f"what optimize_loss.optimizer, {called}, gives")
    return made  # type: ignore[no-any-return]


def _larc(params: Mapping[str, Any]) -> transforms.LARC:
    for name in params:
        if name not in LARC_PARAMS:
            raise ValueError(f"optimize_loss.larc_params[{name!r}] is no parameter of LARC; there are {listed(LARC_PARAMS)}")
    if "larc_eta" not in params:
        raise ValueError(f"optimize_loss.larc_params must have 'larc_eta', got {params!r}")
    names = {field: f"larc_params[{name!r}]" for name, field in LARC_PARAMS.items()}
    fields = {LARC_PARAMS[name]: value for name, value in params.items()}
    return build(transforms.LARC, "optimize_loss", names, **fields)


def _loss_scale(loss_scaling: Any, params: Mapping[str, Any] | None) -> float | AutomaticLossScaler:
    if isinstance(loss_scaling, str):
        names = {"algorithm": "loss_scaling", "params": "loss_scaling_params"}
        return build(AutomaticLossScaler, "optimize_loss", names, algorithm=loss_scaling, params=params)
    if params is not None:
        raise ValueError(f"optimize_loss.loss_scaling_params go with 'Backoff' or 'LogMax', got {params!r} with {loss_scaling!r}")
    return number(loss_scaling, "optimize_loss.loss_scaling", POSITIVE, kinds=", 'Backoff' or 'LogMax'")


def _is_mixed(dtype: Any) -> bool:
    if isinstance(dtype, str) and dtype == "mixed":
        return True
    try:
        known = np.dtype(dtype) in (np.float16, np.float32)
    except (TypeError, ValueError):
        known = False
    if dtype is None or not known:
        raise ValueError(f"optimize_loss.dtype must be 'float16', 'float32' or 'mixed', got {dtype!r}")
    return False


def _summaries(summaries: Sequence[str] | None, name: str) -> set[str]:
    if summaries is None:
        return set()
    if isinstance(summaries, str) or not isinstance(summaries, Sequence):
        raise TypeError(f"{name} must be a sequence of names, got {summaries!r}")
    for one in summaries:
        if one not in OPTIMIZER_SUMMARIES:
            raise ValueError(f"{name} must be of {', '.join(map(repr, OPTIMIZER_SUMMARIES))}, got {one!r}")
    return set(summaries)
