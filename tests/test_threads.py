"""Threads: many callers at once, the crew behind large updates, forks, interruptions, and what is left of them."""

import hashlib
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from functools import cache, partial

import numpy as np
import pytest

import updaters as up
from updaters.backends import threads

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
ignore_fork_warning = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
backend = pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=needs_numba)])

SMALL, LARGE = 1_000, 200_000  # elements, below and above what is worth a hand-off to other threads
PATIENCE = 60  # seconds until what hangs is ended, so that its test fails

crew_of = cache(threads.Crew)


@pytest.fixture
def crew(monkeypatch):
    """Three threads, however many cores there are."""
    crew = crew_of(3)
    monkeypatch.setattr(threads, "_crew", crew)
    return crew


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def begin(work):
    """Begin work in a thread of its own; `.result(PATIENCE)` of what this gives is what the work gives or raises."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def at_once(*works):
    """What each gives in a thread of its own, all at the same time."""
    barrier = threading.Barrier(len(works))

    def run(work):
        barrier.wait(PATIENCE)
        return work()

    return [outcome.result(PATIENCE) for outcome in [begin(partial(run, work)) for work in works]]


def numbers(size, *seed):
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


def train(update, index, weight, steps=4):
    for step in range(steps):
        update(index, numbers(weight.size, index, step), weight)


def train_by_steps(update, seed, steps=3):
    weights = {name: numbers(size, seed, size) for name, size in [("kernel", LARGE), ("bias", 7), ("gain", 70_000)]}
    for step in range(steps):
        update.step({name: numbers(weight.size, seed, step) for name, weight in weights.items()}, weights)
    return weights


def new_updater(backend):
    return up.get_updater(up.Adam(0.01), backend=backend)


def same(weights, others):
    return all(np.array_equal(weight, other) for weight, other in zip(weights, others, strict=True))


@backend
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_four_threads_update_their_own_weights_through_one_updater(crew, backend, size):
    together, alone = new_updater(backend), new_updater(backend)
    weights = [numbers(size, index) for index in range(4)]
    expected = [weight.copy() for weight in weights]
    at_once(*(partial(train, together, index, weight) for index, weight in enumerate(weights)))
    for index, weight in enumerate(expected):
        train(alone, index, weight)
    assert same(weights, expected)
    assert together == alone


@backend
def test_four_threads_step_through_updaters_of_their_own(crew, backend):
    together, alone = ([new_updater(backend) for _ in range(4)] for _ in range(2))
    results = at_once(*(partial(train_by_steps, update, seed) for seed, update in enumerate(together)))
    for seed, (update, weights) in enumerate(zip(alone, results, strict=True)):
        assert same(weights.values(), train_by_steps(update, seed).values())
    assert together == alone


@needs_numba
def test_a_step_beside_a_busy_process(crew):
    expected = train_by_steps(new_updater("numpy"), 0)
    busy = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        weights = train_by_steps(new_updater("numba"), 0)
    finally:
        busy.kill()
        busy.wait()
    assert same(weights.values(), expected.values())


@needs_numba
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_as_many_threads_as_asked_for_give_the_same_bits(monkeypatch, count):
    from updaters.backends import numba

    expected = train_by_steps(new_updater("numpy"), 0, steps=1)
    shares = []
    run_span = numba.run_span

    def watched(pieces, *rest):
        shares.append(sum(high - low for _, low, high in pieces))
        run_span(pieces, *rest)

    monkeypatch.setattr(numba, "run_span", watched)
    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setenv("UPDATERS_NUM_THREADS", str(count))
    before = threading.active_count()
    weights = train_by_steps(new_updater("numba"), 0, steps=1)
    assert same(weights.values(), expected.values())
    assert (threads.crew().size, threading.active_count() - before) == (count, count - 1)
    assert len(shares) == count
    assert max(shares) - min(shares) <= 64 * count


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", "1e3", "None"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("UPDATERS_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"UPDATERS_NUM_THREADS must be an integer of at least 1, got '{value}'"):
        threads.thread_count()


@needs_numba
def test_a_step_that_is_refused_for_its_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setenv("UPDATERS_NUM_THREADS", "two")
    update, weight = new_updater("numba"), numbers(LARGE, 0)
    with pytest.raises(ValueError, match="UPDATERS_NUM_THREADS"):
        update.step({"w": numbers(LARGE, 1)}, {"w": weight})
    assert np.array_equal(weight, numbers(LARGE, 0))
    assert update == new_updater("numba")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound to cores here")
def test_as_many_threads_as_cores_for_this_process(monkeypatch):
    monkeypatch.delenv("UPDATERS_NUM_THREADS", raising=False)
    cores = os.sched_getaffinity(0)
    try:
        assert threads.thread_count() == len(cores)
        os.sched_setaffinity(0, {min(cores)})
        assert threads.thread_count() == 1
    finally:
        os.sched_setaffinity(0, cores)


@needs_numba
@pytest.mark.parametrize("sizes", [[300_000], [1, 150_000, 0, 3, 100_000, 64], [10_000] * 30, [63, 65] * 1_000])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_spans_share_every_element_out_once(sizes, count):
    from updaters.backends.numba import spans

    jobs = [(None, [np.zeros(size, np.int8)], ()) for size in sizes]
    shared = spans(jobs, sum(sizes), count)
    for pieces in shared:
        for (_, (marks), _), low, high in pieces:
            marks[0][low:high] += 1
    assert all((marks == 1).all() for _, (marks,), _ in jobs)
    assert len(shared) <= count
    shares = [sum(high - low for _, low, high in pieces) for pieces in shared]
    assert max(shares) <= sum(sizes) / count + 64


def continue_training(update, weight):
    """One more update in a child: a digest of its results, and how many threads the child has for it."""
    train(update, 0, weight, steps=1)
    digest = hashlib.sha256(weight.tobytes() + b"".join(slot.tobytes() for slot in update.slots[0].arrays.values()))
    return digest.hexdigest(), sum(thread.name == "updaters" for thread in threading.enumerate())


def answer_by_pipe(pipe, update, weight):
    pipe.send(continue_training(update, weight))
    pipe.close()


def answer_of_fork(update, weight):
    reader, writer = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            answer_by_pipe(writer, update, weight)
        finally:
            os._exit(0)
    writer.close()
    try:
        return reader.recv() if reader.poll(PATIENCE) else "no answer"
    finally:
        reader.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def answer_of_process(method, update, weight):
    context = multiprocessing.get_context(method)
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=answer_by_pipe, args=(writer, update, weight), daemon=True)
    child.start()
    writer.close()
    try:
        return reader.recv() if reader.poll(PATIENCE) else "no answer"
    finally:
        reader.close()
        child.kill()
        child.join()


@needs_numba
@ignore_fork_warning
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answer_of_fork, marks=needs_fork, id="os.fork"),
        pytest.param(partial(answer_of_process, "fork"), marks=needs_fork, id="multiprocessing-fork"),
        pytest.param(partial(answer_of_process, "spawn"), id="multiprocessing-spawn"),
    ],
)
def test_a_child_process_updates_on_with_threads_of_its_own(monkeypatch, crew, answer):
    monkeypatch.setenv("UPDATERS_NUM_THREADS", "3")
    update, weight = new_updater("numba"), numbers(LARGE, 0)
    train(update, 0, weight)
    answered = answer(update, weight)
    # The parent's own threads are none the worse for it, and do what the child has done.
    digest, _ = continue_training(update, weight)
    assert answered == (digest, 2)


def test_threads_that_ask_at_once_get_one_crew(monkeypatch):
    made = []

    def slow(size):
        made.append(size)
        time.sleep(0.05)  # long enough for others to look as well
        return crew_of(2)

    monkeypatch.setattr(threads, "_crew", None)
    monkeypatch.setattr(threads, "Crew", slow)
    assert set(at_once(*[threads.crew] * 4)) == {crew_of(2)}
    assert len(made) == 1


class Watched:
    """Two pieces of work: `caller` ends when `helper` has begun, `helper` when the run seems to have returned."""

    def __init__(self, *, on_the_way=lambda: None, at_last=lambda: None):
        self.on_the_way, self.at_last = on_the_way, at_last
        self.begun, self.returned = threading.Event(), threading.Event()
        self.early = None

    def caller(self):
        assert self.begun.wait(PATIENCE)
        self.at_last()

    def helper(self):
        self.begun.set()
        self.returned.wait(0.1)
        self.on_the_way()
        self.returned.wait(0.1)
        self.early = self.returned.is_set()

    def run(self, crew):
        try:
            crew.run([self.caller, self.helper])
        finally:
            self.returned.set()


def interrupt():
    raise KeyboardInterrupt


def interrupt_by_signal():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.mark.parametrize(
    "works",
    [
        pytest.param({"at_last": interrupt}, id="at-work"),
        pytest.param(
            {"on_the_way": interrupt_by_signal},
            id="waiting",
            marks=pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="threads get no signals here"),
        ),
    ],
)
def test_an_interrupted_run_returns_when_nothing_is_written_any_more(works):
    crew, interrupted, next_one = crew_of(2), Watched(**works), Watched()
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(crew)
    assert interrupted.early is False
    next_one.run(crew)
    assert next_one.early is False


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_a_piece_of_work_raises_is_raised_when_all_others_are_done(failing, error):
    crew, done, barrier = crew_of(3), [], threading.Barrier(3)

    def work(number):
        barrier.wait(PATIENCE)
        if number == failing:
            raise error("on purpose")
        time.sleep(0.02)
        done.append(number)

    with pytest.raises(error, match="on purpose"):
        begin(partial(crew.run, [partial(work, number) for number in range(3)])).result(PATIENCE)
    assert sorted(done) == [number for number in range(3) if number != failing]
    failing = None
    crew.run([partial(work, number) for number in range(3)])
    assert sorted(done[2:]) == [0, 1, 2]


def test_who_finds_the_crew_at_work_does_everything_itself():
    crew, at_work, go_on = crew_of(2), threading.Barrier(3), threading.Event()

    def block():
        at_work.wait(PATIENCE)
        assert go_on.wait(PATIENCE)

    first = begin(partial(crew.run, [block, block]))
    at_work.wait(PATIENCE)
    doers = []
    second = begin(lambda: (crew.run([lambda: doers.append(threading.get_ident())] * 2), threading.get_ident()))
    _, caller = second.result(PATIENCE)
    blocked = not first.done()
    go_on.set()
    first.result(PATIENCE)
    assert blocked
    assert doers == [caller] * 2


def test_work_may_itself_ask_for_the_crew():
    crew, done = crew_of(2), []

    def ask(number):
        crew.run([partial(done.append, (number, inner)) for inner in range(2)])

    begin(partial(crew.run, [partial(ask, outer) for outer in range(2)])).result(PATIENCE)
    assert sorted(done) == [(0, 0), (0, 1), (1, 0), (1, 1)]


EXIT = """
import os, sys
from updaters.backends.threads import crew

done = []
crew().run([lambda: done.append(1)] * 3)
if hasattr(os, "fork") and os.fork() == 0:
    crew().run([lambda: done.append(1)] * 2)
    sys.exit(len(done))
print(os.waitstatus_to_exitcode(os.wait()[1]) if hasattr(os, "fork") else 5)
sys.exit(len(done))
"""


def test_the_interpreter_leaves_cleanly_and_so_does_a_forked_child():
    options = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", EXIT],
        env={**os.environ, "UPDATERS_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("5\n", "", 3)
