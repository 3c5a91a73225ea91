"""Weights that PyTorch's and Keras's own optimizers give, for comparison. `make.py` runs them and says how."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent

Array = npt.NDArray[Any]
"""Of float64 or complex128. All that are handed out are read-only."""

Weights = Mapping[str, Array]


@attrs.frozen(eq=False)
class Case:
    """One optimizer of a system, with several weights in it, over 45 updates."""

    name: str
    rule: str
    """The name of the class in `torch.optim` or `keras.optimizers`."""
    arguments: Mapping[str, Any]
    """What its constructor was given by keyword, without the learning rate; lists of the JSON are tuples here."""
    base: float
    shapes: tuple[str, ...]
    """The names of the weights, in the order in which the optimizer had them; "complex" is complex128."""
    tolerance: float
    """How far apart x and y may be, with |x - y| <= tolerance * (1 + |y|)."""
    reason: str
    """Why the tolerance is not 1e-9; else empty."""
    paths: Mapping[str, str]
    """The path that Keras had for each weight: scopes and the name, with slashes between them."""
    excluded: tuple[str, ...]
    """The patterns given to Keras's `exclude_from_weight_decay(var_names=...)`."""
    scaled: Mapping[str, Any]
    """What Keras's `LossScaleOptimizer` was given; empty where there was none."""
    rates: Array
    """The learning rate of each update."""
    start: Weights
    gradients: Weights
    """Of each weight, all 45 gradients; the first axis counts updates. With a loss scale some are infinite."""
    expected: Mapping[int, Weights]
    """By number of updates: the weights after so many."""
    averages: Mapping[int, Weights]
    """By number of updates: the averages `ax` that ASGD keeps, and those of Keras's `use_ema`. Empty for all others."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _split(row: Array, like: Weights) -> Weights:
    """One row of numbers as the weights whose elements they are."""
    ends = np.cumsum([weight.size for weight in like.values()])
    assert row.size == ends[-1]
    parts = np.split(row, ends[:-1])
    return {name: part.reshape(weight.shape) for (name, weight), part in zip(like.items(), parts, strict=True)}


@cache
def _arrays(file: str) -> Mapping[str, Array]:
    with np.load(HERE / file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for array in arrays.values():
        array.flags.writeable = False
    return MappingProxyType(arrays)


@cache
def _cases(system: str) -> tuple[Case, ...]:
    described = json.loads((HERE / f"{system}.json").read_text(encoding="utf-8"))
    inputs, numbers = _arrays("inputs.npz"), _arrays(f"{system}.npz")
    table = np.array(described["rates"])

    def case(fields: dict[str, Any]) -> Case:
        name, base, shapes = fields["name"], fields["base"], tuple(fields["shapes"])
        start = {weight: inputs[f"start/{weight}"] for weight in shapes}
        recorded = {
            kind: dict(
                zip(described["recorded"], (_split(row, start) for row in numbers.get(f"{kind}/{name}", ())), strict=False)
            )
            for kind in ("weights", "averages")
        }
        rates = base * table
        rates.flags.writeable = False
        gradients = {weight: inputs[f"gradients/{weight}"] for weight in shapes}
        if "overflows" in fields:
            first = gradients[shapes[0]] = gradients[shapes[0]].copy()
            first.reshape(len(first), -1)[fields["overflows"], 0] = np.inf
            first.flags.writeable = False
        return Case(
            name=name,
            rule=fields["rule"],
            arguments={key: tuple(value) if isinstance(value, list) else value for key, value in fields["arguments"].items()},
            base=base,
            shapes=shapes,
            tolerance=fields["tolerance"],
            reason=fields.get("reason", ""),
            paths={weight: fields.get("paths", {}).get(weight, weight) for weight in shapes},
            excluded=tuple(fields.get("excluded", ())),
            scaled=fields.get("scaled", {}),
            rates=rates,
            start=start,
            gradients=gradients,
            expected=recorded["weights"],
            averages=recorded["averages"],
        )

    return tuple(case(fields) for fields in described["cases"])


def cases(system: Literal["torch", "keras"]) -> list[Case]:
    """All cases of a system, for `pytest.mark.parametrize("case", cases("torch"), ids=repr)`."""
    return list(_cases(system))
