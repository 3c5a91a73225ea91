"""Splitting a recording at its sums: passes over the elements, and arithmetic on a few numbers in between.

What comes from a sum over all elements is known only when a pass has come to its end, so whatever uses it waits
for the next pass. A slot is written in the first pass that knows its new value, unless a later one still wants the
old; later passes read it there, in place of working it out again. Nothing the size of a weight is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from updaters.arrays import memory_order
from updaters.backends.language import PYTHON, Language
from updaters.backends.trace import SUMS, TRUTHS, Node, Recording

CHUNK = 65_536
"""Elements that are summed at a time; the sums of all chunks are added in their order."""

LANES = 1_024
"""Elements of a chunk go round this many sums, which are then folded by halves: the same bits in every backend."""


@attrs.frozen(eq=False)
class Pass:
    """One pass over the elements.

    Attributes:
        recording: what it does; its coefficients are the whole's, followed by imported numbers.
        imports: the nodes of the whole whose values are imported.
        sums: the nodes of the whole that its sums are.
    """

    recording: Recording
    imports: tuple[int, ...]
    sums: tuple[int, ...]


@attrs.frozen(eq=False)
class Stages:
    """A recording as passes, and what is worked out before each of them and after the last.

    Attributes:
        whole: the recording.
        passes: in their order.
        between: for each pass, and for the end, the nodes to work out before it.
    """

    whole: Recording
    passes: tuple[Pass, ...]
    between: tuple[tuple[int, ...], ...]


def split(recording: Recording) -> Stages:
    """The stages of a recording, found once."""
    if "stages" not in recording.compiled:
        recording.compiled["stages"] = _split(recording)
    stages: Stages = recording.compiled["stages"]
    return stages


def is_plain(recording: Recording) -> bool:
    """Whether one pass is all there is."""
    return not recording.numbers and not any(node.operation in SUMS for node in recording.nodes)


def _split(recording: Recording) -> Stages:
    nodes, arrays = recording.nodes, len(recording.arrays)
    level: list[int] = []
    for node in nodes:
        level.append(max([level[operand] for operand in node.operands], default=0) + (node.operation in SUMS))
    last = max([level[number] for number in recording.outputs], default=0)
    last = max([last, *(level[number] - 1 for number, node in enumerate(nodes) if node.operation in SUMS)])
    written = {target: level[output] for target, output in zip(recording.targets, recording.outputs, strict=True)}
    if 0 in written:
        written[0] = last  # a weight may be stored in half precision, and is not read back from there
    while True:
        passes: list[Pass] = []
        conflicts: dict[int, int] = {}
        for now in range(last + 1):
            made, late = _pass(recording, level, written, now)
            passes.append(made)
            conflicts |= dict.fromkeys(late, now)
        if not conflicts:
            break
        written |= conflicts
    wanted = set(recording.kept) | {number for made in passes for number in made.imports}
    for number in reversed(range(len(nodes))):
        if number in wanted and nodes[number].operation not in SUMS:
            wanted.update(nodes[number].operands)
    of_host = [n for n in sorted(wanted) if n >= arrays and nodes[n].operation not in SUMS and nodes[n].operation != "input"]
    between = tuple(tuple(n for n in of_host if level[n] == now) for now in range(last + 2))
    return Stages(recording, tuple(passes), between)


def _pass(recording: Recording, level: Sequence[int], written: dict[int, int], now: int) -> tuple[Pass, set[int]]:
    """A pass, and the arrays whose old values it would need although they have been written."""
    nodes, arrays, scalars = recording.nodes, len(recording.arrays), len(recording.scalars)
    outputs = dict(zip(recording.targets, recording.outputs, strict=True))
    targets = [target for target in outputs if written[target] == now]
    sums = [number for number, node in enumerate(nodes) if node.operation in SUMS and level[number] == now + 1]
    read_back = {output: target for target, output in outputs.items() if written[target] < now and nodes[output].kind == "array"}
    roots = [outputs[target] for target in targets] + [operand for number in sums for operand in nodes[number].operands]
    late: set[int] = set()
    imports: dict[int, int] = {}
    needed: set[int] = set()
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number in needed or number in imports:
            continue
        if nodes[number].kind == "number":
            imports[number] = len(imports)
            continue
        needed.add(number)
        if number in read_back:
            continue
        if number < arrays and written.get(number, now) < now:
            late.add(number)
        waiting += nodes[number].operands
    first_number = arrays + len(recording.numbers)
    place = {number: number for number in range(arrays)}
    made = list(nodes[:arrays])
    for number in range(first_number, first_number + scalars):
        place[number] = len(made)
        made.append(nodes[number])
    for number in imports:
        place[number] = len(made)
        made.append(Node("input", kind="scalar", value=str(len(made) - arrays)))
    for number in sorted(needed):
        if number in read_back:
            place[number] = read_back[number]
        elif number not in place:
            place[number] = len(made)
            node = nodes[number]
            made.append(attrs.evolve(node, operands=tuple(place[operand] for operand in node.operands)))
    part = Recording(
        name=recording.name,
        arrays=recording.arrays,
        numbers=(),
        scalars=(*recording.scalars, *(f"number_{number}" for number in imports)),
        nodes=tuple(made),
        targets=tuple(targets),
        outputs=tuple(place[outputs[target]] for target in targets),
        kept=(),
        plain=False,
        function=recording.function,
        shared=recording.shared,
        sums=tuple(attrs.evolve(nodes[n], operands=tuple(place[operand] for operand in nodes[n].operands)) for n in sums),
    )
    return Pass(part, tuple(imports), tuple(sums)), late


def arithmetic(language: Language, whole: Recording, numbers: Sequence[int], truth: str = "{}") -> list[str]:
    """Assignments that work out nodes from earlier ones, all kept in an array x, a truth value read back as `truth`."""

    def value(number: int) -> str:
        return truth.format(f"x[{number}]") if whole.nodes[number].kind in TRUTHS else f"x[{number}]"

    return [
        f"x[{number}] = {language.expression(node, [value(operand) for operand in node.operands])}"
        for number, node in ((number, whole.nodes[number]) for number in numbers)
    ]


Values = list[Any]
"""The value of each node of a whole recording that is no array, where it is known, as np.float64."""


def on_host(stages: Stages) -> list[Callable[[Values], None] | None]:
    """For each pass, and for the end, the function that works out on the host what it needs; None for nothing."""
    namespace: dict[str, Any] = {"inf": np.float64(np.inf), "nan": np.float64(np.nan), "sqrt": np.sqrt}
    namespace |= {"zero": np.float64(0), "one": np.float64(1)}
    functions: list[Callable[[Values], None] | None] = []
    for numbers in stages.between:
        if not numbers:
            functions.append(None)
            continue
        lines = [
            line.replace(" = ", " = float64(", 1) + ")" if stages.whole.nodes[number].operation == "constant" else line
            for number, line in zip(numbers, arithmetic(PYTHON, stages.whole, numbers), strict=True)
        ]
        source = "\n    ".join(["def work_out(x):", *lines, "return None"]) + "\n"
        made: dict[str, Any] = namespace | {"float64": np.float64}
        exec(compile(source, f"<numbers of {stages.whole.name}>", "exec"), made)
        functions.append(made["work_out"])
    return functions


def gathered(recording: Recording, rows: Any) -> Any:
    """The sums of a pass from those of its chunks."""
    totals = np.add.accumulate(rows)[-1]
    for column, node in enumerate(recording.sums):
        if node.operation == "peak":
            totals[column] = np.maximum.reduce(rows[:, column])
    return totals


class StagedBound:
    """A recording with sums bound to what is kept for a weight, on the host: each of its passes is.

    One of its jobs is run at a time, since they keep their sums and other numbers in the same memory.
    """

    def __init__(
        self, bind: Callable[..., Any], recording: Recording, weight: Any, grad: Any, slots: Sequence[Any], numbers: Sequence[Any]
    ) -> None:
        stages = self.stages = split(recording)
        if "on host" not in recording.compiled:
            recording.compiled["on host"] = on_host(stages)
        self.between: list[Callable[[Values], None] | None] = recording.compiled["on host"]
        self.order = memory_order(slots or (weight,)) or "C"
        self.slots, self.grad_dtype = slots, grad.dtype
        self.size: int = weight.size * (2 if weight.dtype.kind == "c" else 1)
        rows = max(1, -(-self.size // CHUNK))
        self.sums = [np.zeros((rows, len(made.sums))) if made.sums else None for made in stages.passes]
        self.values: Values = [None] * len(recording.nodes)
        first = len(recording.arrays)
        used = {*recording.kept, *(operand for node in recording.nodes for operand in node.operands)}
        self.read = [(place, number) for place, number in enumerate(numbers, first) if place in used]
        self.kept = list(zip(numbers, recording.kept, strict=True))
        self.first_scalar = first + len(numbers)
        self.writes_weight = 0 in recording.targets
        weight, grad = self.dense(weight), self.dense(grad)
        self.passes = [
            (bind(made.recording, weight, grad, slots), [0.0] * len(made.imports), sums)
            for made, sums in zip(stages.passes, self.sums, strict=True)
        ]

    def dense(self, array: Any) -> Any:
        """The array itself, or a copy that lies as the slots do."""
        flags = array.flags
        lies = flags.c_contiguous if self.order == "C" else flags.f_contiguous
        return array if lies and flags.aligned else array.copy(self.order)

    def job(self, weight: Any, grad: Any, coefficients: Sequence[float]) -> StagedJob | None:
        """The update, ready to run; None where the binding does not fit this gradient."""
        if grad.dtype is not self.grad_dtype:  # as quick passes have it: an unpickled array's is another object
            return None
        written = self.stages.whole.written
        if (self.writes_weight or self.slots) and any(np.may_share_memory(grad, array) for array in written(weight, self.slots)):
            grad = grad.copy(self.order)
        return StagedJob(self, weight, self.dense(weight), self.dense(grad), coefficients)


class StagedJob:
    """One weight's update in passes, ready to run; what is worked out between them is on the host."""

    __slots__ = ("bound", "coefficients", "dense", "jobs", "now", "weight")

    def __init__(self, bound: StagedBound, weight: Any, dense: Any, grad: Any, coefficients: Sequence[float]) -> None:
        self.bound, self.weight, self.dense, self.coefficients, self.now = bound, weight, dense, coefficients, 0
        self.jobs = [
            bound_pass.job(dense, grad, [*coefficients, *imports] if imports else coefficients, sums)
            for bound_pass, imports, sums in bound.passes
        ]

    @property
    def size(self) -> int:
        """How many reals are updated."""
        return self.bound.size

    def begin_pass(self) -> Any:
        """The job of the next pass."""
        bound, job = self.bound, self.jobs[self.now]
        values, between = bound.values, bound.between[self.now]
        if self.now == 0:
            for place, number in bound.read:
                values[place] = number[()]
            if self.coefficients:
                values[bound.first_scalar : bound.first_scalar + len(self.coefficients)] = map(np.float64, self.coefficients)
        if between is not None:
            between(values)
        imports = bound.stages.passes[self.now].imports
        if imports:
            coefficients = job[2] if isinstance(job, tuple) else job.coefficients
            for place, number in enumerate(imports, len(self.coefficients)):  # filled in now that they are known
                coefficients[place] = values[number]
        return job

    def end_pass(self) -> bool:
        """Take the sums of the pass that has run; whether there is another."""
        bound, now = self.bound, self.now
        values, sums = bound.values, bound.sums[now]
        if sums is not None:
            made = bound.stages.passes[now]
            totals = sums[0] if len(sums) == 1 else gathered(made.recording, sums)
            for column, number in enumerate(made.sums):
                values[number] = totals[column]
        now = self.now = now + 1
        if now < len(self.jobs):
            return True
        between = bound.between[now]
        if between is not None:
            between(values)
        for kept, new in bound.kept:
            kept[()] = values[new]
        if bound.writes_weight and self.dense is not self.weight:
            self.weight[...] = self.dense
        return False
