"""OneFlow's clips and its loss scalers: `oneflow.nn.utils.clip_grad_norm_` and `clip_grad_value_`, and those of `oneflow.amp`.

There gradients are clipped between `loss.backward()` and `optimizer.step()`, and a graph is given its scaler; here all are values
that `updaters.get_updater` is given.
"""

from __future__ import annotations

from typing import Literal

from updaters.checks import Interval, number
from updaters.compat._arguments import build, norm_clip, refuse, switch, value_clip
from updaters.loss_scale import GrowthInterval, Static
from updaters.protocols import Schedulable
from updaters.transforms import ClipByGlobalNorm, ClipByValue

__all__ = ["GradScaler", "StaticGradScaler", "clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(
    max_norm: Schedulable, norm_type: float | Literal["inf"] = 2.0, *, error_if_nonfinite: bool = False, fused: bool = False
) -> ClipByGlobalNorm:
    """OneFlow's clip of the norm of all gradients together, for `get_updater(clip=...)` and `update.step`.

    Gradients are multiplied by `max_norm / (norm + 1e-6)` where that is below 1. Orders of 0 and below, -inf among them, are
    errors. So is `error_if_nonfinite=True`, for which `get_updater(nonfinite="raise")` is there; without it gradients with a
    norm that is infinite or NaN are left as they are, where OneFlow makes them 0 or NaN. The two flags go by keyword, since
    OneFlow's own calls have them in two orders.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.clip_grad_norm_(1.0, "inf")
        ClipByGlobalNorm(bound=1.0, p='inf', epsilon=1e-06)
    """
    if switch(error_if_nonfinite, "clip_grad_norm_.error_if_nonfinite"):
        refuse("clip_grad_norm_.error_if_nonfinite", True, 'get_updater(nonfinite="raise") looks at all gradients')
    if switch(fused, "clip_grad_norm_.fused"):
        refuse("clip_grad_norm_.fused", True, "each update is one fused pass as it is")
    return norm_clip("clip_grad_norm_", max_norm, norm_type, "max_norm", "norm_type")


def clip_grad_value_(clip_value: float) -> ClipByValue:
    """OneFlow's clip of each element to `[-clip_value, clip_value]`, for `get_updater(clip=...)`.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.clip_grad_value_(0.5)
        ClipByValue(low=-0.5, high=0.5)
    """
    return value_clip("clip_grad_value_", clip_value)


LARGEST = (2 - 2.0**-23) * 2.0**127
"""The largest float32."""


def GradScaler(
    init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000
) -> GrowthInterval:
    """OneFlow's scaler of losses, for `get_updater(loss_scale=...)`.

    The scale stays between 1 and the largest float32. A `backoff_factor` that is not `1 / growth_factor` is an error, as there.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.GradScaler(growth_interval=1000).growth_interval
        1000
    """
    number(init_scale, "GradScaler.init_scale", Interval(low=1.0, high=LARGEST))
    scale = build(
        GrowthInterval, "GradScaler", {"initial_scale": "init_scale"}, initial_scale=init_scale, growth_factor=growth_factor,
        backoff_factor=backoff_factor, growth_interval=growth_interval, min_scale=1.0, max_scale=LARGEST,
    )  # fmt: skip
    if scale.backoff_factor != 1 / scale.growth_factor:
        why = f"got {backoff_factor!r} and growth_factor={growth_factor!r}"
        raise ValueError(f"GradScaler.backoff_factor must be 1 / growth_factor, {why}")
    return scale


def StaticGradScaler(scale_factor: float) -> Static:
    """OneFlow's scale of losses that stays as it is, for `get_updater(loss_scale=...)`.

    Example:
        >>> from updaters.compat import oneflow
        >>> oneflow.StaticGradScaler(1024.0)
        Static(scale=1024.0)
    """
    return build(Static, "StaticGradScaler", {"scale": "scale_factor"}, scale=scale_factor)
