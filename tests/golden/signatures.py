"""Write down the arguments of PyTorch's and Keras's optimizers, for tests to compare with.

    python tests/golden/signatures.py torch            writes torch_signatures.json next to this file
    python tests/golden/signatures.py keras --check    exit status 1 where the file says something else

Each needs its system installed. A signature is a list of names, kinds and what they are unless given, without PyTorch's `params`
and Keras's `**kwargs`.
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
KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def signature(function: Any) -> list[list[Any]]:
    """Name, kind and value of each parameter."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.kind in KINDS and one.name != "params"]
    return [[one.name, one.kind.name, list(one.default) if type(one.default) is tuple else one.default] for one in parameters]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=list(MODULES))
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    module = importlib.import_module(MODULES[chosen.system])
    rules = sorted({case["rule"] for case in json.loads((HERE / f"{chosen.system}.json").read_text())["cases"]})
    rows = ",\n".join(f"  {json.dumps(rule)}: {json.dumps(signature(getattr(module, rule)))}" for rule in rules)
    text = f"{{\n{rows}\n}}\n"
    file = HERE / f"{chosen.system}_signatures.json"
    if not chosen.check:
        file.write_text(text, encoding="utf-8")
    return int(text != file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
