"""Numbers that are measured of each weight and its gradient, kept on the weight's device until they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from updaters.arrays import Array, device
from updaters.backends import Backend
from updaters.order import HUGE
from updaters.weight_state import Index

DECIDING = ("finite", "peak", "total", "huge")
COLUMNS = (*DECIDING, "gradient", "clipped", "weight", "update")
"""What a table has of a weight, as far as it is measured; `order.py` says what. What decides about a step comes first."""

ROWS = 256
"""The weights of a block. A block stays where it is once it is made, since kernels write to it."""

Numbers: TypeAlias = Mapping[Index, Mapping[str, float]]
"""What was measured of each weight, on the host."""


class Table:
    """What is measured of the weights on one device."""

    def __init__(self, backend: Backend, device: str) -> None:
        self.backend, self.device = backend, device
        self._rows: dict[Index, int] = {}
        self._free = count()
        self._blocks: list[Array] = []
        self._picked: tuple[list[int], Any] = [], None

    def row(self, index: Index, weight: Array) -> dict[str, Array]:
        """A weight's numbers by name, as arrays of no dimension that can be written to."""
        if index not in self._rows:
            self._rows[index] = next(self._free)
        row = self._rows[index]
        while len(self._blocks) * ROWS <= row:
            self._blocks.append(self.backend.slot(weight, (len(COLUMNS) * ROWS,), np.dtype(np.float64), 0.0))
        block, place = self._blocks[row // ROWS], row % ROWS
        starts = [column * ROWS + place for column in range(len(COLUMNS))]
        return {name: block[start : start + 1].reshape(()) for name, start in zip(COLUMNS, starts, strict=True)}

    def column(self, name: str, indices: Sequence[Index]) -> Array:
        """One number of several weights, in their order, on the device."""
        rows = [self._rows[index] for index in indices]
        start = COLUMNS.index(name) * ROWS
        parts = [block[start : start + ROWS] for block in self._blocks]
        column = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if rows == list(range(len(rows))):
            return column[: len(rows)]
        if self._picked[0] != rows:  # kept, since what is sent to a device may be waited for
            self._picked = rows, self.backend.from_host(np.asarray(rows), self.device)
        return column[self._picked[1]]

    def deciding(self, indices: Sequence[Index]) -> dict[Index, dict[str, float]]:
        """What decides about a step, of several weights, on the host: the device is asked once."""
        return self._read(DECIDING, indices)

    def all(self, indices: Sequence[Index]) -> dict[Index, dict[str, float]]:
        """All that was measured of several weights, on the host: the device is asked once."""
        return self._read(COLUMNS, indices)

    def _read(self, names: Sequence[str], indices: Sequence[Index]) -> dict[Index, dict[str, float]]:
        parts = [block[: len(names) * ROWS] for block in self._blocks]
        block = parts[0] if len(parts) == 1 else np.concatenate(parts)
        values = np.asarray(block if isinstance(block, np.ndarray) else block.get()).reshape(-1, len(names), ROWS)
        rows = {index: divmod(self._rows[index], ROWS) for index in indices}
        return {
            index: dict(zip(names, values[number, :, place].tolist(), strict=True)) for index, (number, place) in rows.items()
        }


class Tables:
    """The tables of all devices."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}

    def of(self, weight: Array, backend: Backend) -> Table:
        """The table of the device that a weight is on."""
        where = device(weight)
        return self._tables.get(where) or self._tables.setdefault(where, Table(backend, where))


def norm_of(tables: Mapping[str, tuple[Table, list[Index]]], p: float) -> Any:
    """The norm of gradients from what was measured of them: on their device, or on the host where there are several."""
    if len(tables) == 1:
        ((table, indices),) = tables.values()
        return _norm(lambda name: table.column(name, indices), table.backend.add_up, p)
    numbers = [one for table, indices in tables.values() for one in table.deciding(indices).values()]
    return norm_from(numbers, p)


def norm_from(numbers: Sequence[Mapping[str, float]], p: float) -> Any:
    """The same from numbers on the host."""
    return _norm(lambda name: np.array([one[name] for one in numbers]), lambda column: np.add.accumulate(column)[-1], p)


def _norm(column: Callable[[str], Array], add_up: Callable[[Array], Any], p: float) -> Any:
    """The norm from each weight's numbers; `order.norm` has what these are."""
    with np.errstate(all="ignore"):
        totals = column("total")
        if p == math.inf:
            return totals.max()
        if p == 1:
            return add_up(totals)
        if p == 2:
            total = add_up(totals)
            return np.where(total < math.inf, np.sqrt(total), HUGE * np.sqrt(add_up(column("huge"))))
        peaks = column("huge")
        most = peaks.max()
        shares = peaks / np.where(most > 0, most, 1.0)
        return most * add_up(totals * shares**p) ** (1 / p)
