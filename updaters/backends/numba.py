"""The numba backend: a formula as one fused loop, compiled once, kept on disk, run by threads of our own."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import llvmlite
import numba
import numpy as np
from numba.core import registry
from numba.core.caching import FunctionCache

from updaters.arrays import HALVES, compute_dtype, flat, real_dtype
from updaters.backends import numpy as plain
from updaters.backends.halves import has_float16
from updaters.backends.language import PYTHON
from updaters.backends.stages import CHUNK, LANES, StagedJob
from updaters.backends.threads import crew
from updaters.backends.trace import Recording

Array: TypeAlias = np.ndarray[Any, Any]
Kernel: TypeAlias = Callable[..., bool]

PARALLEL = 131_072
"""Elements from which a hand-off to other threads is worth its microseconds."""

PIECE = 8_192
"""Elements per weight below which threads would rather wait for Python's lock than work."""


def write(recording: Recording, dtypes: Sequence[str], compute: str) -> str:
    """The text of a module whose `kernel` updates elements low to high, or says True where the gradient overlaps.

    Where the recording has sums, `low` is where a chunk begins, and each chunk's go into a row of the array `sums`.
    """
    arrays = [f"a{number}" for number in range(len(recording.arrays))]
    first_scalar = len(arrays)
    scalars = [f"c{number}" for number in range(len(recording.scalars))]
    halves = [name for name in HALVES if name in dtypes or _makes(recording, "rounded", name)]
    dithers = [name for name in HALVES if _makes(recording, "dithered", name)]
    lines = [
        "from math import inf, nan, sqrt",
        "from numba import float32, float64, intp",
        *["from numpy import empty"] * bool(recording.sums),
        *(f"from updaters.backends.halves import load_{name}, store_{name}" for name in halves),
        *(f"from updaters.backends.halves import dithered_{name}" for name in dithers),
        "",
        "",
        f"def kernel({', '.join([*arrays, 'low', 'high', *scalars, *['sums'] * bool(recording.sums)])}):",
        "    first = intp(a1.ctypes.data)",
        "    end = first + a1.size * a1.itemsize",
    ]
    for array in (arrays[target] for target in recording.targets):
        lines += [
            f"    start = intp({array}.ctypes.data)",
            f"    if first < start + {array}.size * {array}.itemsize and start < end:",
            "        return True",
        ]
    if any(node.operation == "sign" for node in recording.nodes):
        lines += [f"    zero = {compute}(0.0)", f"    one = {compute}(1.0)"]
    lines += [f"    x{first_scalar + number} = {compute}({scalar})" for number, scalar in enumerate(scalars)]
    for node, name, expression in PYTHON.lines(recording, scalars, "scalar", "truth"):
        lines.append(f"    {name} = {f'{compute}({expression})' if node.operation == 'constant' else expression}")
    body = [f"position = {'row' if recording.sums else 'low'} + i"] * bool(dithers)
    for number, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True)):
        element = f"load_{dtype}({array}[i])" if dtype in HALVES else f"{array}[i]"
        body.append(f"x{number} = {compute}({element})")
    body += [f"{name} = {expression}" for _, name, expression in PYTHON.lines(recording, scalars, "array", "mask")]
    for output, target in zip(recording.outputs, recording.targets, strict=True):
        new = f"store_{dtypes[target]}(x{output})" if dtypes[target] in HALVES else f"x{output}"
        body.append(f"{arrays[target]}[i] = {new}")
    if not recording.sums:
        lines += [f"    {array} = {array}[low:high]" for array in arrays]
        lines += ["    for i in range(a0.size):", *(f"        {line}" for line in body), "    return False", ""]
        return "\n".join(lines)
    # Chunk by chunk; within one, row by row of as many elements as there are lanes.
    names = [f"lanes{number}" for number in range(len(recording.sums))]
    lines += [f"    {name} = empty({LANES})" for name in names]
    whole = [f"whole{number}" for number in range(len(arrays))]
    lines += [f"    {name} = {array}" for name, array in zip(whole, arrays, strict=True)]
    lines += [f"    for start in range(low, high, {CHUNK}):", f"        for i in range({LANES}):"]
    lines += [f"            {name}[i] = 0.0" for name in names]
    lines += [f"        stop = min(start + {CHUNK}, high)", f"        for row in range(start, stop, {LANES}):"]
    lines += [f"            end = min(row + {LANES}, stop)"]
    lines += [f"            {array} = {name}[row:end]" for name, array in zip(whole, arrays, strict=True)]
    body += [
        PYTHON.gather(node.operation, f"{name}[i]", " * ".join(f"float64(x{operand})" for operand in node.operands))
        for name, node in zip(names, recording.sums, strict=True)
    ]
    lines += ["            for i in range(end - row):", *(f"                {line}" for line in body)]
    lines += [f"        half = {LANES // 2}", "        while half:", "            for i in range(half):"]
    lines += [
        "                " + PYTHON.gather(node.operation, f"{name}[i]", f"{name}[i + half]")
        for name, node in zip(names, recording.sums, strict=True)
    ]
    lines += ["            half //= 2"]
    lines += [f"        sums[start // {CHUNK}, {number}] = {name}[0]" for number, name in enumerate(names)]
    return "\n".join([*lines, "    return False", ""])


def _makes(recording: Recording, operation: str, dtype: str) -> bool:
    return any(node.operation == operation and node.value == dtype for node in recording.nodes)


@cache
def compiled(text: str, signature: Any) -> Kernel:
    """The kernel of a module, compiled for a signature, or found where an earlier process left it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        function = _module(text).kernel
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        namespace: dict[str, Any] = {}
        exec(compile(text, "<formula as a loop>", "exec"), namespace)
        kernel: Kernel = numba.njit(signature, **options)(namespace["kernel"])
        return kernel
    for _ in ("as it is found", "with the cache emptied"):
        try:
            kernel = numba.njit(signature, cache=True, **options)(function)
            return kernel
        except Exception:  # a truncated or foreign file can raise almost anything, and so can a full disk
            with suppress(Exception):
                FunctionCache(function).flush()
    kernel = numba.njit(signature, **options)(function)
    return kernel


def _module(text: str) -> ModuleType:
    """The module with this text, from a file that all processes share, since numba keeps kernels beside files."""
    processor = repr(registry.cpu_target.target_context.codegen().magic_tuple())
    seed = "\n".join([text, numba.__version__, llvmlite.__version__, sys.version, processor, _halves_text()])
    name = f"updaters_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    folder = cache_folder().absolute()
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_bytes() != text.encode():
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    module = ModuleType(name)
    sys.modules[name] = module  # numba looks it up by name, from within
    try:
        # Not imported: there would be a .pyc, one more file that can be damaged.
        exec(compile(text, str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def cache_folder() -> Path:
    """Where compiled kernels are kept: `UPDATERS_CACHE_DIR`, or `updaters` in the user's own cache folder."""
    chosen = os.environ.get("UPDATERS_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "updaters"


def _halves_text() -> str:
    """The text of the conversions, since a kernel that was compiled with others would be found and be wrong."""
    return Path(__file__).with_name("halves.py").read_text()


Job: TypeAlias = tuple[Kernel, list[Any], Sequence[float]]
"""One weight's update, ready to run: the kernel, its flat arrays and its coefficients."""


class SummingJob(tuple[Kernel, list[Any], Sequence[Any]]):
    """A job whose kernel takes whole chunks, and puts their sums into its last coefficient."""

    __slots__ = ()


class Bound:
    """A compiled formula bound to one weight's slots; where arrays come that it cannot take, NumPy does."""

    def __init__(self, kernel: Kernel, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array]) -> None:
        self.kernel, self.grad_dtype = kernel, grad.dtype
        self.order = plain.order_of(weight, slots)
        self.weight_view, self.grad_view = _view(weight.dtype), _view(grad.dtype)
        self.flat_slots = [flat(slot, self.order, _view(slot.dtype)) for slot in slots]
        self.direct = self.order == "C" and self.weight_view is None and self.grad_view is None
        self._arguments = recording, weight.dtype, grad.dtype, slots, self.order

    @cached_property
    def otherwise(self) -> plain.Bound:
        """The same for NumPy."""
        return plain.Bound(*self._arguments)

    def job(
        self, weight: Array, grad: Array, coefficients: Sequence[float], sums: Array | None = None
    ) -> Job | SummingJob | plain.Job | None:
        """The update, ready to run; None where the binding does not fit this gradient."""
        if sums is not None:
            if self.direct:  # they lie densely where there are sums
                arrays = [weight.reshape(-1), grad.reshape(-1), *self.flat_slots]
            else:
                arrays = [flat(weight, self.order, self.weight_view), flat(grad, self.order, self.grad_view), *self.flat_slots]
            return SummingJob((self.kernel, arrays, [*coefficients, sums]))
        if grad.dtype is not self.grad_dtype:
            return None
        if self.direct:  # written out, for it is most updates and their time is in such lines
            flags = grad.flags
            if weight.flags.carray and flags.c_contiguous and flags.aligned:
                return self.kernel, [weight.reshape(-1), grad.reshape(-1), *self.flat_slots], coefficients
        else:
            flat_weight = flat(weight, self.order, self.weight_view)
            flat_grad = flat(grad, self.order, self.grad_view)
            if flat_weight is not None and flat_grad is not None:
                return self.kernel, [flat_weight, flat_grad, *self.flat_slots], coefficients
        return self.otherwise.job(weight, grad, coefficients)


def _view(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype as which kernels see a dtype's memory, where that is another."""
    if dtype.itemsize == 2:
        return np.dtype(np.uint16)
    return real_dtype(dtype) if dtype.kind == "c" else None


class NumbaBackend(plain.NumpyBackend):
    """Runs formulas as compiled loops; what these cannot take, NumPy does."""

    name = "numba"

    def __init__(self) -> None:
        self._compiling = threading.RLock()

    def bind_pass(self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array]) -> Any:
        """Bind what is done in one pass, compiled where these arrays can be, and else for NumPy."""
        kernel = self._kernel(recording, weight.dtype, grad.dtype, slots)
        if kernel is None:
            return super().bind_pass(recording, weight, grad, slots)
        return Bound(kernel, recording, weight, grad, slots)

    def _kernel(self, recording: Recording, weight: np.dtype[Any], grad: np.dtype[Any], slots: Sequence[Array]) -> Kernel | None:
        key = weight, grad
        if key not in recording.compiled:
            with self._compiling:
                if key not in recording.compiled:
                    dtypes = [real_dtype(dtype) for dtype in (weight, grad, *(slot.dtype for slot in slots))]
                    recording.compiled[key] = self._compile(recording, dtypes)
        kernel: Kernel | None = recording.compiled[key]
        return kernel

    def _compile(self, recording: Recording, dtypes: Sequence[np.dtype[Any]]) -> Kernel | None:
        names = [dtype.name for dtype in dtypes]
        if numba.config.DISABLE_JIT:
            return None
        if not all(dtype.isnative for dtype in dtypes) or ("float16" in names and not has_float16()):
            return None
        if _makes(recording, "rounded", "float16") and not has_float16():
            return None
        compute = compute_dtype(dtypes[0])
        assert compute is not None
        elements = [numba.types.uint16 if name in HALVES else getattr(numba.types, name) for name in names]
        types: list[Any] = [
            numba.types.Array(element, 1, "C", readonly=place not in recording.targets) for place, element in enumerate(elements)
        ]
        types += [numba.types.intp] * 2 + [numba.types.float64] * len(recording.scalars)
        if recording.sums:
            types.append(numba.types.Array(numba.types.float64, 2, "C"))
        return compiled(write(recording, names, compute.name), numba.types.boolean(*types))

    def run(self, jobs: Sequence[Any]) -> None:
        """Run jobs that are ready, in equal spans on all threads where there is enough to do."""
        if len(jobs) == 1 and type(jobs[0]) is tuple:  # in short, as in Bound.job
            kernel, arrays, coefficients = jobs[0]
            size = arrays[0].size
            if size < PARALLEL + PIECE and not kernel(*arrays, 0, size, *coefficients):
                return
        super().run(jobs)

    def run_staged(self, jobs: Sequence[StagedJob]) -> None:
        """Run jobs in passes: those of one pass side by side, small ones whole, each on one thread, large ones on all threads."""
        short = [job for job in jobs if len(job.jobs) == 1]
        if short:
            super().run_staged(short)
            jobs = [job for job in jobs if len(job.jobs) > 1]
        total = sum([job.size for job in jobs])
        if total < PARALLEL + PIECE * len(jobs):
            run_whole(jobs)
            return
        team = crew()
        large = [job for job in jobs if job.size * 2 * team.size > total]
        shares: list[tuple[int, list[StagedJob]]] = [(0, []) for _ in range(team.size)]
        for job in sorted((job for job in jobs if job.size * 2 * team.size <= total), key=lambda job: -job.size):
            shares.sort(key=lambda share: share[0])
            size, share = shares[0]
            shares[0] = size + job.size, [*share, job]
        team.run([partial(run_whole, share) for _, share in shares if share])
        super().run_staged(large)

    def run_passes(self, jobs: Sequence[Any]) -> None:
        """Run jobs of one pass, in equal spans on all threads where there is enough to do."""
        others = [job for job in jobs if isinstance(job, plain.Job)]
        loops: Sequence[Job] = [job for job in jobs if not isinstance(job, plain.Job)] if others else jobs
        total = sum([arrays[0].size for _, arrays, _ in loops])
        # The crew comes first: it is refused where its number of threads is none, and nothing has been written yet.
        team = crew() if total >= PARALLEL + PIECE * len(loops) else None
        if others:
            super().run_passes(others)
        refused: list[Job] = []
        if team is None:
            for job in loops:
                kernel, arrays, coefficients = job
                if kernel(*arrays, 0, arrays[0].size, *coefficients):
                    refused.append(job)
        else:
            team.run([partial(run_span, pieces, refused) for pieces in spans(loops, total, team.size)])
        for kernel, arrays, coefficients in {id(job): job for job in refused}.values():
            kernel(arrays[0], arrays[1].copy(), *arrays[2:], 0, arrays[0].size, *coefficients)


def run_whole(jobs: Sequence[StagedJob]) -> None:
    """Run all passes of some jobs on this thread."""
    with np.errstate(all="ignore"):
        for job in jobs:
            while True:
                ready = job.begin_pass()
                if isinstance(ready, plain.Job):
                    ready.run()
                else:
                    kernel, arrays, coefficients = ready
                    kernel(*arrays, 0, arrays[0].size, *coefficients)  # the gradient lies apart
                if not job.end_pass():
                    break


def run_span(pieces: Sequence[tuple[Job, int, int]], refused: list[Job]) -> None:
    """Update one thread's share.

    A kernel refuses, having written nothing, where the gradient shares memory with what it would write. It
    refuses every share of that weight, so its gradient may be copied when all threads are done.
    """
    for job, low, high in pieces:
        kernel, arrays, coefficients = job
        if kernel(*arrays, low, high, *coefficients):
            refused.append(job)


def spans(jobs: Sequence[Job], total: int, count: int) -> list[list[tuple[Job, int, int]]]:
    """The elements of all jobs, in `count` spans of nearly equal size: for each, which elements of which job."""
    length = -(-total // count)
    length += -length % 64  # no two threads write to one cache line
    pieces: list[list[tuple[Job, int, int]]] = [[]]
    room = length
    for job in jobs:
        low, size = 0, job[1][0].size
        while low < size:
            if room <= 0:
                pieces.append([])
                room = length
            high = min(size, low + (room if type(job) is tuple else max(CHUNK, room - room % CHUNK)))
            pieces[-1].append((job, low, high))
            room -= high - low
            low = high
    return pieces


_BACKEND = NumbaBackend()  # made here, where the lock on imports sees to it that there is one


def backend() -> NumbaBackend:
    """The backend of this module."""
    return _BACKEND


if hasattr(os, "register_at_fork"):  # no fork while a kernel is compiled: its locks would stay locked in the child
    os.register_at_fork(
        before=_BACKEND._compiling.acquire,
        after_in_parent=_BACKEND._compiling.release,
        after_in_child=_BACKEND._compiling.release,
    )
