"""What `torch.optim` keeps for its parameters, from what an updater keeps and back."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

import attrs
import numpy as np

from updaters import optimizers as rules
from updaters.arrays import Array, as_reals, compute_dtype, slot_dtype
from updaters.checkpoint.contents import Kept
from updaters.checkpoint.files import dtype_named
from updaters.checkpoint.restoring import LoadReport, unfit
from updaters.checks import listed
from updaters.compat._groups import ParameterGroups, check_updater, merged
from updaters.optimizers.base import Optimizer
from updaters.optimizers.correction import corrected_by
from updaters.overrides import Choice
from updaters.policy import Frozen
from updaters.updater import Updater
from updaters.weight_state import Index, check_index

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
BUFFERS = {"velocity": "momentum_buffer", "buffer": "momentum_buffer"}
SLOTS: dict[str, dict[str, str]] = {
    "Adadelta": {"s": "square_avg", "d": "acc_delta"},
    "Adafactor": {"row": "row_var", "column": "col_var", "v": "variance"},
    "Adagrad": {"s": "sum"},
    "Adam": {**MOMENTS, "v_max": "max_exp_avg_sq"},
    "Adamax": {"m": "exp_avg", "u": "exp_inf"},
    "ASGD": {"average": "ax"},
    "Muon": {"m": "momentum_buffer"},
    "NAdam": MOMENTS,
    "RAdam": MOMENTS,
    "RMSprop": {"s": "square_avg", "a": "grad_avg", **BUFFERS},
    "Rprop": {"gradient": "prev", "factor": "step_size"},
    "SGD": BUFFERS,
}
"""By the optimizers of PyTorch: its name for each slot."""

NUMBERS = {"ASGD": ("step", "eta", "mu"), "NAdam": ("step", "mu_product"), "SGD": (), "Muon": ()}
"""The numbers that it keeps besides, where these are not the step alone."""


def numbers_of(name: str) -> tuple[str, ...]:
    """The numbers that an optimizer of PyTorch's keeps for a parameter."""
    return NUMBERS.get(name, ("step",))


RULES: dict[type[Optimizer], str] = {
    rules.Adadelta: "Adadelta", rules.Adafactor: "Adafactor", rules.Adagrad: "Adagrad", rules.Adam: "Adam",
    rules.AdamW: "Adam", rules.Adamax: "Adamax", rules.ASGD: "ASGD", rules.Muon: "Muon", rules.Nadam: "NAdam",
    rules.RAdam: "RAdam", rules.RMSProp: "RMSprop", rules.Rprop: "Rprop", rules.SGD: "SGD",
}  # fmt: skip
"""What each rule is there. AdamW is Adam with a decoupled decay, and so it is in `torch.optim` 2.13."""

REAL = ("Adafactor", "Muon")
"""Those that take no complex parameters."""

LATER = ("amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov")
"""What groups of older versions may lack; it is off then."""


@attrs.frozen(eq=False)
class Counterpart:
    """An optimizer of PyTorch's, with the arguments with which it does what one of ours does.

    Attributes:
        optimizer: ours.
        function: the function of its name.
        alike: ours as that function has it.
        arguments: its arguments by name; some of them may be schedulers.
    """

    optimizer: Optimizer
    function: Callable[..., Any]
    alike: Any
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """What PyTorch calls it."""
        return self.function.__name__

    @classmethod
    def of(cls, optimizer: Optimizer, groups: ParameterGroups) -> Counterpart:
        """The counterpart of an optimizer.

        Raises:
            ValueError: there is none, or with other settings alone.
        """
        kind = type(optimizer)
        rule = next((base for base in kind.__mro__ if base in RULES), None)
        if rule is None or (kind is not rule and not kind.__module__.startswith("updaters.compat.torch")):
            raise ValueError(f"PyTorch has no counterpart of {kind.__name__}; it has those of {listed(_names(RULES))}")
        name = RULES[rule]
        function = next(function for function in groups.functions if function.__name__ == name)
        alike = _alike(optimizer)
        arguments = groups.arguments_of(function, alike)
        there = function(**arguments)
        for field in attrs.fields(rule):
            mine, theirs = getattr(alike, field.name), getattr(there, field.name)
            if mine != theirs and not (field.name == "decay" and alike.weight_decay is None):
                raise ValueError(f"{rule.__name__}.{field.name} must be {theirs!r}, as in PyTorch's {name}, got {mine!r}")
        return cls(optimizer, function, alike, arguments)

    def group(self, state: Any, groups: ParameterGroups) -> dict[str, Any]:
        """A group with all that PyTorch has in one, as it stands at a clock; but for its parameters."""
        now = vars(self.alike.at(state))
        there = attrs.evolve(self.alike, **{name: value for name, value in now.items() if callable(getattr(self.alike, name))})
        switches = {name: one.default for name, one in signature(self.function).parameters.items()}
        return switches | groups.arguments_of(self.function, there)

    def unlike(self, group: Mapping[str, Any], where: str, groups: ParameterGroups) -> Iterator[str]:
        """Where a group of PyTorch's says something else; what is scheduled here is not compared."""
        given = {name: _plain(group[name]) for name in self.arguments if name in group}
        try:
            there = self.function(**given)
        except (TypeError, ValueError) as error:
            yield f"{where}: {error}"
            return
        for name, value in self.arguments.items():
            fields = groups.fields_of(self.function, name, self.alike).values()
            pairs = [(getattr(self.alike, field), getattr(there, field)) for field in fields]
            decays = name != "decoupled_weight_decay" or not self.alike.weight_decay is there.weight_decay is None
            if decays and any(not callable(mine) and mine != theirs for mine, theirs in pairs):
                shown = repr(given[name]) if name in given else "nothing"
                yield f"{where}[{name!r}]: {shown} in the state dict, {value!r} here"

    def lacking(self, group: Mapping[str, Any]) -> list[str]:
        """What a group must have, and has not."""
        return [name for name in self.arguments if name not in group and name not in LATER]


def _names(kinds: Iterable[type]) -> list[str]:
    return sorted(kind.__name__ for kind in kinds)


def _alike(optimizer: Any) -> Any:
    """An optimizer without what PyTorch has elsewhere, and with its form of a buffer."""
    fields = {field.name for field in attrs.fields(type(optimizer))}
    changes: dict[str, Any] = {"policy": None, "grad_clip": None, "gradient": "mean"}
    if "buffer" in fields:
        changes["buffer"] = "gradients"
    if "damp_first" in fields and optimizer.dampening is None:
        changes["damp_first"] = False
    if "otherwise" in fields:
        changes["otherwise"] = None
    return attrs.evolve(optimizer, **changes)


def _plain(value: Any) -> Any:
    """An argument as PyTorch's constructors take it, where it is a tensor, or came through JSON."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(part) for part in value)
    return value.item() if hasattr(value, "item") else value


# Which weights.


def _indices(params: Any) -> list[Index]:
    """The indices of weights, each once."""
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable):
        raise TypeError(f"params must be the indices of weights in PyTorch's order, got {params!r}")
    indices = [check_index(index) for index in params]
    if len({*indices}) < len(indices):
        raise ValueError(f"params has {listed(index for index in {*indices} if indices.count(index) > 1)} more than once")
    return indices


class Weights:
    """Which optimizer each weight has, and what PyTorch has for it."""

    def __init__(self, update: Updater, groups: ParameterGroups) -> None:
        check_updater(update)
        self.update, self.groups = update, groups
        self.choice = Choice(update.optimizer)
        self.contents = update.state_dict()
        self.known: Mapping[Index, Any] = self.contents["kept"]
        self._found: dict[Any, Counterpart | None] = {}
        self._merged = merged(self.choice.policy.overrides)

    def special(self, index: Index, shape: tuple[int, ...], dtype: str) -> Optimizer:
        """The optimizer for a weight of that shape and dtype; it is not frozen."""
        try:
            found = self.choice.of(index, shape, dtype_named(dtype))
        except ValueError as error:
            raise ValueError(f"weight {index!r}: {str(error).removeprefix(f'weight {index!r}: ')}") from None
        assert not isinstance(found, Frozen)
        return found[0]

    def counterpart(self, index: Index, shape: tuple[int, ...] | None = None, dtype: str = "") -> Counterpart | None:
        """What PyTorch has for a weight, whose shape may not be known; None where it stands still."""
        chosen = self.choice.before_shapes(index)
        if isinstance(chosen, Frozen):
            return None
        if shape is not None and not isinstance(chosen, type(special := self.special(index, shape, dtype))):
            chosen = special  # as Muon has another rule for some shapes
        key = self.choice.match(index), type(chosen)
        if key not in self._found:
            try:
                self._found[key] = Counterpart.of(chosen, self.groups)
            except ValueError as error:
                raise ValueError(f"weight {index!r}: {error}") from None
        found = self._found[key]
        if found is not None and found.name in REAL and "complex" in dtype:
            raise ValueError(f"weight {index!r}: PyTorch's {found.name} takes no complex weights")
        return found

    def group_of(self, index: Index) -> int:
        """The place of a weight's group."""
        place = self.choice.match(index)
        if place is None:
            return len(self._merged) - 1
        override = self.choice.policy.overrides[place]
        return next(i for i, overrides in enumerate(self._merged) if any(one is override for one in overrides))


# To PyTorch.


def to_torch(update: Updater, params: Any, groups: ParameterGroups) -> dict[str, Any]:
    """What `torch.optim` would have in its dictionary, from what an updater keeps."""
    weights = Weights(update, groups)
    state: dict[int, dict[str, Any]] = {}
    param_groups: list[dict[str, Any]] = []
    places: list[int] = []
    first: tuple[Index, Counterpart] | None = None
    for position, index in enumerate(_indices(params)):
        known = weights.known.get(index)
        found = weights.counterpart(index) if known is None else weights.counterpart(index, tuple(known["shape"]), known["dtype"])
        if found is None:
            raise ValueError(f"weight {index!r} stands still, and is no parameter of an optimizer of PyTorch's")
        first = first or (index, found)
        if found.name != first[1].name:
            others = f"weight {first[0]!r} has {first[1].name} and {index!r} {found.name}"
            raise ValueError(f"an optimizer of PyTorch's has one rule, and {others}; params may name some weights at a time")
        place = weights.group_of(index)
        if place not in places:
            places.append(place)
            param_groups.append(found.group(update.state, groups) | {"params": []})
        elif place != places[-1]:
            raise ValueError(f"params must be in PyTorch's order, group after group; {index!r} is after those of another group")
        param_groups[-1]["params"].append(position)
        if known is not None and known["count"]:
            if known["gathered"]:
                raise ValueError(f"weight {index!r} has accumulated gradients, which PyTorch keeps none of; call flush first")
            entries = _entries(index, found, known, update)
            state |= {position: entries} if entries else {}
    return {"state": _tensors(state) if state else {}, "param_groups": param_groups}


def _entries(index: Index, found: Counterpart, known: Mapping[str, Any], update: Updater) -> dict[str, Any]:
    """What PyTorch has for a weight: arrays, and numbers as floats."""
    names, kept, scalars = SLOTS[found.name], known["slots"], known["scalars"]
    count = known["count"]
    optimizer: Any = found.optimizer
    entries: dict[str, Any] = dict.fromkeys(numbers_of(found.name))
    if "step" in entries:
        entries["step"] = float(count)
    if found.name == "NAdam":
        entries["mu_product"] = scalars["product"]
    if found.name == "ASGD":
        now = optimizer.at(update.state)
        lr = scalars.get("last_lr", now.lr)
        entries["eta"] = _eta(lr, now.regularization, now.power, count)
        entries["mu"] = 1 / max(1.0, count - now.start)
    for slot, array in kept.items():
        if slot not in names:  # as masters and averages, which belong to no rule
            continue
        if slot == "row":
            array = array[..., np.newaxis]
        elif slot == "column":
            array = array[..., np.newaxis, :]
        elif slot == "velocity":
            array = _divided(array, -_lr_of_steps(optimizer.at(update.state).lr, index))
        elif slot == "factor":
            array = _times(array, scalars.get("first_lr") or optimizer.at(update.state).lr)
        entries[names[slot]] = array
    return entries


def _tensors(state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The same with tensors."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("state_dict gives tensors, which need PyTorch: pip install torch", name="torch") from None
    steps = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32

    def tensor(name: str, value: Any) -> Any:
        if isinstance(value, float):
            return torch.tensor(value, dtype=steps if name == "step" else torch.float64)
        return torch.from_numpy(value)

    return {position: {name: tensor(name, value) for name, value in entries.items()} for position, entries in state.items()}


# From PyTorch.


def from_torch(update: Updater, state_dict: Any, params: Any, strict: bool, groups: ParameterGroups) -> LoadReport:
    """Go on from what `torch.optim` has in its dictionary."""
    weights = Weights(update, groups)
    state, param_groups = _parts(state_dict)
    numbers = [_numbers(group, f"param_groups[{place}]") for place, group in enumerate(param_groups)]
    known = weights.known
    if params is None:
        indices = _named(param_groups, numbers)
        kept: dict[Index, Any] = {}
    else:
        indices = _indices(params)
        if len(indices) != sum(map(len, numbers)):
            raise ValueError(f"params has {len(indices)} indices, and the state dict {sum(map(len, numbers))} parameters")
        kept = {index: one for index, one in known.items() if index not in {*indices}}
    left: list[str] = []
    rest = iter(indices)
    taken: list[Index] = []
    for place, (group, of_group) in enumerate(zip(param_groups, numbers, strict=True)):
        where, compared = f"param_groups[{place}]", dict[int, bool]()
        for number, index in zip(of_group, rest, strict=False):
            entries = {name: value for name, value in state.get(number, {}).items() if value is not None}
            try:
                shape, dtype = _shape_and_dtype(entries)
                found = weights.counterpart(index, shape, known[index]["dtype"] if index in known else dtype)
                if found is None:
                    if _is_new(entries, f"state[{number!r}]"):
                        kept |= {index: known[index]} if index in known else {}
                    else:
                        left.append(f"weight {index!r} stands still here, and has state[{number!r}]")
                    continue
                if id(found) not in compared:
                    lacking = found.lacking(group)
                    compared[id(found)] = not lacking
                    left += [f"{where} has no {name!r}, as {found.name}'s have" for name in lacking]
                    left += [] if lacking else found.unlike(group, where, groups)
                if not compared[id(found)]:
                    continue
                one = _kept(weights, index, found, entries, f"state[{number!r}]", group, left)
            except ValueError as error:
                left.append(str(error))
                continue
            if one is not None:
                kept[index] = one
                taken.append(index)
    everyone = {number for of_group in numbers for number in of_group}
    left += [f"state[{number!r}] is of no parameter" for number in state if number not in everyone]
    if strict and left:
        raise unfit("the state dict", left)
    report = update.load_state_dict({**weights.contents, "kept": kept}, strict=strict)
    slots = tuple(index for index in report.slots if index in taken)
    waiting = tuple(index for index in report.waiting if index in taken)
    return attrs.evolve(report, slots=slots, waiting=waiting, left=(*left, *report.left))


def _parts(state_dict: Any) -> tuple[Mapping[Any, Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """The two parts of a dictionary of PyTorch's."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be what an optimizer's state_dict() gives in PyTorch, got {state_dict!r:.60}")
    if {"state", "param_groups"} - state_dict.keys():
        names = listed(state_dict) or "nothing"
        raise ValueError(f"state_dict must have 'state' and 'param_groups', as an optimizer's has in PyTorch; it has {names}")
    state, groups = state_dict["state"], state_dict["param_groups"]
    if not isinstance(state, Mapping) or not all(isinstance(entries, Mapping) for entries in state.values()):
        raise TypeError(f"state must be a mapping of mappings, got {state!r:.60}")
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, Mapping) for group in groups):
        raise TypeError(f"param_groups must be a list of mappings, got {groups!r:.60}")
    return state, groups


def _numbers(group: Mapping[str, Any], where: str) -> list[Any]:
    """What a group calls its parameters by."""
    if not isinstance(group.get("params"), (list, tuple)):
        raise ValueError(f"{where} must have a list of 'params', got {group.get('params')!r:.60}")
    return list(group["params"])


def _named(param_groups: Sequence[Mapping[str, Any]], numbers: list[list[Any]]) -> list[Index]:
    """The indices of weights by the names that PyTorch has for them."""
    names: list[Any] = []
    for place, (group, of_group) in enumerate(zip(param_groups, numbers, strict=True)):
        of_names = group.get("param_names")
        if of_names is None:
            raise ValueError(f"param_groups[{place}] has no 'param_names'; params=[...] says which weights its parameters are")
        if len(of_names) != len(of_group):
            raise ValueError(f"param_groups[{place}] has {len(of_names)} 'param_names' and {len(of_group)} 'params'")
        names += of_names
    return _indices(names)


def _is_new(entries: Mapping[str, Any], where: str) -> bool:
    """Whether a parameter has been in no update; Adagrad's have a sum even then."""
    return not entries or ("step" in entries and not _number(entries, "step", where))


def _array(value: Any, name: str) -> tuple[Array, str]:
    """A tensor as an array, halves as float32, and the name of its own dtype."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        dtype = _dtype_of(value)
        array = (value.float() if dtype == "bfloat16" else value).numpy()
    else:
        array = np.asarray(value)
        dtype = array.dtype.name
    if dtype in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    if compute_dtype(array.dtype) is None:
        raise ValueError(f"{name} must be a tensor of floats, got {dtype}")
    return array, dtype


def _shape_and_dtype(entries: Mapping[str, Any]) -> tuple[tuple[int, ...] | None, str]:
    """The shape and dtype of the parameter that this was kept for, if it says so."""
    row, column = entries.get("row_var"), entries.get("col_var")
    if row is not None and column is not None and len(getattr(row, "shape", ())) == len(getattr(column, "shape", ())) > 1:
        return (*row.shape[:-1], column.shape[-1]), _dtype_of(row)
    of_parameters = (value for name, value in entries.items() if name not in ("step", "eta", "mu", "mu_product"))
    value = next((value for value in of_parameters if hasattr(value, "shape")), None)
    return (None, "") if value is None else (tuple(value.shape), _dtype_of(value))


def _dtype_of(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _number(entries: Mapping[str, Any], name: str, where: str) -> float:
    """A number among what is kept."""
    try:
        value = float(entries[name])
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{where}[{name!r}] must be a number, got {entries[name]!r:.60}") from None
    if not math.isfinite(value) or (name == "step" and (value < 0 or value % 1)):
        raise ValueError(f"{where}[{name!r}] must be a {'count' if name == 'step' else 'finite number'}, got {value!r}")
    return value


def _kept(
    weights: Weights, index: Index, found: Counterpart, entries: Mapping[str, Any], where: str, group: Mapping[str, Any],
    left: list[str],
) -> dict[str, Any] | None:  # fmt: skip
    """What an updater keeps for a weight, from what PyTorch has; None where that is nothing yet.

    Raises:
        ValueError: it is not there, or not what it must be.
    """
    known: Any = weights.known.get(index)
    names, numbers = SLOTS[found.name], numbers_of(found.name)
    if found.name == "SGD" and not found.optimizer.slots:
        left += _superfluous(entries, (), index, where)
        return None if known is None else dict(known)
    if _is_new(entries, where):
        return None
    shape, dtype = _shape_and_dtype(entries)
    if shape is None:
        raise ValueError(f"{where} has no tensor for weight {index!r}, as those of {found.name} have")
    if known is not None:
        dtype = known["dtype"]
    special: Any = weights.special(index, shape, dtype)
    wanted = [names[slot] for slot in special.slots]
    needed = [*wanted, *(name for name in numbers if name != "mu" and (name != "eta" or "last_lr" in special.scalars))]
    lacking = [name for name in needed if name not in entries]
    if lacking:
        has = listed(entries)
        raise ValueError(
            f"{where} has no {listed(lacking)}, which weight {index!r} needs for {type(special).__name__}; it has {has}"
        )
    left += _superfluous(entries, (*wanted, *numbers), index, where)

    lr = float(_plain(group["lr"]))
    of_weights = dtype_named(dtype)
    slots: dict[str, Array] = {}
    for slot in special.slots:
        array, own = _array(entries[names[slot]], f"{where}[{names[slot]!r}]")
        of_slot: Any = compute_dtype(of_weights) if special.is_real(slot) else slot_dtype(of_weights)
        if not np.can_cast(array.dtype, of_slot) or array.dtype.kind != of_slot.kind:
            raise ValueError(f"{where}[{names[slot]!r}] is {own}, and weight {index!r} has {dtype}")
        array = array.astype(of_slot)  # a copy
        if slot == "row":
            array = array[..., 0]
        elif slot == "column":
            array = array[..., 0, :] if array.ndim > 1 else array
        elif slot == "velocity":
            array = _times(array, -_lr_of_steps(lr, index))
        elif slot == "factor":
            array = _divided(array, lr or 1.0)
        slots[slot] = array

    count = int(_number(entries, "step", where)) if "step" in numbers else max(1, 0 if known is None else known["count"])
    gathered = 0
    for name, array in () if known is None else known["slots"].items():
        if name not in special.slots:  # the updater's own, which go on as they are
            slots[name], gathered = array, known["gathered"]
    if weights.update.policy.accumulate > 1 and known is None:
        slots["accumulated"] = np.zeros(shape, slot_dtype(of_weights))
    scalars = {name: _scalar(name, special, count, entries, group, where, known, index) for name in special.scalars}
    dtypes = {name: array.dtype.name for name, array in slots.items()}
    one = Kept(shape, dtype, "cpu", count, gathered, scalars, dtypes, "C", slots)
    return {**one.to_data(), "slots": slots}


def _superfluous(entries: Mapping[str, Any], names: Sequence[str], index: Index, where: str) -> list[str]:
    """What is kept besides, which has no place here."""
    return [f"{where} has {name!r}, and weight {index!r} keeps no such thing here" for name in entries if name not in names]


def _scalar(
    name: str, optimizer: Any, count: int, entries: Mapping[str, Any], group: Mapping[str, Any], where: str,
    known: Any, index: Index,
) -> float:  # fmt: skip
    """A host number of a rule, as it would be here after as many updates."""
    if name in ("correction1", "correction2"):
        field = f"beta{name[-1]}"
        beta = getattr(optimizer, field)
        if not callable(beta):
            return corrected_by(count, beta)
        if known is not None and known["count"] == count:
            return float(known["scalars"][name])
        rule = type(optimizer).__name__
        raise ValueError(f"weight {index!r}: {rule}.{field} is scheduled, and PyTorch keeps no product of the betas so far")
    if name == "product":
        return _number(entries, "mu_product", where)
    lr = float(_plain(group["lr"]))
    if name == "first_lr":
        return lr or 1.0
    return _rate_of(entries, lr, float(_plain(group["lambd"])), float(_plain(group["alpha"])), count, where)


def _eta(lr: float, regularization: float, power: float, count: int) -> float:
    """ASGD's step after so many updates."""
    return float(lr / (1 + regularization * lr * count) ** power)


def _rate_of(entries: Mapping[str, Any], lr: float, regularization: float, power: float, count: int, where: str) -> float:
    """The learning rate of the last update, which a schedule may have left since: the one that eta comes from."""
    eta = _number(entries, "eta", where)
    precision = 1e-6 if "float32" in str(getattr(entries["eta"], "dtype", "")) else 1e-12
    if abs(_eta(lr, regularization, power, count) - eta) <= precision * eta:
        return lr
    low, high = 0.0, max(eta, 0.0)
    while _eta(high, regularization, power, count) < eta:
        low, high = high, 2 * high
        if not math.isfinite(high) or _eta(high, regularization, power, count) <= _eta(low, regularization, power, count):
            raise ValueError(f"{where}['eta'] is {eta!r}, which no learning rate gives after {count} updates")
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _eta(middle, regularization, power, count) < eta else (low, middle)
    return high


def _lr_of_steps(lr: float, index: Index) -> float:
    if not lr:
        raise ValueError(
            f"weight {index!r}: at a learning rate of 0 a momentum of steps says nothing of one of gradients, which PyTorch keeps"
        )
    return lr


def _times(array: Array, factor: float) -> Array:
    return _per_part(array, lambda reals: reals * factor)


def _divided(array: Array, divisor: float) -> Array:
    return _per_part(array, lambda reals: reals / divisor)


def _per_part(array: Array, function: Callable[[Array], Array]) -> Array:
    """A function of the reals of an array."""
    reals = np.asarray(function(as_reals(array)))
    return reals.view(array.dtype)[..., 0] if array.dtype.kind == "c" else reals
