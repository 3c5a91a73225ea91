"""What the scripts share that run PyTorch case by case and store what comes out: one line of JSON for each case."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def text(cases: Sequence[dict[str, Any]], run: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]) -> str:
    """The JSON of all cases, each run with the weights and gradients of inputs.npz."""
    import torch

    with np.load(HERE / "inputs.npz") as stored:
        data = {name: stored[name] for name in stored.files}
    lines = ",\n".join(f"    {json.dumps(case | run(case, data))}" for case in cases)
    return f'{{\n  "versions": {{"torch": "{torch.__version__}"}},\n  "cases": [\n{lines}\n  ]\n}}\n'


def write_or_check(doc: str | None, file: Path, made: Callable[[], str]) -> None:
    """Write a file, or with --check end with the status 1 where it is another."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    checks = parser.parse_args().check
    if checks:
        sys.exit(int(made() != file.read_text(encoding="utf-8")))
    file.write_text(made(), encoding="utf-8")
