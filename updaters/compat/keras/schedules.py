"""Keras's schedules: the names, arguments and values of `keras.optimizers.schedules` 3.15.

`keras.optimizers.schedules.ExponentialDecay(0.1, 1000, 0.96)` becomes `schedules.ExponentialDecay(0.1, 1000, 0.96)`, with
`from updaters.compat.keras import schedules`, and is the `learning_rate` of an optimizer. The k-th update sees the rate of
step k - 1, as there; `clock="epoch"` counts epochs in the place of updates. `LinearCosineDecay` and `NoisyLinearCosineDecay` are
Keras 2's.

Arguments are as Keras has them, and what a docstring here says nothing about is what it is there. `serialize` and `deserialize`
write and read Keras's own dictionaries. Rates are float64, where Keras's are float32: up to 3e-6 of the highest one apart. An
integer as initial rate is the number that it is; in Keras it makes integers of all others.

There is no `LearningRateSchedule` to subclass, since a schedule here is called with the clock. One of your own with Keras's
`__call__(self, step)` needs no base: give the optimizer `updaters.learning_rate.per_step(Mine(...))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import floor
from typing import Any, ClassVar, Self, TypeVar

import attrs
import numpy as np

from updaters import learning_rate as curves
from updaters.checks import NONNEGATIVE, number, whole
from updaters.compat._arguments import build, lasting
from updaters.compat._schedules import zero_based
from updaters.schedules.base import Schedule
from updaters.schedules.fields import Clock, driven_by
from updaters.state import OptimizationState

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LinearCosineDecay",
    "NoisyLinearCosineDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

S = TypeVar("S", bound=Schedule)

MODULE = "keras.optimizers.schedules"


def _several(value: Any) -> Any:
    """A list or the like as a tuple; all else as it is, for the schedule to find fault with."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """What a field holds, with Python's numbers in the place of NumPy's."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _whole(steps: float, name: str) -> int:
    """Steps as an int, which may come as a float."""
    return whole(int(steps) if isinstance(steps, float) and steps >= 0 and steps.is_integer() else steps, name)


def _name(unless_given: str | None) -> Any:
    """A field that holds a name, which does nothing but come back from `get_config`."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, str | None):
            raise TypeError(f"{type(instance).__name__}.name must be a string or None, got {value!r}")

    return attrs.field(default=unless_given, validator=check)


def _ours() -> Any:
    """The last field of a schedule of Keras's, which holds the schedule of ours that the others amount to."""
    return attrs.field(default=attrs.Factory(lambda schedule: schedule._made(), takes_self=True), init=False)


class KerasSchedule(Schedule):
    """The base of Keras's schedules.

    A subclass under `@attrs.frozen(repr=False)` has Keras's arguments as fields, then `clock` and `schedule`, and gives `_made`.
    """

    __slots__ = ()
    clock: Clock
    schedule: Schedule

    NAMES: ClassVar[dict[str, str]] = {"value": "initial_learning_rate", "length": "decay_steps", "every": "decay_steps"}

    def _made(self) -> Schedule:
        raise NotImplementedError

    def _built(self, rule: type[S], /, **fields: Any) -> S:
        return build(rule, type(self).__name__, self.NAMES, **fields, clock=self.clock)

    def at(self, epoch: int, iteration: int, state: OptimizationState) -> float:
        return self.schedule.at(epoch, iteration, state)

    @property
    def clocks(self) -> frozenset[Clock]:
        return frozenset((self.clock,))

    @classmethod
    def _arguments(cls) -> list[attrs.Attribute[Any]]:
        return [field for field in attrs.fields(cls) if field.init]  # type: ignore[arg-type]  # its subclasses are attrs classes

    def get_config(self) -> dict[str, Any]:
        """The arguments by name, as Keras has them; `clock` among them where it is not `"iteration"`."""
        values = {field.name: _plain(getattr(self, field.name)) for field in self._arguments()}
        if self.clock == "iteration":
            del values["clock"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule with these arguments."""
        return cls(**config)

    def __repr__(self) -> str:
        required, others = [], []
        for field in self._arguments():
            value = _plain(getattr(self, field.name))
            if field.default is attrs.NOTHING:
                required.append(repr(value))
            elif value != field.default:
                others.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(required + others)})"


@attrs.frozen(repr=False)
class ExponentialDecay(KerasSchedule):
    """Keras's ExponentialDecay, `initial_learning_rate * decay_rate**(step / decay_steps)`.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.ExponentialDecay(0.1, 1000, 0.96, staircase=True).schedule
        Exp(0.1, gamma=0.96, every=1000, staircase=True, clock='iteration')
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False
    name: str | None = _name("ExponentialDecay")
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"gamma": "decay_rate"}

    def _made(self) -> Schedule:
        curve = self._built(
            curves.Exp, value=self.initial_learning_rate, gamma=self.decay_rate, every=self.decay_steps, staircase=self.staircase
        )
        return curve if self.staircase else zero_based(curve)


@attrs.frozen(repr=False)
class InverseTimeDecay(KerasSchedule):
    """Keras's InverseTimeDecay, `initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.InverseTimeDecay(0.1, 1, 0.5)(up.OptimizationState(iteration=3))
        0.05
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False
    name: str | None = _name("InverseTimeDecay")
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"gamma": "decay_rate"}

    def _made(self) -> Schedule:
        curve = self._built(
            curves.Inv, value=self.initial_learning_rate, gamma=self.decay_rate, power=1, every=self.decay_steps,
            staircase=self.staircase,
        )  # fmt: skip
        return curve if self.staircase else zero_based(curve)


@attrs.frozen(repr=False)
class PiecewiseConstantDecay(KerasSchedule):
    """Keras's PiecewiseConstantDecay: each value up to and including the step of its boundary.

    A boundary of 30 is so passed by the 32nd update. Boundaries that fall are errors; in Keras rates are added up there.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> steps = schedules.PiecewiseConstantDecay([30], [0.1, 0.01])
        >>> steps(up.OptimizationState(iteration=31)), steps(up.OptimizationState(iteration=32))
        (0.1, 0.01)
    """

    boundaries: tuple[float, ...] = attrs.field(converter=_several)
    values: tuple[float, ...] = attrs.field(converter=_several)
    name: str | None = _name("PiecewiseConstant")
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    def _made(self) -> Schedule:
        called = type(self).__name__
        for field, several in (("boundaries", self.boundaries), ("values", self.values)):
            if not isinstance(several, tuple):
                raise TypeError(f"{called}.{field} must be a list of numbers, got {several!r}")
            for i, one in enumerate(several):
                number(one, f"{called}.{field}[{i}]", NONNEGATIVE)
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(f"{called}.boundaries must be one fewer than values, {self.values!r}, got {self.boundaries!r}")
        if any(after < before for before, after in pairwise(self.boundaries)):
            raise ValueError(f"{called}.boundaries must be in increasing order, got {self.boundaries!r}")
        values, begins = lasting(self.values, (0, *(floor(boundary) + 1 for boundary in self.boundaries)))
        return self._built(curves.Piecewise, values=values, boundaries=begins)


@attrs.frozen(repr=False)
class PolynomialDecay(KerasSchedule):
    """Keras's PolynomialDecay, `(initial - end) * (1 - step / decay_steps)**power + end`, and then `end_learning_rate`.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.PolynomialDecay(0.5, 100, end_learning_rate=0.0)(up.OptimizationState(iteration=51))
        0.25
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False
    name: str | None = _name("PolynomialDecay")
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"end": "end_learning_rate"}

    def _made(self) -> Schedule:
        curve = self._built(
            curves.Polynomial, value=self.initial_learning_rate, length=self.decay_steps, end=self.end_learning_rate,
            power=self.power, cycle=self.cycle,
        )  # fmt: skip
        return zero_based(curve)


@attrs.frozen(repr=False)
class CosineDecay(KerasSchedule):
    """Keras's CosineDecay, half a cosine that ends at `alpha` times where it began, and a warm-up before it.

    The warm-up is a line from `initial_learning_rate` to `warmup_target`, where the cosine begins. Without a target there is
    none, whatever `warmup_steps` says, as there.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> rate = schedules.CosineDecay(0.0, 100, warmup_target=0.5, warmup_steps=10)
        >>> [round(rate(up.OptimizationState(iteration=t)), 6) for t in (1, 6, 11, 61, 111)]
        [0.0, 0.25, 0.5, 0.25, 0.0]
    """

    initial_learning_rate: float
    decay_steps: float
    alpha: float = 0.0
    name: str | None = _name("CosineDecay")
    warmup_target: float | None = None
    warmup_steps: float = 0
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    def _made(self) -> Schedule:
        initial = number(self.initial_learning_rate, "CosineDecay.initial_learning_rate", NONNEGATIVE)
        warm = _whole(self.warmup_steps, "CosineDecay.warmup_steps")
        peak = initial
        if self.warmup_target is not None:
            peak = number(self.warmup_target, "CosineDecay.warmup_target", NONNEGATIVE)
        end = peak * number(self.alpha, "CosineDecay.alpha", NONNEGATIVE)
        fall = zero_based(self._built(curves.Cosine, value=peak, length=self.decay_steps, end=end))
        if self.warmup_target is None or not warm:
            return fall
        rise = zero_based(self._built(curves.Linear, value=initial, length=warm, end=peak))
        return curves.Sequence((rise, fall), (warm,))


@attrs.frozen(repr=False)
class CosineDecayRestarts(KerasSchedule):
    """Keras's CosineDecayRestarts, whose floor is `alpha` times the initial rate.

    Each restart is at its step. Keras finds it by a logarithm, which rounding makes too small at times, as at the third restart
    with `t_mul=7`; that step then has the lowest rate in the place of the highest.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> rate = schedules.CosineDecayRestarts(0.5, 10, m_mul=0.5)
        >>> [round(rate(up.OptimizationState(iteration=t)), 6) for t in (1, 6, 11, 31)]
        [0.5, 0.25, 0.25, 0.125]
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0
    name: str | None = _name("SGDRDecay")
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"period": "first_decay_steps", "period_factor": "t_mul", "peak_factor": "m_mul"}

    def _made(self) -> Schedule:
        initial = number(self.initial_learning_rate, "CosineDecayRestarts.initial_learning_rate", NONNEGATIVE)
        floor = initial * number(self.alpha, "CosineDecayRestarts.alpha", NONNEGATIVE)
        return self._built(
            curves.CosineRestarts, value=initial, period=self.first_decay_steps, period_factor=self.t_mul,
            peak_factor=self.m_mul, floor=floor,
        )  # fmt: skip


@attrs.frozen(repr=False)
class LinearCosineDecay(KerasSchedule):
    """Keras 2's LinearCosineDecay, a cosine under a falling line.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.LinearCosineDecay(0.1, 1000).schedule
        Delay(LinearCosine(0.1, 1000, clock='iteration'), 1)
    """

    initial_learning_rate: float
    decay_steps: float
    num_periods: float = 0.5
    alpha: float = 0.0
    beta: float = 0.001
    name: str | None = _name(None)
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"periods": "num_periods"}

    def _made(self) -> Schedule:
        curve = self._built(
            curves.LinearCosine, value=self.initial_learning_rate, length=self.decay_steps, periods=self.num_periods,
            alpha=self.alpha, beta=self.beta,
        )  # fmt: skip
        return zero_based(curve)


@attrs.frozen(repr=False)
class NoisyLinearCosineDecay(KerasSchedule):
    """Keras 2's NoisyLinearCosineDecay, a cosine under a falling line with Gaussian noise on it.

    The noise is a function of `seed`, where None is 0, and of the step: reading a rate twice gives it twice. It is other noise
    than Keras's, of the same variance. A rate that it would make negative is 0.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> rate = schedules.NoisyLinearCosineDecay(0.1, 1000, initial_variance=0.01, seed=7)
        >>> rate(up.OptimizationState(iteration=5)) == rate(up.OptimizationState(iteration=5))
        True
    """

    initial_learning_rate: float
    decay_steps: float
    initial_variance: float = 1.0
    variance_decay: float = 0.55
    num_periods: float = 0.5
    alpha: float = 0.0
    beta: float = 0.001
    seed: int | None = None
    name: str | None = _name(None)
    clock: Clock = driven_by("iteration")
    schedule: Schedule = _ours()

    NAMES = KerasSchedule.NAMES | {"periods": "num_periods"}

    def _made(self) -> Schedule:
        curve = self._built(
            curves.NoisyLinearCosine, value=self.initial_learning_rate, length=self.decay_steps, periods=self.num_periods,
            alpha=self.alpha, beta=self.beta, initial_variance=self.initial_variance, variance_decay=self.variance_decay,
            seed=0 if self.seed is None else self.seed,
        )  # fmt: skip
        return zero_based(curve)


CLASSES: Mapping[str, type[KerasSchedule]] = {
    known.__name__: known
    for known in (
        ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay, CosineDecayRestarts,
        LinearCosineDecay, NoisyLinearCosineDecay,
    )
}  # fmt: skip


def serialize(learning_rate_schedule: Any) -> dict[str, Any]:
    """The dictionary that Keras's `serialize` gives for a schedule, or for any other object with a `get_config`.

    The latter has its class's name as `registered_name`, as a class that Keras does not know; one that is registered there has
    the name of its package too, and is Keras's to write.

    Raises:
        TypeError: it has none.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.serialize(schedules.PiecewiseConstantDecay([30], [0.1, 0.01]))["config"]
        {'boundaries': [30], 'values': [0.1, 0.01], 'name': 'PiecewiseConstant'}
    """
    kind = type(learning_rate_schedule)
    if isinstance(learning_rate_schedule, type) or not hasattr(kind, "get_config"):
        raise TypeError(f"serialize takes a schedule of Keras's, or what has a get_config, got {learning_rate_schedule!r}")
    ours = CLASSES.get(kind.__name__) is kind or (kind.__name__ in CLASSES and kind.__module__.partition(".")[0] == "keras")
    return {
        "module": MODULE if ours else kind.__module__,
        "class_name": kind.__name__,
        "config": learning_rate_schedule.get_config(),
        "registered_name": None if ours else kind.__name__,
    }


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that a dictionary of Keras's `serialize` describes, of Keras 2 or 3.

    Args:
        config: has `class_name` and `config`; in Keras 3 `module` and `registered_name` too.
        custom_objects: classes of your own by name, whose `from_config` is called. Nothing else is looked up or imported.

    Raises:
        TypeError: it is no such dictionary, or an argument in it is unknown, missing or of another kind.
        ValueError: the class is unknown, or an argument out of range.

    Example:
        >>> from updaters.compat.keras import schedules
        >>> schedules.deserialize({"class_name": "PolynomialDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 9}})
        PolynomialDecay(0.1, 9)
    """
    described = config if isinstance(config, Mapping) else {}
    called, arguments = described.get("class_name"), described.get("config")
    if not isinstance(called, str) or not isinstance(arguments, Mapping):
        raise TypeError(f"config must be a dictionary with a class_name and a config, got {config!r}")
    custom = {} if custom_objects is None else custom_objects
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom_objects must be a mapping from names to classes, got {custom_objects!r}")
    for key in arguments:
        if not isinstance(key, str):
            raise TypeError(f"config.config must have strings as keys, got {key!r}")
    registered, module = described.get("registered_name"), described.get("module")
    for name in (registered, called):
        if isinstance(name, str) and name in custom:
            if not hasattr(custom[name], "from_config"):
                raise TypeError(f"custom_objects[{name!r}] must be a class with a from_config, got {custom[name]!r}")
            return custom[name].from_config(dict(arguments))
    of_keras = registered is None and (module is None or str(module).partition(".")[0] in ("keras", "tf_keras"))
    if not of_keras or called not in CLASSES:
        where = "" if module is None else f" of {module}"
        raise ValueError(f"config.class_name must be one of {', '.join(CLASSES)}, or in custom_objects, got {called!r}{where}")
    return CLASSES[called].from_config(arguments)
