"""What importing the package costs, which way its modules import each other, and what is missing without an extra."""

import ast
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import updaters as up

PACKAGE = Path(up.__file__).parent
MODULES = {
    ".".join(("updaters", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# A module imports from the layers above its own, and from its own part of the package.
LAYERS = [
    {"checks", "version"},
    {"state", "arrays", "formula"},
    {"protocols", "memory"},
    {"schedules", "backends"},
    {"loss_scale"},
    {"policy"},
    {"learning_rate", "momentum", "optimizers", "weight_state"},
    {"order", "transforms"},
    {"rule"},
    {"config", "given", "gradient", "measured", "overrides"},
    {"report", "transaction"},
    {"weights"},
    {"checkpoint"},
    {"updater"},
    {"get"},
    {"compat", "pictures"},
    {"updaters"},
    {"__main__"},
]
STRANGERS = [("optimizers", "backends"), ("optimizers", "arrays"), ("schedules", "arrays")]
HEAVY = {"cupy", "cupyx", "llvmlite", "matplotlib", "numba", "safetensors", "scipy", "sklearn", "torch"}


def part(module):
    """The part of the package that a module belongs to: the first name below `updaters`, or `updaters` itself."""
    return module.split(".")[1] if "." in module else module


def imported(module):
    """The modules that a module imports, anywhere in its text."""
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: None if path.name == "__init__.py" else -1]
            above = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in MODULES else source


def layer(module):
    numbers = [number for number, parts in enumerate(LAYERS) if part(module) in parts]
    assert len(numbers) == 1, f"LAYERS must say where {part(module)} stands"
    return numbers[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_one_way(module):
    ours = {name for name in imported(module) if name.split(".")[0] == "updaters"}
    assert ours <= MODULES.keys()
    assert {name for name in ours if part(name) != part(module) and layer(name) >= layer(module)} == set()
    assert {name for name in ours if (part(module), part(name)) in STRANGERS} == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_library_that_may_be_missing_is_imported_where_it_is_needed_only(module):
    allowed = {
        "updaters.backends.cupy": {"cupy"},
        "updaters.backends.halves": {"numba", "llvmlite"},
        "updaters.backends.numba": {"numba", "llvmlite"},
        "updaters.checkpoint.files": {"ml_dtypes", "safetensors"},
        "updaters.pictures": {"matplotlib"},  # for type checkers
        "updaters.pictures.figure": {"matplotlib"},
    }
    libraries = {name.split(".")[0] for name in imported(module)}
    assert libraries - sys.stdlib_module_names - {"updaters"} <= {"attrs", "numpy"} | allowed.get(module, set())


def python(program, *paths, **environment):
    """The JSON that a program prints in a new interpreter, where a warning is an error."""
    path = os.pathsep.join([*map(str, paths), str(PACKAGE.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return json.loads(done.stdout)


def test_importing_the_package_imports_nothing_heavy():
    program = "import json, sys, updaters; print(json.dumps([sorted(sys.modules), updaters.__file__]))"
    modules, file = python(program)
    assert Path(file).parent == PACKAGE
    assert {"numpy", "attrs"} <= set(modules)
    assert HEAVY & {name.split(".")[0] for name in modules} == set()


UPDATE = """
import json, sys, warnings

import numpy as np
import updaters as up

def update(backend):
    weights = {dtype: np.array([1.0, -2.0, 0.5], dtype) for dtype in ("float16", "float64", "complex64", ">f4")}
    update = up.get_updater(up.SGD(0.5), backend=backend)
    update.step({dtype: np.array([0.5, 1.0, -1.0]).astype(dtype) for dtype in weights}, weights)
    assert all(weight.real.tolist() == [0.75, -2.5, 1.0] for weight in weights.values())
    return sorted({known.backend.name for known in update.slots.values()})

def error(backend):
    try:
        update(backend)
    except Exception as error:
        return type(error).__name__, str(error)
"""

NOT_INSTALLED = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in ("numba", "llvmlite", "cupy") else self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
"""


def test_without_the_extras_all_runs_on_numpy_and_errors_say_what_to_install():
    program = f"{NOT_INSTALLED}{UPDATE}print(json.dumps([update('auto'), update('numpy'), error('numba'), error('cupy')]))"
    auto, numpy, numba, cupy = python(program)
    assert (auto, numpy) == (["numpy"], ["numpy"])
    assert numba == ["ModuleNotFoundError", "backend='numba' needs numba: pip install 'updaters[numba]'"]
    assert cupy[0] == "ModuleNotFoundError"
    assert cupy[1].startswith("backend='cupy' needs cupy: pip install 'updaters[cuda12]' or 'updaters[cuda13]'")


@pytest.mark.parametrize("error", ["ImportError", "OSError", "AttributeError"])
def test_a_broken_numba_is_one_warning_and_numpy_and_an_error_where_it_is_asked_for(tmp_path, error):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"raise {error}('Numba needs another NumPy')")
    program = f"""{UPDATE}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    names = [update("auto"), update("auto")]
print(json.dumps([names, [(one.category.__name__, str(one.message)) for one in caught], error("numba")]))
"""
    names, warned, asked = python(program, tmp_path)
    assert names == [["numpy"], ["numpy"]]
    ((category, message),) = warned
    assert category == "RuntimeWarning"
    assert "numba" in message
    assert "Numba needs another NumPy" in message
    assert asked == [error, "Numba needs another NumPy"]


def test_with_numba_installed_auto_is_numba():
    pytest.importorskip("numba", reason="numba is not installed")
    weight = np.ones(3)
    update = up.get_updater(up.SGD(0.5))
    update("w", np.ones(3), weight)
    assert update.slots["w"].backend.name == "numba"


@pytest.mark.parametrize("name", ["jax", "Numpy", "", None])
def test_an_unknown_backend_is_an_error_that_names_those_there_are(name):
    with pytest.raises(ValueError, match=f"'auto', 'numpy', 'numba' or 'cupy', got {name!r}"):
        up.get_updater(up.SGD(), backend=name)


def test_the_package_says_that_it_is_typed():
    assert resources.files("updaters").joinpath("py.typed").is_file()
