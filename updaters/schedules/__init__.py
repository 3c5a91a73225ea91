"""Curves over the clock. A learning rate or a momentum finds them in `updaters.learning_rate` and `updaters.momentum`."""
