"""What can go wrong from outside: interruptions, forks at a bad moment, full disks, damaged files, odd environments."""

import os
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tests.test_kernel_cache as cached
import tests.test_threads as threaded
import updaters as up
from tests.test_imports import UPDATE, python
from tests.test_kernel_cache import COMPILED, HIT, RULE, WEIGHT, _numba_is_awake, cache, filled, fresh, rule, update  # noqa: F401
from tests.test_threads import LARGE, PATIENCE, answer_of_fork, begin, crew_of, needs_fork, needs_numba, new_updater, numbers
from updaters.backends import threads

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

# ---- test_threads

INTERRUPT = """
import _thread, signal, sys, threading
sys.path.insert(0, {tests!r})
from tests.test_threads import Watched, crew_of

def late(*_):
    raise TimeoutError

signal.signal(signal.SIGALRM, late)
on_the_way = dict(main=_thread.interrupt_main, alarm=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM))
works, after = Watched(on_the_way=on_the_way[sys.argv[1]]), Watched()
try:
    works.run(crew_of(2))
except (KeyboardInterrupt, TimeoutError) as error:
    print(type(error).__name__, works.early)
after.run(crew_of(2))
print(after.early)
"""


@pytest.mark.parametrize(("how", "error"), [("main", "KeyboardInterrupt"), ("alarm", "TimeoutError")])
def test_an_interruption_of_any_kind_ends_a_run_when_nothing_is_written_any_more(how, error):
    program = INTERRUPT.format(tests=str(Path(threaded.__file__).parent.parent))
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == (f"{error} False\nFalse\n", "")


def test_threads_that_wait_keep_nothing_alive():
    class Load:
        pass

    crew, barrier, load = crew_of(2), threading.Barrier(2), Load()
    trace = weakref.ref(load)
    crew.run([partial(lambda barrier, load: barrier.wait(PATIENCE), barrier, load)] * 2)
    del load
    assert trace() is None


@needs_numba
def test_where_no_thread_can_be_started_the_caller_does_everything(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    expected = threaded.train_by_steps(new_updater("numpy"), 0)
    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setenv("UPDATERS_NUM_THREADS", "3")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    weights = threaded.train_by_steps(new_updater("numba"), 0)
    assert threaded.same(weights.values(), expected.values())


@needs_numba
@pytest.mark.parametrize("order", [list, reversed])
@pytest.mark.parametrize("shift", [-LARGE // 2, 0, LARGE // 2])
def test_a_gradient_in_the_weights_memory_is_read_before_it_is_written(monkeypatch, order, shift):
    class InTurn:
        size = 3

        def run(self, works):
            for work in order(works):
                work()

    monkeypatch.setattr(threads, "_crew", InTurn())
    memory = numbers(2 * LARGE, 0)
    weight, grad = (memory[LARGE // 2 + by :][:LARGE] for by in (0, shift))
    expected = weight - np.float32(0.5) * grad
    up.get_updater(up.SGD(0.5), backend="numba")("w", grad, weight)
    assert np.array_equal(weight, expected)


@needs_numba
def test_a_step_that_is_refused_changes_no_weight_of_another_kind(monkeypatch):
    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setenv("UPDATERS_NUM_THREADS", "two")
    update, weights = new_updater("numba"), {"swapped": np.ones(3, ">f4"), "large": numbers(LARGE, 0)}
    with pytest.raises(ValueError, match="UPDATERS_NUM_THREADS"):
        update.step({name: np.ones_like(weight) for name, weight in weights.items()}, weights)
    assert weights["swapped"].tolist() == [1, 1, 1]


@needs_numba
@needs_fork
def test_a_process_that_forks_while_it_compiles_has_a_child_that_can_compile(monkeypatch):
    from updaters.backends import numba

    compiled, begun = numba.compiled, threading.Event()

    def slow(*arguments):
        begun.set()
        time.sleep(0.3)
        return compiled(*arguments)

    monkeypatch.setattr(numba, "compiled", slow)
    compiling = begin(lambda: up.get_updater(rule(0.5), backend="numba")("w", np.ones(3), np.ones(3)))
    assert begun.wait(PATIENCE)
    monkeypatch.setattr(threaded, "PATIENCE", 10)
    answered = answer_of_fork(up.get_updater(rule(0.25), backend="numba"), numbers(5, 0))
    compiling.result(PATIENCE)
    assert answered == threaded.continue_training(up.get_updater(rule(0.25), backend="numpy"), numbers(5, 0))[:1] + (0,)  # noqa: RUF005


@threaded.backend
def test_a_step_takes_gradients_as_they_were_before_it(backend):
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    up.get_updater(up.SGD(0.5), backend=backend).step({"x": y, "y": x}, {"x": x, "y": y})
    assert (x.tolist(), y.tolist()) == ([-0.5, -0.5], [2.5, 4.0])


# ---- test_kernel_cache


def test_a_file_of_any_bytes_is_survived(tmp_path, filled):  # noqa: F811
    folder = cached.shutil.copytree(filled, tmp_path / "cache")
    (path,) = folder.rglob("*.py")
    path.write_bytes(b"\xff\xfe\x00")
    assert fresh(cache(folder))["weight"] == WEIGHT
    assert fresh(cache(folder))["counts"] == HIT


def update_with_bytecode():
    sys.dont_write_bytecode = False
    return update()


def test_damaged_bytecode_is_survived(tmp_path):
    fresh(cache(tmp_path), update_with_bytecode)
    for path in tmp_path.rglob("*.pyc"):
        path.write_bytes(path.read_bytes()[:60])
    assert fresh(cache(tmp_path))["weight"] == WEIGHT


def test_a_filled_folder_that_cannot_be_written_any_more_is_done_without(tmp_path, filled):  # noqa: F811
    folder = cached.shutil.copytree(filled, tmp_path / "cache", ignore=cached.shutil.ignore_patterns("__pycache__"))
    (folder / "__pycache__").write_text("in the way")
    found = fresh({"HOME": str(folder / "__pycache__"), **cache(folder)})
    assert found == {"weight": WEIGHT, "counts": COMPILED, "folder": None}


def update_on_a_full_disk():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return update()


@pytest.mark.parametrize("module_is_there", [True, False])
def test_a_full_disk_is_survived_and_no_litter_is_left(tmp_path, filled, module_is_there):  # noqa: F811
    for path in filled.glob("*.py") if module_is_there else ():
        cached.shutil.copy(path, tmp_path)
    found = fresh(cache(tmp_path), update_on_a_full_disk)
    assert (found["weight"], found["folder"]) == (WEIGHT, None)
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "Ärger"),
        ({"NUMBA_DISABLE_JIT": "1"}, "Rule"),
    ],
)
def test_an_unusual_environment_gives_the_same_numbers(tmp_path, environment, name):
    program = f"""{RULE.format(factor=1.0).replace("Rule", name)}
import warnings
warnings.simplefilter("error")
weight = np.array([np.inf, -2.0, 0.5], np.float16)
update = up.get_updater({name}(), backend="numba")
update("w", np.array([np.inf, 1.0, -1.0], np.float16), weight)
print(weight.tolist())
"""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        env={**os.environ, **cache(tmp_path / "cache"), **environment},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[nan, -2.5, 1.0]\n", "")


def test_another_processor_gets_files_of_its_own(tmp_path):
    program = f"{RULE.format(factor=1.0)}up.get_updater(Rule(), backend='numba')('w', np.ones(3), np.ones(3))"
    for environment in {}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}:
        subprocess.run([sys.executable, "-c", program], env={**os.environ, **cache(tmp_path), **environment}, check=True)
    assert len(list(tmp_path.rglob("*.nbi"))) == 2


def test_a_tilde_is_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("UPDATERS_CACHE_DIR", "~/kernels")
    assert cached.kernels.cache_folder() == Path("/home/me/kernels")


# ---- test_imports


def test_a_numba_that_is_blocked_is_one_that_is_not_installed():
    program = f"import sys; sys.modules['numba'] = None\n{UPDATE}print(json.dumps([update('auto'), error('numba')[0]]))"
    assert python(program) == [["numpy"], "ModuleNotFoundError"]
