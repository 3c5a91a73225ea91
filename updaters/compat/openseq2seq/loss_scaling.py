"""OpenSeq2Seq's automatic loss scaling: the names, arguments and numerics of its `optimizers.automatic_loss_scaler`.

`"loss_scaling": "Backoff", "loss_scaling_params": {"step_window": 1000}` of a configuration becomes
`AutomaticLossScaler("Backoff", {"step_window": 1000})`, with `from updaters.compat.openseq2seq import AutomaticLossScaler`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np

from updaters import loss_scale
from updaters.checks import NONNEGATIVE, Interval, number, scalar
from updaters.compat._arguments import build
from updaters.schedules.fields import value_in

__all__ = ["AutomaticLossScaler"]


@attrs.frozen
class LogMaxOfPower(loss_scale.LogMax):
    """`LogMax` with OpenSeq2Seq's overflows, which count as 2**log_max among logarithms, its ceiling, which is 16, and its peak.

    That is the peak of clipped gradients.
    """

    peak_of_clipped: ClassVar[bool] = True

    # From 64 on the square of an overflow is infinite there, in float32, and so are the averages.
    log_max: float = value_in(Interval(high=64.0, low_closed=False, high_closed=False), default=16.0, kw_only=True)

    @property
    def _ceiling(self) -> float:
        return 16.0

    @property
    def _overflowed(self) -> float:
        return math.exp2(self.log_max)


ALGORITHMS: dict[str, type[loss_scale.Backoff] | type[LogMaxOfPower]] = {"Backoff": loss_scale.Backoff, "LogMax": LogMaxOfPower}


class AutomaticLossScaler:
    """OpenSeq2Seq's AutomaticLossScaler.

    Attributes:
        loss_scale: what the loss is to be multiplied by now, and its gradients divided by.
        scaler: the rule that moves it, as a frozen value, `updaters.loss_scale.Backoff` or OpenSeq2Seq's own `LogMax`.
        kept: what the rule keeps from step to step, as numbers by name.

    Args:
        algorithm: `"Backoff"` or `"LogMax"`, in any case.
        params: those of the algorithm's parameters that are to be others: `scale_min`, `scale_max`, `step_factor` and
            `step_window`, or `scale_min`, `scale_max`, `log_max`, `beta1`, `beta2` and `overflow_std_dev`.

    Raises:
        TypeError, ValueError: the algorithm or a parameter is unknown; or a parameter is out of range.

    Conventions:
        With "LogMax" an overflow enters the averages of logarithms as 2**log_max, and the scale goes by 16, whatever
        `log_max` is, as there; `updaters.loss_scale.LogMax` has neither slip.

        Different on purpose: an `amax` of 0 leaves all as it is, where it makes averages and scale NaN for good there;
        one that is NaN is an overflow, even without `has_nan`; with "LogMax", a `scale_min` above 1 holds from the first
        step on; with "Backoff", a window is always `step_window` steps, where TensorFlow's graph may make it one shorter.
        Numbers are float64, and float32 there.

    Example:
        >>> from updaters.compat import openseq2seq
        >>> scaler = openseq2seq.AutomaticLossScaler("Backoff", {"step_window": 2})
        >>> for amax in (np.inf, 0.5, 0.5):
        ...     scaler.update(False, amax)
        ...     print(scaler.loss_scale)
        8192.0
        8192.0
        16384.0
    """

    def __init__(self, algorithm: str = "Backoff", params: Mapping[str, Any] | None = None) -> None:
        word = algorithm.lower().strip() if isinstance(algorithm, str) else None
        name = next((name for name in ALGORITHMS if name.lower() == word), None)
        if name is None:
            raise ValueError(f"AutomaticLossScaler.algorithm must be {' or '.join(map(repr, ALGORITHMS))}, got {algorithm!r}")
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"AutomaticLossScaler.params must be a mapping or None, got {params!r}")
        kind = ALGORITHMS[name]
        names = {field.name: f"params[{field.name!r}]" for field in attrs.fields(kind)}
        for given in params or {}:
            if given not in names:
                known = ", ".join(names)
                raise ValueError(f"AutomaticLossScaler.params[{given!r}] is no parameter of {name}; there are {known}")
        self.scaler: loss_scale.Backoff | LogMaxOfPower = build(kind, "AutomaticLossScaler", names, **(params or {}))
        self.kept = self.scaler.initial()

    @property
    def loss_scale(self) -> float:
        """What the loss is to be multiplied by now, and its gradients divided by."""
        return self.kept["scale"]

    def update(self, has_nan: Any, amax: Any) -> None:
        """Take the gradients of a step into account, once they are divided by the scale.

        Args:
            has_nan: whether there is a NaN among them.
            amax: their largest magnitude; an infinite one is an overflow.

        Raises:
            TypeError, ValueError: `has_nan` is no boolean, or `amax` no number of at least 0; nothing has changed then.
        """
        nan, peak = scalar(has_nan), scalar(amax)
        if not isinstance(nan, bool):
            raise TypeError(f"AutomaticLossScaler.update(has_nan) must be True or False, got {has_nan!r}")
        if not isinstance(peak, (float, np.floating)) or math.isfinite(peak):
            peak = number(peak, "AutomaticLossScaler.update(amax)", NONNEGATIVE)
        self.kept = self.scaler.after(self.kept, not nan and math.isfinite(peak), peak)

    def __repr__(self) -> str:
        return f"AutomaticLossScaler(scaler={self.scaler!r}, kept={self.kept!r})"
