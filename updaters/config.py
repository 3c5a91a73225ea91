"""Optimizers, schedules, gradient transforms, loss scales and policies as data, which JSON can hold, and back."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, partial
from types import FunctionType, ModuleType
from typing import Any, NoReturn, TypeAlias, TypeVar, overload

import attrs
import numpy as np

from updaters import learning_rate, loss_scale, momentum, optimizers, transforms
from updaters.checks import FINITE, number
from updaters.optimizers import Optimizer
from updaters.policy import FROZEN, Average, Frozen, Override, Policy
from updaters.protocols import LearningRateScheduler
from updaters.schedules.base import Combination

VERSION = 1
DEEPEST = 100  # evaluating and showing what is nested takes stack too, and each level of it takes three frames here

T = TypeVar("T", bound=Callable[..., Any])


def to_config(value: Any) -> dict[str, Any]:
    """An optimizer, a schedule, a transform, a loss scale or a policy as data: dicts, lists, strings, numbers, booleans and None.

    All fields are written, so that a config means the same where a later version begins from other numbers; floats come back
    exactly. What a `Plateau` remembers is no configuration; its `state_dict` has it.

    Classes and functions of your own go by the names that `register` gave them.

    Raises:
        TypeError: something within is of a class, or is a function, that is not registered, or a list, which would come back as
            a tuple; the message names the field.
        ValueError: a number is not finite; or something is nested more than 100 deep.

    Example:
        >>> up.to_config(up.learning_rate.Warmup(up.learning_rate.Fixed(0.1), 100))  # doctest: +NORMALIZE_WHITESPACE
        {'version': 1, 'type': 'learning_rate.Warmup', 'inner': {'type': 'learning_rate.Fixed', 'value': 0.1},
         'iterations': 100, 'start': 0.0}
    """
    data = written(value, "config", 0)
    if not isinstance(data, dict):
        raise TypeError(f"config must be an optimizer, a schedule, a transform, a loss scale or a policy, got {value!r}")
    return {"version": VERSION, **data}


def from_config(data: Mapping[str, Any]) -> Any:
    """The optimizer, schedule, gradient transform, loss scale or policy that `to_config` wrote.

    A config may be written by hand too, and leave out what the class itself does not ask for. It is data alone: the names in it
    are looked up among our own classes and what `register` was given, and nowhere else.

    One value that stood in two places comes back as two that are equal; a `Plateau` among them is to be observed in both.

    Raises:
        TypeError: there is something that is no data; or a field is given another kind of thing.
        ValueError: the version is missing or another; a type, function or field is missing or unknown; a value is out of
            range; or something is nested more than 100 deep. Messages name the place, as in `config.lr.inner.gamma`.

    Example:
        >>> up.from_config({"version": 1, "type": "Adam", "lr": {"type": "learning_rate.Exp", "value": 0.1}, "beta1": 0.8})
        Adam(lr=Exp(0.1), beta1=0.8)
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"config must be a mapping, got {_short(data)}")
    return _read_mapping(data, "config", 0)


@overload
def register(item: T, /, *, name: str | None = None) -> T: ...
@overload
def register(*, name: str | None = None) -> Callable[[T], T]: ...
def register(item: Any = None, /, *, name: str | None = None) -> Any:
    """Give a class or a function of your own a name in configs, as a decorator or as a call; it is returned as it is.

    A class is an optimizer, a schedule, a transform, or anything else that stands in one of their fields. It is written as its
    fields, so that it must be an attrs class or a dataclass. A function, or another callable, is written as its name alone.

    Args:
        item: the class, or the function.
        name: what it is called; its `__name__` unless given.

    Raises:
        TypeError: it is neither; or it has no name of its own, as a lambda, and none is given; or a class is not made
            of its fields alone.
        ValueError: the name is taken.

    Conventions:
        The same object may be given several names: each is read, and the first is written. A definition that is run again, as in
        a cell of a notebook or a module that is reloaded, takes the place of the one before; a lambda, or what is defined in a
        function, does not, since there may be several of the same name.

    Example:
        >>> import attrs
        >>> @up.register(name="mine.Ramp")
        ... @attrs.frozen
        ... class Ramp:
        ...     top: float
        ...
        ...     def __call__(self, state: up.OptimizationState, /) -> float:
        ...         return min(self.top, state.iteration / 100)
        >>> up.to_config(Ramp(0.5))
        {'version': 1, 'type': 'mine.Ramp', 'top': 0.5}

        >>> @up.register
        ... def shrinking(t: int) -> float:
        ...     return 1 / t
        >>> up.to_config(up.learning_rate.Lambda(0.1, shrinking))["function"]
        {'function': 'shrinking'}
    """
    if item is None:
        return partial(register, name=name)
    if isinstance(item, type):
        _check_fields(item)
    elif not callable(item) or type(item).__hash__ is None:
        raise TypeError(f"register takes a class or a hashable callable, got {item!r}")
    name = getattr(item, "__name__", "") if name is None else name
    if not isinstance(name, str) or not name or name == "<lambda>":
        raise TypeError(f"register(name=) must be a name, got {name!r} for {item!r}")
    if name.startswith(RESERVED):
        raise ValueError(f"register(name=) must not begin as ours do, with {' or '.join(map(repr, RESERVED))}, got {name!r}")
    known = _types.get(name, _functions.get(name, item))
    if known != item:  # a method of an object is another at each asking, and equal
        if not _is_again(item, known):
            raise ValueError(f"register(name=) must be free, got {name!r}, the name of {known!r}")
        _names.pop(known, None)
    (_types if isinstance(item, type) else _functions)[name] = item
    _names.setdefault(item, name)
    return item


def _is_again(item: Any, known: Any) -> bool:
    """Whether one definition at the top level of a module, or in a class there, has been run twice."""
    if not all(isinstance(one, (type, FunctionType)) for one in (item, known)):
        return False  # of the methods of several objects there are several
    first, second = ((isinstance(one, type), one.__module__, one.__qualname__) for one in (item, known))
    return first == second and "<" not in item.__qualname__  # so there are of lambdas, and of what is in functions


# What stands in a config for values whose classes have no fields.


@attrs.frozen
class _Frozen:
    """`FROZEN`, in `overrides`."""

    @property
    def value(self) -> Frozen:
        """The value itself."""
        return FROZEN


FLAGS = {flag.name: flag for flag in (re.ASCII, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE)}


@attrs.frozen
class _Expression:
    """A compiled regular expression."""

    pattern: str
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: re.Pattern[str]) -> _Expression:
        """The fields of an expression."""
        return cls(value.pattern, tuple(str(name) for name, flag in FLAGS.items() if value.flags & flag))

    @property
    def value(self) -> re.Pattern[str]:
        """The expression."""
        if not isinstance(self.pattern, str):
            raise TypeError(f"pattern must be a string, got {self.pattern!r:.60}")
        for flag in self.flags if isinstance(self.flags, tuple) else (self.flags,):
            if flag not in FLAGS:
                raise ValueError(f"flags must be among {', '.join(map(str, FLAGS))}, got {flag!r:.60}")
        try:
            return re.compile(self.pattern, sum(FLAGS[flag] for flag in self.flags))
        except re.error as error:
            raise ValueError(f"pattern must be a regular expression, got {self.pattern!r:.60}: {error}") from None


STAND_INS: dict[type, Callable[[Any], Any]] = {Frozen: lambda value: _Frozen(), re.Pattern: _Expression.of}


# The names of classes. Those that both namespaces of schedules have are written as learning_rate's.


def _public(space: ModuleType, prefix: str = "") -> dict[str, type]:
    found = {f"{prefix}{name}": getattr(space, name) for name in space.__all__}
    return {name: value for name, value in found.items() if attrs.has(value) and value is not Optimizer}


_types: dict[str, type] = {
    **_public(optimizers),
    **_public(learning_rate, "learning_rate."),
    "learning_rate.Combination": Combination,
    **_public(momentum, "momentum."),
    **_public(transforms, "transforms."),
    **_public(loss_scale, "loss_scale."),
    "policy.Policy": Policy,
    "policy.Average": Average,
    "policy.Override": Override,
    "policy.FROZEN": _Frozen,
    "policy.Expression": _Expression,
}
_functions: dict[str, Callable[..., Any]] = {}
_names: dict[Any, str] = {kind: name for name, kind in reversed(_types.items())}

COMPAT = "compat."
RESERVED = ("learning_rate.", "momentum.", "transforms.", "loss_scale.", "policy.", COMPAT)


@cache
def _compat() -> dict[str, type]:
    """The optimizers, schedules, transforms and loss scales that are classes of `updaters.compat`, by their modules' names.

    All modules there are imported, so that no part of a config ever is part of an import.
    """
    root = importlib.import_module("updaters.compat")
    modules = [importlib.import_module(found.name) for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}.")]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    ours = {kind for kind in kinds if kind.__module__ in {module.__name__ for module in modules} and attrs.has(kind)}
    taken = (Optimizer, LearningRateScheduler, loss_scale.LogMax)
    return {_compat_name(kind): kind for kind in ours if issubclass(kind, taken) or hasattr(kind, "apply")}


def _compat_name(kind: type) -> str:
    parts = kind.__module__.split(".")[1:]
    return ".".join([*(part for part in parts if not part.startswith("_")), kind.__name__])


def _type_name(kind: type) -> str | None:
    if kind in _names:
        return _names[kind]
    if kind.__module__.startswith("updaters.compat."):
        name = _compat_name(kind)
        return name if _compat().get(name) is kind else None
    return None


def _known_types(name: str) -> Mapping[str, type]:
    return _compat() if name.startswith(COMPAT) else _types


def kind_named(name: object) -> type | None:
    """The class of a name in configs."""
    return _known_types(name).get(name) if isinstance(name, str) else None


@attrs.frozen
class Field:
    """A field of a class.

    Attributes:
        argument: the argument that it is made from.
        attribute: where it is kept.
        needed: whether it must be given.
        default: what it is otherwise, unless that is made anew each time.
    """

    argument: str
    attribute: str
    needed: bool
    default: Any = attrs.NOTHING


@cache
def fields_of(kind: Any) -> tuple[Field, ...]:
    """The fields of a class in the order in which they are written: those that all optimizers share come last."""
    if not attrs.has(kind):
        missing = dataclasses.MISSING
        return tuple(
            Field(
                field.name, field.name, field.default is field.default_factory is missing,
                attrs.NOTHING if field.default is missing else field.default,
            )
            for field in dataclasses.fields(kind)
            if field.init
        )  # fmt: skip
    shared = attrs.fields_dict(Optimizer) if issubclass(kind, Optimizer) else {}
    found = sorted(attrs.fields(kind), key=lambda field: field.name in shared)
    return tuple(
        Field(
            str(field.alias), field.name, field.default is attrs.NOTHING,
            attrs.NOTHING if isinstance(field.default, type(attrs.Factory(list))) else field.default,
        )
        for field in found
        if field.init
    )  # fmt: skip


def _check_fields(kind: type) -> None:
    if not {"__attrs_attrs__", "__dataclass_fields__"} & vars(kind).keys():
        raise TypeError(f"register takes an attrs class or a dataclass, above whose decorator it stands, got {kind!r}")
    arguments = [field.argument for field in fields_of(kind)]
    if sorted(inspect.signature(kind).parameters) != sorted(arguments):
        raise TypeError(f"register takes a class whose arguments are its fields, {', '.join(arguments)}, got {kind!r}")
    for name in ("type", "version"):
        if name in arguments:
            raise TypeError(f"register takes no class with a field {name!r}, a word that configs need themselves, got {kind!r}")


# From values to data.

SCALARS = (type(None), bool, np.bool_, str, int, np.integer, float, np.floating)


def _scalar(value: Any, path: str) -> Any:
    """A scalar as Python's own type for it."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, (int, np.integer)) else number(value, path, FINITE)


Other: TypeAlias = Callable[[Any, str, int], Any]
"""What is written of a value whose class, or whose function, has no name."""


def _refused(value: Any, path: str, depth: int) -> NoReturn:
    kind = type(value)
    if isinstance(value, SCALARS):
        _scalar(value, path)
    if isinstance(value, type):
        raise TypeError(f"{path} must be a value, got {value!r} (the class; call it)")
    if isinstance(getattr(value, "optimizer", None), Optimizer):
        raise TypeError(
            f"{path} must be an optimizer, a schedule, a transform, a loss scale or a policy, got {value!r}, "
            "which has one: give its `optimizer`"
        )
    if isinstance(value, list):
        raise TypeError(f"{path} must be a tuple, as which it would come back, got {value!r}")
    if callable(value) and not has_fields(kind):
        raise TypeError(f"{path} must be a registered function, got {value!r}; give it a name with updaters.register")
    raise TypeError(f"{path} must be of a registered class, got {value!r}; give {kind.__name__} a name with updaters.register")


def has_fields(kind: type) -> bool:
    """Whether values of a class are made of fields."""
    return attrs.has(kind) or dataclasses.is_dataclass(kind)


def written(value: Any, path: str, depth: int, other: Other = _refused) -> Any:
    """A value as data, without a version."""
    check_depth(path, depth)
    if isinstance(value, SCALARS) and not (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return _scalar(value, path)
    if isinstance(value, tuple):
        return [written(member, f"{path}[{i}]", depth + 1, other) for i, member in enumerate(value)]
    value = STAND_INS.get(type(value), _itself)(value)
    kind: type = type(value)
    name = _type_name(kind)
    if name is not None:
        return {"type": name, **written_fields(value, path, depth, other)}
    function = _function_name(value)
    return other(value, path, depth) if function is None else {"function": function}


def written_fields(value: Any, path: str, depth: int, other: Other) -> dict[str, Any]:
    """The fields of a value as data, by name."""
    fields = {}
    kind: Any = type(value)
    for field in fields_of(kind):
        write = _written_settings if (kind, field.argument) == SETTINGS else written
        fields[field.argument] = write(getattr(value, field.attribute), f"{path}.{field.argument}", depth + 1, other)
    return fields


def _itself(value: Any) -> Any:
    return value


SETTINGS = (Override, "settings")
"""The one field that holds anything by names: a mapping without a type, among data."""


def _written_settings(value: Any, path: str, depth: int, other: Other) -> Any:
    if not isinstance(value, tuple):
        return written(value, path, depth, other)
    for name, _ in value:
        if not isinstance(name, str):
            raise TypeError(f"{path} must have the names of hyperparameters, got {name!r}")
    return {name: written(setting, f"{path}.{name}", depth + 1, other) for name, setting in value}


def _read_settings(data: Any, path: str, depth: int) -> Any:
    if not isinstance(data, Mapping) or "type" in data:
        return _read(data, path, depth)
    return {name: _read(setting, f"{path}.{name}", depth + 1) for name, setting in data.items()}


def _function_name(value: Any) -> str | None:
    try:
        name = _names.get(value)
    except TypeError:  # it cannot be hashed
        return None
    return name if name in _functions else None


def check_depth(path: str, depth: int) -> None:
    """Raise where something is nested too deep."""
    if depth > DEEPEST:
        raise ValueError(f"{path:.60}... is nested more than {DEEPEST} deep")


# From data to values.


def _read(data: Any, path: str, depth: int) -> Any:
    check_depth(path, depth)
    if isinstance(data, SCALARS):
        return _scalar(data, path)
    if isinstance(data, Mapping):
        return _read_mapping(data, path, depth)
    if isinstance(data, Sequence) and not isinstance(data, (bytes, bytearray, memoryview)):
        return tuple(_read(member, f"{path}[{i}]", depth + 1) for i, member in enumerate(data))
    raise TypeError(f"{path} must be a number, a string, True, False, None, a sequence or a mapping, got {_short(data)}")


def _read_mapping(data: Mapping[str, Any], path: str, depth: int) -> Any:
    if depth == 0 or "version" in data:  # what to_config wrote may be put into another config
        _check_version(data, path)
    if "type" not in data and "function" in data:
        return _read_function(data, path)
    kind, name = _read_type(data, path)
    fields = {field.argument: field for field in fields_of(kind)}
    _check_keys(data, ("type", "version"), path, name, fields)
    for field in fields.values():
        if field.needed and field.argument not in data:
            raise ValueError(f"{path}.{field.argument} is missing, which {name} needs")
    arguments = {}
    for key in fields:
        if key in data:
            read = _read_settings if (kind, key) == SETTINGS else _read
            arguments[key] = read(data[key], f"{path}.{key}", depth + 1)
    try:
        made = kind(**arguments)
        return made.value if kind in (_Frozen, _Expression) else made
    except (TypeError, ValueError) as error:
        what = str(error)
        own = f"{kind.__name__}."
        message = f"{path}.{what.removeprefix(own)}" if what.startswith(own) else f"{path}: {what}"
        raise (TypeError if isinstance(error, TypeError) else ValueError)(message) from error


def _check_version(data: Mapping[str, Any], path: str) -> None:
    if "version" not in data:
        raise ValueError(f"{path}.version is missing, which is {VERSION}")
    version = data["version"]
    if type(version) is not int or version != VERSION:
        newer = "; a later updaters wrote it" if type(version) is int and version > VERSION else ""
        raise ValueError(f"{path}.version must be {VERSION}, got {_short(version)}{newer}")


def _check_keys(data: Mapping[str, Any], others: tuple[str, ...], path: str, name: str, fields: Iterable[str]) -> None:
    for key in data:
        if key not in fields and key not in others:
            there_are = f"; there are {', '.join(fields)}" if fields else "; there are none"
            raise ValueError(f"{path}.{key!s:.60} is no field of {name}{_meant(key, fields) or there_are}")


def _read_type(data: Mapping[str, Any], path: str) -> tuple[type, str]:
    if "type" not in data:
        raise ValueError(
            f"{path}.type is missing, the name of an optimizer, a schedule, a transform, a loss scale, a policy "
            "or a registered class"
        )
    name = data["type"]
    known = _known_types(name) if isinstance(name, str) else _types
    if not isinstance(name, str) or name not in known:
        hint = _meant(name, known) or "; updaters.register gives a name to a class of your own"
        raise ValueError(f"{path}.type must be the name of a class, got {_short(name)}{hint}")
    return known[name], name


def _read_function(data: Mapping[str, Any], path: str) -> Callable[..., Any]:
    name = data["function"]
    _check_keys(data, ("function", "version"), path, "a function", ())
    if not isinstance(name, str) or name not in _functions:
        hint = _meant(name, _functions) or "; updaters.register gives it one"
        raise ValueError(f"{path}.function must be the name of a registered function, got {_short(name)}{hint}")
    return _functions[name]


def _meant(word: object, known: Iterable[str]) -> str:
    """A question about the name that is closest to a word, if one is close."""
    found = next(_closest(word, list(known)), None) if isinstance(word, str) else None
    return f"; did you mean {found!r}?" if found else ""


def _closest(word: str, known: list[str]) -> Iterator[str]:
    last = [name.rpartition(".")[2] for name in known]
    yield from (name for name, part in zip(known, last, strict=True) if part.lower() == word.rpartition(".")[2].lower())
    yield from get_close_matches(word, known, 1)
    for part in get_close_matches(word, last, 1, 0.75):  # short words are close to many
        yield known[last.index(part)]


_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 100


def _short(data: object) -> str:
    """The text of what may be anything, of any depth."""
    return _shortener.repr(data)
