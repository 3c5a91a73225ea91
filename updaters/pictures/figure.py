"""The figure that `updaters.plot` draws. Imported by that alone, since it needs matplotlib."""

from __future__ import annotations

from io import BytesIO
from itertools import groupby

from matplotlib.figure import Figure

from updaters.pictures.readings import MOST, Line, Run, bounds


class Picture(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(lines: list[Line], run: Run, *, labelled: bool) -> Figure:
    """A panel for each hyperparameter, one above the other, over the same epochs."""
    panels = [(name, list(group)) for name, group in groupby(lines, key=lambda line: line.panel)]
    figure = Picture(figsize=(6.4, 1.2 + 1.8 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), sharex=True, squeeze=False)
    for axes, (name, group) in zip(grid[:, 0], panels, strict=True):
        for line in group:
            # An update has its value during the whole of its share of an epoch.
            x = [0.0, *(update / run.batches_per_epoch for update in line.updates)]
            style = "steps-pre" if run.updates <= MOST else "default"
            axes.plot(x, [line.values[0], *line.values], drawstyle=style, label=line.label, clip_on=False)
        low, high = bounds([value for line in group for value in line.values])
        axes.update_datalim([(0, low), (run.epochs, high)])
        axes.set_xmargin(0)
        axes.autoscale_view()
        axes.set_title(name, loc="left", fontsize="medium")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if labelled or len(group) > 1:
            axes.legend(frameon=False)
    grid[-1, 0].locator_params(axis="x", integer=True)
    batches = "" if run.batches_per_epoch == 1 else f" of {run.batches_per_epoch:,} batches"
    grid[-1, 0].set_xlabel("epochs" + batches)
    return figure
