"""Stateful optimizers for people who have their own gradients, in place, on NumPy and CuPy arrays."""

from updaters import learning_rate, momentum, transforms
from updaters.gradient import normalized_gradient
from updaters.optimizers import LAMB, LARS, SGD, Adafactor, Adam, AdamW, Muon, NovoGrad, Optimizer, Prodigy
from updaters.protocols import (
    LearningRateScheduler,
    MomentumScheduler,
    Schedulable,
    get_learning_rate,
    get_momentum,
)
from updaters.state import OptimizationState
from updaters.updater import Updater, get_updater

__version__ = "0.1.0.dev0"

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adafactor",
    "Adam",
    "AdamW",
    "LearningRateScheduler",
    "MomentumScheduler",
    "Muon",
    "NovoGrad",
    "OptimizationState",
    "Optimizer",
    "Prodigy",
    "Schedulable",
    "Updater",
    "get_learning_rate",
    "get_momentum",
    "get_updater",
    "learning_rate",
    "momentum",
    "normalized_gradient",
    "transforms",
]
