"""Threads of our own, that run spans of work side by side with the caller.

Numba's own layers would not do: one dies in a forked child, another when two Python threads enter it, and a
third waits 8 ms per call beside a busy process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Work = Callable[[], object]


def thread_count() -> int:
    """The threads to use: `UPDATERS_NUM_THREADS`, or as many as there are cores for this process."""
    wanted = os.environ.get("UPDATERS_NUM_THREADS")
    if wanted is not None:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise ValueError(f"UPDATERS_NUM_THREADS must be an integer of at least 1, got {wanted!r}")
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Order:
    """A piece of work on offer. Whoever takes it first does it, a thread of the crew or the caller itself."""

    def __init__(self, work: Work) -> None:
        self._work: Work | None = work
        self._takers: dict[str, object] = {}
        self._failure: BaseException | None = None
        self._finished = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def take(self, who: object) -> bool:
        """Whether the order is `who`'s; asking twice answers the same, so an interruption in between does no harm."""
        return self._takers.setdefault("first", who) is who

    def carry_out(self, who: object) -> None:
        """Do the work, unless another has taken it."""
        if not self.take(who):
            return
        try:
            assert self._work is not None
            self._work()
        except BaseException as error:
            self._failure = error
        self._work = None  # its arrays are not kept alive by a thread that waits
        self._finished = True
        self._gate.release()

    def settle(self, who: object) -> None:
        """Take the order back, or wait for the thread that has it. May be interrupted, and then called again."""
        if self.take(who):
            self._work = None
        else:
            while not self._finished:
                self._gate.acquire()

    def check(self) -> None:
        """Raise what the work raised."""
        if self._failure is not None:
            raise self._failure


class Crew:
    """The caller and at most `size - 1` threads that wait for work. Several callers may share it."""

    def __init__(self, size: int) -> None:
        self._queues: list[SimpleQueue[Order]] = []
        for _ in range(size - 1):
            queue: SimpleQueue[Order] = SimpleQueue()
            try:
                threading.Thread(target=_serve, args=(queue,), name="updaters", daemon=True).start()
            except RuntimeError:  # there are no more threads to be had, or the interpreter is on its way out
                break
            self._queues.append(queue)
        self.size = 1 + len(self._queues)

    def run(self, works: Sequence[Work]) -> None:
        """Run pieces of work side by side and return when all are done.

        The caller does the first, and what no thread has begun by then.
        """
        if not works:
            return
        me = object()
        orders = [Order(work) for work in works[1:]]
        try:
            for queue, order in zip(self._queues, orders, strict=False):
                queue.put(order)
            works[0]()
            for order in orders:
                order.carry_out(me)
        finally:
            # Even where the caller is interrupted, nothing is written any more once this returns.
            interruption: BaseException | None = None
            while True:
                try:
                    for order in orders:
                        order.settle(me)
                    break
                except BaseException as error:
                    interruption = error
        if interruption is not None:
            raise interruption
        for order in orders:
            order.check()


def _serve(queue: SimpleQueue[Order]) -> None:
    me = object()
    while True:
        queue.get().carry_out(me)


_crew: Crew | None = None
_making = threading.Lock()


def crew() -> Crew:
    """The process's crew, made when it is first wanted."""
    global _crew
    if _crew is None:
        with _making:
            if _crew is None:
                _crew = Crew(thread_count())
    return _crew


def _forget() -> None:
    """In a forked child the threads are gone, and a lock may be held by one that is."""
    global _crew, _making
    _crew, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
