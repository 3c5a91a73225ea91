"""Schedules for a momentum, under the names that MXNet.jl gave them, and for the other shares that a moving average keeps."""

from updaters.schedules.base import maximum, minimum
from updaters.schedules.compose import Delay, Repeat, Sequence, Warmup
from updaters.schedules.constant import Fixed, Null
from updaters.schedules.cosine import Cosine
from updaters.schedules.functions import Lambda, per_step
from updaters.schedules.mirrors import Cyclic, OneCycle
from updaters.schedules.nadam import Nadam
from updaters.schedules.ramps import Linear
from updaters.schedules.steps import MultiStep, Piecewise, Step

__all__ = [
    "Cosine",
    "Cyclic",
    "Delay",
    "Fixed",
    "Lambda",
    "Linear",
    "MultiStep",
    "Nadam",
    "Null",
    "OneCycle",
    "Piecewise",
    "Repeat",
    "Sequence",
    "Step",
    "Warmup",
    "maximum",
    "minimum",
    "per_step",
]
