"""Stateful optimizers for people who have their own gradients, in place, on NumPy and CuPy arrays."""

from updaters import learning_rate, loss_scale, momentum, transforms
from updaters.checkpoint.restoring import LoadReport
from updaters.config import from_config, register, to_config
from updaters.get import get_updater
from updaters.gradient import normalized_gradient
from updaters.optimizers import (
    ASGD,
    LAMB,
    LARS,
    SGD,
    AdaBelief,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    Muon,
    Nadam,
    NovoGrad,
    Optimizer,
    Prodigy,
    RAdam,
    RMSProp,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Yogi,
)
from updaters.pictures import plot, sketch
from updaters.policy import FROZEN, Average, Policy
from updaters.protocols import (
    LearningRateScheduler,
    MomentumScheduler,
    Schedulable,
    get_learning_rate,
    get_momentum,
)
from updaters.report import Report
from updaters.state import OptimizationState
from updaters.updater import Updater
from updaters.version import __version__ as __version__

__all__ = [
    "ASGD",
    "FROZEN",
    "LAMB",
    "LARS",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "Ftrl",
    "LearningRateScheduler",
    "Lion",
    "LoadReport",
    "MomentumScheduler",
    "Muon",
    "Nadam",
    "NovoGrad",
    "OptimizationState",
    "Optimizer",
    "Policy",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "Report",
    "Rprop",
    "Schedulable",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Updater",
    "Yogi",
    "from_config",
    "get_learning_rate",
    "get_momentum",
    "get_updater",
    "learning_rate",
    "loss_scale",
    "momentum",
    "normalized_gradient",
    "plot",
    "register",
    "sketch",
    "to_config",
    "transforms",
]
