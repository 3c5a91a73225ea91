"""Pictures in characters, for a terminal."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import groupby
from math import ceil, floor, log10

from updaters.checks import whole
from updaters.pictures.readings import Drawable, Line, Run, bounds

# The bits of the eight dots of a braille character, by row and column.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def sketch(
    schedule: Drawable | Mapping[str, Drawable],
    *,
    epochs: int,
    batches_per_epoch: int = 1,
    width: int = 64,
    height: int = 11,
) -> str:
    """A schedule over a run, or what an optimizer has scheduled, drawn in braille characters.

    It shows what `updaters.plot` does, with one frame for each line. Where a value moves within one column of dots, all
    that it passes is drawn.

    Args:
        schedule: a schedule, any other scheduler, a number, an optimizer, or a mapping from labels to several.
        epochs: how many epochs the run has.
        batches_per_epoch: how many updates each of them has.
        width: of the frame, in characters.
        height: of the frame, in lines.

    Raises:
        TypeError, ValueError: an argument is not one of these; or a scheduler gave something that its place does not allow.

    Example:
        >>> print(up.sketch(up.learning_rate.Step(0.1, every=2, gamma=0.5), epochs=8, width=24, height=4))
             value
        0.1 ┤⠉⠉⠉⠉⠉⠉⡆
            │      ⡇
            │      ⠉⠉⠉⠉⠉⠉⣆⣀⣀⣀⣀⣀
          0 ┤                  ⠓⠒⠒⠒⠒⠒
            └───────────┴───────────┘
            0           4           8 epochs
    """
    run = Run(epochs, batches_per_epoch)
    width, height = whole(width, "width", 16), whole(height, "height", 2)
    frames = []
    for panel, group in groupby(run.lines(schedule), key=lambda line: line.panel):
        lines = list(group)
        for line in lines:
            several = len(lines) > 1 or isinstance(schedule, Mapping)
            title = f"{panel}: {line.label}" if several else panel
            frames.append("\n".join(_frame(title, line, run, width, height)))
    return "\n\n".join(frames)


def _frame(title: str, line: Line, run: Run, width: int, height: int) -> list[str]:
    low, high = _rounded(*bounds(line.values))
    cells = [[0] * width for _ in range(height)]
    before = None
    for column in range(2 * width):
        rows = [round((high - value) / (high - low) * (4 * height - 1)) for value in _passed(line, run, column, 2 * width)]
        top, bottom = min(rows), max(rows)
        if before is not None:  # join on to the dot before
            top, bottom = min(top, before + 1), max(bottom, before - 1)
        for row in range(top, bottom + 1):
            cells[row // 4][column // 2] |= DOTS[row % 4][column % 2]
        before = rows[-1]

    digits = max(4, 3 + ceil(log10(max(abs(low), abs(high)) / (high - low))))  # enough to tell them apart
    numbers = {0: f"{high:.{digits}g}", height - 1: f"{low:.{digits}g}"}
    if height % 2:  # or else the middle is between two lines of characters
        numbers[height // 2] = f"{(low + high) / 2:.{digits}g}"
    margin = max(map(len, numbers.values()))
    drawn = [
        f"{numbers.get(row, ''):>{margin}} {'┤' if row in numbers else '│'}"
        + "".join(chr(0x2800 + dots) if dots else " " for dots in cells[row]).rstrip()
        for row in range(height)
    ]
    half = width // 2
    axis = f"{'└':>{margin + 2}}{'─' * (half - 1)}┴{'─' * (width - half - 1)}┘"
    middle, end = f"{run.epochs / 2:g}", f"{run.epochs}"
    scale = f"{'0':>{margin + 2}}{middle:^{2 * half - 1}}"
    scale = f"{scale:<{margin + 2 + width - len(end) // 2 - len(end) % 2}}{end} epoch{'s' if run.epochs > 1 else ''}"
    return [f"{'':{margin + 2}}{title}", *drawn, axis, scale]


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Bounds of two digits or so, outside those given."""
    unit = 10.0 ** (floor(log10(high - low)) - 1)
    return floor(round(low / unit, 6)) * unit, ceil(round(high / unit, 6)) * unit


def _passed(line: Line, run: Run, column: int, columns: int) -> list[float]:
    """The values that are in force during one of so many equal parts of the run."""
    first = column * run.updates // columns + 1
    last = -(-(column + 1) * run.updates // columns)
    start = bisect_left(line.updates, first)
    return line.values[start : max(bisect_right(line.updates, last), start + 1)]
