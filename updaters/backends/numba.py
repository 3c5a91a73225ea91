"""The numba backend: a formula as one fused loop, compiled once, kept on disk, run by threads of our own."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import llvmlite
import numba
import numpy as np
from numba.core.caching import FunctionCache

from updaters.arrays import compute_dtype, flattened, slot_dtype
from updaters.backends import numpy as plain
from updaters.backends.halves import has_float16
from updaters.backends.language import PYTHON
from updaters.backends.threads import crew
from updaters.backends.trace import Recording

Array: TypeAlias = np.ndarray[Any, Any]
Kernel: TypeAlias = Callable[..., bool]

PARALLEL = 131_072
"""Elements from which a hand-off to other threads is worth its microseconds."""

HALVES = ("float16", "bfloat16")


def write(recording: Recording, dtypes: Sequence[str], compute: str) -> str:
    """The text of a module whose `kernel` updates elements low to high, or says True where the gradient overlaps."""
    arrays = [f"a{number}" for number in range(len(recording.arrays))]
    first_scalar = len(arrays)
    scalars = [f"c{number}" for number in range(len(recording.scalars))]
    halves = [name for name in HALVES if name in dtypes]
    lines = [
        f"# {recording.name} on {', '.join(dtypes)}",
        "from math import inf, nan, sqrt",
        "from numba import float32, float64, intp",
        *(f"from updaters.backends.halves import load_{name}, store_{name}" for name in halves),
        "",
        "",
        f"def kernel({', '.join([*arrays, 'low', 'high', *scalars])}):",
        "    first = intp(a1.ctypes.data)",
        "    end = first + a1.size * a1.itemsize",
    ]
    for array in (arrays[target] for target in recording.targets):
        lines += [
            f"    start = intp({array}.ctypes.data)",
            f"    if first < start + {array}.size * {array}.itemsize and start < end:",
            "        return True",
        ]
    lines += [f"    {array} = {array}[low:high]" for array in arrays]
    lines += [f"    zero = {compute}(0.0)", f"    one = {compute}(1.0)"]
    lines += [f"    x{first_scalar + number} = {compute}({scalar})" for number, scalar in enumerate(scalars)]
    for node, name, expression in PYTHON.lines(recording, ("scalar",)):
        lines.append(f"    {name} = {f'{compute}({expression})' if node.operation == 'constant' else expression}")
    lines.append("    for i in range(a0.size):")
    for number, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True)):
        element = f"load_{dtype}({array}[i])" if dtype in HALVES else f"{array}[i]"
        lines.append(f"        x{number} = {compute}({element})")
    lines += [f"        {name} = {expression}" for _, name, expression in PYTHON.lines(recording, ("array", "mask"))]
    for output, target in zip(recording.outputs, recording.targets, strict=True):
        new = f"store_{dtypes[target]}(x{output})" if dtypes[target] in HALVES else f"x{output}"
        lines.append(f"        {arrays[target]}[i] = {new}")
    return "\n".join([*lines, "    return False", ""])


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
    for attempt in ("as it is found", "with the cache emptied"):
        try:
            kernel = numba.njit(signature, cache=True, **options)(function)
            return kernel
        except Exception:  # a truncated or foreign file can raise almost anything
            if attempt == "with the cache emptied":
                break
            FunctionCache(function).flush()
    kernel = numba.njit(signature, **options)(function)
    return kernel


def _module(text: str) -> ModuleType:
    """The module with this text, from a file that all processes share, since numba keeps kernels beside files."""
    seed = "\n".join([text, numba.__version__, llvmlite.__version__, sys.version, _halves_text()])
    name = f"updaters_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    folder = cache_folder()
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks it up by name, from within
    spec.loader.exec_module(module)
    return module


def cache_folder() -> Path:
    """Where compiled kernels are kept: `UPDATERS_CACHE_DIR`, or `updaters` in the user's own cache folder."""
    chosen = os.environ.get("UPDATERS_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "updaters"


def _halves_text() -> str:
    """The text of the conversions, since a kernel that was compiled with others would be found and be wrong."""
    return Path(__file__).with_name("halves.py").read_text()


@attrs.frozen(eq=False)
class Job:
    """One weight's update, ready to run."""

    kernel: Kernel
    arrays: Sequence[Array]
    coefficients: Sequence[float]
    size: int

    def run(self, low: int, high: int) -> None:
        kernel, arrays = self.kernel, self.arrays
        if kernel(*arrays, low, high, *self.coefficients):
            # The kernel refused, having written nothing: the gradient shares memory with what it would write.
            kernel(arrays[0], arrays[1].copy(), *arrays[2:], low, high, *self.coefficients)


class NumbaBackend:
    """Runs formulas as compiled loops; what these cannot take, NumPy does."""

    name = "numba"

    def __init__(self) -> None:
        self._compiling = threading.Lock()
        self._numpy = plain.NumpyBackend()
        self.zeros = self._numpy.zeros

    def prepare(
        self, recording: Recording, weight: Array, grad: Array, slots: Sequence[Array], coefficients: Sequence[float]
    ) -> Job | plain.Job:
        """Everything that can fail or allocate, so that `run` only writes."""
        arrays = flattened((weight, grad, *slots))
        if arrays is None:
            return self._numpy.prepare(recording, weight, grad, slots, coefficients)
        key = weight.dtype, grad.dtype
        kernel = recording.compiled.get(key, plain)
        if kernel is plain:
            with self._compiling:
                kernel = recording.compiled[key] = self._compile(recording, arrays)
        if kernel is None:
            return self._numpy.prepare(recording, weight, grad, slots, coefficients)
        return Job(kernel, [a.view(np.uint16) if a.itemsize == 2 else a for a in arrays], coefficients, arrays[0].size)

    def _compile(self, recording: Recording, arrays: Sequence[Array]) -> Kernel | None:
        dtypes = [array.dtype.name for array in arrays]
        if not all(array.dtype.isnative for array in arrays) or ("float16" in dtypes and not has_float16()):
            return None
        compute = compute_dtype(arrays[0].dtype)
        assert compute is not None
        types = []
        for place, name in enumerate(dtypes):
            element = numba.types.uint16 if name in HALVES else getattr(numba.types, name)
            types.append(numba.types.Array(element, 1, "C", readonly=place == 1))
        types += [numba.types.intp] * 2 + [numba.types.float64] * len(recording.scalars)
        return compiled(write(recording, dtypes, compute.name), numba.types.boolean(*types))

    def run(self, jobs: Sequence[Job | plain.Job]) -> None:
        """Run jobs that are ready, in equal spans on all threads where there is enough to do."""
        loops = [job for job in jobs if isinstance(job, Job)]
        total = sum(job.size for job in loops)
        if total < PARALLEL:
            for job in loops:
                job.run(0, job.size)
        else:
            team = crew()
            team.run([partial(_run_span, pieces) for pieces in spans(loops, total, team.size)])
        for job in jobs:
            if isinstance(job, plain.Job):
                job.run()


def spans(jobs: Sequence[Job], total: int, count: int) -> list[list[tuple[Job, int, int]]]:
    """The elements of all jobs, in `count` spans of nearly equal size: for each, which elements of which job."""
    length = -(-total // count)
    length += -length % 64  # no two threads write to one cache line
    pieces: list[list[tuple[Job, int, int]]] = [[]]
    room = length
    for job in jobs:
        low = 0
        while low < job.size:
            if room == 0:
                pieces.append([])
                room = length
            high = min(job.size, low + room)
            pieces[-1].append((job, low, high))
            room -= high - low
            low = high
    return pieces


def _run_span(pieces: Sequence[tuple[Job, int, int]]) -> None:
    for job, low, high in pieces:
        job.run(low, high)


def backend() -> NumbaBackend:
    """The backend of this module."""
    return NumbaBackend()
