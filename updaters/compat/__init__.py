"""The optimizers and schedules of other systems: their names, arguments and numerics, on top of the rules here.

Each system is a module of its own, to be imported where it is wanted: `from updaters.compat import torch`. Its functions
give optimizers for `updaters.get_updater`. How closely they follow is measured in `docs/parity.md`.
"""
