"""What runs a recorded formula: NumPy, numba or CuPy. Backends know no optimizer."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, Protocol

from updaters.backends.trace import Recording


class Bound(Protocol):
    """A formula bound to one weight's slots, kept from update to update."""

    def job(self, weight: Any, grad: Any, coefficients: Sequence[Any], /) -> Any | None:
        """The update, ready to run; None where the binding does not fit these arrays and a new one is needed."""


class Backend(Protocol):
    """What an updater asks of a backend. Whatever can fail or allocate happens before `run`, or in `add_up`."""

    name: str

    def slot(self, weight: Any, shape: tuple[int, ...], dtype: Any, start: float | Literal["w"], /) -> Any:
        """A new slot for a weight, filled with a number (in both parts where it is complex) or with the weight."""

    def from_host(self, array: Any, device: str, /) -> Any:
        """A slot that was kept as a NumPy array, on a device."""

    def number(self, weight: Any, start: float, /) -> Any:
        """A new float64 to keep for a weight, an array of no dimension on its device."""

    def bind(self, recording: Recording, weight: Any, grad: Any, slots: Sequence[Any], numbers: Sequence[Any], /) -> Bound:
        """Bind a formula to what is kept for a weight, compiled."""

    def run(self, jobs: Sequence[Any], /) -> None:
        """Run jobs that are ready."""

    def add_up(self, array: Any, /) -> Any:
        """The sum of a float64 array of one dimension, added in order, as a number of no dimension on its device."""


LIBRARIES = {"numpy": "numpy", "numba": "numpy", "cupy": "cupy"}
"""The array library that each backend works on."""

INSTALL = {
    "numba": "pip install 'updaters[numba]'",
    "cupy": "pip install 'updaters[cuda12]' or 'updaters[cuda13]', whichever CUDA the driver has",
}


def check(name: str) -> str:
    """The name of a backend that can be loaded here, or `"auto"`.

    Raises:
        ValueError: no backend has that name.
        ModuleNotFoundError: what it needs is not installed.
    """
    if name not in ("auto", *LIBRARIES):
        raise ValueError(f"backend must be 'auto', 'numpy', 'numba' or 'cupy', got {name!r}")
    if name in INSTALL and not _installed(name):
        raise ModuleNotFoundError(f"backend={name!r} needs {name}: {INSTALL[name]}", name=name)
    return name


@cache
def load(name: str) -> Backend:
    """The backend of that name, its library imported."""
    backend: Backend = importlib.import_module(f"updaters.backends.{name}").backend()
    return backend


@cache
def best(library: str) -> Backend:
    """The best backend for a library's arrays: for NumPy's numba, where it is installed and can be imported."""
    if library == "numpy" and _installed("numba"):
        try:
            return load("numba")
        except Exception as error:
            warnings.warn(f"numba cannot be imported, so updates run on NumPy alone: {error}", RuntimeWarning, stacklevel=2)
    return load(library)


def _installed(name: str) -> bool:
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None
