"""The NumPy backend: a formula as ufuncs that write into buffers, over blocks that fit in the cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from updaters.arrays import as_reals, compute_dtype, flat, memory_order, real_dtype
from updaters.backends.stages import CHUNK, LANES, StagedBound, StagedJob, is_plain
from updaters.backends.threads import crew
from updaters.backends.trace import ROUNDINGS, Node, Recording

Array: TypeAlias = np.ndarray[Any, Any]
Order: TypeAlias = Literal["C", "F"]

BLOCK = CHUNK
"""Elements worked on at a time: the arrays and buffers of a rule then lie in a core's own cache."""

PARALLEL = 4 * BLOCK
"""Elements from which one weight is worth a hand-off to other threads."""

GOLDEN = 0x9E3779B97F4A7C15
"""What splitmix64 goes on by: 2**64 divided by the golden ratio."""

SMALL = 8_192
"""Up to here the plain formula is quicker, since what it allocates is still in the cache when it is freed."""


@attrs.frozen(eq=False)
class Plan:
    """A recording written out as ufunc calls.

    Attributes:
        source: the text of the function.
        run: `run(dtype, arrays, coefficients, buffers)`, which replaces the weight and the slots of a block, and gives
            its sums.
        buffers: how many buffers of the compute dtype it needs, and how many of booleans.
        positioned: whether it also takes the coefficients as they were given, and where the block begins.
    """

    source: str
    run: Callable[..., Sequence[float]]
    buffers: tuple[int, int]
    positioned: bool


def plan(recording: Recording) -> Plan:
    """Give each value of a recording the first buffer that is free by then, an array's new value the array itself."""
    nodes, targets, count = list(recording.nodes), recording.targets, len(recording.arrays)
    first = count + len(recording.numbers)
    positioned = any(node.operation == "dithered" for node in nodes)
    outputs = list(recording.outputs)
    for place, target in enumerate(targets):
        if outputs[place] < count and outputs[place] != target:  # another array's old value: put it aside first
            nodes.append(Node("positive", (outputs[place],)))
            outputs[place] = len(nodes) - 1
    last_use = {operand: number for number, node in enumerate(nodes) for operand in node.operands}
    last_use |= dict.fromkeys([*outputs, *chain(*(node.operands for node in recording.sums))], len(nodes))
    homes = {output: target for output, target in zip(outputs, targets, strict=True) if outputs.count(output) == 1}
    names = {number: f"a{number}" for number in range(count)}
    free: dict[str, list[str]] = {"array": [], "mask": []}
    made = {"array": 0, "mask": 0}
    scalar_lines, block_lines = [], []
    for number, node in enumerate(nodes):
        if node.operation == "input":
            names.setdefault(number, f"x{number}")
            continue
        if node.operation == "constant":
            names[number] = f"x{number}"
            scalar_lines.append(f"x{number} = dtype(float.fromhex({node.value!r}))")
            continue
        operands = [names[operand] for operand in node.operands]
        if node.kind in ("scalar", "truth"):
            names[number] = f"x{number}"
            scalar_lines.append(f"x{number} = np.{node.operation}({', '.join(operands)})")
            continue
        twice = node.operation == "where" or node.operation in ROUNDINGS  # what is written first is read again
        ending = [n for n in dict.fromkeys(node.operands) if last_use[n] == number and names[n][0] in "tm"]
        if not twice:
            for operand in ending:
                free[nodes[operand].kind].append(names[operand])
        home = homes.get(number)
        if home is not None and last_use.get(home, -1) <= number - twice:
            names[number] = f"a{home}"
        elif free[node.kind]:
            names[number] = free[node.kind].pop()
        else:
            names[number] = f"{'tm'[node.kind == 'mask']}{made[node.kind]}"
            made[node.kind] += 1
        if twice:
            if node.operation == "where":
                block_lines.append(f"np.copyto({names[number]}, {operands[2]})")
                block_lines.append(f"np.copyto({names[number]}, {operands[1]}, where={operands[0]})")
            else:
                key = "".join(f"given[{operand - first}], " for operand in node.operands[1:])
                block_lines.append(
                    f"{node.operation}({operands[0]}, {key}{node.value!r}, {'start, ' * bool(key)}{names[number]})"
                )
            for operand in ending:
                free[nodes[operand].kind].append(names[operand])
        else:
            block_lines.append(f"np.{node.operation}({', '.join(operands)}, out={names[number]})")
    block_lines += [
        f"s{n} = {'peak' if node.operation == 'peak' else 'total'}({', '.join([names[operand] for operand in node.operands])})"
        for n, node in enumerate(recording.sums)
    ]
    for output, target in zip(outputs, targets, strict=True):
        if names[output] != f"a{target}":
            block_lines.append(f"np.copyto(a{target}, {names[output]})")
    block_lines.append(f"return ({''.join(f's{n}, ' for n in range(len(recording.sums)))})")
    unpack = [
        ("arrays", [f"a{n}" for n in range(count)]),
        ("coefficients", [f"x{count + n}" for n in range(len(recording.scalars))]),
        ("buffers", [f"t{n}" for n in range(made["array"])] + [f"m{n}" for n in range(made["mask"])]),
    ]
    lines = [f"{', '.join(targets)}, = {source}" for source, targets in unpack if targets]
    source = (
        "\n    ".join(
            [
                f"def run(dtype, arrays, coefficients, buffers{', given, start' * positioned}):",
                *lines,
                *scalar_lines,
                *block_lines,
            ]
        )
        + "\n"
    )
    namespace: dict[str, Any] = {"np": np, "total": total, "peak": peak, "rounded": rounded, "dithered": dithered}
    exec(compile(source, f"<{recording.name} as ufuncs>", "exec"), namespace)
    return Plan(source, namespace["run"], (made["array"], made["mask"]), positioned)


def order_of(weight: Array, slots: Sequence[Array]) -> Order:
    """The order that arrays are expected to lie in: the slots', or where there are none the weight's."""
    return memory_order(slots or (weight,)) or "C"


class Buffers(threading.local):
    """Each thread's own buffers, kept from one update to the next."""

    def __init__(self) -> None:
        self.kept: dict[Any, list[Array]] = {}

    @cached_property
    def wide(self) -> Array:
        """One for sums, in float64."""
        return np.empty(BLOCK)

    @cached_property
    def steps(self) -> Array:
        """How far splitmix64 has come after each element of a block."""
        return np.arange(1, BLOCK + 1, dtype=np.uint64) * np.uint64(GOLDEN)

    def get(self, dtype: np.dtype[Any], count: int) -> list[Array]:
        kept = self.kept.setdefault(dtype, [])
        kept += [np.empty(BLOCK, dtype) for _ in range(count - len(kept))]
        return kept[:count]


_BUFFERS = Buffers()


def total(a: Array, b: Array | None = None) -> np.float64:
    """The sum of a chunk, or of the products of two, in float64 and in the order that all backends keep to."""
    wide = _BUFFERS.wide[: a.size]
    np.copyto(wide, a)
    if b is not None:
        wide *= wide if b is a else b
    lanes = np.zeros(LANES)
    rows = wide.size // LANES
    np.add.reduce(wide[: rows * LANES].reshape(rows, LANES), axis=0, out=lanes)
    lanes[: wide.size % LANES] += wide[rows * LANES :]
    half = LANES // 2
    while half:
        lanes = lanes[:half] + lanes[half:]
        half //= 2
    folded: np.float64 = lanes[0]
    return folded


def peak(a: Array) -> Any:
    """The largest element of a chunk of magnitudes, NaN where there is one, 0 where there are none."""
    return np.maximum.reduce(a, initial=0)


def rounded(x: Array, name: str, out: Array) -> None:
    """The halves of a dtype nearest to float32 numbers, ties to even."""
    if name == "float16":
        np.copyto(out, np.asarray(x).astype(np.float16))
        return
    np.copyto(out, x)
    bits = out.view(np.uint32)
    bits += ((bits >> 16) & 1) + 0x7FFF
    bits &= 0xFFFF0000
    np.copyto(out, x, where=np.isnan(x))


def dithered(x: Array, low: float, high: float, name: str, start: int, out: Array) -> None:
    """Of the two halves of a dtype beside each float32 number one by chance, which a key and the number's place make."""
    chance, shifted = (buffer[: out.size] for buffer in _BUFFERS.get(np.dtype(np.uint64), 2))
    begin = ((int(high) << 32 | int(low)) + start * GOLDEN) % 2**64
    np.add(_BUFFERS.steps[: out.size], np.uint64(begin), out=chance)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        chance ^= np.right_shift(chance, np.uint64(shift), out=shifted)
        chance *= np.uint64(factor)
    bits = out.view(np.uint32)
    if name == "bfloat16":
        np.copyto(out, x)
        np.add(bits, np.right_shift(chance, np.uint64(48), out=chance), out=bits, casting="unsafe")
        bits &= 0xFFFF0000
    else:
        np.absolute(x, out=out)
        least = np.float32(2.0**-14)  # below it, float16 are as far apart as they are just above
        small = out < least
        np.add(out, least, out=out, where=small)
        np.add(bits, np.right_shift(chance, np.uint64(51), out=chance), out=bits, casting="unsafe")
        bits &= 0xFFFFE000
        np.subtract(out, least, out=out, where=small)
        np.copysign(out, x, out=out)
    np.copyto(out, x, where=~np.isfinite(x))


class Bound:
    """A recorded formula bound to one weight's slots."""

    def __init__(
        self, recording: Recording, weight: np.dtype[Any], grad: np.dtype[Any], slots: Sequence[Array], order: Order
    ) -> None:
        if "numpy" not in recording.compiled:
            recording.compiled["numpy"] = plan(recording)
        self.recording = recording
        self.plan: Plan = recording.compiled["numpy"]
        compute = compute_dtype(weight)
        assert compute is not None
        self.dtype = compute
        self.slots = slots
        self.grad_dtype = grad
        # Blocks of dense arrays in the compute dtype are slices; all else goes through nditer's buffers.
        direct = all(real_dtype(dtype) == compute for dtype in (weight, grad, *(slot.dtype for slot in slots)))
        self.order = order if direct else None
        self.view = compute if weight.kind == "c" else None
        if self.order is not None:
            self.flat_slots = [flat(slot, self.order, self.view) for slot in slots]

    def job(self, weight: Array, grad: Array, coefficients: Sequence[float], sums: Array | None = None) -> Job | None:
        """The update, ready to run; None where the binding does not fit this gradient.

        Where the recording has sums, those of each chunk go into `sums`, a row for a chunk; arrays lie densely then.
        """
        if grad.dtype != self.grad_dtype:
            return None
        if any(np.may_share_memory(grad, array) for array in self.recording.written(weight, self.slots)):
            grad = grad.copy(order="K")
        if self.order is not None:
            flat_weight, flat_grad = flat(weight, self.order, self.view), flat(grad, self.order, self.view)
            if flat_weight is not None and flat_grad is not None:
                return Job(self, [flat_weight, flat_grad, *self.flat_slots], True, coefficients, sums)
        return Job(self, [as_reals(array) for array in (weight, grad, *self.slots)], False, coefficients, sums)


@attrs.define(eq=False)
class Job:
    """One weight's update, ready to run: arrays of reals, the gradient apart from what is written."""

    bound: Bound
    arrays: list[Any]
    dense: bool
    coefficients: Sequence[float]
    sums: Array | None = None

    def run(self, low: int = 0, high: int | None = None) -> None:
        """Update all elements, or of dense arrays those from low to high."""
        recording, plan = self.bound.recording, self.bound.plan
        dtype = self.bound.dtype.type
        with np.errstate(all="ignore"):
            coefficients = [dtype(number) for number in self.coefficients]
            if self.dense and recording.plain and self.arrays[0].size <= SMALL:
                results = recording.function(*self.arrays, *coefficients)
                if not isinstance(results, (tuple, list)):
                    results = (results,)
                for target in recording.targets:
                    self.arrays[target][...] = results[max(0, target - 1)]  # there is none for the gradient
                return
            floats, masks = plan.buffers
            buffers = _BUFFERS.get(self.bound.dtype, floats) + _BUFFERS.get(np.dtype(bool), masks)
            start = low
            for number, block in enumerate(self.blocks(low, high), low // BLOCK):
                size = block[0].size
                of_block = buffers if size == BLOCK else [buffer[:size] for buffer in buffers]
                place = (self.coefficients, start) if plan.positioned else ()
                sums = plan.run(dtype, block, coefficients, of_block, *place)
                start += size
                if self.sums is not None:
                    self.sums[number] = sums

    def blocks(self, low: int, high: int | None) -> Iterator[Sequence[Array]]:
        """One-dimensional pieces of all arrays in the compute dtype; what is written to them arrives."""
        if self.dense:
            end = self.arrays[0].size if high is None else high
            for start in range(low, end, BLOCK):
                yield [array[start : min(end, start + BLOCK)] for array in self.arrays]
            return
        targets = self.bound.recording.targets
        with np.nditer(
            self.arrays,
            flags=["external_loop", "buffered", "zerosize_ok"],
            op_flags=[["readwrite" if place in targets else "readonly"] for place in range(len(self.arrays))],
            op_dtypes=[self.bound.dtype] * len(self.arrays),
            casting="same_kind",
            order=(memory_order(self.arrays) or "C") if self.bound.plan.positioned else "K",
            buffersize=BLOCK,
        ) as blocks:
            yield from blocks


class NumpyBackend:
    """Runs formulas with NumPy alone, on arrays of any stride, order and byte order."""

    name = "numpy"

    def slot(self, weight: Array, shape: tuple[int, ...], dtype: np.dtype[Any], start: float | Literal["w"]) -> Array:
        """A slot, in Fortran order where the weight is."""
        flags = weight.flags
        slot = np.zeros(shape, dtype, order="F" if flags.f_contiguous and not flags.c_contiguous else "C")
        if start == "w":
            slot[...] = weight
        elif start:
            as_reals(slot)[...] = start
        return slot

    def from_host(self, array: Array, device: str) -> Array:
        """The array itself."""
        return array

    def number(self, weight: Array, start: float) -> Array:
        """A number to keep for a weight."""
        return np.full((), start)

    def bind(self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array], numbers: Sequence[Array]) -> Any:
        """Bind a formula to what is kept for a weight, written out and compiled."""
        recording.check(weight)
        if is_plain(recording):
            return self.bind_pass(recording, weight, grad, slots)
        return StagedBound(self.bind_pass, recording, weight, grad, slots, numbers)

    def bind_pass(self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array]) -> Any:
        """Bind what is done in one pass over the elements."""
        return Bound(recording, weight.dtype, grad.dtype, slots, order_of(weight, slots))

    def add_up(self, array: Array) -> np.float64:
        """The sum of an array of one dimension, added in order."""
        with np.errstate(all="ignore"):
            total: np.float64 = np.add.accumulate(array)[-1] if array.size else np.float64(0)
        return total

    def run(self, jobs: Sequence[Any]) -> None:
        """Run jobs that are ready."""
        if StagedJob not in {*map(type, jobs)}:
            self.run_passes(jobs)
            return
        staged = [job for job in jobs if isinstance(job, StagedJob)]
        if sum([job.size for job in staged]) >= PARALLEL:
            crew()  # may be refused, and now nothing has been written yet
        if len(staged) < len(jobs):
            self.run_passes([job for job in jobs if not isinstance(job, StagedJob)])
        self.run_staged(staged)

    def run_staged(self, jobs: Sequence[StagedJob]) -> None:
        """Run jobs in passes: those of one pass side by side, others one by one.

        Of these the next pass finds in the cache what the last one has left.
        """
        with np.errstate(all="ignore"):
            short = [job for job in jobs if len(job.jobs) == 1]
            if short:
                self.run_passes([job.begin_pass() for job in short])
                for job in short:
                    job.end_pass()
            for job in jobs:
                if len(job.jobs) > 1:
                    self.run_passes((job.begin_pass(),))
                    while job.end_pass():
                        self.run_passes((job.begin_pass(),))

    def run_passes(self, jobs: Sequence[Job]) -> None:
        """Run jobs of one pass, large ones on all threads: NumPy lets go of Python's lock within a block."""
        large = [job.dense and job.arrays[0].size >= PARALLEL for job in jobs]
        team = crew() if any(large) else None  # before the first write, since it may be refused
        for job, is_large in zip(jobs, large, strict=True):
            if team is None or not is_large:
                job.run()
                continue
            size = job.arrays[0].size
            share = -(-size // (team.size * BLOCK)) * BLOCK
            team.run([partial(job.run, low, min(size, low + share)) for low in range(0, size, share)])


def backend() -> NumpyBackend:
    """The backend of this module."""
    return NumpyBackend()
