"""Kernels on disk: found again, never stale, and never in the way. Each update runs in a process of its own."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import updaters as up

numba = pytest.importorskip("numba", reason="numba is not installed")
kernels = pytest.importorskip("updaters.backends.numba")
pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes cannot fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # the children use no thread
]

WEIGHT = [0.75, -2.5, 1.0]
HIT, COMPILED = [1, 0], [0, 1]

RULE = """
import attrs
import numpy as np
import updaters as up
from updaters.optimizers.fields import rate

@attrs.frozen(repr=False)
class Rule(up.Optimizer):
    lr: object = rate(0.5)

    def coefficients(self, state, t):
        return {{"lr": self.at(state).lr}}

    @staticmethod
    def formula(w, g, lr):
        return w - {factor} * (lr * g)
"""


def rule(factor=1.0):
    """A rule whose source is in no file, defined anew at each call as by a notebook's cell."""
    cell = {"__name__": "__main__"}
    exec(compile(RULE.format(factor=factor), "<cell>", "exec"), cell)
    return cell["Rule"]()


def update(optimizer=None, dtype="float64"):
    """The weight after one update, the hits and misses of the cache that its kernel came from, and where that is."""
    weight = np.array([1.0, -2.0, 0.5], dtype)
    updater = up.get_updater(optimizer or rule(), backend="numba")
    updater("w", np.array([0.5, 1.0, -1.0], dtype), weight)
    stats = updater.slots["w"].bound.kernel.stats
    counts = [sum(counter.values()) for counter in (stats.cache_hits, stats.cache_misses)]
    return {"weight": weight.tolist(), "counts": counts, "folder": stats.cache_path}


def update_by_rules(*factors):
    return [update(rule(factor)) for factor in factors]


def update_homeless():
    import pwd

    def unknown(user):
        raise KeyError(user)

    pwd.getpwuid = unknown
    return update()


def update_with_other_halves():
    text = kernels._halves_text()
    kernels._halves_text = lambda: text + "# another conversion\n"
    return update(dtype="float16")


def update_together(barrier):
    replace = os.replace

    def replace_together(*paths, **options):
        if str(paths[1]).endswith(".py"):
            barrier.wait(30)
        replace(*paths, **options)

    os.replace = replace_together
    return update()


def serve(pipe, environment, function, arguments):
    warnings.simplefilter("error")
    numba.config.CACHE_DIR = ""
    for name in [name for name in sys.modules if name.startswith("updaters_")]:
        del sys.modules[name]  # a kernel that this process's parent has compiled
    for name in ("UPDATERS_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        pipe.send(function(*arguments))
    except BaseException as error:
        pipe.send(error)


def start(environment, function, *arguments):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(theirs, environment, function, arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def result(process, pipe):
    try:
        if not pipe.poll(60):
            process.kill()  # it hangs
        value = pipe.recv()
    finally:
        pipe.close()
        process.join()
        process.close()
    if isinstance(value, BaseException):
        raise value
    return value


def fresh(environment, function=update, *arguments):
    """What a function gives in a process that has none of these kernels yet, and where a warning is an error."""
    return result(*start(environment, function, *arguments))


def cache(folder):
    return {"UPDATERS_CACHE_DIR": str(folder)}


@pytest.fixture(autouse=True)
def _nothing_is_compiled():
    """Processes inherit what this one has compiled for other tests."""
    kernels.compiled.cache_clear()
    for name in [name for name in sys.modules if name.startswith("updaters_")]:
        del sys.modules[name]


@pytest.fixture(scope="module", autouse=True)
def _numba_is_awake():
    numba.njit("float64(float64)")(lambda x: x)  # which takes long, and which all processes to come inherit


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with one kernel in it."""
    folder = tmp_path_factory.mktemp("filled")
    found = fresh(cache(folder))
    assert (found["weight"], found["counts"]) == (WEIGHT, COMPILED)
    return folder


def test_the_next_process_finds_the_kernel(filled):
    found = fresh(cache(filled))
    assert (found["weight"], found["counts"]) == (WEIGHT, HIT)


@pytest.mark.skipif(not kernels.has_float16(), reason="this processor does not convert float16")
def test_the_next_process_finds_the_kernel_of_halves_unless_their_conversion_changed(tmp_path):
    cases = [(update, (None, "float16"), COMPILED), (update, (None, "float16"), HIT), (update_with_other_halves, (), COMPILED)]
    for function, arguments, counts in cases:
        found = fresh(cache(tmp_path), function, *arguments)
        assert (found["weight"], found["counts"]) == (WEIGHT, counts)


def test_kernels_are_kept_in_the_chosen_folder_and_nowhere_else(tmp_path):
    home, chosen = tmp_path / "home", tmp_path / "not" / "there" / "yet"
    home.mkdir()
    fresh({"HOME": str(home), **cache(chosen)})
    assert {path.suffix for path in chosen.rglob("*") if path.is_file()} >= {".py", ".nbi", ".nbc"}
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"UPDATERS_CACHE_DIR": "/chosen", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/chosen"),
        ({"UPDATERS_CACHE_DIR": "", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/cache/updaters"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/updaters"),
        ({"HOME": "/home/me"}, "/home/me/.cache/updaters"),
    ],
)
def test_the_folder_is_the_chosen_one_or_the_users_own(monkeypatch, environment, folder):
    for name in ("UPDATERS_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert kernels.cache_folder() == Path(folder)


@pytest.mark.parametrize(
    ("environment", "function"),
    [
        pytest.param({"UPDATERS_CACHE_DIR": "{file}/cache"}, update, id="folder-below-a-file"),
        pytest.param({"UPDATERS_CACHE_DIR": "{file}"}, update, id="folder-is-a-file"),
        pytest.param({"HOME": "{file}"}, update, id="home-below-a-file"),
        pytest.param({}, update_homeless, id="no-home"),
        pytest.param(
            {"UPDATERS_CACHE_DIR": "/proc/self/updaters"},
            update,
            id="proc",
            marks=pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here"),
        ),
    ],
)
def test_a_folder_that_cannot_be_is_done_without(tmp_path, environment, function):
    file = tmp_path / "file"
    file.write_text("not a folder")
    found = fresh({name: value.format(file=file) for name, value in environment.items()}, function)
    assert found == {"weight": WEIGHT, "counts": COMPILED, "folder": None}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="emptied"),
        pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
        pytest.param(lambda data: b"neither Python nor pickle\n", id="garbage"),
    ],
)
@pytest.mark.parametrize("suffix", [".py", ".nbi", ".nbc"])
def test_damaged_files_are_survived_and_replaced(tmp_path, filled, suffix, damage):
    folder = shutil.copytree(filled, tmp_path / "cache")
    (path,) = folder.rglob(f"*{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert fresh(cache(folder))["weight"] == WEIGHT
    found = fresh(cache(folder))
    assert (found["weight"], found["counts"]) == (WEIGHT, HIT)


def test_processes_that_race_on_an_empty_cache_all_get_right_numbers(tmp_path):
    barrier = multiprocessing.get_context("fork").Barrier(2)
    racing = [start(cache(tmp_path), update_together, barrier) for _ in range(2)]
    for found in [result(*process) for process in racing]:
        assert found["weight"] == WEIGHT
        assert found["folder"] is not None
    assert fresh(cache(tmp_path))["counts"] == HIT
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


def test_a_changed_formula_gets_a_kernel_of_its_own_and_the_old_one_stays(tmp_path):
    half, quarter = [0.875, -2.25, 0.75], [0.9375, -2.125, 0.625]
    for factors, expected in [
        ((0.5,), [(half, COMPILED)]),
        ((0.25,), [(quarter, COMPILED)]),
        ((0.5, 0.25, 0.5), [(half, HIT), (quarter, HIT), (half, HIT)]),
    ]:
        results = fresh(cache(tmp_path), update_by_rules, *factors)
        assert [(found["weight"], found["counts"]) for found in results] == expected


def test_a_rule_of_python_c_finds_its_kernel_too(tmp_path, filled):
    program = f"""{RULE.format(factor=1.0)}
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_kernel_cache import update
print(json.dumps(update(Rule())))
"""
    environment = {**os.environ, **cache(filled), "NUMBA_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    found = json.loads(done.stdout)
    assert (found["weight"], found["counts"]) == (WEIGHT, HIT)
