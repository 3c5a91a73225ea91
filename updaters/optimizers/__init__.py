"""The rules, one file each."""

from updaters.optimizers.adam import Adam
from updaters.optimizers.adamw import AdamW
from updaters.optimizers.base import Optimizer
from updaters.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
