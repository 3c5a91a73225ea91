"""Write down the arguments of PyTorch's and Keras's optimizers and schedules, for tests to compare with.

    python tests/golden/signatures.py torch            writes torch_signatures.json and torch_schedule_signatures.json here
    python tests/golden/signatures.py keras --check    exit status 1 where the files say something else

Each needs its system installed. A signature is a list of names, kinds and what they are unless given, without PyTorch's `params`,
the `optimizer` of its schedules, and Keras's `**kwargs`. In the files, arguments that must be given end with their kind;
`schedule_signatures` reads them.
"""

import argparse
import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = {"torch": "torch.optim", "keras": "keras.optimizers"}
SCHEDULES = {"torch": "torch.optim.lr_scheduler", "keras": "keras.optimizers.schedules"}
KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def signature(function: Any) -> list[list[Any]]:
    """Name, kind and value of each parameter."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.kind in KINDS and one.name != "params"]
    return [[one.name, one.kind.name, list(one.default) if type(one.default) is tuple else one.default] for one in parameters]


def schedule_signatures(system: str) -> dict[str, list[list[Any]]]:
    """By name: what `signature` gives for each schedule of a system, without the optimizer."""
    stored = json.loads((HERE / f"{system}_schedule_signatures.json").read_text(encoding="utf-8"))
    required = inspect.Parameter.empty
    return {name: [row if len(row) == 3 else [*row, required] for row in rows] for name, rows in stored.items()}


def text(module: str, names: set[str], without: str = "") -> str:
    """The JSON, with one signature in each line."""
    found = {name: signature(getattr(importlib.import_module(module), name)) for name in sorted(names)}
    rows = {
        name: [row[:2] if row[2] is inspect.Parameter.empty else row for row in rows if row[0] != without]
        for name, rows in found.items()
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    return f"{{\n{lines}\n}}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=list(MODULES))
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")

    def named(file: str, key: str) -> set[str]:
        return {case[key] for case in json.loads((HERE / f"{chosen.system}{file}.json").read_text(encoding="utf-8"))["cases"]}

    files = {
        HERE / f"{chosen.system}_signatures.json": text(MODULES[chosen.system], named("", "rule")),
        HERE / f"{chosen.system}_schedule_signatures.json": text(
            SCHEDULES[chosen.system], named("_schedules", "scheduler"), without="optimizer"
        ),
    }
    if not chosen.check:
        for file, content in files.items():
            file.write_text(content, encoding="utf-8")
    return int(any(content != file.read_text(encoding="utf-8") for file, content in files.items()))


if __name__ == "__main__":
    sys.exit(main())
