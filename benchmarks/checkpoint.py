"""What it costs to save a run and to go on from it, beside the safetensors library with the same bytes.

    python benchmarks/checkpoint.py [--quick] [--rounds N] [--only NAME] [--folder DIR] [--json FILE]

README.md beside this file says what the rows mean. Goals are reported and never asserted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from cpu import Goal, Options, Peer, Result, Verdict, aligned, command_line, peer, resident_growth, resnet50, run_cases, timed

import updaters as up

SAVED, LOADED = "updaters, save", "updaters, load"
THEIRS, SYNCED = "safetensors, save_file", "safetensors, save_file and fsync"
READ = "safetensors, load_file"
SLOWEST = 1 / 0.8


def run(shapes: list[tuple[int, ...]]) -> tuple[up.Updater, dict[str, Any]]:
    """Adam's updater after one step, and its weights."""
    rng = np.random.default_rng(0)
    weights = {f"layer{i}.weight": rng.standard_normal(shape, np.float32) for i, shape in enumerate(shapes)}
    update = up.get_updater(up.Adam(1e-3), backend="numpy")
    update.step({name: 0.1 * weight for name, weight in weights.items()}, weights)
    return update, weights


def arrays_of(update: up.Updater, weights: dict[str, Any]) -> dict[str, Any]:
    """What the file has, by its names there."""
    slots = {f"slots/{index}/{name}": known[name] for index, known in update.slots.items() for name in known.arrays}
    return slots | {f"weights/{name}": weight for name, weight in weights.items()}


def times(title: str, shapes: list[tuple[int, ...]], folder: Path, options: Options) -> Result:
    """Saving and loading, each beside the library."""
    from safetensors.numpy import load_file, save_file

    update, weights = run(shapes)
    arrays = arrays_of(update, weights)
    ours, theirs = folder / "ours.safetensors", folder / "theirs.safetensors"

    def load() -> None:
        up.get_updater(up.Adam(1e-3), backend="numpy").load(ours, weights=weights)

    def synced() -> None:
        save_file(arrays, theirs)
        with open(theirs, "rb") as file:
            os.fsync(file.fileno())

    update.save(ours, weights=weights)
    save_file(arrays, theirs)
    size = sum(array.nbytes for array in arrays.values())
    for name, array in load_file(ours).items():
        np.testing.assert_array_equal(array, arrays[name])
    peers: dict[str, Peer] = {
        SAVED: peer(cycle([partial(update.save, ours, weights=weights)])),
        SYNCED: peer(cycle([synced])),
        THEIRS: peer(cycle([partial(save_file, arrays, theirs)])),
        LOADED: peer(cycle([load])),
        READ: peer(cycle([partial(load_file, ours)])),
    }
    goals = [Goal(SAVED, SLOWEST, SYNCED), Goal(LOADED, SLOWEST, READ)]
    return timed(f"{title}, {size / 1e6:.0f} MB", peers, {}, [SYNCED, THEIRS, READ], goals, options.rounds)


def memory(folder: Path, options: Options) -> Result:
    """How much more memory is resident at its highest while a run is saved and loaded, as shares of what is in the file."""
    from safetensors.numpy import load_file, save_file

    update, weights = run(resnet50())
    arrays = arrays_of(update, weights)
    size = sum(array.nbytes for array in arrays.values())
    path = folder / "peak.safetensors"
    update.save(path, weights=weights)  # what is imported at first is no memory of the state
    again = up.get_updater(up.Adam(1e-3), backend="numpy")

    def in_background() -> None:
        update.save(path, weights=weights, wait=False)
        update.finish_saving()

    calls: dict[str, tuple[Callable[[], Any], float | None]] = {
        "updaters, save": (partial(update.save, path, weights=weights), 0.05),
        "updaters, save(wait=False)": (in_background, None),
        "safetensors, save_file": (partial(save_file, arrays, path), None),
        "updaters, load in mid-run": (partial(update.load, path, weights=weights), None),
        "updaters, load": (partial(again.load, path, weights=weights), None),
        "safetensors, load_file": (partial(load_file, path), None),
    }
    rows, verdicts, raw = [["peer", "extra memory", "goal", "met?"]], [], {}
    for what, (call, goal) in calls.items():
        if what == "updaters, load in mid-run":
            update.save(path, weights=weights)
        if (growth := resident_growth(call)) is None:
            return Result("memory", "", "Nothing here says how much memory is resident.", [], {})
        raw[what] = growth / size
        verdict = None if goal is None else Verdict(Goal(what, goal), growth / size)
        verdicts += [] if verdict is None else [verdict]
        rows.append([what, f"{growth / size:.1%}", *(("", "") if verdict is None else (str(verdict.goal), verdict.met))])
    note = "By VmHWM. Pages of the file that are read where they lie count too, which the system takes back when it needs them."
    return Result(f"memory: ResNet-50's weights and slots, {size / 1e6:.0f} MB", aligned(rows), note, verdicts, raw)


CASES: dict[str, Callable[[Path, Options], Result]] = {
    "resnet50": lambda folder, options: times("resnet50: Adam's run, 161 weights", resnet50(), folder, options),
    "many": lambda folder, options: times("many: 5,000 weights of 64 x 64", [(64, 64)] * 5000, folder, options),
    "memory": memory,
}


def main() -> None:
    """Run the cases that were asked for, and print them."""
    parser = command_line(__doc__, CASES, 20)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where files are written (a temporary folder unless given)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        cases = {case: partial(run_there, Path(name)) for case, run_there in CASES.items()}
        run_cases(cases, arguments, Options(arguments.rounds or (5 if arguments.quick else 20), 0))


if __name__ == "__main__":
    main()
