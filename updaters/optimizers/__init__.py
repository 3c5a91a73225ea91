"""The rules, one file each."""

from updaters.optimizers.adabelief import AdaBelief
from updaters.optimizers.adadelta import Adadelta
from updaters.optimizers.adafactor import Adafactor
from updaters.optimizers.adagrad import Adagrad
from updaters.optimizers.adam import Adam
from updaters.optimizers.adamax import Adamax
from updaters.optimizers.adamw import AdamW
from updaters.optimizers.asgd import ASGD
from updaters.optimizers.base import Optimizer
from updaters.optimizers.ftrl import Ftrl
from updaters.optimizers.lamb import LAMB
from updaters.optimizers.lars import LARS
from updaters.optimizers.lion import Lion
from updaters.optimizers.muon import Muon
from updaters.optimizers.nadam import Nadam
from updaters.optimizers.novograd import NovoGrad
from updaters.optimizers.prodigy import Prodigy
from updaters.optimizers.radam import RAdam
from updaters.optimizers.rmsprop import RMSProp
from updaters.optimizers.rprop import Rprop
from updaters.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from updaters.optimizers.sgd import SGD
from updaters.optimizers.yogi import Yogi

__all__ = [
    "ASGD",
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
    "Ftrl",
    "Lion",
    "Muon",
    "Nadam",
    "NovoGrad",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Yogi",
]
