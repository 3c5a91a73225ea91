"""Kill runs that save at every step, go on from what is left of them, and hold the end against a run that was never stopped.

    python tests/killed.py --kills 200

Each process is killed with SIGKILL at a random moment after it has begun to train. Then the file that it leaves, and the one before,
must load; it must not be older than the last save that the process said was done; and the next process goes on from it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import attrs
import numpy as np

import updaters as up

EPOCHS, BATCHES = 4, 6
SIZES: dict[Any, tuple[tuple[int, ...], str]] = {
    "body": ((500, 400), "float32"),
    "half": ((300, 100), "float16"),
    ("waves", 0): ((40, 30), "complex64"),
    7: ((50,), "float64"),
}


def new_run() -> tuple[up.Updater, up.learning_rate.Plateau, dict[Any, Any]]:
    """An updater with all that moves, and its weights."""
    plateau = up.learning_rate.Plateau(up.learning_rate.Exp(1e-2, gamma=0.9), factor=0.5, patience=0)
    update = up.get_updater(
        up.Adam(plateau),
        up.OptimizationState(4),
        accumulate=2,
        nonfinite="skip",
        loss_scale=up.loss_scale.GrowthInterval(8.0, growth_interval=3),
        master_weights=True,
        average=up.Average(0.9),
        clip=up.transforms.ClipByGlobalNorm(5.0),
        backend="numpy",
    )
    rng = np.random.default_rng(0)
    return update, plateau, {index: rng.normal(size=shape).astype(dtype) for index, (shape, dtype) in SIZES.items()}


def train(path: Path | None) -> tuple[up.Updater, dict[Any, Any]]:
    """Run to the end, from where the file at a path stands, with a save after each batch."""
    update, plateau, weights = new_run()
    state = update.state
    if path is not None:
        update.load(path, weights=weights, missing_ok=True)
        say(f"begins at {state.iteration}")
    for _ in state.epochs(EPOCHS):
        order = state.generator(1, clock="epoch").permutation(BATCHES)
        for target in state.batches(order):
            noise = state.generator(2, clock="iteration")
            grads = {}
            for index, weight in weights.items():
                grad = weight - target / BATCHES + noise.normal(size=weight.shape)
                grads[index] = update.scale_loss(grad).astype(weight.dtype)
            if state.iteration == 9:
                grads["half"][0, 0] = np.inf  # and the loss scale backs off
            update.step(grads, weights)
            if path is not None:
                wait = state.iteration % 3 > 0
                update.save(path, weights=weights, keep=2, wait=wait)
                if wait:
                    say(f"saved {state.iteration}")
        plateau.observe(sum(float(np.abs(weight).mean()) for weight in weights.values()))
    update.finish_saving()
    return update, weights


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def digest(update: up.Updater, weights: dict[Any, Any]) -> str:
    """A number of all bits of weights and of all that their updater keeps."""
    total = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            total.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, dict):
            for name, part in value.items():
                total.update(repr(name).encode())
                add(part)
        else:
            total.update(repr(value).encode())

    add(update.state_dict())
    add(weights)
    return total.hexdigest()


@attrs.define
class Tally:
    """How often processes were killed, and where they were then, by what they left."""

    kills: int = 0
    inside_saves: int = 0
    before_any_save: int = 0
    runs: int = 0
    processes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills of {self.processes} processes, {self.inside_saves} of them inside a save and {self.before_any_save} before "
            f"any was done; {self.runs} runs came to their end, each with the bits of one that was never stopped"
        )


def kill(folder: Path, kills: int, seed: int) -> Tally:
    """Kill processes until so many were, and let the last run end.

    Raises:
        AssertionError: a file did not load, or was too old; or a run ended with other bits.
    """
    rng = np.random.default_rng(seed)
    tally, expected = Tally(), digest(*train(None))
    while tally.kills < kills:
        path = folder / str(tally.runs) / "run.safetensors"
        path.parent.mkdir()
        done, ended = 0, None
        while ended is None:
            tally.processes += 1
            killed, done, ended = one_process(path, done, rng.uniform(0, 0.25) if tally.kills < kills else None)
            if killed:
                tally.kills += 1
                tally.inside_saves += any(left.name.endswith(".partial") for left in path.parent.iterdir())
                tally.before_any_save += not path.exists()
                check(path, done)
        assert ended == expected, f"run {tally.runs} ended with other bits"
        assert sorted(left.name for left in path.parent.iterdir()) == ["run.1.safetensors", "run.safetensors"]
        tally.runs += 1
    return tally


def one_process(path: Path, done: int, delay: float | None) -> tuple[bool, int, str | None]:
    """Whether a process was killed, the last iteration that it or one before said was saved, and its digest where it ended."""
    command = [sys.executable, __file__, "--train", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(Path(up.__file__).parent.parent)}
    )
    with process:
        assert process.stdout is not None
        said = process.stdout.fileno()
        lines = os.read(said, 100)  # when it begins to train
        until = perf_counter() + (delay or 0)
        while delay is not None and (left := until - perf_counter()) > 0 and select.select([said], [], [], left)[0]:
            if not (more := os.read(said, 10_000)):
                break
            lines += more
        if delay is not None:
            process.send_signal(signal.SIGKILL)
        lines += process.stdout.read()
    words = [line.split() for line in lines.decode().splitlines()]
    assert process.returncode in (0, -signal.SIGKILL), f"a process came to grief: {words}"
    begun = int(words[0][-1]) if words else 0
    assert begun >= done, f"went on from {begun}, where {done} was saved"
    done = max([done, *(int(line[1]) for line in words if line[0] == "saved")])
    ended = next((line[1] for line in words if line[0] == "ended"), None)
    return process.returncode != 0, done, ended


def check(path: Path, done: int) -> None:
    """Raise unless the files are there that have to be, and load."""
    assert path.exists() or not done, f"{done} was saved, and there is no file"
    iterations = []
    for number in range(3):  # where the file before has made room for the next one, and a kill came first, it is the third
        file = path.with_name(f"run.{number}.safetensors") if number else path
        if file.exists():
            update, _, weights = new_run()
            iterations.append(update.load(file, weights=weights).clock.iteration)
    assert iterations == sorted(iterations, reverse=True)
    assert not done or iterations[0] >= done, f"{done} was saved, and the file has {iterations}"
    assert done < 2 or len(iterations) >= 2, f"{done} was saved, and the file before is not there"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train is not None:
        say(f"ended {digest(*train(args.train))}")
        return
    start = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        print(kill(Path(folder), args.kills, args.seed))
    print(f"{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
