"""What it costs to save a run and to go on from it, beside the safetensors library with the same bytes.

    python benchmarks/checkpoint.py [--quick] [--rounds N] [--only NAME] [--folder DIR] [--json FILE]

README.md beside this file says what the rows mean. Goals are reported and never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from cpu import RULE, Goal, Options, Peer, Result, Verdict, aligned, machine, peer, resnet50, summary, timed

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
    fresh, _ = run(shapes)

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
        LOADED: peer(cycle([partial(fresh.load, ours, weights=weights)])),
        READ: peer(cycle([partial(load_file, ours)])),
    }
    goals = [Goal(SAVED, SLOWEST, SYNCED), Goal(LOADED, SLOWEST, READ)]
    return timed(f"{title}, {size / 1e6:.0f} MB", peers, {}, [SYNCED, THEIRS, READ], goals, options.rounds)


def memory(folder: Path, options: Options) -> Result:
    """How much more memory a process has at its highest for saving, by the shares of what is saved."""
    rows, verdicts, raw = [["", "extra memory"]], [], {}
    for what, goal in (("save", 0.05), ("save, wait=False", None), ("save_file", None), ("load, new slots", None)):
        program = [sys.executable, __file__, "--peak", what, "--folder", str(folder)]
        share = float(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
        raw[what] = share
        rows.append([what, f"{share:.1%}"])
        if goal is not None:
            verdicts.append(Verdict(Goal(what, goal), share))
    return Result("memory: of ResNet-50's weights and slots", aligned(rows), "By the largest resident size.", verdicts, raw)


def peak(what: str, folder: Path) -> float:
    """By how much the largest resident size of this process grows, as a share of the state."""
    from safetensors.numpy import save_file

    update, weights = run(resnet50())
    small, few = run([(3, 3)])
    small.save(folder / "small.safetensors", weights=few)  # what is imported and compiled at first is no memory of the state
    small.load(folder / "small.safetensors")
    path = folder / "peak.safetensors"
    state = sum(known.nbytes for known in update.slots.values())
    saved = state + sum(weight.nbytes for weight in weights.values())
    again = up.get_updater(up.Adam(1e-3), backend="numpy")
    if what.startswith("load"):
        update.save(path)
        saved = state
    calls: dict[str, Callable[[], Any]] = {
        "save": lambda: update.save(path, weights=weights),
        "save, wait=False": lambda: (update.save(path, weights=weights, wait=False), update.finish_saving()),
        "save_file": lambda: save_file(arrays_of(update, weights), path),
        "load, new slots": lambda: again.load(path),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calls[what]()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / saved


CASES: dict[str, Callable[[Path, Options], Result]] = {
    "resnet50": lambda folder, options: times("resnet50: Adam's run, 161 weights", resnet50(), folder, options),
    "many": lambda folder, options: times("many: 5,000 weights of 64 x 64", [(64, 64)] * 5000, folder, options),
    "memory": memory,
}


def main() -> None:
    """Run the cases that were asked for, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="quiet rounds to measure (20 unless given)")
    parser.add_argument("--only", action="append", choices=CASES, metavar="NAME", help=f"{', '.join(CASES)}; may be repeated")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where files are written (a temporary folder unless given)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.peak:
            print(peak(arguments.peak, folder))
            return
        options = Options(arguments.rounds or (5 if arguments.quick else 20), 0)
        on = machine()
        print(RULE)
        results = {}
        for name in arguments.only or CASES:
            result = results[name] = CASES[name](folder, options)
            print(f"\n## {result.title}\n\n{', '.join(f'{what} {which}' for what, which in on.items())}\n")
            print(f"{result.table}\n\n{result.note}", flush=True)
        print(f"\n## goals\n\n{summary(results)}")
    if arguments.json:
        cases = {name: result.raw for name, result in results.items()}
        arguments.json.write_text(json.dumps({"machine": on, "cases": cases}, indent=1))


if __name__ == "__main__":
    main()
