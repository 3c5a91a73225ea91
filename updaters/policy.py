"""What an updater does beyond its rule: a value that `get_updater` makes of its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Real
from typing import Any, Literal, TypeAlias

import attrs

from updaters.checks import Interval, number, whole
from updaters.loss_scale import LossScale, Static
from updaters.protocols import Schedulable


class Frozen(Enum):
    """The one value `FROZEN`: in `overrides`, weights that stay as they are."""

    FROZEN = "FROZEN"

    def __repr__(self) -> str:
        return "FROZEN"


FROZEN = Frozen.FROZEN

Pattern: TypeAlias = str | int | tuple[Any, ...] | re.Pattern[str]
"""Which weights: a glob over indices, a regular expression, or an index itself."""


def _as_settings(settings: Any) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in settings.items())


@attrs.frozen
class Override:
    """What is different for the weights that a pattern matches.

    Attributes:
        pattern: a glob, a regular expression, or an index.
        settings: hyperparameters by name, with `lr_scale`, `clip` and `clip_with`; another optimizer; or `FROZEN`.
    """

    pattern: Pattern
    settings: Any = attrs.field(converter=_as_settings)

    @property
    def fields(self) -> dict[str, Any]:
        """The hyperparameters, where it is some of these that are different."""
        return dict(self.settings) if isinstance(self.settings, tuple) else {}


def _as_overrides(given: Mapping[Any, Any] | Iterable[Override]) -> tuple[Override, ...]:
    if not isinstance(given, Mapping):
        return tuple(given) if isinstance(given, Iterable) else (given,)
    return tuple(Override(pattern, settings) for pattern, settings in given.items())


def as_clips(clip: Any) -> tuple[Any, ...]:
    """A clip, several of them, or None for none, as a tuple."""
    if clip is None:
        return ()
    return tuple(clip) if isinstance(clip, (tuple, list)) else (clip,)


def check_clips(clips: tuple[Any, ...], name: str) -> None:
    """Raise unless these are transforms of gradients, of which one at most needs all gradients."""
    for clip in clips:
        if isinstance(clip, type) or not callable(getattr(clip, "apply", None)) or not hasattr(clip, "coefficients"):
            raise TypeError(f"{name} must hold transforms of gradients, as those of updaters.transforms are, got {clip!r}")
    for kind in ("of_all", "of_units"):
        several = [clip for clip in clips if getattr(clip, kind, False)]
        if len(several) > 1:
            raise ValueError(f"{name} takes one clip of its kind, got {' and '.join(map(repr, several))}")
    kinds = [(getattr(clip, "of_all", False), getattr(clip, "of_units", False)) for clip in clips]
    if (True, False) in kinds and (False, True) in kinds[kinds.index((True, False)) :]:
        raise ValueError(f"{name}: a clip of units comes before one of the norm of all gradients, got {clips!r}")


def _check_clips(instance: object, attribute: attrs.Attribute[Any], clips: tuple[Any, ...]) -> None:
    check_clips(clips, attribute.name)


def _check_overrides(instance: object, attribute: attrs.Attribute[Any], overrides: tuple[Override, ...]) -> None:
    for override in overrides:
        if not isinstance(override, Override):
            raise TypeError(f"overrides must be a mapping from patterns, got {override!r}")


def _as_loss_scale(value: Any) -> Any:
    if not isinstance(value, Real) or isinstance(value, bool):
        return value
    return Static(float(value))


PARTS = ("moves", "needs_peak", "initial", "after")
"""What a loss scale has."""


def _check_loss_scale(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, type) or not all(hasattr(value, name) for name in PARTS)):
        raise TypeError(f"loss_scale must be a number or one of updaters.loss_scale, got {value!r}")


def _check_nonfinite(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value not in ("ignore", "raise", "skip"):
        raise ValueError(f"nonfinite must be 'ignore', 'raise' or 'skip', got {value!r}")


def _as_seed(value: Any) -> int | None:
    return None if value is None else whole(value, "stochastic_rounding")


def _as_count(value: Any) -> int:
    return whole(value, "accumulate", 1)


def _switch(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, got {value!r}")


@attrs.frozen
class Average:
    """An average of the weights, over their updates.

        average = keep * average + (1 - keep) * w

    The first average is the weight. `update.evaluation_weight(index, weight)` gives it.

    Attributes:
        keep: the share that the average keeps, in [0, 1].
        overwrite_every: after so many updates the weight itself becomes the average; None for never.
        every_call: average at calls that only accumulate too, and overwrite at all calls of such an update, as Keras does.

    Raises:
        TypeError, ValueError: a field is out of range.

    References:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.

    Example:
        >>> weight = np.array([1.0])
        >>> update = up.get_updater(up.SGD(0.1), average=up.Average(0.5))
        >>> for _ in range(2):
        ...     update("w", np.array([1.0]), weight)
        >>> weight, update.evaluation_weight("w", weight)
        (array([0.8]), array([0.85]))
    """

    keep: Schedulable = 0.99
    overwrite_every: int | None = None
    every_call: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not callable(self.keep) or isinstance(self.keep, type):
            number(self.keep, "Average.keep", Interval(high=1.0), kinds=" or a scheduler")
        if self.overwrite_every is not None:
            whole(self.overwrite_every, "Average.overwrite_every", 1)
        if not isinstance(self.every_call, bool):
            raise TypeError(f"Average.every_call must be True or False, got {self.every_call!r}")


@attrs.frozen(kw_only=True, repr=False)
class Policy:
    """What an updater does beyond its rule. `get_updater` makes it of its arguments of the same names, and says what they are.

    An optimizer may carry one as its `policy`, as those of `updaters.compat` do; what `get_updater` is given goes first.

    Attributes:
        clip: transforms of the gradients, before their decay.
        nonfinite: what to do where a gradient is not finite.
        accumulate: the calls that make one update.
        loss_scale: by what the loss was multiplied, and how that changes.
        master_weights: float32 copies of weights of half precision.
        stochastic_rounding: the seed by which weights of half precision are rounded at random.
        average: an average of the weights.
        overrides: what is different for some weights.
        count_calls: schedules on the iteration clock count the calls that only accumulate too.

    Raises:
        TypeError, ValueError: a field is out of range; or two of them contradict each other.

    Example:
        >>> adam = up.Adam(0.1, policy=up.Policy(clip=up.transforms.ClipByNorm(1.0), accumulate=4))
        >>> up.get_updater(adam, accumulate=2).policy
        Policy(clip=(ClipByNorm(bound=1.0),), accumulate=2)
    """

    clip: tuple[Any, ...] = attrs.field(default=(), converter=as_clips, validator=_check_clips)
    nonfinite: Literal["ignore", "raise", "skip"] | None = attrs.field(default=None, validator=_check_nonfinite)
    accumulate: int = attrs.field(default=1, converter=_as_count)
    loss_scale: LossScale | None = attrs.field(default=None, converter=_as_loss_scale, validator=_check_loss_scale)
    master_weights: bool = attrs.field(default=False, validator=_switch)
    stochastic_rounding: int | None = attrs.field(default=None, converter=_as_seed)
    average: Average | None = None
    overrides: tuple[Override, ...] = attrs.field(default=(), converter=_as_overrides, validator=_check_overrides)
    count_calls: bool = attrs.field(default=False, validator=_switch)

    def __attrs_post_init__(self) -> None:
        if self.master_weights and self.stochastic_rounding is not None:
            raise ValueError("master_weights and stochastic_rounding are two ways to the same end; choose one")
        if self.average is not None and not isinstance(self.average, Average):
            raise TypeError(f"average must be an Average or None, got {self.average!r}")
        if self.moves and self.nonfinite not in (None, "skip"):
            raise ValueError(
                f"nonfinite must be 'skip', or left out, where {self.loss_scale!r} backs off, got {self.nonfinite!r}"
            )

    def __repr__(self) -> str:
        fields = [field for field in attrs.fields(Policy) if getattr(self, field.name) != field.default]
        return f"Policy({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in fields)})"

    @property
    def moves(self) -> bool:
        """Whether the loss scale changes."""
        return self.loss_scale is not None and self.loss_scale.moves

    @property
    def decision(self) -> Literal["raise", "skip"] | None:
        """What a gradient that is not finite leads to; None where none is looked for."""
        if self.moves or self.nonfinite == "skip":
            return "skip"
        return "raise" if self.nonfinite == "raise" else None
