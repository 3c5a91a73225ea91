"""Which of our schedules another system's are, and how close: the tables of docs/parity.md, whose rows tests hold to be true."""

from __future__ import annotations

import math
from types import MappingProxyType, ModuleType
from typing import Any, Literal

import attrs
import numpy as np

import updaters as up
from tests import system_schedules
from tests.golden.schedules import FUNCTIONS, ScheduleCase, schedule_cases
from updaters.compat import keras, mxnet_jl, torch

SYSTEMS: dict[str, ModuleType] = {
    "torch": torch.lr_scheduler,
    "keras": keras.schedules,
    "mxnet_jl": mxnet_jl,
    **system_schedules.SYSTEMS,
}
"""Where the schedules of a system are."""


def names(system: str) -> list[str]:
    """The schedules that a system's module has."""
    if system in ("torch", "keras"):
        return [name for name in SYSTEMS[system].__all__ if name[0].isupper()]
    return [name.removeprefix(f"{system}.") for name in system_schedules.names() if name.startswith(f"{system}.")]


Clock = Literal["epoch", "iteration"]


@attrs.frozen
class Row:
    """A schedule of a system."""

    call: str
    """By its own name and arguments."""
    here: str
    """The schedule of ours that it amounts to, as it is shown."""
    different: str = ""
    """What differs on purpose."""

    @property
    def name(self) -> str:
        return self.call.partition("(")[0]


REPEATED = "a milestone that is repeated counts twice; there it is an error"

ROWS: dict[str, list[Row]] = {
    "torch": [
        Row(
            "ChainedScheduler([StepLR(0.1, 30), ExponentialLR(0.1, 0.9)])",
            "(0.1 * Step(1.0, 30)) * Delay(Exp(1.0), 1)",
            "only what multiplies the rate can be chained, else an error says what to do. After `CosineAnnealingLR`'s lowest point "
            "the product goes on; there the rate rises to the base rate, and what the others multiplied by is forgotten",
        ),
        Row(
            "ConstantLR(0.1)",
            "0.1 * Piecewise((0.3333333333333333, 1.0), (5,))",
            "`total_iters=0` is an error; there `factor` stays for good. `factor=0` is taken; there it is a division by 0",
        ),
        Row(
            "CosineAnnealingLR(0.1, 50)",
            "Delay(Cosine(0.1, 50, periodic=True), 1)",
            "a function of the step; rounding adds up there",
        ),
        Row("CosineAnnealingWarmRestarts(0.1, 10, T_mult=2)", "CosineRestarts(0.1, 10, period_factor=2)"),
        Row(
            "CyclicLR(0.01, 0.1)",
            "RateAndMomentum(Delay(Cyclic(0.01, 0.1, up=2000), 1), Delay(momentum.Cyclic(0.8, 0.9, up=2000), 1))",
            "the momentum is the schedule's `momentum`, to be given to a field; there it is written into the optimizer. As Adam's beta1 its "
            "bias correction goes by the product of the betas so far; there it is 1 less the last one to the power of t",
        ),
        Row("ExponentialLR(0.1, 0.9)", "Delay(Exp(0.1), 1)"),
        Row(
            "LambdaLR(0.1, math.sqrt)",
            "0.1 * PerStep(<built-in function sqrt>, clock='epoch')",
        ),
        Row(
            "LinearLR(0.1)",
            "0.1 * Delay(Linear(0.3333333333333333, 5, end=1.0), 1)",
            "`total_iters=0` is an error; there `start_factor` stays for good",
        ),
        Row("MultiStepLR(0.1, [30, 80])", "MultiStep(0.1, (30, 80))"),
        Row(
            "OneCycleLR(0.1, 101, pct_start=0.5, div_factor=10.0)",
            "RateAndMomentum(Delay(OneCycle(0.1, 100, rise=0.495, start=0.01), 1), "
            "Delay(momentum.OneCycle(100, rise=0.495), 1))",
            "after its end the rate stays; there it is outside the curve for one update, below 0 at times, and then an error. Where "
            "the rise takes a step or less, it begins at `max_lr`; there, beside the curve or with a division by 0. A rise "
            "without a fall, and three phases of which the last has no time, are errors. Momentum as with `CyclicLR`",
        ),
        Row("PolynomialLR(0.1)", "Delay(Polynomial(0.1, 5), 1)"),
        Row(
            "ReduceLROnPlateau(0.1)",
            "RatePlateau(0.1)",
            "a relative threshold is right for negative metrics, where theirs takes a slightly worse one for better; the first "
            "finite metric is always the best so far, and infinite ones are bad; `factor=0` is an error",
        ),
        Row(
            "SequentialLR([LinearLR(0.1), StepLR(0.1, 30)], [5])",
            "Sequence((0.1 * Delay(Linear(0.3333333333333333, 5, end=1.0), 1), Step(0.1, 30)), (5,))",
            "each schedule has a base rate of its own; a plateau or another `SequentialLR` may be among them. A momentum of one of them is not in what comes back",
        ),
        Row("StepLR(0.1, 30)", "Step(0.1, 30)"),
    ],
    "keras": [
        Row(
            "CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10)",
            "Sequence((Delay(Linear(0.0, 10, end=0.1, clock='iteration'), 1), Delay(Cosine(0.1, 100, clock='iteration'), 1)), (10,))",
        ),
        Row(
            "CosineDecayRestarts(0.1, 100)",
            "CosineRestarts(0.1, 100, period_factor=2.0, clock='iteration')",
            "restarts are where they should be; a rounded logarithm makes some of theirs a step late",
        ),
        Row("ExponentialDecay(0.1, 100, 0.9)", "Delay(Exp(0.1, every=100, clock='iteration'), 1)"),
        Row(
            "InverseTimeDecay(0.1, 100, 0.5)", "Delay(Inv(0.1, gamma=0.5, power=1.0, every=100, clock='iteration'), 1)",
        ),
        Row("LinearCosineDecay(0.1, 100)", "Delay(LinearCosine(0.1, 100, clock='iteration'), 1)", "Keras 2's"),
        Row(
            "NoisyLinearCosineDecay(0.1, 100)", "Delay(NoisyLinearCosine(0.1, 100, clock='iteration'), 1)",
            "Keras 2's; the noise is a function of `seed` and step, where theirs is another at each reading; a negative rate is 0",
        ),
        Row(
            "PiecewiseConstantDecay([30, 60], [0.1, 0.05, 0.01])",
            "Piecewise((0.1, 0.05, 0.01), (31, 61), clock='iteration')",
            "boundaries that fall are an error; rates are added up there",
        ),
        Row("PolynomialDecay(0.1, 100)", "Delay(Polynomial(0.1, 100, end=0.0001, clock='iteration'), 1)"),
    ],
    "mxnet_jl": [
        Row("LearningRate.Exp(0.1)", "Exp(0.1)"),
        Row("LearningRate.Fixed(0.1)", "Fixed(0.1)"),
        Row("LearningRate.Inv(0.1)", "Inv(0.1)"),
        Row("Momentum.Fixed(0.9)", "Fixed(0.9)"),
        Row("Momentum.NadamScheduler()", "Nadam()", "one number, where it gives a pair there"),
        Row("Momentum.Null()", "Null()"),
    ],
    "tensorlayerx": [
        Row(
            "CosineAnnealingDecay(0.1, 50)",
            "Delay(Cosine(0.1, 50, periodic=True, clock='iteration'), 1)",
            "a function of the step, the closed form of the recursion there, in which rounding adds up",
        ),
        Row(
            "ExponentialDecay(0.1, 0.9)",
            "Delay(Exp(0.1, clock='iteration'), 1)",
            "a `gamma` of 0 or less, with which rates are 0 or negative there, is an error",
        ),
        Row(
            "InverseTimeDecay(0.1, 0.5)",
            "Delay(Inv(0.1, gamma=0.5, power=1.0, clock='iteration'), 1)",
            "a negative `gamma`, with which rates rise without bound and are then negative there, is an error",
        ),
        Row("LRScheduler(0.1)", "LRScheduler(base_lr=0.1, clock='iteration')", "reading it changes nothing; there is no `last_lr`"),
        Row("LambdaDecay(0.1, math.sqrt)", "0.1 * PerStep(<built-in function sqrt>)"),
        Row(
            "LinearWarmup(0.05, 10, 0.0, 0.1)",
            "Sequence((Delay(Linear(0.0, 10, end=0.1, clock='iteration'), 1), 0.05), (10,))",
            "it may be read more than once; there each reading after the warm-up is a step of the schedule that follows. The jump "
            "from `end_lr` to what follows stays. `warmup_steps=0` is an error",
        ),
        Row("MultiStepDecay(0.1, [30, 80])", "MultiStep(0.1, (30, 80), clock='iteration')", f"{REPEATED}. `gamma=0` is an error"),
        Row(
            "NaturalExpDecay(0.1, 0.5)",
            "Delay(NaturalExp(0.1, rate=0.5, clock='iteration'), 1)",
            "a negative `gamma`, with which rates rise there, is an error",
        ),
        Row("NoamDecay(512, 4000)", "Delay(Noam(model_size=512, warmup=4000), 1)"),
        Row(
            "PiecewiseDecay([30, 60], [0.1, 0.05, 0.01])",
            "Piecewise((0.1, 0.05, 0.01), (30, 60), clock='iteration')",
            "a number of values that is not one more than that of boundaries is an error",
        ),
        Row("PolynomialDecay(0.1, 100)", "Delay(Polynomial(0.1, 100, end=0.0001, clock='iteration'), 1)"),
        Row(
            "ReduceOnPlateau(0.1)",
            "PlateauOfFrozenBest(0.1)",
            "a metric that is NaN or infinite is bad; one that comes first is the best for ever there. A relative threshold is right "
            "for negative metrics, where theirs takes a slightly worse one for better",
        ),
        Row("StepDecay(0.1, 30)", "Step(0.1, 30, clock='iteration')", "`gamma=0`, with which rates are 0 there, is an error"),
    ],
    "oneflow": [
        Row("CosineAnnealingLR(0.1, 50)", "Delay(Cosine(0.1, 50, periodic=True), 1)"),
        Row("CosineDecayLR(0.1, 100)", "Delay(Cosine(0.1, 100), 1)"),
        Row("ExponentialLR(0.1, 0.9)", "Delay(Exp(0.1), 1)"),
        Row("LambdaLR(0.1, math.sqrt)", "0.1 * PerStep(<built-in function sqrt>, clock='epoch')", "one function, not a list of them"),
        Row("MultiStepLR(0.1, [30, 80])", "MultiStep(0.1, (30, 80))", REPEATED),
        Row("PolynomialLR(0.1, 100)", "Delay(Polynomial(0.1, 100, end=0.0001), 1)"),
        Row(
            "ReduceLROnPlateau(0.1)",
            "RatePlateau(0.1)",
            "a metric that is infinite is bad, where one may be the best for ever there; a relative threshold is right for negative "
            "metrics, where theirs takes a slightly worse one for better; one `min_lr`, not a list of them",
        ),
        Row("StepLR(0.1, 30)", "Step(0.1, 30)"),
    ],
    "openseq2seq": [
        Row(
            "cosine_decay(0.1, 100)",
            "0.1 * Delay(Cosine(1.0, 100, clock='iteration'), 1)",
        ),
        Row("exp_decay(0.1, 100, 0.9, False)", "Delay(Exp(0.1, every=100, clock='iteration'), 1)"),
        Row("fixed_lr(0.1)", "Fixed(0.1)"),
        Row(
            "inv_poly_decay(0.1, 100, 0.01)",
            "Delay(Inv(0.1, gamma=0.09, power=1.0, clock='iteration'), 1)",
            "`begin_decay_at` and `warmup_steps`, which do nothing here or there, must be integers of at least 0; a `name` is an error",
        ),
        Row(
            "piecewise_constant(0.1, [30, 60], [0.5, 0.25])",
            "Piecewise((0.1, 0.05, 0.025), (31, 61), clock='iteration')",
        ),
        Row("poly_decay(0.1, 100)", "0.1 * Delay(Polynomial(1.0, 100, clock='iteration'), 1)"),
        Row("transformer_policy(2.0, 512, 8000)", "Noam(value=2.0, model_size=512, warmup=8000)", "a `dtype` is an error"),
    ],
}  # fmt: skip
"""A row for each name that a system's module has: the tables of the page."""

ABOUT = {
    "torch": """\
A call has the base rate in the place of `optimizer`; `CyclicLR`, `OneCycleLR`, `SequentialLR` and `ChainedScheduler` have rates
of their own, or their schedules do. Epochs count unless `clock="iteration"` is given; for `CyclicLR` and `OneCycleLR`, iterations.
Rates are compared over 200 steps. `RateAndMomentum` is a rate with its momentum, `RatePlateau` our `Plateau` with an `eps`.
`MultiplicativeLR` is not there.
""",
    "keras": """\
Each class has Keras's arguments and is what the second column says; `serialize` and `deserialize` write and read Keras's
dictionaries. Iterations count unless `clock="epoch"` is given. Rates are compared over 200 steps, with Keras computing in float64;
in its float32 they are up to 3e-6 apart. An integer as initial rate, which makes all other numbers integers there, is itself
here. There is no class to derive from: `per_step` takes any function of a step.
""",
    "mxnet_jl": """\
Epochs and iterations count from 1, as ours do. Compared are rates and momenta of 200 iterations, by `decay_on_iteration`.
""",
    "tensorlayerx": """\
Iterations count unless `clock="epoch"` is given; there is no `step`, but for the plateau's. `last_epoch` is -1 and `verbose`
False, or an error. Rates are float64, where TensorLayerX rounds them to float32. They are compared over 200 steps.
`PlateauOfFrozenBest` is our `Plateau` with an `eps`, whose best metric stays as it is during a cooldown, as there.
""",
    "oneflow": """\
A call has the base rate in the place of `optimizer`. Epochs count unless `clock="iteration"` is given; there is no `step`, but for
the plateau's. `last_step` is -1 and `verbose` False, or an error. Rates are compared over 200 steps. `RatePlateau` is our `Plateau`
with an `eps`. As there, the first two rates of a `PolynomialLR` with `cycle` are the same, below the base rate. `ChainedScheduler`,
`ConstantLR`, `CosineAnnealingWarmRestarts`, `LinearLR`, `MultiplicativeLR`, `SequentialLR` and `WarmupLR` are not there.
""",
    "openseq2seq": """\
There is no `global_step`: iterations count unless `clock="epoch"` is given. Rates are compared over 200 steps. As there,
`inv_poly_decay` goes on falling below `min_lr`; `poly_decay` and `cosine_decay` fall while they warm up where `begin_decay_at` is
less than `warmup_steps`; the `min_lr` of `cosine_decay` is a fraction of its rate, and its `power` does nothing.
""",
}


def namespace(system: str) -> dict[str, Any]:
    """What a call of a row is evaluated in."""
    return {**vars(SYSTEMS[system]), "math": math}


def amounts_to(schedule: Any) -> str:
    """What is shown for a schedule of a system: itself, or what a class of the system's arguments holds."""
    return repr(getattr(schedule, "schedule", schedule))


# Against what the systems gave

REFUSED = MappingProxyType(
    {
        "ConstantLR(factor=0.5, total_iters=0)": "ConstantLR.total_iters must be an integer of at least 1, got 0",
        "LinearLR(start_factor=0.5, total_iters=0)": "LinearLR.total_iters must be an integer of at least 1, got 0",
        "OneCycleLR(max_lr=0.1, total_steps=100, pct_start=0.6, three_phase=True)": (
            "OneCycleLR.pct_start must be at most 0.505 for three phases in 100 steps, got 0.6"
        ),
        "ReduceLROnPlateau(factor=0.0, patience=20) of constant metrics": ("ReduceLROnPlateau.factor must be in (0, 1), got 0.0"),
        "PiecewiseConstantDecay(boundaries=[60, 30], values=[1.0, 0.5, 0.1])": (
            "PiecewiseConstantDecay.boundaries must be in increasing order, got (60, 30)"
        ),
    }
)
"""By their names: the cases that are errors here, and what the error says."""

EQUAL = [
    (system, case)
    for system in ("torch", "keras")
    for case in schedule_cases(system)  # type: ignore[arg-type]  # it is one of the two
    if not case.defect and case.name not in REFUSED
]
"""The cases whose rates are ours, but for the updates that a case calls defects."""

WITHOUT_BASE = ("CyclicLR", "OneCycleLR", "SequentialLR", "ChainedScheduler")
WITHOUT_CLOCK = ("SequentialLR", "ChainedScheduler")


def made(scheduler: str, lr: float | None, arguments: Any, clock: Clock) -> Any:
    """A schedule with the arguments of a case."""
    given = dict(arguments)
    for name in ("lr_lambda", "scale_fn"):
        if name in given:
            given[name] = FUNCTIONS[given[name]]
    if "schedulers" in given:
        given["schedulers"] = [made(one["scheduler"], lr, one["arguments"], clock) for one in given["schedulers"]]
    if lr is not None and scheduler not in WITHOUT_BASE:
        given["lr"] = lr
    if scheduler not in (*WITHOUT_CLOCK, "ReduceLROnPlateau"):
        given["clock"] = clock
    return getattr(SYSTEMS["keras" if lr is None else "torch"], scheduler)(**given)


def clock_at(clock: Clock, k: int) -> up.OptimizationState:
    """A clock at the k-th epoch, or update, with its other counter elsewhere."""
    return (
        up.OptimizationState(epoch=k, iteration=9) if clock == "epoch" else up.OptimizationState(epoch=3, iteration=k + 4, held=4)
    )


def rates(case: ScheduleCase, clock: Clock) -> tuple[np.ndarray, np.ndarray | None]:
    """The rates of a case, and its momenta if it has any, as they are here."""
    schedule = made(case.scheduler, case.lr, case.arguments, clock)
    found, kept = [], []
    for k in range(1, len(case.rates) + 1):
        if case.metrics is not None and k > 1:
            schedule.step(case.metrics[k - 2])
        found.append(schedule(clock_at(clock, k)))
        if case.momenta is not None:
            kept.append(schedule.momentum(clock_at(clock, k)))
    return np.array(found), np.array(kept) if kept else None


def errors(case: ScheduleCase, clock: Clock) -> np.ndarray:
    """How far our rates are from those of a case, over the largest of those; or our momenta, as they are."""
    found, kept = rates(case, clock)
    result = np.abs(found - case.rates) / np.abs(case.rates).max()
    return result if kept is None else np.maximum(result, np.abs(kept - case.momenta))


def largest_error(system: str, name: str) -> tuple[int, float]:
    """How many cases of a schedule were compared, and the largest error, but for updates that are defects there."""
    if system not in ("torch", "keras"):
        errors_of = system_schedules.errors(f"{system}.{name}")
        return len(errors_of), max(errors_of)
    found = [
        np.delete(errors(case, "iteration"), [k - 1 for k in case.defects]).max()
        for other, case in EQUAL
        if (other, case.scheduler) == (system, name)
    ]
    return len(found), max(found, default=0.0)
