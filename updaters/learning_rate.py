"""Schedules for a learning rate, and for most other numbers; the first three are MXNet.jl's."""

from updaters.schedules.base import maximum, minimum
from updaters.schedules.compose import Delay, Repeat, Sequence, Warmup
from updaters.schedules.constant import Fixed
from updaters.schedules.cosine import Cosine, CosineRestarts, LinearCosine, NoisyLinearCosine
from updaters.schedules.cycles import Cyclic, OneCycle
from updaters.schedules.decay import Exp, Inv, NaturalExp
from updaters.schedules.functions import Lambda, PerStep, per_step
from updaters.schedules.plateau import Plateau
from updaters.schedules.ramps import Linear, Polynomial
from updaters.schedules.steps import MultiStep, Piecewise, Step
from updaters.schedules.warm import InverseSqrt, Noam, WarmupStableDecay

__all__ = [
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Delay",
    "Exp",
    "Fixed",
    "Inv",
    "InverseSqrt",
    "Lambda",
    "Linear",
    "LinearCosine",
    "MultiStep",
    "NaturalExp",
    "Noam",
    "NoisyLinearCosine",
    "OneCycle",
    "PerStep",
    "Piecewise",
    "Plateau",
    "Polynomial",
    "Repeat",
    "Sequence",
    "Step",
    "Warmup",
    "WarmupStableDecay",
    "maximum",
    "minimum",
    "per_step",
]
