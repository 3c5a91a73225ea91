"""The plain recipe of one update, by hand: loops over floats, sums over what was gathered, and nothing shared with the library.

What is proven elsewhere is asked for: Muon's direction, and how a loss scale moves by a peak that is found here.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

import updaters as up
from updaters.transforms import AGC, LARC, ClipByGlobalNorm, ClipByNorm, ClipByValue

Array = np.ndarray[Any, Any]
Floats = list[float]

BATCH_SIZE = 4
SHAPES = {"a": (3, 2), "b": (4,), "c": (2, 1, 2)}
MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.8, 0.7, 0.9, 1e-3, 0.1


def lr(state: up.OptimizationState) -> float:
    return 0.1 / (1 + 0.2 * (state.iteration - state.held))


def share(state: up.OptimizationState) -> float:
    return 0.5 + 0.1 / (1 + state.iteration - state.held)


CLIPS: dict[str, Any] = {
    "none": None,
    "value": ClipByValue(-0.5, 0.4),
    "norm": ClipByNorm(0.6),
    "global": ClipByGlobalNorm(1.0),
    "global 1": [ClipByValue(-0.9, 0.9), ClipByGlobalNorm(1.5, 1)],
    "global 3": ClipByGlobalNorm(0.8, 3, epsilon=0.1),
    "global inf": ClipByGlobalNorm(0.5, math.inf),
    "units": [AGC(0.2, epsilon=0.1), ClipByGlobalNorm(0.9)],
    "larc": LARC(0.3, epsilon=0.1),
    "larc scale": [LARC(0.3, mode="scale", epsilon=0.1, min_update=0.2), ClipByNorm(0.5)],
}
SCALES: dict[str, Any] = {
    "none": None,
    "static": 128.0,
    "growing": up.loss_scale.GrowthInterval(512.0, growth_interval=2),
    "peak": up.loss_scale.LogMax(scale_max=2.0**10),
}
AVERAGES: dict[str, Any] = {
    "none": None,
    "average": up.Average(0.6),
    "overwriting": up.Average(share, 2),
    "every call": up.Average(0.7, 3, every_call=True),
}
OVERRIDES: dict[str, Any] = {
    "none": None,
    "fields": {"b": {"lr_scale": 0.5, "weight_decay": None, "clip": ClipByValue(-0.3, 0.3)}},
    "group": {
        re.compile("^[bc]$"): {
            "lr_scale": lambda state: 1 / (1 + 0.1 * (state.iteration - state.held)),
            "clip": (ClipByGlobalNorm(0.4),),
        },
        "*": {},
    },
    "frozen": {"c": up.FROZEN, "?": {"clip": None}},
}
FACTORS: dict[str, Sequence[Any]] = {
    "clip": list(CLIPS),
    "scale": list(SCALES),
    "rule": ["sgd", "adamw", "lamb", "muon"],
    "average": list(AVERAGES),
    "overrides": list(OVERRIDES),
    "nonfinite": [None, "skip", "raise"],
    "dtype": ["float64", "float32", "float16"],
    "accumulate": [1, 3],
    "maximize": [False, True],
    "gradient": ["mean", "sum"],
}


def total(numbers: Iterable[float]) -> float:
    """A sum, exact where it is finite."""
    numbers = list(numbers)
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


@attrs.frozen
class Case:
    """One choice of each factor."""

    clip: str = "none"
    scale: str = "none"
    rule: str = "sgd"
    average: str = "none"
    overrides: str = "none"
    nonfinite: str | None = None
    dtype: str = "float64"
    accumulate: int = 1
    maximize: bool = False
    gradient: str = "mean"

    @property
    def is_allowed(self) -> bool:
        return not (self.scale in ("growing", "peak") and self.nonfinite == "raise")

    @property
    def skips(self) -> bool:
        return self.nonfinite == "skip" or self.scale in ("growing", "peak")

    @property
    def optimizer(self) -> up.Optimizer:
        shared: dict[str, Any] = {"maximize": self.maximize, "gradient": self.gradient, "weight_decay": DECAY}
        betas = {"beta1": BETA1, "beta2": BETA2, "epsilon": EPSILON}
        sgd = up.SGD(lr, momentum=MOMENTUM, **shared)
        rules = {
            "sgd": sgd,
            "adamw": up.AdamW(lr, **betas, **shared),
            "lamb": up.LAMB(lr, **betas, **shared),
            "muon": up.Muon(lr, momentum=MOMENTUM, otherwise=sgd, **shared),
        }
        return rules[self.rule]

    def updater(self, backend: str) -> up.Updater:
        return up.get_updater(
            self.optimizer,
            up.OptimizationState(BATCH_SIZE),
            clip=CLIPS[self.clip],
            loss_scale=SCALES[self.scale],
            average=AVERAGES[self.average],
            overrides=OVERRIDES[self.overrides],
            nonfinite=self.nonfinite,  # type: ignore[arg-type]
            accumulate=self.accumulate,
            master_weights=self.dtype == "float16",
            backend=backend,
        )


def pairwise() -> list[Case]:
    """Cases in which any two choices of two factors meet, wherever they are allowed to."""
    names = list(FACTORS)
    pairs = {
        ((one, x), (other, y))
        for one, other in itertools.combinations(names, 2)
        for x in FACTORS[one]
        for y in FACTORS[other]
        if Case(**{one: x, other: y}).is_allowed
    }
    draws, cases = random.Random(5), []
    while pairs:
        best, met = Case(), set[Any]()
        for _ in range(60):
            (one, x), (other, y) = draws.choice(sorted(pairs, key=repr))
            case = Case(**{name: draws.choice(list(values)) for name, values in FACTORS.items()} | {one: x, other: y})
            found = {pair for pair in pairs if all(getattr(case, name) == value for name, value in pair)}
            if case.is_allowed and len(found) > len(met):
                best, met = case, found
        cases.append(best)
        pairs -= met
    return cases


def norm(values: Floats, p: float = 2) -> float:
    return max(map(abs, values), default=0.0) if p == math.inf else math.fsum(abs(x) ** p for x in values) ** (1 / p)


def times(values: Floats, factor: float) -> Floats:
    return [factor * x for x in values]


class Weight:
    """A weight with what happened to it."""

    def __init__(self, name: str, values: Array) -> None:
        self.name, self.shape = name, values.shape
        self.w: Floats = values.astype(float).ravel().tolist()
        self.gathered: list[Floats] = []
        self.gradients: list[Floats] = []  # as they came to the rule
        self.pushes: list[Floats] = []
        self.average: Floats | None = None
        self.count = 0
        self.path = norm(self.w, math.inf)
        self.muon = up.get_updater(up.Muon(1.0, momentum=MOMENTUM), backend="numpy")

    def units(self) -> list[range]:
        if len(self.shape) < 2:
            return [range(len(self.w))]
        size = len(self.w) // self.shape[0]
        return [range(start, start + size) for start in range(0, len(self.w), size)]


class Oracle:
    """An updater by hand."""

    def __init__(self, case: Case, weights: Mapping[str, Array]) -> None:
        self.case = case
        self.weights = {name: Weight(name, values) for name, values in weights.items()}
        self.iteration = self.held = self.calls = 0
        scale = SCALES[case.scale]
        self.scaling = {"scale": scale or 1.0} if not hasattr(scale, "initial") else scale.initial()

    def settings(self, name: str) -> tuple[Any, dict[str, Any]]:
        """The pattern and the settings that a weight has of its own."""
        for pattern, settings in (OVERRIDES[self.case.overrides] or {}).items():
            if pattern.search(name) if isinstance(pattern, re.Pattern) else pattern in (name, "?", "*"):
                return pattern, settings
        return None, {}

    def group(self, name: str) -> tuple[Any, list[Any]]:
        """What a weight's group is called, and its clips."""
        pattern, settings = self.settings(name)
        clip = settings["clip"] if "clip" in settings else CLIPS[self.case.clip]
        return (pattern if "clip" in settings else None), [] if clip is None else [*clip] if isinstance(
            clip, (list, tuple)
        ) else [clip]

    def clock(self) -> up.OptimizationState:
        return up.OptimizationState(BATCH_SIZE, iteration=self.iteration, held=self.held)

    def rate(self, name: str) -> float:
        by = self.settings(name)[1].get("lr_scale", 1.0)
        return lr(self.clock()) * (by(self.clock()) if callable(by) else by)

    def step(self, grads: Mapping[str, Array | None]) -> str:
        """What a call did."""
        self.iteration += 1
        given = {name: g for name, g in grads.items() if g is not None and self.settings(name)[1] is not up.FROZEN}
        if not given and self.case.accumulate == 1:
            self.iteration -= 1
            return "nothing"
        by = self.scaling["scale"] * (BATCH_SIZE if self.case.gradient == "sum" else 1)
        if self.case.nonfinite == "raise" and not all(np.isfinite(g).all() for g in given.values()):
            self.iteration -= 1
            return "raised"
        self.calls += 1
        for name, g in given.items():
            self.weights[name].gathered.append([x / by for x in g.astype(float).ravel().tolist()])
        if self.calls < self.case.accumulate:
            self.held += 1
            average = AVERAGES[self.case.average]
            for name in given if average is not None and average.every_call else ():
                self.take_average(self.weights[name])
            return "accumulated"
        return self.apply()

    def apply(self) -> str:
        """Apply the mean of what was gathered, or skip it."""
        weights = [weight for weight in self.weights.values() if weight.gathered]
        calls, self.calls = self.calls, 0
        if not weights:
            self.held += calls == self.case.accumulate
            return "nothing"
        means = {weight.name: [total(column) / calls for column in zip(*weight.gathered, strict=True)] for weight in weights}
        for weight in weights:
            weight.gathered = []
        finite = all(math.isfinite(x) for g in means.values() for x in g)
        scale = SCALES[self.case.scale]
        if not finite and self.case.skips:
            self.scaling = scale.after(self.scaling, False, None) if hasattr(scale, "after") else self.scaling
            self.held += 1
            return "skipped"
        if hasattr(scale, "after"):
            examples = BATCH_SIZE if self.case.gradient == "sum" else 1
            self.scaling = scale.after(self.scaling, True, examples * max(norm(g, math.inf) for g in means.values()))
        self.clip(means)
        for weight in weights:
            before = weight.w
            self.update(weight, means[weight.name])
            weight.path += max(abs(x - y) for x, y in zip(weight.w, before, strict=True))
        return "applied"

    def flush(self) -> str:
        if not any(weight.gathered for weight in self.weights.values()):
            self.calls = 0
            return "nothing"
        self.held -= 1
        return self.apply()

    def clip(self, means: dict[str, Floats]) -> None:
        """Clip gradients, in place."""
        groups: dict[Any, list[str]] = {}
        for name in means:
            groups.setdefault(self.group(name)[0], []).append(name)
        for names in groups.values():
            for clip in self.group(names[0])[1]:
                if isinstance(clip, ClipByGlobalNorm):
                    total = norm([x for name in names for x in means[name]], clip.order) + float(clip.epsilon)
                    means.update(
                        {name: times(means[name], min(1.0, float(clip.bound) / total) if total else 1.0) for name in names}
                    )
                else:
                    means.update({name: list(self.clipped(clip, self.weights[name], means[name])) for name in names})

    def clipped(self, clip: Any, weight: Weight, g: Floats) -> Iterator[float]:
        if isinstance(clip, ClipByValue):
            yield from (min(max(x, clip.low), clip.high) for x in g)
        elif isinstance(clip, ClipByNorm):
            yield from times(g, min(1.0, clip.bound / norm(g)) if norm(g) else 1.0)
        elif isinstance(clip, AGC):
            for unit in weight.units():
                most = clip.ratio * max(norm([weight.w[i] for i in unit]), clip.epsilon)
                size = norm([g[i] for i in unit])
                yield from times([g[i] for i in unit], min(1.0, most / size) if size else 1.0)
        else:
            ratio = clip.eta * norm(weight.w) / (norm(g) + clip.epsilon)
            least = max(ratio, clip.min_update) if clip.mode == "scale" else max(ratio / self.rate(weight.name), clip.min_update)
            yield from times(g, least if clip.mode == "scale" else min(1.0, least))

    def update(self, weight: Weight, g: Floats) -> None:
        """The update of one weight by its clipped gradient."""
        weight.count += 1
        rule = self.case.rule if self.case.rule != "muon" or len(weight.shape) == 2 else "sgd"
        rate, settings = self.rate(weight.name), self.settings(weight.name)[1]
        decay = DECAY if settings.get("weight_decay", DECAY) else 0.0
        if self.case.maximize:
            g = times(g, -1.0)
        if rule == "sgd":
            g = [x + decay * w for x, w in zip(g, weight.w, strict=True)]
        if rule in ("adamw", "muon"):
            weight.w = times(weight.w, 1 - rate * decay)
        weight.gradients.append(g)
        push = getattr(self, rule)(weight, rate, decay)
        weight.w = [w + x for w, x in zip(weight.w, push, strict=True)]
        if self.case.average != "none":
            self.take_average(weight, after=True)

    def take_average(self, weight: Weight, after: bool = False) -> None:
        average = AVERAGES[self.case.average]
        t = weight.count if after else weight.count + 1
        keep = average.keep(self.clock()) if callable(average.keep) else average.keep
        if weight.average is None or t == 1:
            weight.average = list(weight.w)
        else:
            weight.average = [keep * x + (1 - keep) * w for x, w in zip(weight.average, weight.w, strict=True)]
        if average.overwrite_every and t % average.overwrite_every == 0:
            weight.w = list(weight.average)

    def sgd(self, weight: Weight, rate: float, decay: float) -> Floats:
        weight.pushes.append(times(weight.gradients[-1], -rate))
        last = len(weight.pushes)
        return [math.fsum(MOMENTUM ** (last - k) * x for k, x in enumerate(c, 1)) for c in zip(*weight.pushes, strict=True)]

    def moments(self, weight: Weight) -> Floats:
        t = weight.count
        m, v = (
            [
                math.fsum((1 - beta) * beta ** (t - k) * x**p for k, x in enumerate(c, 1))
                for c in zip(*weight.gradients, strict=True)
            ]
            for beta, p in ((BETA1, 1), (BETA2, 2))
        )
        return [x / (1 - BETA1**t) / (math.sqrt(y / (1 - BETA2**t)) + EPSILON) for x, y in zip(m, v, strict=True)]

    def adamw(self, weight: Weight, rate: float, decay: float) -> Floats:
        return times(self.moments(weight), -rate)

    def lamb(self, weight: Weight, rate: float, decay: float) -> Floats:
        u = [x + decay * w for x, w in zip(self.moments(weight), weight.w, strict=True)]
        ratio = norm(weight.w) / norm(u) if norm(weight.w) and norm(u) else 1.0
        return times(u, -rate * ratio)

    def muon(self, weight: Weight, rate: float, decay: float) -> Floats:
        there = np.zeros(weight.shape)
        weight.muon("w", np.array(weight.gradients[-1]).reshape(weight.shape), there)
        return times(there.ravel().tolist(), rate)
