"""Curves over the clock. A learning rate or a momentum finds them in `updaters.learning_rate` and `updaters.momentum`.

One of your own is a subclass of `Curve`, which is a function of one count, or of `Schedule`, under `@attrs.frozen(repr=False)`.
"""

from updaters.schedules.base import Curve, Schedule

__all__ = ["Curve", "Schedule"]
