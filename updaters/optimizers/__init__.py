"""The rules, one file each."""

from updaters.optimizers.adafactor import Adafactor
from updaters.optimizers.adam import Adam
from updaters.optimizers.adamw import AdamW
from updaters.optimizers.base import Optimizer
from updaters.optimizers.lamb import LAMB
from updaters.optimizers.lars import LARS
from updaters.optimizers.muon import Muon
from updaters.optimizers.novograd import NovoGrad
from updaters.optimizers.prodigy import Prodigy
from updaters.optimizers.sgd import SGD

__all__ = ["LAMB", "LARS", "SGD", "Adafactor", "Adam", "AdamW", "Muon", "NovoGrad", "Optimizer", "Prodigy"]
