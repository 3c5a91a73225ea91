"""Schedules for a momentum, under the names that MXNet.jl gave them."""

from updaters.schedules.constant import Fixed, Null
from updaters.schedules.nadam import Nadam

__all__ = ["Fixed", "Nadam", "Null"]
