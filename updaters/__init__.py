"""Stateful optimizers for people who have their own gradients, in place, on NumPy and CuPy arrays."""

from updaters import learning_rate, momentum
from updaters.gradient import normalized_gradient
from updaters.optimizers import (
    ASGD,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    RAdam,
    RMSProp,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Yogi,
)
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
    "ASGD",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "LearningRateScheduler",
    "Lion",
    "MomentumScheduler",
    "Nadam",
    "OptimizationState",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "Rprop",
    "Schedulable",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Updater",
    "Yogi",
    "get_learning_rate",
    "get_momentum",
    "get_updater",
    "learning_rate",
    "momentum",
    "normalized_gradient",
]
