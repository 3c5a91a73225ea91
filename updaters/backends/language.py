"""Writing a recording out in a scalar language, Python for numba or C.

Both give the bits that NumPy gives: the same IEEE operations in the same order on the compute dtype, with
maximum, minimum and sign spelt out as selections, where each language has an idea of its own. A power alone
may differ in its last digits, since each has its own algorithm for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from updaters.backends.trace import ARITHMETIC, COMPARISONS, LOGIC, Kind, Node, Recording


@attrs.frozen
class Language:
    """How a scalar language spells what languages spell differently. `zero` and `one` are constants there."""

    select: str
    negation: str
    square_root: str
    absolute: str
    power: str
    infinity: str
    nan: str

    def lines(self, recording: Recording, coefficients: Sequence[str], *kinds: Kind) -> Iterator[tuple[Node, str, str]]:
        """Each value of these kinds that is no input, in order: its node, its name and its expression.

        `coefficients` are the recording's in float64; `position` is the element's.
        """
        first = len(recording.arrays) + len(recording.numbers)
        for number, node in enumerate(recording.nodes):
            if node.operation != "input" and node.kind in kinds:
                names = [f"x{operand}" for operand in node.operands]
                if node.operation == "dithered":  # no float32 holds a key
                    names[1:] = [coefficients[operand - first] for operand in node.operands[1:]]
                yield node, f"x{number}", self.expression(node, names)

    def expression(self, node: Node, names: Sequence[str]) -> str:
        """One operation on values that have names."""
        operation = node.operation
        symbol = ARITHMETIC.get(operation) or COMPARISONS.get(operation) or LOGIC.get(operation)
        if symbol:
            return f" {symbol} ".join(names)
        a, b = names[0] if names else "", names[-1] if names else ""
        match operation:
            case "constant":
                return self.constant(float.fromhex(node.value))
            case "negative":
                return f"-{a}"
            case "sqrt":
                return self.square_root.format(a)
            case "absolute":
                return self.absolute.format(a)
            case "power":
                return self.power.format(a, b)
            case "logical_not":
                return self.negation.format(a)
            case "where":
                return self.select.format(*names)
            case "rounded":
                return f"load_{node.value}(store_{node.value}({a}))"
            case "dithered":
                return f"dithered_{node.value}({', '.join(names)}, position)"
            case "maximum":
                return self.select.format(f"({a} > {b}) | ({a} != {a})", a, b)
            case "minimum":
                return self.select.format(f"({a} < {b}) | ({a} != {a})", a, b)
            case "sign":
                zero_or_nan = self.select.format(f"{a} == zero", "zero", a)
                return self.select.format(f"{a} > zero", "one", self.select.format(f"{a} < zero", "-one", zero_or_nan))
        raise AssertionError(f"no spelling for {operation}")

    def gather(self, operation: str, into: str, term: str) -> str:
        """A statement that takes one more term, or part, of a sum into it, or of a peak."""
        if operation == "peak":
            return f"{into} = {self.expression(Node('maximum'), [into, term])}"
        return f"{into} += {term}"

    def constant(self, value: float) -> str:
        """A literal that reads back as the same float64."""
        if math.isnan(value):
            return self.nan
        return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}{self.infinity}"


PYTHON = Language("({1} if {0} else {2})", "not {0}", "sqrt({0})", "abs({0})", "{0} ** {1}", "inf", "nan")
C = Language("({0} ? {1} : {2})", "!{0}", "up_sqrt({0})", "up_abs({0})", "up_power({0}, {1})", "up_infinity", "up_nan")
