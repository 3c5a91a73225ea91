"""Draw every schedule, and write docs/schedules.md about them.

python docs/make_gallery.py            writes the page and the pictures
python docs/make_gallery.py --check    exit status 1 where the page says something else
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any

import attrs

import updaters as up
from updaters import learning_rate, momentum
from updaters.protocols import Schedulable

HERE = Path(__file__).parent

PAGE = HERE / "schedules.md"
PICTURES = HERE / "schedules"


@attrs.frozen
class Entry:
    """A schedule: what the page says about it, and how much of it is drawn.

    Attributes:
        call: the expression that is drawn.
        equation: its value at T, in terms of its fields.
        purpose: what it is for.
        units: how many epochs or iterations are drawn; 100 or 1000 unless given.
        span: the lowest and highest value of the axis.
        about: what the equation's names are, where they are no fields.
    """

    call: str
    equation: str
    purpose: str
    units: int | None = None
    span: tuple[float, float] = (0.0, 0.1)
    about: str = ""

    @property
    def name(self) -> str:
        return self.call.partition("(")[0]

    @property
    def file(self) -> str:
        return f"{re.sub(r'(?<=[a-z])(?=[A-Z])|[._]', '_', self.name).lower()}.png"

    @property
    def description(self) -> str:
        return f"{self.call} over {self.length:,} {self.clock}s"

    @property
    def clock(self) -> str:
        """What it is drawn over."""
        return "iteration" if "iteration" in self.schedule().clocks else "epoch"

    @property
    def length(self) -> int:
        return self.units or (1000 if self.clock == "iteration" else 100)

    def schedule(self) -> Any:
        return eval(self.call, NAMES.copy())

    def values(self) -> list[float]:
        """What is drawn: the values in force in each epoch or iteration of a run, one update in each epoch."""
        schedule = self.schedule()
        state, values = up.OptimizationState(), []
        for epoch in state.epochs(self.length):
            for _ in state.batches((None,)):
                values.append(schedule(state))
            if isinstance(schedule, up.learning_rate.Plateau):
                schedule.observe(made_up_loss(epoch, schedule))
        return values


@attrs.frozen
class Composition:
    """An example of several schedules together.

    Attributes:
        title: what it is.
        code: what makes it, as pasted.
        text: what it is good for.
        panels: what is drawn, expressions by titles: a schedule, or a list with a value for each epoch.
        spans: the lowest and highest value of each panel's axis.
        batches: how many updates an epoch has.
    """

    title: str
    code: str
    text: str
    panels: Mapping[str, str]
    spans: Sequence[tuple[float, float]] = ((0.0, 0.1),)
    batches: int = 1

    @property
    def file(self) -> str:
        return f"{re.sub(r'[^a-z0-9]+', '_', self.title.lower())}.png"

    def values(self) -> dict[str, list[float]]:
        """What is drawn: the values in force at each update of 90 epochs, by panels."""
        namespace: dict[str, Any] = {}
        exec(self.code, namespace)
        drawn = {title: eval(expression, namespace) for title, expression in self.panels.items()}
        schedules: dict[str, Schedulable] = {title: one for title, one in drawn.items() if not isinstance(one, list)}
        values: dict[str, list[float]] = {title: [] if title in schedules else one for title, one in drawn.items()}
        state = up.OptimizationState()
        for _ in state.epochs(EPOCHS):
            for _ in state.batches(range(self.batches)):
                for title, schedule in schedules.items():
                    values[title].append(up.get_learning_rate(schedule, state))
        return values


EPOCHS = 90
NAMES: dict[str, Any] = {name: getattr(learning_rate, name) for name in learning_rate.__all__} | {"momentum": momentum}
MOMENTUM = (0.0, 1.0)


def made_up_loss(epoch: int, plateau: up.learning_rate.Plateau) -> float:
    """A loss that stops falling until the rate is reduced."""
    return max(1 / epoch, 0.08 * 0.5**plateau.reductions)


GALLERY: dict[str, Sequence[Entry]] = {
    "Constant": (Entry("Fixed(0.1)", "value", "A baseline, and the flat part of a `Sequence`. A plain number does the same."),),
    "Decays": (
        Entry(
            "Exp(0.1, gamma=0.95)",
            "max(value · gamma^(max(T - begin, 0) / every), floor)",
            "A fall by the same share in each unit, for runs of no fixed length. With `staircase=True` it holds each value.",
        ),
        Entry(
            "NaturalExp(0.1, rate=0.05)",
            "value · e^(-rate · T / every)",
            "The same curve where a paper gives the exponent: `every / rate` units for a factor of e.",
        ),
        Entry(
            "Inv(0.1, gamma=0.1, power=1)",
            "value · (1 + gamma · T / every)^(-power)",
            "A long tail. A `power` above 0.5 and up to 1 is what the proofs that SGD converges ask for.",
        ),
    ),
    "Steps": (
        Entry(
            "Step(0.1, 30)",
            "value · gamma^⌊(T - 1) / every⌋",
            "Image classifiers trained with SGD, as ResNets were: a tenth after every 30 epochs.",
        ),
        Entry(
            "MultiStep(0.1, (50, 75))",
            "value · gamma^count(m < T for m in milestones)",
            "The same with steps of unequal length: at half and at three quarters of a run, say.",
        ),
        Entry(
            "Piecewise((0.02, 0.1, 0.05, 0.01), (10, 40, 80))",
            "values[count(b < T for b in boundaries)]",
            "A table of values, up and down, such as a recipe gives.",
        ),
    ),
    "Ramps": (
        Entry(
            "Linear(0.1, 100)",
            "value + (end - value) · min(T / length, 1)",
            "Fine-tuning, in a run whose length is known. It rises too, as a warm-up by epochs or for a momentum.",
        ),
        Entry(
            "Polynomial(0.1, 100, power=2)",
            "end + (value - end) · max(1 - T / length, 0)^power",
            "Segmentation, with `power=0.9`. A higher power spends more of the run at low values.",
        ),
    ),
    "Cosines": (
        Entry(
            "Cosine(0.1, 100)",
            "end + (value - end) · (1 + cos(π · min(T / length, 1))) / 2",
            "The one to try first where the length of the run is known: high for long, and a soft landing.",
        ),
        Entry(
            "CosineRestarts(0.1, 10, period_factor=2)",
            "floor + (value - floor) · peak_factor^i · (1 + cos(π · T_i / period_i)) / 2",
            "A search that begins anew after each period. The weights at the end of a period are good ones to keep.",
            units=150,
            about="T_i counts the units done since the i-th restart, and `period_i = period · period_factor^i`.",
        ),
        Entry(
            "LinearCosine(0.1, 100, periods=3.5)",
            "value · ((alpha + 1 - x) · (1 + cos(2 · π · periods · x)) / 2 + beta), x = min(T / length, 1)",
            "Restarts without a jump, under a falling line.",
        ),
        Entry(
            "NoisyLinearCosine(0.08, 100, initial_variance=0.05)",
            "max(value · ((alpha + 1 - x + noise) · (1 + cos(2 · π · periods · x)) / 2 + beta), 0), x = min(T / length, 1)",
            "The same with noise, which is the same again at the same clock.",
            about="The noise is Gaussian, of variance `initial_variance / (1 + T)^variance_decay`.",
        ),
    ),
    "Transformers'": (
        Entry(
            "Noam(model_size=512, warmup=4000)",
            "value · model_size^(-0.5) · min(T^(-0.5), T · warmup^(-1.5))",
            "The transformer of 2017, by its width.",
            units=20_000,
            span=(0.0, 0.0008),
        ),
        Entry(
            "InverseSqrt(0.1, 100)",
            "value · min(T / warmup, √(warmup / T))",
            "The same curve, by its peak. Pre-training whose end is open.",
        ),
        Entry(
            "WarmupStableDecay(0.1, warmup=100, stable=700, decay=200)",
            "start + (value - start) · min(T / warmup, 1) + (end - value) · min(max(T - warmup - stable, 0) / decay, 1)",
            "Language models: the stable part can go on for as long as there is data, and a decay be run from any point of it.",
            about='This is `shape="linear"`; the fall may be a cosine or a root too.',
        ),
    ),
    "Cycles": (
        Entry(
            "Cyclic(0.02, 0.1, up=100)",
            "low + (high - low) · (1 - |1 - x|), x = T / up mod 2",
            "Where no single rate is known: it passes through a whole range of them, again and again.",
            about='This is `mode="triangular"` with `down` as long as `up`; in the other modes the cycles get lower.',
        ),
        Entry(
            "OneCycle(0.1, 1000)",
            "start + (peak - start) · ease(x / rise) if x < rise else peak + (end - peak) · ease((x - rise) / (1 - rise)), "
            "x = min(T / length, 1)",
            "Few epochs at a high peak rate, with SGD and a momentum that mirrors it.",
            about='`ease(x) = (1 - cos(π · x)) / 2`, or x itself with `shape="linear"`.',
        ),
    ),
    "Functions": (
        Entry(
            "Lambda(0.1, lambda t: 1 / (1 + (t / 30) ** 2))",
            "value · function(T)",
            "A curve that is not among these, as a factor.",
        ),
        Entry(
            "per_step(lambda step: 0.1 * 0.995**step)",
            "function(T - 1 + first)",
            "Schedules of optax and Keras, and whatever else is a function of a step from 0. It gives a `PerStep`.",
        ),
    ),
    "Made of others": (
        Entry(
            'Warmup(Cosine(0.1, 900, clock="iteration"), 100)',
            "start + (inner(max(T - iterations, 0)) - start) · min(T / iterations, 1)",
            "Adam, large batches, transformers: whatever diverges if it begins at its full rate.",
        ),
        Entry(
            "Sequence([Linear(0.0, 10, end=0.1), 0.1, Polynomial(0.1, 40, power=2)], [10, 60])",
            "inner(T - begun), k = count(b < T for b in boundaries), begun = (0, *boundaries)[k], inner = schedules[k]",
            "Phases, each on a clock of its own.",
        ),
        Entry(
            "Delay(Cosine(0.1, 50), 50)",
            "inner(max(T - by, 0))",
            "A flat part before any curve; with a delay of 1, the curve of a system whose steps count from 0.",
        ),
        Entry(
            "Repeat(Linear(0.1, 25), 25)",
            "inner(T - period · ⌊(T - 1) / period⌋)",
            "Restarts of any curve.",
        ),
        Entry(
            "minimum(0.05, Exp(0.1, gamma=0.97))",
            "min(left(T), right(T))",
            "A ceiling, or the lower of two curves.",
        ),
        Entry(
            "maximum(0.02, Exp(0.1, gamma=0.95))",
            "max(left(T), right(T))",
            "A floor under a curve that has none. `schedule.clamp(low, high)` is both.",
        ),
        Entry(
            "Plateau(0.1, factor=0.5, patience=5)",
            "max(inner(T) · factor^reductions, min(inner(T), floor))",
            "Where a metric should decide. Call `observe(metric)` after each epoch, here with a made-up loss.",
        ),
    ),
    "Momenta": (
        Entry("momentum.Null()", "0", "No momentum, by MXNet.jl's name; as `momentum=None`, no slot is kept.", span=MOMENTUM),
        Entry(
            "momentum.Nadam()",
            "mu0 · (1 - gamma · alpha^(T · delta))",
            "The warm-up of Nadam's momentum, for any rule that has one.",
            units=20_000,
            span=MOMENTUM,
        ),
        Entry(
            "momentum.Cyclic(0.85, 0.95, up=100)",
            "high - (high - low) · (1 - |1 - x|), x = T / up mod 2",
            "Goes with `Cyclic`: low while the rate is high.",
            span=(0.8, 1.0),
        ),
        Entry(
            "momentum.OneCycle(1000)",
            "high + (low - high) · ease(x / rise) if x < rise else low + (high - low) · ease((x - rise) / (1 - rise)), "
            "x = min(T / length, 1)",
            "Goes with `OneCycle`: lowest at the peak of the rate.",
            about="`ease` is as in `OneCycle`.",
            span=(0.8, 1.0),
        ),
    ),
}

COMPOSITIONS = (
    Composition(
        "Steps by epochs, warmed up by iterations",
        """\
from updaters.learning_rate import Step, Warmup

rate = Warmup(1.0, 500) * Step(0.1, 30)
""",
        "The product of two schedules with a counter each: the first goes from 0 to 1 and stays there. With 100 batches in an "
        "epoch the warm-up takes five of the 90 epochs.",
        {"learning rate": "rate"},
        batches=100,
    ),
    Composition(
        "Warm-up, then a cosine",
        """\
from updaters.learning_rate import Cosine, Warmup

rate = Warmup(Cosine(0.1, 90), 500)
""",
        "The line aims at where the cosine stands. This cosine counts epochs, which go on during the warm-up, so that it ends "
        "with epoch 90. One by iterations begins when the warm-up is over: "
        '`Warmup(Cosine(0.1, 8500, clock="iteration"), 500)` is as long.',
        {"learning rate": "rate"},
        batches=100,
    ),
    Composition(
        "Warm-up, a rate that listens, and a cosine to the end",
        """\
import updaters as up
from updaters.learning_rate import Cosine, Linear, Plateau, Sequence

plateau = Plateau(0.1, factor=0.5, patience=5)
rate = Sequence([Linear(0.0, 5, end=0.1), plateau, plateau * Cosine(1.0, 30)], boundaries=[5, 60])

def loss(epoch):                        # made up: it falls no further until the rate does
    return max(1 / epoch, 0.08 * 0.5**plateau.reductions)

losses, rates = [], []
state = up.OptimizationState()
for epoch in state.epochs(90):
    rates.append(rate(state))
    losses.append(loss(epoch))
    if 5 < epoch <= 60:
        plateau.observe(losses[-1])
""",
        "The rate is halved where six losses in a row were no better than the best. The cosine begins at what is left, since it "
        "is multiplied by the same `plateau`, which nothing moves after epoch 60.",
        {"loss": "losses", "learning rate": "rates"},
        spans=((0.0, 0.2), (0.0, 0.1)),
    ),
    Composition(
        "Restarts that get lower, after a delay, and not below a floor",
        """\
from updaters.learning_rate import CosineRestarts, Delay

rate = Delay(CosineRestarts(0.1, 20, peak_factor=0.6), 10).clamp(low=0.01)
""",
        "Ten epochs at the first peak, and then four periods. `floor=0.01` in the place of the clamp would squeeze the curves; "
        "the clamp cuts them off.",
        {"learning rate": "rate"},
    ),
    Composition(
        "One cycle of a rate and its momentum",
        """\
import updaters as up
from updaters import learning_rate, momentum

optimizer = up.SGD(learning_rate.OneCycle(0.1, 9000), momentum=momentum.OneCycle(9000))
figure = up.plot(optimizer, epochs=90, batches_per_epoch=100)
""",
        "`plot` draws what an optimizer has scheduled in such panels. The momentum is lowest where the rate is highest.",
        {"learning rate": "optimizer.lr", "momentum": "optimizer.momentum"},
        spans=((0.0, 0.1), (0.8, 1.0)),
        batches=100,
    ),
    Composition(
        "Weight decay and beta2 that move too",
        """\
import updaters as up
from updaters.learning_rate import Cosine, Linear

optimizer = up.AdamW(Cosine(0.001, 90), beta2=Linear(0.95, 30, end=0.999), weight_decay=Cosine(0.04, 90, end=0.4))
figure = up.plot(optimizer, epochs=90)
""",
        "A decay that rises from 0.04 to 0.4 along a cosine, as in self-supervised vision transformers, and a second moment that "
        "forgets quickly while gradients still change.",
        {"learning rate": "optimizer.lr", "beta2": "optimizer.beta2", "weight_decay": "optimizer.weight_decay"},
        spans=((0.0, 0.001), (0.9, 1.0), (0.0, 0.4)),
    ),
)

INTRODUCTION = """\
# Schedules

Every schedule with its picture, its call, its value at T and its use. This page and its pictures are written by
`python docs/make_gallery.py`. Conventions and errors are in the docstrings: `help(updaters.learning_rate.Step)`.

## How they work

A schedule is a frozen value and a pure function of the clock. It keeps nothing and is never stepped: the run moves the clock, and
each update asks what holds there.

```python
import updaters as up
from updaters.learning_rate import Cosine, Warmup

state = up.OptimizationState()
rate = Warmup(Cosine(0.001, 20, end=1e-5), 500)
update = up.get_updater(up.AdamW(rate, weight_decay=Cosine(0.1, 20, end=0.01)), state)

for epoch in state.epochs(20):                # the clock counts epochs
    for batch in state.batches(range(100)):   # and iterations
        ...                                   # update.step(grads, weights)

print(rate(up.OptimizationState(epoch=10, iteration=1000)))      # 0.000505, at any clock of your choosing
```

- **T** is 1 during the first epoch or iteration. `clock="epoch"` or `clock="iteration"` says which it counts, and is the unit
  of all lengths: `length`, `every`, `up`, `warmup`. Unless told otherwise, transformers' schedules, cycles, `momentum.Nadam` and
  `per_step` count iterations, and all others epochs.
- **T = 0** is where a curve begins, before the first unit. `Exp(0.1)` has 0.09 in the first epoch, and `Linear(0.1, 10)` 0.0 in
  the tenth. A warm-up aims at the T = 0 of what comes after it. For a system whose first step has T = 0, write `Delay(curve, 1)`.
- **What holds and steps counts units that are done**, T - 1: `Step`, `MultiStep`, `Piecewise`, staircases, restarts, and the
  boundaries of a `Sequence`. `Step(0.1, 30)` has 0.1 in epochs 1 to 30. These need no delay to agree with PyTorch's.
- **At its end a curve stays**, unless it is told to be `periodic`, or to `cycle`. Ends and floors are absolute, not fractions.
  A curve by epochs is at its end for the whole of its last epoch: with `end=0`, the last of 20 epochs of `Cosine(0.1, 20)` moves no
  weight. Give it an end, one epoch more, or iterations.
- **Look at the unit.** `Cosine(0.1, 10_000)` is one of 10,000 epochs; one of updates has `clock="iteration"`.
- **Any callable `state -> float` is as good**, in an optimizer and within compositions. There it sees a clock that begins with its
  part, and from which what is held is taken off already: `state.iteration` counts what schedules count.
- **Every numeric hyperparameter takes a schedule**: the learning rate, a momentum, betas, epsilon, the weight decay, a clip. A
  curve of `learning_rate` may stand in any of them; each checks what it is given.
- **Arithmetic** with numbers, schedules and other callables gives schedules: `+ - * /`, `minimum`, `maximum`, `clamp`.
- **`Plateau`** is the only one that remembers. `plateau.observe(loss)` moves it, a reading never does; `state_dict` has what
  it remembers.

### Functions of a step

Schedules of optax are plain functions from a step to a value, and Keras's are called like them. `per_step` takes both.

```python
import updaters as up

def schedule(step):                           # or optax.cosine_decay_schedule(0.1, 1000), or a schedule of Keras
    return 0.1 * 0.5**step

rate = up.learning_rate.per_step(schedule)
print(rate(up.OptimizationState(iteration=1)), rate(up.OptimizationState(iteration=2)))     # 0.1 0.05
```

### As data, and as a picture

```python
import json
import updaters as up
from updaters.learning_rate import Cosine, Warmup

adam = up.AdamW(lr=Warmup(Cosine(0.001, 20), 500))
text = json.dumps(up.to_config(adam))
print(up.from_config(json.loads(text)) == adam)                # True
figure = up.plot(adam, epochs=20, batches_per_epoch=100)       # with matplotlib; up.sketch gives text for a terminal
```

With the text in `adam.json`, the same from a shell, as a file or, where none is named, in the terminal:

```sh
python -m updaters plot adam.json adam.png --epochs 20 --batches-per-epoch 100
```

### One of your own

A subclass of `Curve` is a function of T. It composes, is drawn and, where it is registered, goes into configs as ours do.

```python
from math import log1p

import attrs
import updaters as up
from updaters.schedules import Clock, Curve, driven_by, value_in

@up.register(name="mine.Logarithmic")
@attrs.frozen(repr=False)
class Logarithmic(Curve):
    value: float = value_in()
    clock: Clock = driven_by("epoch")

    def curve(self, t: int) -> float:
        return self.value / (1 + log1p(t))

rate = up.learning_rate.Warmup(Logarithmic(0.1), 100)
print(rate)                                                    # Warmup(Logarithmic(0.1), 100)
print(up.from_config(up.to_config(rate)) == rate)              # True
```

### Costs and other systems

What a reading costs, beside the same formula by hand: `python benchmarks/schedules.py`, and
[benchmarks/README.md](../benchmarks/README.md).

Other systems' schedules, by their names and arguments, are in `updaters.compat.torch.lr_scheduler`,
`updaters.compat.keras.schedules`, `updaters.compat.tensorlayerx.lr`, `updaters.compat.oneflow.lr_scheduler`,
`updaters.compat.openseq2seq.lr_policies` and `updaters.compat.mxnet_jl` (`LearningRate`, `Momentum`). What
they give is one of these schedules or a composition; which, and how close it is: [parity.md](parity.md).

## The gallery

The names in the calls are those of `updaters.learning_rate`. Those in the equations are fields; `inner(T)`, `left(T)` and
`right(T)` are values of members, and `⌊x⌋` is x rounded down. Rates are drawn from 0 to 0.1 over 100 epochs or 1,000 iterations,
unless the axes say otherwise. A curve by epochs is a fine staircase, since an epoch has one value.
"""

COMPOSED = """\
## Compositions

All over 90 epochs. The first two and the fifth have 100 batches in each.
"""


def page() -> str:
    """The text of docs/schedules.md."""
    parts = [INTRODUCTION]
    for title, entries in GALLERY.items():
        parts.append(f"### {title}\n")
        parts.extend(_section(entry) for entry in entries)
    parts.append(COMPOSED)
    for each in COMPOSITIONS:
        parts.append(
            f"### {each.title}\n\n```python\n{each.code}```\n\n{_image(each.file, 480, each.title)}\n\n{_filled(each.text)}\n"
        )
    return "\n".join(parts)


def _section(entry: Entry) -> str:
    image = _image(entry.file, 320, entry.description.replace('"', "'"), ' align="right"')
    return f"""\
#### {entry.name}

{image}

`{entry.call}`

`{entry.equation}`

{_filled(f"{entry.purpose} {entry.about}")}

<br clear="all">
"""


def _filled(text: str) -> str:
    return fill(text, 130, break_long_words=False, break_on_hyphens=False)


def _image(file: str, width: int, text: str, place: str = "") -> str:
    return f'<img src="schedules/{file}" width="{width}"{place} alt="{text}">'


# Read on white and on black alike: each colour has a contrast of about 4 to both.
GREY, BLUE = "#7c7f85", "#2f81d8"
STYLE = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.0,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "lines.linewidth": 1.6,
    "lines.solid_joinstyle": "miter",
    "savefig.dpi": 200,
    "savefig.transparent": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def draw(
    panels: Mapping[str, Sequence[float]],
    spans: Sequence[tuple[float, float]],
    file: Path,
    *,
    description: str,
    unit: str,
    batches: int = 1,
    width: float,
) -> None:
    """Write a picture of values over a run, one panel above the other.

    Args:
        panels: the value at each update, by titles.
        spans: the lowest and highest value of each axis.
        file: where to write it.
        description: what it shows, which is written into the file too.
        unit: what the axis counts.
        batches: how many updates each of these has.
        width: in inches, of 100 pixels as they are shown.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    drawn = BytesIO()
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are literals
        panel, gap, margin = 1.1, 0.35, (0.6, 0.22, 0.42)  # the same in all pictures, so that their axes are of one size
        height = margin[2] + len(panels) * (panel + gap) - 0.07
        figure = Figure((width, height))
        for row, ((title, values), (low, high)) in enumerate(zip(panels.items(), spans, strict=True)):
            bottom = margin[2] + (len(panels) - 1 - row) * (panel + gap)
            place = (margin[0] / width, bottom / height, (width - margin[0] - margin[1]) / width, panel / height)
            axes = figure.add_axes(place)
            # A value holds during the whole of its update.
            x = [k / batches for k in range(len(values) + 1)]
            axes.step(x, [values[0], *values], where="pre", color=BLUE, clip_on=max(values) > high)
            length = len(values) // batches
            ticks = [length * k // 4 for k in range(5)] if length % 3 else [length * k // 3 for k in range(4)]
            axes.set(xlim=(0, length), ylim=(low, high), title=title, yticks=[low, (low + high) / 2, high], xticks=ticks)
            axes.set_xticklabels([f"{tick:,}" for tick in ticks] if row == len(panels) - 1 else [])
            axes.set_yticklabels([f"{tick:.4g}" for tick in axes.get_yticks()])
        axes.set_xlabel(unit)
        figure.savefig(drawn)
    # A palette takes a third of the space.
    about = PngInfo()
    about.add_text("Description", description)
    Image.open(drawn).quantize(64, method=Image.Quantize.FASTOCTREE).save(file, optimize=True, pnginfo=about)


def draw_all() -> None:
    """Write all pictures, and no others."""
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    for group, entries in GALLERY.items():
        title = "momentum" if group == "Momenta" else "learning rate"
        for entry in entries:
            panels, file = {title: entry.values()}, PICTURES / entry.file
            draw(panels, [entry.span], file, description=entry.description, unit=f"{entry.clock}s", width=3.2)
    for each in COMPOSITIONS:
        file = PICTURES / each.file
        draw(each.values(), each.spans, file, description=each.code, unit="epochs", batches=each.batches, width=4.8)


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and exit with 1 where the page says something else")
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    draw_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
