"""Damages files and state dicts of updaters at random, and sees that each is refused, with nothing changed, or loads as a whole.

    python tests/fuzz_checkpoint.py --seconds 600 --seed 0

What it finds is printed with the number of its round; `--round` runs that one again, as a plain traceback.
"""

import argparse
import copy
import json
import random
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import ml_dtypes
import numpy as np

import updaters as up

Weights = dict[Any, np.ndarray[Any, Any]]
Place = tuple[Any, ...]


@attrs.frozen
class Case:
    """An updater in the middle of a run, and one that is to go on from its file."""

    name: str
    make: Callable[[], up.Updater]
    shapes: dict[Any, tuple[Any, tuple[int, ...]]]

    def weights(self) -> Weights:
        return {index: np.full(shape, 0.5, dtype) for index, (dtype, shape) in self.shapes.items()}

    def gradients(self, steps: int) -> Iterator[Weights]:
        for t in range(1, steps + 1):
            yield {index: np.full(shape, 0.25 / t, dtype) for index, (dtype, shape) in self.shapes.items()}

    def run(self, steps: int) -> tuple[up.Updater, Weights]:
        update, weights = self.make(), self.weights()
        go_on(update, weights, self.gradients(steps))
        return update, weights


def go_on(update: up.Updater, weights: Weights, gradients: Iterator[Weights]) -> None:
    plateau = update.optimizer.lr
    for grads in gradients:
        update.step(grads, weights)
        if isinstance(plateau, up.learning_rate.Plateau):
            plateau.observe(1.0)


def _plateau() -> up.Updater:
    lr = up.learning_rate.Plateau(0.1, factor=0.5, patience=1)
    return up.get_updater(up.Adam(lr), accumulate=3, loss_scale=up.loss_scale.Backoff(), backend="numpy")


def _overridden() -> up.Updater:
    average = up.Average(0.9)
    overrides = {"frozen.*": up.FROZEN, 0: {"lr_scale": 0.5}}
    return up.get_updater(up.SGD(0.1, momentum=0.9), average=average, overrides=overrides, master_weights=True, backend="numpy")


def _logmax() -> up.Updater:
    return up.get_updater(up.Nadam(0.01), loss_scale=up.loss_scale.LogMax(), backend="numpy")


CASES = [
    Case("plateau", _plateau, {"w": ("f4", (2, 3)), 0: ("f8", ()), ("a", (1, "m")): ("c8", (2,))}),
    Case("overridden", _overridden, {"w": ("f2", (3,)), 0: (">f4", (2,)), "frozen.b": ("f4", (2,)), "0": (ml_dtypes.bfloat16, (2,))}),
    Case("logmax", _logmax, {"a/m": ("f4", (0, 2)), "\ud800": ("f4", (1,))}),
    Case("numbers", lambda: up.get_updater(up.Prodigy(), backend="numpy"), {"w": ("f8", (3,)), 1: ("f4", (2,))}),
    Case("factored", lambda: up.get_updater(up.Adafactor(0.1), backend="numpy"), {"w": ("f4", (3, 2)), "b": ("f4", (2,))}),
]  # fmt: skip


# Damage.


def nodes(data: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all values in data."""
    yield place
    if isinstance(data, dict):
        for name, part in data.items():
            yield from nodes(part, (*place, name))
    elif isinstance(data, (list, tuple)):
        for i, part in enumerate(data):
            yield from nodes(part, (*place, i))


def at(data: Any, place: Place) -> Any:
    for name in place:
        data = data[name]
    return data


def with_value(data: Any, place: Place, value: Any) -> Any:
    """Data with another value at a place."""
    if not place:
        return value
    data = copy.copy(data)
    data[place[0]] = with_value(data[place[0]], place[1:], value)
    return data


def without(data: Any, place: Place) -> Any:
    """Data without what is at a place."""
    parent = copy.copy(at(data, place[:-1]))
    del parent[place[-1]]
    return with_value(data, place[:-1], parent)


def nested(depth: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(depth):
        data = [data]
    return data


VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 1.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), 2**31, 2**53, 2**63 - 1, 2**63, 2**64,
    -(2**70), 10**400, "x", "", "0", "\ud800", "\u0000", "inf", "float32", ">float32", "bfloat16", "complex64", "F", "w", "y" * 5000,
    [], {}, [[]], [0], [-1], [2**60, 2**60], [0, 2**62], ["w"], {"float": "nan"}, {"float": "-inf"}, {"float": 1}, {"mapping": {}},
    {"mapping": 1}, {"x": 1}, nested(150), nested(300), nested(900),
]  # fmt: skip

ARRAYS: list[Any] = [
    np.zeros(2), np.zeros((2, 3), "f4"), np.zeros(0), np.array(1.0), np.array(1), np.array([None]), np.array(["x"]), np.zeros(2, "c8"),
    np.ma.masked_all(3, "f4"), np.zeros(3, ">f4"), np.array([np.nan, np.inf]), np.zeros(3, [("a", "f4")]), np.zeros(3, "M8[s]"),
]  # fmt: skip


def changed(data: Any, chance: random.Random, values: list[Any]) -> Any:
    """Data with something else at one place."""
    places = list(nodes(data))
    place = chance.choice(places)
    part = at(data, place)
    how = chance.randrange(8)
    if how == 0 and place:
        return without(data, place)
    if how == 1:
        return with_value(data, place, at(data, chance.choice(places)))
    if how == 2 and isinstance(part, list) and part:
        return with_value(data, place, [*part, chance.choice(part)])
    if how == 3 and isinstance(part, list):
        return with_value(data, place, chance.sample(part, len(part)))
    if how == 4 and isinstance(part, dict) and part:
        old = chance.choice(list(part))
        new = chance.choice([*part, "x", "", "type", "float", "index"])
        return with_value(data, place, {new if name == old else name: value for name, value in part.items()})
    if how == 5 and type(part) in (int, float):
        return with_value(data, place, part + chance.choice([-1, 1, 8, 0.5, -part, part]))
    if how == 6 and isinstance(part, str) and part:
        i = chance.randrange(len(part))
        return with_value(data, place, part[:i] + chance.choice(["", "x", "/", '"', "\\", "\u00e4", "0"]) + part[i + 1 :])
    return with_value(data, place, chance.choice(values))


def parts_of(file: bytes) -> tuple[Any, bytes]:
    """The header and the data of a file."""
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def file_of(header: Any, data: bytes, *, text: Any = None) -> bytes:
    """A file of a header and data, with another text in the header where one is given."""
    if text is not None:
        header = {**header, "__metadata__": {"updaters": json.dumps(text, separators=(",", ":"))}}
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)
    return struct.pack("<Q", len(written)) + written + data


def damaged_bytes(file: bytes, chance: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", file[:8])
    most = chance.choice([8, 8 + length, len(file)])
    start = chance.randrange(most)
    end = min(len(file), start + chance.choice([0, 1, 1, 2, 8, 64, 1000]))
    other = chance.choice(
        [b"", chance.randbytes(end - start), bytes(end - start), b"\xff" * (end - start), file[:64], b'"', b"[" * 300]
    )
    if chance.random() < 0.1:
        return file[:start]
    return file[:start] + other + file[end:]


def damaged_header(file: bytes, chance: random.Random) -> bytes:
    header, data = parts_of(file)
    for _ in range(chance.choice([1, 1, 2])):
        header = changed(header, chance, VALUES)
    return file_of(header, data)


def damaged_text(file: bytes, chance: random.Random) -> bytes:
    header, data = parts_of(file)
    text = json.loads(header["__metadata__"]["updaters"])
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        text = changed(text, chance, VALUES)
    return file_of(header, data, text=text)


def damaged_both(file: bytes, chance: random.Random) -> bytes:
    """Another length of one axis, or another dtype, wherever the header and the text say it, with data of that size."""
    header, _ = parts_of(file)
    text = json.dumps(header, separators=(",", ":"))
    old, new = chance.choice(
        [("[2]", "[3]"), ("[2,3]", "[3,2]"), ("[3]", "[0]"), ("float32", "float64"), ("F32", "F64"), ("[]", "[1]")]
    )
    header = json.loads(text.replace(old, new))
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = int(np.prod(entry["shape"])) * {"F64": 8, "F32": 4}.get(entry["dtype"], 2)
            entry["data_offsets"] = [end, end := end + size]
    return file_of(header, bytes(end))


HOW: list[Any] = [damaged_bytes, damaged_header, damaged_text, damaged_text, damaged_both, changed]


# What must hold.


def frozen(value: Any) -> Any:
    """Anything of a state dict, so that two are equal only if they are in every bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(repr(name), frozen(part)) for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [frozen(part) for part in value]
    return type(value).__name__, repr(value)


def everything(update: up.Updater, weights: Weights) -> Any:
    """All that a load may change."""
    clock = {name: getattr(update.state, name) for name in type(update.state).__slots__ if name != "__weakref__"}
    return frozen([update.state_dict(), clock, weights, update.loss_scale, update.optimizer, update.overrides])


class Fault(AssertionError):
    """Something that must not be."""


def hold(
    case: Case, update: up.Updater, weights: Weights, load: Callable[[], Any], may: tuple[type[Exception], ...], named: str
) -> str:
    """Load what may be damaged, and say what came of it."""
    before = everything(update, weights)
    try:
        load()
    except may as error:
        message = str(error)
        if named not in message or len(message) > 10_000:
            raise Fault(f"the message does not say where: {message[:200]!r}") from error
        if everything(update, weights) != before:
            raise Fault(f"something has changed, and it was refused: {message[:200]}") from error
        return "refused"
    again, loaded = case.make(), everything(update, weights)
    again.load_state_dict(update.state_dict(), strict=False)
    try:
        with np.errstate(all="ignore"):
            for grads in case.gradients(3):
                loaded = everything(update, weights)
                go_on(update, weights, iter([grads]))
    except (ValueError, ArithmeticError) as error:  # what waits is of a weight of another shape; or numbers are impossible ones
        if everything(update, weights) != loaded:
            raise Fault(f"something has changed, and the step was refused: {str(error)[:200]}") from error
    return "loaded"


class Fuzzer:
    """Rounds that are a function of a seed and their number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run: list[tuple[Case, up.Updater, Weights, bytes, dict[str, Any]]] = []
        for case in CASES:
            update, weights = case.run(4)
            path = folder / f"{case.name}.safetensors"
            update.save(path, weights=weights, extra={"loss": [0.5, float("inf")], "note": None})
            self.run.append((case, update, weights, path.read_bytes(), update.state_dict()))

    def round(self, seed: int, number: int) -> str:
        """Damage something and load it."""
        chance = random.Random(f"{seed} {number}")
        case, original, its_weights, file, state_dict = chance.choice(self.run)
        if chance.random() < 0.5:
            update, weights = case.make(), case.weights()
        else:
            update, weights = copy.deepcopy((original, its_weights))
            go_on(update, weights, case.gradients(1))
        strict = chance.random() < 0.6
        path = self.folder / "damaged.safetensors"
        how = chance.choice(HOW)
        try:
            if how is changed:
                damaged = changed(state_dict, chance, [*VALUES, *ARRAYS])
                load = partial(update.load_state_dict, damaged, strict=strict)
                return f"dict {hold(case, update, weights, load, (ValueError, TypeError), '')}"
            path.unlink(missing_ok=True)  # some drives wait for the disk where a file is written over
            path.write_bytes(how(file, chance))
        except RecursionError:
            return "too deep to be made"
        load = partial(update.load, path, strict=strict, weights=chance.choice([None, weights]))
        return f"{how.__name__} {hold(case, update, weights, load, (ValueError, OSError), path.name)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, help="only this one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        if given.round is not None:
            print(fuzzer.round(given.seed, given.round))
            return
        counts: Counter[str] = Counter()
        faults: dict[Any, int] = {}
        end, number = time.monotonic() + given.seconds, 0
        while time.monotonic() < end:
            try:
                counts[fuzzer.round(given.seed, number)] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                last = traceback.extract_tb(error.__traceback__)[-1]
                kind = (type(error).__name__, last.filename, last.lineno, str(error)[:60] if isinstance(error, Fault) else "")
                if kind not in faults:
                    print(
                        f"round {number}: {type(error).__name__}: {str(error)[:300]} ({last.filename}:{last.lineno})", flush=True
                    )
                faults[kind] = faults.get(kind, 0) + 1
            number += 1
    print(
        f"{number} rounds: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}; {len(faults)} kinds of faults"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
