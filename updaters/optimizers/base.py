"""What every optimizer is: a frozen value with a rule's name, its hyperparameters and its formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Protocol

import attrs
import numpy as np

from updaters.checks import Interval, field_name
from updaters.optimizers.fields import choice, flag, nonnegative, positive
from updaters.policy import Policy
from updaters.protocols import Schedulable, read
from updaters.state import OptimizationState


class Reading(SimpleNamespace):
    """Hyperparameters as they stand at a clock: floats by name, and None for what is off."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a reading is not for writing to: {name}")

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"no hyperparameter {name!r}, there are {', '.join(vars(self))}; one is made by a helper of "
            "updaters.optimizers.fields, with an annotation, in a class under @attrs.frozen"
        )


class Transform(Protocol):
    """What happens to a gradient between its decay and the rule: a frozen value, as those of `updaters.transforms` are."""

    @property
    def apply(self) -> Callable[..., Any]:
        """The new gradient, from (w, g, *coefficients): a function as a rule's formula is, the same at every asking."""

    def coefficients(self, now: Reading, state: OptimizationState, /) -> Sequence[float]:
        """The coefficients, at a clock at which the optimizer's hyperparameters are `now`."""


def _as_tuple(transforms: Transform | Sequence[Transform]) -> tuple[Any, ...]:
    return tuple(transforms) if isinstance(transforms, (tuple, list)) else (transforms,)


def _check_transforms(instance: object, attribute: attrs.Attribute[Any], transforms: tuple[Any, ...]) -> None:
    for transform in transforms:
        if (
            isinstance(transform, type)
            or not callable(getattr(transform, "apply", None))
            or not hasattr(transform, "coefficients")
        ):
            raise TypeError(f"{field_name(instance, attribute)} must hold transforms of gradients, got {transform!r}")
        if getattr(transform, "of_all", False) or getattr(transform, "of_units", False):
            name = field_name(instance, attribute)
            raise ValueError(f"{name} must be transforms of each weight's gradient, got {transform!r}, a clip for get_updater")


def _check_policy(instance: object, attribute: attrs.Attribute[Any], policy: object) -> None:
    if policy is not None and not isinstance(policy, Policy):
        raise TypeError(f"{field_name(instance, attribute)} must be a Policy or None, got {policy!r}")


@attrs.frozen(kw_only=True, repr=False)
class Optimizer:
    """The base of every rule: an immutable value that holds hyperparameters and no arrays.

    A rule is a subclass under `@attrs.frozen(repr=False)` with four parts:

    - fields, made by the helpers of `updaters.optimizers.fields`, each annotated;
    - `slots`, the names of the arrays it keeps for a weight, which begin as zeros or as `initial` says, and
      `scalars`, the host numbers it keeps, with their first values;
    - `coefficients(state, t, **scalars)`, worked out in float64 on the host once per update, which
      gives the formula's coefficients by name, and the scalars' new values under their own names;
    - `formula(w, g, *slots, *coefficients)`, per element, which gives the new weight and slots.

    Where there are better weights to evaluate with than those that are updated, `evaluation` gives them.

    `slots`, `scalars` and `formula` may be properties where a field chooses between formulas, each a function that
    stays the same, since it is recorded and compiled once.

    A formula may also take the norm of an array, `np.linalg.norm(w)`, its sum or the inner product `np.vdot` of two,
    and combine what comes out as it does coefficients. These are float64 and stay on the weight's device; `numbers`
    names those that are kept for a weight, which begin as slots do and follow them as arguments and results.

    A rule that works on whole arrays, by means or products of matrices, says `whole_array = True`. Its formula is run
    as it is, on arrays in the weight's own shape and library, complex ones included, in the dtype that slots have.

    Attributes:
        weight_decay: the strength of the decay, or None for none.
        decay: `"l2"` adds `weight_decay * w` to the gradient; `"decoupled"` takes `lr * weight_decay * w`
            off the weight before the rule.
        grad_clip: each element of the gradient is clipped to [-grad_clip, grad_clip], before any decay.
        gradient: `"mean"` takes gradients as they are given; `"sum"` divides them by `state.batch_size` first.
        maximize: climb instead of descend; the gradient is negated before any decay.
        transforms: what else happens to the gradient, in order, after an l2 decay; see `updaters.transforms`.
        policy: what `get_updater` is to do besides, where it is not told otherwise; those of `updaters.compat` may have one.
    """

    weight_decay: Schedulable | None = nonnegative(None, optional=True)
    decay: Literal["l2", "decoupled"] = choice("l2", "decoupled", default="l2")
    grad_clip: Schedulable | None = positive(None, optional=True)
    gradient: Literal["mean", "sum"] = choice("mean", "sum", default="mean")
    maximize: bool = flag(False)
    transforms: tuple[Transform, ...] = attrs.field(default=(), converter=_as_tuple, validator=_check_transforms)

    policy: Policy | None = attrs.field(default=None, kw_only=True, validator=_check_policy)

    slots: ClassVar[Any] = ()
    numbers: ClassVar[Any] = ()
    scalars: ClassVar[Any] = {}
    formula: ClassVar[Any]
    whole_array: ClassVar[bool] = False

    def initial(self, state: OptimizationState) -> Mapping[str, float | Literal["w"]]:
        """What slots and numbers hold before a weight's first update, where that is not 0: a number, or `"w"`, the weight."""
        return {}

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a slot for a weight of that shape; another than the weight's only where `whole_array` is set."""
        return shape

    def is_real(self, name: str) -> bool:
        """Whether a slot is real for complex weights too; only where `whole_array` is set."""
        return False

    def for_weight(self, index: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Optimizer:
        """The optimizer for a weight of that shape and dtype: itself, or another, which is the same one at every asking.

        Raises:
            ValueError: there is none; the message names the index.
        """
        return self

    def coefficients(self, state: OptimizationState, t: int, *args: Any, **scalars: Any) -> dict[str, float]:
        """The formula's coefficients, by name, at a weight's t-th update; rules take their scalars by name."""
        raise NotImplementedError(f"{type(self).__name__} has no coefficients")

    def evaluation(self, w: Any, kept: Mapping[str, Any]) -> Any:
        """The weight to evaluate with: `w` itself, or what a rule makes of it and of the slots and scalars it keeps.

        Args:
            w: the weight, in the dtype of the slots.
            kept: the slots and scalars by name. They are not for writing to, and neither is `w`.
        """
        return w

    def at(self, state: OptimizationState) -> Reading:
        """The hyperparameters as they stand at a clock: every scheduler asked, every number checked.

        Raises:
            TypeError, ValueError: a scheduler gave something that its field does not allow.
        """
        numbers, scheduled = self._hyperparameters
        if not scheduled:
            return numbers
        name = type(self).__name__
        now = {field: read(getattr(self, field), state, f"{name}.{field}", interval) for field, interval in scheduled}
        return Reading(**vars(numbers), **now)

    @cached_property
    def _hyperparameters(self) -> tuple[Reading, list[tuple[str, Interval]]]:
        """The hyperparameters that are numbers, or off, and those that are scheduled."""
        fields = [field for field in attrs.fields(type(self)) if "interval" in field.metadata]
        numbers = {field.name: value for field in fields if not callable(value := getattr(self, field.name))}
        return Reading(**numbers), [(field.name, field.metadata["interval"]) for field in fields if field.name not in numbers]

    def __repr__(self) -> str:
        """The rule and what differs from its defaults, the learning rate always."""
        shared = attrs.fields_dict(Optimizer)
        fields = sorted(attrs.fields(type(self)), key=lambda field: (field.kw_only, field.name in shared))
        shown = [
            f"{field.name}={value!r}"
            for field in fields
            if (value := getattr(self, field.name)) != field.default or not field.kw_only
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def check_optimizer(optimizer: object, name: str = "optimizer") -> None:
    """Raise unless this is an optimizer with a rule; `name` is what the error calls it."""
    if not isinstance(optimizer, Optimizer):
        hint = " (the class; call it)" if isinstance(optimizer, type) else ""
        raise TypeError(f"{name} must be an Optimizer, got {optimizer!r}{hint}")
    if not hasattr(optimizer, "formula"):
        raise TypeError(f"{name} must have a rule, and {optimizer!r} has no formula")
