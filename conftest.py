"""What all tests and docstring examples share."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

# Kernels compiled by tests stay in the checkout. Set before anything of ours is imported, for subprocesses too.
os.environ.setdefault("UPDATERS_CACHE_DIR", str(Path(__file__).parent / ".cache" / "kernels"))

import updaters

# Modules whose library is not there cannot be searched for examples.
NEEDS = {
    "cupy": ["backends/cupy.py"],
    "matplotlib": ["pictures/figure.py"],
    "numba": ["backends/numba.py", "backends/halves.py"],
}
collect_ignore = [
    f"updaters/{file}" for library, files in NEEDS.items() if importlib.util.find_spec(library) is None for file in files
]


@pytest.fixture(autouse=True)
def _names_in_examples(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update(np=np, up=updaters)


@pytest.fixture(autouse=True)
def _files_of_examples(request: pytest.FixtureRequest) -> None:
    """Examples write files where nobody keeps any."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
