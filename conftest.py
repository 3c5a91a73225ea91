"""What all tests and docstring examples share."""

import os
from pathlib import Path

import numpy as np
import pytest

# Kernels compiled by tests stay in the checkout. Set before anything of ours is imported, for subprocesses too.
os.environ.setdefault("UPDATERS_CACHE_DIR", str(Path(__file__).parent / ".cache" / "kernels"))

import updaters


@pytest.fixture(autouse=True)
def _names_in_examples(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update(np=np, up=updaters)
