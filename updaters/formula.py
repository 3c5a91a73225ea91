"""What a rule asks of a backend: one function per element, and the names of what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen
class Formula:
    """A function from (w, g, slots, numbers, coefficients) to (new w, new slots, new numbers).

    Attributes:
        name: what to call it in messages and in generated code.
        function: the plain function, which takes its arguments by position.
        slots: the names of the slots, in the function's order.
        numbers: the names of the numbers kept for a weight, in the function's order.
        coefficients: the names of the coefficients, in the function's order.
        shared: the places, among these, of those that many weights share and that come from sums over them: for CuPy's arrays
            float64 arrays of no dimension on the weight's device, for NumPy's plain numbers as the others are.
    """

    name: str
    function: Callable[..., Any]
    slots: tuple[str, ...]
    numbers: tuple[str, ...]
    coefficients: tuple[str, ...]
    shared: tuple[int, ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], slots: tuple[str, ...], numbers: tuple[str, ...], name: str) -> Formula:
        """The formula that `function` is, its coefficients named by its own parameters.

        Raises:
            TypeError: the parameters are not a weight, a gradient, the slots and numbers in their order, coefficients.
        """
        parameters = inspect.signature(function).parameters.values()
        names = tuple(parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
        kept = slots + numbers
        if len(names) != len(parameters) or len(names) < 2 or names[2 : 2 + len(kept)] != kept:
            expected = ", ".join(("w", "g", *kept, "..."))
            raise TypeError(f"{name}.formula must take ({expected}) for slots {slots!r}, got ({', '.join(map(str, parameters))})")
        return cls(name, function, slots, numbers, names[2 + len(kept) :])
