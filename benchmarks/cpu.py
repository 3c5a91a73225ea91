"""Adam on a CPU: our backends beside torch, beside NumPy as one writes it by hand, and beside what the memory allows.

    python benchmarks/cpu.py [--quick] [--rounds N] [--only NAME] [--json FILE]

README.md beside this file says what the rows mean. Goals are reported and never asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module, metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np

import updaters as up

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Arrays: TypeAlias = Sequence[Array]
Call: TypeAlias = Callable[[], object]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LR, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

LONG = 0.005
"""A call that takes longer, in seconds, is measured by itself; of quicker ones as many in a row as fill `FILL`."""

FILL = 0.05

PAUSE = 0.01
"""Seconds before each measurement, in which the threads of the peer before it stop spinning."""

RULE = """\
Each round measures each peer once, in turning order. A round is disturbed, and left out, when the machine's cores were
busy (/proc/stat: user, nice, system, irq, softirq and steal) for more than 5 % of the round plus 20 ms, the clock's
grain, beyond the CPU time of this process and its children. A ratio is the median of the ratios within the rounds,
since the whole machine is now quicker and now slower."""


# How it is measured.


@attrs.frozen
class Peer:
    """What a row of a table measures.

    Attributes:
        measure: gives the seconds of one update.
        calls: what to call next for one update, without end.
        weights: what the calls update.
        grads: all gradients that they read.
    """

    measure: Callable[[], float]
    calls: Iterator[Call] = attrs.field(factory=lambda: iter(()))
    weights: Arrays = ()
    grads: Arrays = ()


Maker: TypeAlias = Callable[[Arrays, Arrays], Peer]


def peer(calls: Iterator[Call], weights: Arrays = (), grads: Arrays = (), scale: float = 1.0) -> Peer:
    """A peer whose time, times `scale`, is that of its calls in a row."""
    count = 0

    def seconds(count: int) -> float:
        start = time.perf_counter()
        for call in islice(calls, count):
            call()
        return (time.perf_counter() - start) / count

    def measure() -> float:
        nonlocal count
        if not count:
            once = min(seconds(1) for _ in range(3))
            count = 1 if once > LONG else math.ceil(FILL / min(once, seconds(math.ceil(LONG / once))))
        return seconds(count) * scale

    return Peer(measure, calls, weights, grads)


@attrs.frozen
class Samples:
    """The seconds of every peer in every round, and whether the round was disturbed."""

    wanted: int
    seconds: dict[str, list[float]]
    disturbed: list[bool] = attrs.field(factory=list)

    @property
    def enough(self) -> bool:
        """Whether as many rounds were quiet as were wanted."""
        return self.disturbed.count(False) >= self.wanted

    def of(self, name: str) -> list[float]:
        """The seconds in the quiet rounds; in all, where too few were quiet."""
        return [s for s, bad in zip(self.seconds[name], self.disturbed, strict=True) if not (bad and self.enough)]

    def median(self, name: str, beside: str = "") -> float | None:
        """The median of a peer's seconds, or of its ratios to another's in the same rounds; None where one is absent."""
        if name not in self.seconds or (beside or name) not in self.seconds:
            return None
        own = self.of(name)
        return statistics.median(a / b for a, b in zip(own, self.of(beside) if beside else [1.0] * len(own), strict=True))

    @property
    def note(self) -> str:
        """How many rounds there were, and which the figures are of."""
        rounds, quiet = len(self.disturbed), self.disturbed.count(False)
        if busy() is None:
            return f"{rounds} rounds, not watched: there is no /proc/stat here."
        if self.enough:
            return f"{quiet} quiet rounds; {rounds - quiet} more were disturbed and are left out."
        return f"DISTURBED: {quiet} of {rounds} rounds were quiet. The figures are of all rounds, and decide nothing."


def measured(peers: Mapping[str, Peer], rounds: int) -> Samples:
    """Measure until `rounds` rounds were quiet, or for three times as many."""
    for each in peers.values():
        each.measure()
    samples = Samples(rounds, {name: [] for name in peers})
    order = list(peers)
    while not samples.enough and len(samples.disturbed) < 3 * rounds:
        start, busy_before, own_before = time.perf_counter(), busy(), own()
        for name in order:
            time.sleep(PAUSE)
            samples.seconds[name].append(peers[name].measure())
        wall, busy_after, own_after = time.perf_counter() - start, busy(), own()
        others = (busy_after or 0) - (busy_before or 0) - (own_after - own_before)
        samples.disturbed.append(others > 0.05 * wall + 0.02)
        order = [*order[1:], order[0]]
    return samples


def busy() -> float | None:
    """Seconds for which the machine's cores have been at work, for anyone; None where the system does not say."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, file.readline().split()[1:])
    except OSError:
        return None
    return float(user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own() -> float:
    """Seconds of CPU time of this process, all its threads, and its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


# The peers. Each updates its own copies of the weights.


def ours(backend: str, grads: Arrays, weights: Arrays) -> Peer:
    """`update.step` on all weights at once; as in a training loop, no call gets the gradient arrays of the one before."""
    update, weights, others = updater(backend), copies(weights), copies(grads)
    named = dict(enumerate(weights))
    calls = [partial(update.step, dict(enumerate(each)), named) for each in (grads, others)]
    return peer(cycle(calls), weights, [*grads, *others])


def ours_one(backend: str, grads: Arrays, weights: Arrays) -> Peer:
    """`update(index, grad, weight)` on one weight, likewise."""
    update, (weight,), both = updater(backend), copies(weights), [*grads, *copies(grads)]
    return peer(cycle([partial(update, "w", grad, weight) for grad in both]), [weight], both)


def updater(backend: str) -> up.Updater:
    """Our Adam.

    Raises:
        ImportError: the backend cannot be loaded.
    """
    update = up.get_updater(up.Adam(LR, beta1=BETA1, beta2=BETA2, epsilon=EPSILON), backend=backend)
    update("warm-up", np.zeros(100_000, np.float32), np.zeros(100_000, np.float32))
    return update


def textbook(grads: Arrays, weights: Arrays) -> Peer:
    """Adam as one writes it down from the paper, on whole arrays."""
    weights, m, v, t = copies(weights), zeros(weights), zeros(weights), 0

    def step() -> None:
        nonlocal t
        t += 1
        for i, (w, g) in enumerate(zip(weights, grads, strict=True)):
            m[i] = BETA1 * m[i] + (1 - BETA1) * g
            v[i] = BETA2 * v[i] + (1 - BETA2) * g**2
            m_hat = m[i] / (1 - BETA1**t)
            v_hat = v[i] / (1 - BETA2**t)
            w -= LR * m_hat / (np.sqrt(v_hat) + EPSILON)

    return peer(cycle([step]), weights, grads)


def formula(grads: Arrays, weights: Arrays) -> Peer:
    """The formula that our backends run, on whole arrays: the bias corrections are folded into step and epsilon."""
    weights, m, v, t = copies(weights), zeros(weights), zeros(weights), 0

    def step() -> None:
        nonlocal t
        t += 1
        root = math.sqrt(1 - BETA2**t)
        size, epsilon = LR * root / (1 - BETA1**t), EPSILON * root
        for i, (w, g) in enumerate(zip(weights, grads, strict=True)):
            m[i] = BETA1 * m[i] + (1 - BETA1) * g
            v[i] = BETA2 * v[i] + (1 - BETA2) * (g * g)
            w -= size * m[i] / (np.sqrt(v[i]) + epsilon)

    return peer(cycle([step]), weights, grads)


def torch_adam(kind: str, grads: Arrays, weights: Arrays) -> Peer:
    """`torch.optim.Adam` on tensors that torch has allocated itself, with as many threads as there are cores."""
    torch: Any = import_module("torch")
    torch.set_num_threads(CORES)
    parameters = [torch.nn.Parameter(torch.tensor(weight)) for weight in weights]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(grad)
    switches = {name: name == kind for name in ("foreach", "fused")}
    adam = torch.optim.Adam(parameters, lr=LR, betas=(BETA1, BETA2), eps=EPSILON, **switches)
    return peer(cycle([adam.step]), [p.detach().numpy() for p in parameters], [p.grad.numpy() for p in parameters])


def limit(grads: Arrays, weights: Arrays) -> Peer:
    """The least time to move Adam's 28 bytes per element, where x and y together are as large as its four arrays."""
    size = sum(weight.size for weight in weights)
    return move(2 * size, 28 * size)


def move(size: int, moved: int) -> Peer:
    """The least time to move so many bytes: as quickly as a compiled x += y moves its 12 per element.

    x and y have `size` elements, of which each thread has its own equal span.
    """
    numba: Any = import_module("numba")

    def add(x: Any, y: Any) -> None:
        for i in range(x.size):
            x[i] += y[i]

    array = numba.types.Array(numba.float32, 1, "C")
    kernel = numba.njit(numba.void(array, array), nogil=True)(add)
    x, y = np.ones(size, np.float32), np.full(size, 1e-3, np.float32)
    first, *others = zip(np.array_split(x, CORES), np.array_split(y, CORES), strict=True)
    pool = ThreadPoolExecutor(CORES)

    def step() -> None:
        running = [pool.submit(kernel, *span) for span in others]
        kernel(*first)
        for span in running:
            span.result()

    return peer(cycle([step]), scale=moved / (12 * size))


def copies(arrays: Arrays) -> list[Array]:
    """New arrays with the same elements."""
    return [array.copy() for array in arrays]


def zeros(arrays: Arrays) -> list[Array]:
    """New arrays of zeros of the same shapes."""
    return [np.zeros_like(array) for array in arrays]


NUMPY, NUMBA, FUSED = "updaters, numpy", "updaters, numba", "torch, fused"

STEP: dict[str, Maker] = {
    "NumPy, textbook": textbook,
    "NumPy, formula": formula,
    NUMPY: partial(ours, "numpy"),
    NUMBA: partial(ours, "numba"),
    "torch, single": partial(torch_adam, "single"),
    "torch, foreach": partial(torch_adam, "foreach"),
    FUSED: partial(torch_adam, "fused"),
    "limit": limit,
}
ONE: dict[str, Maker] = STEP | {NUMPY: partial(ours_one, "numpy"), NUMBA: partial(ours_one, "numba")}
del ONE["limit"]  # 16 kB are in the cache: nothing is moved


def made(
    makers: Mapping[str, Maker], shapes: Sequence[tuple[int, ...]], roundings: int = 1
) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that can run here, after three updates in which they agreed, and why each other one cannot.

    `roundings` is how often an update rounds the weight, and its gradient.
    """
    rng = np.random.default_rng(0)
    weights = [np.float32(0.05) * rng.standard_normal(shape, np.float32) for shape in shapes]
    grads = [np.float32(0.01) * rng.standard_normal(shape, np.float32) for shape in shapes]
    peers, absent = {}, {}
    for name, maker in makers.items():
        try:
            peers[name] = maker(grads, weights)
        except ImportError as error:
            absent[name] = f"absent: {error}"
    every = {id(grad): grad for each in peers.values() for grad in each.grads}
    for _ in range(3):
        for each in peers.values():
            next(each.calls)()
        for grad in every.values():
            grad *= np.float32(-0.5)  # with equal gradients the betas would not matter
    reference, *others = (name for name in peers if peers[name].weights)
    for name in others:
        for theirs, expected in zip(peers[name].weights, peers[reference].weights, strict=True):
            # Three updates move a weight by at most 3 LR: each rounds the weight, and its step in several places.
            room = np.finfo(np.float32).eps * roundings * (3 * np.abs(expected) + 3 * LR * 8)
            if not (np.abs(theirs - expected) <= room).all():
                raise AssertionError(f"{name} and {reference} differ by {np.abs(theirs - expected).max():.3g} after 3 updates")
    return peers, absent


# The cases.


@attrs.frozen
class Goal:
    """At most `most` times the figure of `beside`, or, without one, at most `most` itself."""

    peer: str
    most: float
    beside: str = ""

    def __str__(self) -> str:
        return f"<= {self.most:.2f} x {self.beside}" if self.beside else f"<= {self.most:g}"


@attrs.frozen
class Verdict:
    """A goal, the figure it is judged by (None where a peer is absent), and whether the run can decide it."""

    goal: Goal
    value: float | None
    quiet: bool = True

    @property
    def met(self) -> str:
        """The verdict in a word."""
        if self.value is None:
            return "not measured"
        return "undecided" if not self.quiet else "yes" if self.value <= self.goal.most else "NO"


@attrs.frozen
class Result:
    """A case as it came out: its table, its verdicts, and all that was measured."""

    title: str
    table: str
    note: str
    verdicts: Sequence[Verdict]
    raw: dict[str, Any]


@attrs.frozen
class Options:
    """How many rounds to measure, and how many fresh processes to start."""

    rounds: int
    runs: int


@attrs.frozen
class Timed:
    """A case that times updates of weights of some shapes, with ratios to some of the peers."""

    title: str
    shapes: list[tuple[int, ...]]
    makers: Mapping[str, Maker]
    besides: Sequence[str]
    goals: Sequence[Goal]
    roundings: int = 1

    def __call__(self, options: Options) -> Result:
        """Make the peers and time them."""
        peers, absent = made(self.makers, self.shapes, self.roundings)
        return timed(self.title, peers, absent, self.besides, self.goals, options.rounds)


def timed(
    title: str, peers: Mapping[str, Peer], absent: Mapping[str, str], besides: Sequence[str], goals: Sequence[Goal], rounds: int
) -> Result:
    """Measure peers that are made, and judge their medians."""
    samples = measured(peers, rounds)
    verdicts = [Verdict(goal, samples.median(goal.peer, goal.beside), samples.enough) for goal in goals]
    rows = [["peer", "median", "min", *(f"x {other}" for other in besides), "goal", "met?"]]
    for name in peers:
        times = [readable(time) for time in (statistics.median(samples.of(name)), min(samples.of(name)))]
        ratios = ["" if (ratio := samples.median(name, other)) is None else f"{ratio:.3f}" for other in besides]
        judged = [verdict for verdict in verdicts if verdict.goal.peer == name]
        rows.append([name, *times, *ratios, ", ".join(str(v.goal) for v in judged), ", ".join(v.met for v in judged)])
    rows += [[name, why, *[""] * (len(besides) + 3)] for name, why in absent.items()]
    raw = {"seconds": samples.seconds, "disturbed": samples.disturbed}
    return Result(title, aligned(rows), samples.note, verdicts, raw)


def memory(options: Options) -> Result:
    """What updates of one large weight allocate."""
    weight, grad = (np.full(25_000_000, value, np.float32) for value in (0.5, 0.01))
    figures: dict[str, float] = {}
    absent = {}
    for name, backend in ((NUMPY, "numpy"), (NUMBA, "numba")):
        try:
            call = partial(updater(backend), "w", grad, weight)
        except ImportError as error:
            absent[name] = f"absent: {error}"
            continue
        tracemalloc.start()
        call()
        figures[f"{name}: the first update keeps, beyond 2 x the weight"] = tracemalloc.get_traced_memory()[0] - 2 * weight.nbytes
        call()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        figures[f"{name}: an update allocates, by tracemalloc"] = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        if (resident := resident_growth(call)) is not None:
            figures[f"{name}: an update allocates, by VmHWM"] = resident
    figures = {what: size / 1e6 for what, size in figures.items()}
    verdicts = [Verdict(Goal(what, 2.0 if "allocates" in what else 0.1), size) for what, size in figures.items()]
    rows = [["peer", "MB", "goal", "met?"]]
    rows += [[v.goal.peer, f"{v.value:.3f}", str(v.goal), v.met] for v in verdicts]
    rows += [[name, why, "", ""] for name, why in absent.items()]
    note = "tracemalloc knows all arrays of NumPy, VmHWM (the most memory that was resident) also what compiled code takes."
    title = f"memory: one float32 weight of {weight.nbytes / 1e6:.0f} MB"
    return Result(title, aligned(rows), note, verdicts, figures)


def resident_growth(call: Call) -> int | None:
    """By how many bytes the resident memory was larger at some time in a call than before it; None if nothing says."""

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

    try:
        Path("/proc/self/clear_refs").write_text("5")  # begins VmHWM anew
        before = status("VmRSS")
        call()
        return status("VmHWM") - before
    except OSError:
        return None


IMPORT = """
import time, numpy
start = time.perf_counter()
import updaters
print(time.perf_counter() - start)
"""

UPDATE = """
import time, numpy
grad, weight = numpy.ones(1000, numpy.float32), numpy.ones(1000, numpy.float32)
start = time.perf_counter()
import updaters
updaters.get_updater(updaters.Adam(1e-3), backend="numba")("w", grad, weight)
print(time.perf_counter() - start)
"""

# Before its first kernel numba looks for BLAS, and imports scipy.linalg for that where it can.
WITHOUT_SCIPY = """
import sys
sys.modules["scipy"] = None
"""


def startup(options: Options) -> Result:
    """What fresh processes take, after they have imported NumPy."""

    def fresh(program: str, cache: str | None) -> float:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPATH"] = str(Path(up.__file__).parents[1])
        with tempfile.TemporaryDirectory() as empty:
            environment["UPDATERS_CACHE_DIR"] = cache or empty
            run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ImportError(run.stderr.strip().splitlines()[-1])
        return float(run.stdout)

    with tempfile.TemporaryDirectory() as warm:
        programs = {
            "import updaters": (0.1, IMPORT, warm),
            "first numba update, empty cache": (1.2, UPDATE, None),
            "first numba update, warm cache": (0.5, UPDATE, warm),
            "the same, as if without SciPy": (None, WITHOUT_SCIPY + UPDATE, warm),
        }
        peers, absent = {}, {}
        for name, (_, program, cache) in programs.items():
            try:
                fresh(program, cache)  # leaves bytecode, and the kernel in the warm cache
                peers[name] = Peer(partial(fresh, program, cache))
            except ImportError as error:
                absent[name] = f"absent: {error}"
        goals = [Goal(name, most) for name, (most, *_) in programs.items() if most is not None]
        return timed("startup: seconds in a fresh process, after `import numpy`", peers, absent, [], goals, options.runs)


def resnet50() -> list[tuple[int, ...]]:
    """The shapes of the weights of torchvision's resnet50, in their order."""

    def normalized(out: int, into: int, size: int) -> list[tuple[int, ...]]:
        return [(out, into, size, size), (out,), (out,)]  # a convolution, its batch norm's weight and bias

    shapes = normalized(64, 3, 7)
    into = 64
    for width, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        out = 4 * width
        for block in range(blocks):
            shapes += normalized(width, into, 1) + normalized(width, width, 3) + normalized(out, width, 1)
            shapes += normalized(out, into, 1) if block == 0 else []
            into = out
    shapes += [(1000, into), (1000,)]
    assert len(shapes) == 161
    assert sum(map(math.prod, shapes)) == 25_557_032
    return shapes


CASES: dict[str, Callable[[Options], Result]] = {
    "resnet50": Timed(
        "resnet50: 161 weights, 25,557,032 elements, one step",
        resnet50(),
        STEP,
        [FUSED, "limit"],
        [Goal(NUMBA, 1.0, FUSED), Goal(NUMBA, 1.15, "limit")],
    ),
    "large": Timed(
        "large: one weight of 25,000,000 elements, one step",
        [(25_000_000,)],
        STEP,
        ["NumPy, formula", "limit"],
        [Goal(NUMPY, 0.4, "NumPy, formula")],
    ),
    "many": Timed("many: 100 weights of 64 x 64, one step", [(64, 64)] * 100, STEP, [FUSED, "limit"], [Goal(NUMBA, 0.65, FUSED)]),
    "one": Timed(
        "one: one weight of 1,000 elements, one call",
        [(1000,)],
        ONE,
        [FUSED],
        [Goal(NUMBA, 0.15, FUSED), Goal(NUMPY, 0.6, FUSED)],
    ),
    "memory": memory,
    "startup": startup,
}


# What is printed.


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    versions = {"python": platform.python_version()}
    for library in ("numpy", "numba", "scipy", "torch"):
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "none"
    return {"cpu": processor(), "threads": f"{CORES} of {os.cpu_count()} cores", "system": platform.system(), **versions}


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def readable(time: float) -> str:
    """A time in a readable unit."""
    scale, unit = next((pair for pair in ((1.0, "s"), (1e3, "ms")) if time * pair[0] >= 1), (1e6, "us"))
    return f"{time * scale:.3g} {unit}" if time * scale < 1000 else f"{time * scale:.0f} {unit}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that also reads well as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = ("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows)
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def summary(results: Mapping[str, Result]) -> str:
    """All goals in one table."""
    rows = [["case", "what", "goal", "measured", "met?"]]
    for case, result in results.items():
        for verdict in result.verdicts:
            goal, value = verdict.goal, verdict.value
            rows.append([case, goal.peer, str(goal), "" if value is None else f"{value:.3f}", verdict.met])
    return aligned(rows)


def command_line(doc: str | None, cases: Iterable[str], rounds: int, quick: str = "5 rounds") -> argparse.ArgumentParser:
    """What a script with cases of these names may be asked for."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help=f"quiet rounds to measure ({rounds} unless given)")
    parser.add_argument("--only", action="append", choices=cases, metavar="NAME", help=f"{', '.join(cases)}; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    return parser


def run_cases(cases: Mapping[str, Callable[[Options], Result]], arguments: argparse.Namespace, options: Options) -> None:
    """Run the cases that were asked for, and print them."""
    on = machine()
    print(RULE)
    results = {}
    for name in arguments.only or cases:
        result = results[name] = cases[name](options)
        print(f"\n## {result.title}\n\n{', '.join(f'{what} {which}' for what, which in on.items())}\n")
        print(f"{result.table}\n\n{result.note}", flush=True)
    print(f"\n## goals\n\n{summary(results)}")
    if arguments.json:
        raw = {name: result.raw for name, result in results.items()}
        arguments.json.write_text(json.dumps({"machine": on, "cases": raw}, indent=1))


def main() -> None:
    """Run the cases that were asked for, and print them."""
    arguments = command_line(__doc__, CASES, 30, "5 rounds and 3 fresh processes").parse_args()
    run_cases(CASES, arguments, Options(arguments.rounds or (5 if arguments.quick else 30), 3 if arguments.quick else 7))


if __name__ == "__main__":
    main()
