"""Curves over the clock. A learning rate or a momentum finds them in `updaters.learning_rate` and `updaters.momentum`.

One of your own is a subclass of `Curve`, which is a function of one count, or of `Schedule`, under `@attrs.frozen(repr=False)`;
`driven_by` makes its field `clock`, `value_in` a field for a number.
"""

from updaters.schedules.base import Curve, Schedule
from updaters.schedules.fields import Clock, driven_by, value_in

__all__ = ["Clock", "Curve", "Schedule", "driven_by", "value_in"]
