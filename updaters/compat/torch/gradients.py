"""PyTorch's clips and its loss scaler: `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_`, and `torch.amp.GradScaler`.

There they are called between `loss.backward()` and `optimizer.step()`; here they are values that `updaters.get_updater` is given.
"""

from __future__ import annotations

from typing import Literal

from updaters.checks import Interval, number
from updaters.compat._arguments import build, norm_clip, refuse, switch, value_clip
from updaters.loss_scale import GrowthInterval
from updaters.protocols import Schedulable
from updaters.transforms import ClipByGlobalNorm, ClipByValue

__all__ = ["GradScaler", "clip_grad_norm_", "clip_grad_value_"]


def _check_foreach(called: str, foreach: object) -> None:
    if foreach is not None and foreach is not False:
        refuse(f"{called}.foreach", foreach, "each update is one fused pass as it is")


def clip_grad_norm_(
    max_norm: Schedulable, norm_type: float | Literal["inf"] = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> ClipByGlobalNorm:
    """PyTorch's clip of the norm of all gradients together, for `get_updater(clip=...)` and `update.step`.

    Gradients are multiplied by `max_norm / (norm + 1e-6)` where that is below 1. Of complex ones the moduli count. Orders of 0
    and below, and a `max_norm` of 0, are errors. So is `error_if_nonfinite=True`, for which
    `get_updater(nonfinite="raise")` is there; without it gradients with a norm that is infinite or NaN are left as they are,
    where PyTorch makes them 0 or NaN. Weights that no group has count for nothing, where PyTorch counts all that it is given.

    Example:
        >>> from updaters.compat import torch as optim
        >>> weights = [np.zeros(1), np.zeros(1)]
        >>> update = up.get_updater(optim.SGD(lr=1.0), clip=optim.clip_grad_norm_(1.0))
        >>> update.step([np.array([3.0]), np.array([-4.0])], weights)
        >>> print(*weights)
        [-0.59999988] [0.79999984]
    """
    _check_foreach("clip_grad_norm_", foreach)
    if switch(error_if_nonfinite, "clip_grad_norm_.error_if_nonfinite"):
        refuse("clip_grad_norm_.error_if_nonfinite", True, 'get_updater(nonfinite="raise") looks at all gradients')
    return norm_clip("clip_grad_norm_", max_norm, norm_type, "max_norm", "norm_type")


def clip_grad_value_(clip_value: float, foreach: bool | None = None) -> ClipByValue:
    """PyTorch's clip of each element to `[-clip_value, clip_value]`, for `get_updater(clip=...)`.

    Example:
        >>> from updaters.compat import torch as optim
        >>> optim.clip_grad_value_(0.5)
        ClipByValue(low=-0.5, high=0.5)
    """
    _check_foreach("clip_grad_value_", foreach)
    return value_clip("clip_grad_value_", clip_value)


WIDEST = 2.0**126
"""The largest number of which the reciprocal is a float32 that no GPU flushes to 0."""


def GradScaler(
    init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000,
    enabled: bool = True,
) -> GrowthInterval | None:  # fmt: skip
    """PyTorch's scaler of losses, for `get_updater(loss_scale=...)`; None where it is not enabled.

    `scaler.scale(loss)` is `update.scale_loss(loss)`, `scaler.get_scale()` is `update.loss_scale`, and `update.step` does what
    `unscale_`, `step` and `update` do. An iteration that is skipped is held, so that schedules on the iteration clock wait;
    PyTorch's do not. There is no first argument `device`. The scale is a float64 between 2**-126 and 2**126, where PyTorch's is a
    float32 that enough overflows make 0 for good.

    Example:
        >>> from updaters.compat import torch as optim
        >>> update = up.get_updater(optim.SGD(lr=1.0), loss_scale=optim.GradScaler(init_scale=4.0))
        >>> weight = np.array([1.0])
        >>> update.step({"w": np.array([np.inf])}, {"w": weight})
        >>> weight, update.loss_scale
        (array([1.]), 2.0)
    """
    number(init_scale, "GradScaler.init_scale", Interval(low=1 / WIDEST, high=WIDEST))
    scale = build(
        GrowthInterval, "GradScaler", {"initial_scale": "init_scale"}, initial_scale=init_scale, growth_factor=growth_factor,
        backoff_factor=backoff_factor, growth_interval=growth_interval, min_scale=1 / WIDEST, max_scale=WIDEST,
    )  # fmt: skip
    return scale if switch(enabled, "GradScaler.enabled") else None
