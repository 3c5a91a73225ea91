"""Schedules for a learning rate, under the names that MXNet.jl gave them."""

from updaters.schedules.constant import Fixed
from updaters.schedules.decay import Exp, Inv

__all__ = ["Exp", "Fixed", "Inv"]
