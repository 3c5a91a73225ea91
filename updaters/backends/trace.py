"""Recording a formula: the plain function is run once on values that write down what happens to them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from updaters.arrays import HALVES, compute_dtype
from updaters.formula import Formula

Kind: TypeAlias = Literal["array", "mask", "scalar", "truth", "number", "fact"]
"""A number or a truth value: per element, of coefficients, or, in float64, of sums over all elements."""

TRUTHS = {"mask", "truth", "fact"}


@attrs.frozen
class Node:
    """One value of a recording: an input, a constant, or an operation on earlier nodes."""

    operation: str
    operands: tuple[int, ...] = ()
    kind: Kind = "array"
    value: str = ""  # an input's place, a dtype, a constant's float.hex: -0.0 and NaN too are themselves there


ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
COMPARISONS = {
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
LOGIC = {"logical_and": "&", "logical_or": "|"}
SUMS = {"sum", "dot", "peak"}
"""What is made of all elements: their sum, the sum of products of two, the largest of magnitudes, 0 where there are none."""
ROUNDINGS = {"rounded", "dithered"}
"""Of a float32 to a half of the node's dtype: to the nearest, or by chance, with a key of two coefficients, to one beside it."""
FUNCTIONS = {"negative", "sqrt", "absolute", "sign", "maximum", "minimum"}
ALIASES = {
    "true_divide": "divide",
    "fabs": "absolute",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "invert": "logical_not",
}


class Recorder:
    """The tape that a formula's values write themselves on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.numbers: dict[Node, int] = {}
        self.plain = True

    def put(self, node: Node) -> Value:
        if node not in self.numbers:
            self.numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return Value(self, self.numbers[node])

    def take(self, value: object) -> Value:
        if isinstance(value, Value) and value.tape is self:
            return value
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            if isinstance(value, np.generic) or not isinstance(value, (int, float)):
                self.plain = False  # NumPy's scalars and fractions bring a dtype of their own to plain NumPy
            try:
                return self.put(Node("constant", kind="scalar", value=float(value).hex()))
            except OverflowError:
                raise TypeError(f"{self.name}.formula has a number that no float64 holds: {value!r:.60}") from None
        raise TypeError(f"{self.name}.formula may combine its arguments with numbers only, got {value!r}")

    def operate(self, operation: str, *values: object) -> Value:
        operands = [self.take(value) for value in values]
        truths = [operand.node.kind in TRUTHS for operand in operands]
        logical = operation in LOGIC or operation == "logical_not"
        if truths != [logical or (operation == "where" and position == 0) for position in range(len(truths))]:
            raise TypeError(
                f"{self.name}.formula: numpy.{operation} takes {'comparisons' if logical else 'numbers'}"
                f"{' after one comparison' if operation == 'where' else ''}; turn one into the other with numpy.where"
            )
        kinds = {operand.node.kind for operand in operands}
        per_element = bool(kinds & {"array", "mask"})
        if per_element and "fact" in kinds:  # an element's truth value from one for the whole weight
            operands = [self.per_element(operand) for operand in operands]
        of_sums = not per_element and bool(kinds & {"number", "fact"})
        if logical or operation in COMPARISONS:
            kind: Kind = "mask" if per_element else "fact" if of_sums else "truth"
        else:
            kind = "array" if per_element else "number" if of_sums else "scalar"
        return self.put(Node(operation, tuple(operand.number for operand in operands), kind))

    def per_element(self, value: Value) -> Value:
        if value.node.kind != "fact":
            return value
        chosen = self.operate("where", value, 1.0, 0.0)
        return self.put(Node("not_equal", (chosen.number, self.take(0.0).number), "mask"))

    def reduce(self, operation: str, *values: object) -> Value:
        operands = [self.take(value) for value in values]
        if any(operand.node.kind != "array" for operand in operands):
            raise TypeError(f"{self.name}.formula: a sum, a norm or an inner product is one of arrays")
        return self.put(Node(operation, tuple(operand.number for operand in operands), "number"))


class Value(NDArrayOperatorsMixin):
    """A number that is yet to come: what a formula is given while it is recorded."""

    __slots__ = ("number", "tape")
    __hash__ = None  # type: ignore[assignment]  # == records a comparison

    def __init__(self, tape: Recorder, number: int) -> None:
        self.tape, self.number = tape, number

    @property
    def node(self) -> Node:
        return self.tape.nodes[self.number]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> Value:
        name = ALIASES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options:
            raise self._unknown(f"numpy.{ufunc.__name__} with {'.' + method if method != '__call__' else sorted(options)}")
        operate = self.tape.operate
        match name:
            case "square":
                return operate("multiply", *inputs * 2)
            case "reciprocal":
                return operate("divide", 1.0, *inputs)
            case "positive":
                return self.tape.take(inputs[0])
            case "power" if isinstance(inputs[1], (int, float)) and inputs[1] == 2:
                return operate("multiply", inputs[0], inputs[0])
            case "power" if isinstance(inputs[1], (int, float)) and inputs[1] == 0.5:
                return operate("sqrt", inputs[0])
            case "power":
                self.tape.plain = False  # NumPy's own power may be another for arrays than for scalars
                return operate("power", *inputs)
            case "isnan":
                return operate("not_equal", *inputs * 2)
            case _ if name in ARITHMETIC or name in COMPARISONS or name in LOGIC or name in FUNCTIONS or name == "logical_not":
                return operate(name, *inputs)
        raise self._unknown(f"numpy.{ufunc.__name__}")

    def __array_function__(self, function: Callable[..., Any], types: object, args: Any, kwargs: Any) -> Value:
        if function is np.where and len(args) == 3 and not kwargs:
            condition, yes, no = args
            if not isinstance(yes, Value) and not isinstance(no, Value):
                self.tape.plain = False  # two literals: float64 in plain NumPy, whatever the compute dtype
            return self.tape.operate("where", condition, yes, no)
        if function is np.clip and len(args) == 3 and not kwargs:
            value, low, high = args
            self.tape.plain = False  # of zeros of both signs, numpy.clip may take the other one
            return self.tape.operate("minimum", self.tape.operate("maximum", value, low), high)
        if function is np.sum and len(args) == 1 and not kwargs:
            return self.tape.reduce("sum", *args)
        if function is np.vdot and len(args) == 2 and not kwargs:
            return self.tape.reduce("dot", *args)
        if function is np.linalg.norm and len(args) + len(kwargs) < 3 and kwargs.keys() <= {"ord"}:
            return self._norm(*args, **kwargs)
        options = f" with {', '.join(kwargs) or 'so many arguments'}" if function in (np.sum, np.vdot, np.linalg.norm) else ""
        raise self._unknown(f"numpy.{function.__name__}{options}")

    def _norm(self, x: object, ord: object = None) -> Value:
        if ord is None:
            return self.tape.operate("sqrt", self.tape.reduce("dot", x, x))
        if isinstance(ord, (int, float)) and ord in (1, math.inf):
            return self.tape.reduce("sum" if ord == 1 else "peak", self.tape.operate("absolute", x))
        raise self._unknown(f"numpy.linalg.norm of order {ord!r}")

    def __getitem__(self, key: object) -> None:
        raise self._unknown("a part of an array")

    def __iter__(self) -> None:
        raise self._unknown("a loop over an array")

    def __len__(self) -> int:
        raise self._unknown("the length of an array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what libraries ask of any object
            raise AttributeError(name)
        raise self._unknown(f"a value's .{name}")

    def __bool__(self) -> bool:
        raise self._unknown("a branch on a value (numpy.where selects per element, a field selects between formulas)")

    def __float__(self) -> float:
        raise self._unknown("the math module, or float() of a value")

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray[Any, Any]:
        raise self._unknown("a conversion to an array")

    def _unknown(self, what: str) -> TypeError:
        known = sorted({*ARITHMETIC, *FUNCTIONS, "square", "power", "where", "clip"})
        return TypeError(
            f"{self.tape.name}.formula cannot be recorded: {what} is not one of + - * /, comparisons and numpy's "
            f"{', '.join(known)}, and of whole arrays sum, vdot and linalg.norm (of no order, 1 or inf); exponentials and "
            "logarithms belong in coefficients"
        )


def rounded(x: Any, dtype: str) -> Any:
    """A value as float16 or bfloat16 holds it: the nearest, or the even one of two; beyond their range infinite.

    Raises:
        TypeError: no formula is being recorded.
    """
    return _rounding("rounded", dtype, x)


def dithered(x: Any, low: Any, high: Any, dtype: str) -> Any:
    """A value as one of the two numbers of float16 or bfloat16 beside it, the nearer the likelier; one of them as it is.

    The expectation is the value itself. The key and an element's place in the array make the choice: the place in memory
    where all arrays of an update lie densely in one order, and else the place in C order. The value must be within the
    dtype's range, or infinite, or NaN.

    Args:
        x: the value.
        low: a coefficient, the lower 32 bits of the key.
        high: a coefficient, the upper 32 bits.
        dtype: the dtype's name.

    Raises:
        TypeError: no formula is being recorded, or a part of the key is no coefficient.
    """
    return _rounding("dithered", dtype, x, low, high)


def _rounding(operation: str, dtype: str, x: object, *key: object) -> Value:
    if not isinstance(x, Value):
        raise TypeError(f"{operation} takes values of a formula that is being recorded, got {x!r}")
    tape = x.tape
    if dtype not in HALVES:
        raise TypeError(f"{tape.name}.formula: {operation} takes {' or '.join(HALVES)}, got {dtype!r}")
    if x.node.kind in TRUTHS:
        raise TypeError(f"{tape.name}.formula: {operation} takes numbers; turn a comparison into one with numpy.where")
    places = [tape.take(part) for part in key]
    if any((part.node.operation, part.node.kind) != ("input", "scalar") for part in places):
        raise TypeError(f"{tape.name}.formula: {operation} takes a key of two coefficients, as they are given")
    tape.plain = False
    return tape.put(Node(operation, (x.number, *(part.number for part in places)), "array", dtype))


@attrs.frozen(eq=False)
class Recording:
    """A formula's operations in order, and which of them are the new weight, slots and numbers.

    Attributes:
        name: the formula's name.
        arrays: the arguments that are arrays: w, g and the slots.
        numbers: the arguments that are numbers kept for the weight.
        scalars: the arguments that are coefficients.
        nodes: every value; those of `arrays` come first, those of `numbers` and then of `scalars` next.
        targets: the nodes of the arrays that are replaced: the weight and slots, but those that stay as they are.
            There are none where a formula is after its numbers alone; nothing is written then.
        outputs: for each of these, the number of the node that replaces it.
        kept: for each of `numbers`, the number of the node that replaces it.
        sums: the nodes of SUMS that a pass works out besides; their operands are among `nodes`.
        shared: the places among `scalars` of those that are arrays on the weight's device for CuPy.
        plain: whether the plain function on NumPy arrays computes the very same.
        function: the plain function.
        compiled: what backends have made of the recording, under keys of their own.
    """

    name: str
    arrays: tuple[str, ...]
    numbers: tuple[str, ...]
    scalars: tuple[str, ...]
    nodes: tuple[Node, ...]
    targets: tuple[int, ...]
    outputs: tuple[int, ...]
    kept: tuple[int, ...]
    plain: bool
    function: Callable[..., Any]
    sums: tuple[Node, ...] = ()
    shared: tuple[int, ...] = ()
    compiled: dict[Any, Any] = attrs.field(factory=dict, repr=False)

    def check(self, weight: Any) -> None:
        """Raise unless the recording can be run for a weight.

        Raises:
            TypeError: it rounds, and the arithmetic is not that of real numbers in float32.
        """
        if weight.dtype.kind == "c" or compute_dtype(weight.dtype) != np.float32:
            for node in self.nodes:
                if node.operation in ROUNDINGS:
                    raise TypeError(f"{self.name}.formula rounds to {node.value}, expected a weight of this, got {weight.dtype}")

    def written(self, weight: Any, slots: Sequence[Any]) -> list[Any]:
        """Those of a weight and its slots that are replaced."""
        return [slots[target - 2] if target else weight for target in self.targets]


def record(formula: Formula) -> Recording:
    """Run a formula once on values that write down what happens to them.

    Raises:
        TypeError: the formula does something that has no place in it, or gives back the wrong number of values.
    """
    tape = Recorder(formula.name)
    arrays = ("w", "g", *formula.slots)
    # By place, since names may occur twice: a slot may be called g, a step's coefficient as one of the rule's.
    inputs = [tape.put(Node("input", value=str(place))) for place in range(len(arrays))]
    inputs += [tape.put(Node("input", kind="number", value=str(place))) for place in range(len(formula.numbers))]
    scalars = tuple(f"{name}_{place}" for place, name in enumerate(formula.coefficients))
    inputs += [tape.put(Node("input", kind="scalar", value=str(place))) for place in range(len(scalars))]
    results = formula.function(*inputs)
    if isinstance(results, list):
        results = tuple(results)
    if not isinstance(results, tuple):
        results = (results,)
    names = ("w", *formula.slots, *formula.numbers)
    if len(results) != len(names):
        raise TypeError(f"{formula.name}.formula must give back ({', '.join(names)}), got {len(results)} values")
    values = [tape.take(result) for result in results]
    if any(value.node.kind in TRUTHS for value in values):
        raise TypeError(f"{formula.name}.formula must give back numbers, got a comparison")
    replaced = [0, *range(2, len(arrays))]
    new = {target: value.number for target, value in zip(replaced, values, strict=False) if value.number != target}
    kept = [value.number for value in values[len(replaced) :]]
    for name, number in zip(formula.numbers, kept, strict=True):
        if tape.nodes[number].kind == "array":
            raise TypeError(f"{formula.name}.formula must give back one number as {name}, got one per element")
    nodes, place = prune(tape.nodes, [*new.values(), *kept])
    recording = Recording(
        formula.name, arrays, formula.numbers, scalars, nodes, tuple(new), tuple(place[number] for number in new.values()),
        tuple(place[number] for number in kept), tape.plain, formula.function,
        shared=formula.shared,
    )  # fmt: skip
    # One array's old value as another's new one would be overwritten before it is read.
    moved = any(output < len(arrays) for output in recording.outputs)
    summed = any(node.operation in SUMS for node in nodes)  # in an order of our own, and in float64
    return attrs.evolve(recording, plain=tape.plain and not moved and not summed)


def prune(nodes: Sequence[Node], wanted: Iterable[int]) -> tuple[tuple[Node, ...], dict[int, int]]:
    """The inputs, and the nodes that wanted ones need, with their new numbers by their old ones."""
    needed = set(wanted)
    for number in reversed(range(len(nodes))):
        if number in needed:
            needed.update(nodes[number].operands)
    place: dict[int, int] = {}
    for number, node in enumerate(nodes):
        if number in needed or node.operation == "input":
            place[number] = len(place)
    return tuple(
        attrs.evolve(nodes[number], operands=tuple(place[operand] for operand in nodes[number].operands)) for number in place
    ), place
