"""Pictures of schedules, by matplotlib or in characters."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from updaters.pictures.readings import Drawable, Run
from updaters.pictures.text import sketch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawable", "plot", "sketch"]


def plot(
    schedule: Drawable | Mapping[str, Drawable],
    *,
    epochs: int,
    batches_per_epoch: int = 1,
    path: str | os.PathLike[str] | None = None,
) -> Figure | None:
    """Draw a schedule over a run, or the learning rate, the momentum and all else that an optimizer has scheduled.

    The values are those that each update of a run with `state.epochs` and `state.batches` would have. Of a run of more than
    2000 updates that many are read, most of them where a value moves: jumps are where they should be, and only what lasts
    less than two thousandths of the run may be missed. Nothing is changed, no `Plateau` and no clock of yours.

    Args:
        schedule: a schedule, any other scheduler, a number, an optimizer, or a mapping from labels to several.
        epochs: how many epochs the run has.
        batches_per_epoch: how many updates each of them has.
        path: a file to write the picture to as well, of a kind that matplotlib knows: .png, .svg, .pdf.

    Returns:
        The figure, which a notebook shows; `figure.axes` are its panels. Without matplotlib, None: then what `sketch` gives
        is printed.

    Raises:
        TypeError, ValueError: an argument is not one of these; or a scheduler gave something that its place does not allow.
        ModuleNotFoundError: a file is to be written, and there is no matplotlib.

    Example:
        >>> figure = up.plot(up.Adam(up.learning_rate.Cosine(0.1, 20)), epochs=20, batches_per_epoch=500)
        >>> [axes.get_title("left") for axes in figure.axes]
        ['learning rate', 'beta1']
    """
    if importlib.util.find_spec("matplotlib") is None:
        if path is not None:
            raise ModuleNotFoundError("a picture in a file needs matplotlib: pip install 'updaters[plot]'", name="matplotlib")
        print(sketch(schedule, epochs=epochs, batches_per_epoch=batches_per_epoch))
        print("\npip install 'updaters[plot]' to have pictures drawn.")
        return None
    from updaters.pictures.figure import draw

    run = Run(epochs, batches_per_epoch)
    figure = draw(run.lines(schedule), run, labelled=isinstance(schedule, Mapping))
    if path is not None:
        figure.savefig(path)
    return figure
