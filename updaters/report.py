"""What a call of an updater did: a value for a logger, or a table for the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from updaters.measured import Table
from updaters.overrides import text_of
from updaters.weight_state import Index, WeightState

What = Literal["nothing", "applied", "accumulated", "skipped"]


@attrs.frozen
class Happened:
    """What an updater keeps of its last call, at no cost."""

    what: What = "nothing"
    indices: tuple[Index, ...] | None = ()  # None: all that there are, which are updated one by one
    loss_scale: float = 1.0
    nonfinite: tuple[Index, ...] = ()
    norms: Mapping[Any, Any] = attrs.field(factory=dict)


@attrs.frozen
class Row:
    """What happened to one weight. Numbers that were not taken are None.

    Attributes:
        gradient_norm: the norm of its gradient, unscaled and accumulated, before any clip.
        clip_factor: by what clips changed that norm; 1 where they did nothing.
        update_norm: the norm of the weight's change.
        weight_norm: the norm of the weight before it.
        ratio: the quotient of these two, infinite for a weight of zeros that has moved.
        finite: whether the gradient was.
        updates: how many updates the weight has had.
    """

    gradient_norm: float | None = None
    clip_factor: float | None = None
    update_norm: float | None = None
    weight_norm: float | None = None
    ratio: float | None = None
    finite: bool = True
    updates: int = 0


@attrs.frozen(repr=False)
class Report:
    """What a call of an updater did. It prints as a table, and `as_dict` is for a logger.

    Attributes:
        what: `"applied"`, `"accumulated"`, `"skipped"`, or `"nothing"` where there has been no call yet.
        weights: a `Row` for each weight, by index.
        loss_scale: by what the loss was multiplied.
        nonfinite: the indices of the gradients that were not finite, where that was looked for.
        global_norms: the norm of all gradients where `ClipByGlobalNorm` took it, by the pattern of its group; None for all
            weights that have no group of their own.
        unmatched: the patterns of `overrides` that no index has matched so far.
        iteration: the clock's.
        held: the clock's, too.

    Example:
        >>> update = up.get_updater(up.SGD(0.1), nonfinite="skip")
        >>> update.step([np.array([np.inf])], [np.array([1.0])])
        >>> update.report().skipped, update.report().nonfinite
        (True, (0,))
    """

    what: What
    weights: Mapping[Index, Row]
    loss_scale: float
    nonfinite: tuple[Index, ...]
    global_norms: Mapping[Any, float]
    unmatched: tuple[Any, ...]
    iteration: int
    held: int

    @property
    def skipped(self) -> bool:
        """Whether the call was skipped."""
        return self.what == "skipped"

    def as_dict(self, separator: str = "/") -> dict[str, float]:
        """All numbers by name, as loggers take them: `"gradient_norm/layer.weight"`, `"loss_scale"` and so on.

        Example:
            >>> update = up.get_updater(up.SGD(0.5), report=True)
            >>> update("w", np.array([3.0, 4.0]), np.array([1.0, 0.0]))
            >>> numbers = update.report().as_dict()
            >>> numbers["gradient_norm/w"], numbers["update_norm/w"], numbers["updates/w"]
            (5.0, 2.5, 1.0)
        """
        numbers = {"loss_scale": self.loss_scale, "skipped": float(self.skipped), "held": float(self.held)}
        for pattern, norm in self.global_norms.items():
            numbers["global_norm" if pattern is None else f"global_norm{separator}{_named(pattern)}"] = norm
        texts = [text_of(index) for index in self.weights]
        for (index, row), text in zip(self.weights.items(), texts, strict=True):
            for name, value in attrs.asdict(row).items():
                if name != "finite" and value is not None and (name != "ratio" or math.isfinite(value)):
                    numbers[f"{name}{separator}{text if texts.count(text) == 1 else repr(index)}"] = float(value)
        return numbers

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        head = f"{self.what} at iteration {self.iteration}, {self.held} held"
        yield head + (f"; loss scale {self.loss_scale:g}" if self.loss_scale != 1 else "")
        for pattern, norm in self.global_norms.items():
            yield f"norm of all gradients{'' if pattern is None else f' of {pattern!r}'}: {norm:.4g}"
        if self.unmatched:
            yield f"overrides that match no weight: {', '.join(map(repr, self.unmatched))}"
        if not self.weights:
            return
        titles = ("weight", "gradient", "clip", "update", "norm", "update/norm", "updates")
        rows: list[tuple[str, ...]] = [titles]
        for index, row in self.weights.items():
            numbers = (row.gradient_norm, row.clip_factor, row.update_norm, row.weight_norm, row.ratio)
            shown = ["-" if value is None else f"{value:.3g}" for value in numbers]
            rows.append((text_of(index), *(["not finite", *shown[1:]] if not row.finite else shown), str(row.updates)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            padded = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
            yield "  ".join([cells[0].ljust(widths[0]), *padded])


def _named(pattern: Any) -> str:
    """A pattern as a name."""
    return pattern.pattern if isinstance(pattern, re.Pattern) else text_of(pattern)


def rows_of(indices: Sequence[Index], happened: Happened, known: Mapping[Index, WeightState]) -> dict[Index, Row]:
    """A row for each weight of a call."""
    of_table: dict[Table, list[Index]] = {}
    for index in indices:
        if happened.what == "applied" and index in known and known[index].reports:
            of_table.setdefault(known[index].table, []).append(index)
    numbers = {index: own for table, some in of_table.items() for index, own in table.all(some).items()}
    rows = {}
    for index in indices:
        row = Row(finite=index not in happened.nonfinite, updates=known[index].count if index in known else 0)
        rows[index] = _filled(row, numbers[index]) if index in numbers else row
    return rows


def _filled(row: Row, own: Mapping[str, float]) -> Row:
    gradient, clipped, weight, update = (own[name] for name in ("gradient", "clipped", "weight", "update"))
    factor = clipped / gradient if 0 < gradient < math.inf else 1.0
    ratio = update / weight if weight else math.inf if update else 0.0
    return attrs.evolve(
        row, gradient_norm=gradient, clip_factor=factor, update_norm=update, weight_norm=weight, ratio=ratio
    )  # fmt: skip
