"""The rules, one file each."""

from updaters.optimizers.adam import Adam
from updaters.optimizers.adamw import AdamW
from updaters.optimizers.base import Optimizer
from updaters.optimizers.lamb import LAMB
from updaters.optimizers.sgd import SGD

__all__ = ["LAMB", "SGD", "Adam", "AdamW", "Optimizer"]
