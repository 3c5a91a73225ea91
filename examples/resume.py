"""Train, be stopped at any moment, start again, and end with the same bits as if nothing had happened.

The network of digits.py learns handwritten digits from noisy images. Stop this script as you like, a power cut included, and run
it again: it goes on inside the epoch that was interrupted, since what is random in it is a function of a seed and of the clock,
which is in the file with all else. With --show it does that to itself: it starts itself and kills that process, over and over,
then runs to the end, and compares its weights with those of a run that was never stopped.

    pip install 'updaters[demo]'
    python resume.py --path run.safetensors
    python resume.py --show
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import sleep

import numpy as np
from digits import Array, Digits, backprop, cross_entropy, forward, initial_weights, load

import updaters as up

BATCH_SIZE = 32


def train(data: Digits, epochs: int, path: Path | None) -> dict[str, Array]:
    """The weights after so many epochs, of which those are passed over that the file at a path has."""
    weights = initial_weights(np.random.default_rng(0), np)
    state = up.OptimizationState(BATCH_SIZE)
    plateau = up.learning_rate.Plateau(0.1, factor=0.5, patience=0)
    update = up.get_updater(up.SGD(plateau, momentum=0.9), state, backend="numpy")
    if path is not None:
        update.load(path, weights=weights, missing_ok=True)
        print(f"goes on after batch {state.batch} of epoch {state.epoch}")

    for _ in state.epochs(epochs):
        order = state.generator(1, clock="epoch").permutation(len(data.x))  # the same when the epoch is entered again
        for rows in state.batches(order.reshape(-1, BATCH_SIZE)):
            noise = state.generator(2, clock="iteration").normal(0, 0.2, (BATCH_SIZE, 64))
            _, grads = backprop(weights, data.x[rows] + np.float32(noise), data.y[rows])
            update.step(grads, weights)
            if path is not None and state.iteration % 5 == 0:
                update.save(path, weights=weights, keep=2, wait=False)
        _, log_p = forward(weights, data.x_held_out)
        right = (log_p.argmax(axis=1) == data.y_held_out.argmax(axis=1)).mean()
        print(
            f"epoch {state.epoch:2}: a learning rate of {plateau(state):g}, {right:.1%} of the held-out images read", flush=True
        )
        plateau.observe(cross_entropy(log_p, data.y_held_out))
    if path is not None:
        update.save(path, weights=weights, keep=2)
    return weights


def show(data: Digits, epochs: int, kills: int, seed: int) -> None:
    """Start this script and kill it, some times, then let it end; and hold it against a run that was never stopped."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        for _ in range(kills):
            command = [sys.executable, __file__, "--epochs", str(epochs), "--path", str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for _ in range(rng.integers(2, 5)):
                    print(process.stdout.readline(), end="")
                sleep(rng.uniform(0, 0.05))
                process.kill()
            print("ended by itself" if process.returncode == 0 else "KILLED")
        weights = train(data, epochs, path)
    print("The same, never stopped:")
    expected = train(data, epochs, None)
    differ = [name for name in expected if weights[name].tobytes() != expected[name].tobytes()]
    if differ:
        sys.exit(f"the weights differ: {', '.join(differ)}")
    print("All weights have the same bits")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--path", type=Path, default=Path("run.safetensors"), help="where to go on from (default: %(default)s)")
    parser.add_argument("--show", action="store_true", help="kill runs in a folder of their own, and compare")
    parser.add_argument("--kills", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    args = parser.parse_args()
    data = load(np)
    if args.show:
        show(data, args.epochs, args.kills, args.seed)
    else:
        train(data, args.epochs, args.path)


if __name__ == "__main__":
    main()
