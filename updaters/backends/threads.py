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


class Crew:
    """The caller and `size - 1` threads that wait for work."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._busy = threading.Lock()
        self._orders: list[SimpleQueue[Work]] = [SimpleQueue() for _ in range(size - 1)]
        self._reports: SimpleQueue[BaseException | None] = SimpleQueue()
        for orders in self._orders:
            threading.Thread(target=self._serve, args=(orders,), name="updaters", daemon=True).start()

    def _serve(self, orders: SimpleQueue[Work]) -> None:
        while True:
            work = orders.get()
            try:
                work()
                self._reports.put(None)
            except BaseException as error:
                self._reports.put(error)

    def run(self, works: Sequence[Work]) -> None:
        """Run at most `size` pieces of work at once and return when all are done.

        While the crew is at work for another thread, the caller does everything itself.
        """
        if len(works) < 2 or not self._busy.acquire(blocking=False):
            for work in works:
                work()
            return
        try:
            first, *others = works
            for orders, work in zip(self._orders, others, strict=False):
                orders.put(work)
            failures: list[BaseException | None] = []
            try:
                first()
            finally:
                # Even where the caller is interrupted, nothing is written any more once this returns.
                failures = [self._wait() for _ in others]
            for failure in failures:
                if failure is not None:
                    raise failure
        finally:
            self._busy.release()

    def _wait(self) -> BaseException | None:
        interruption: BaseException | None = None
        while True:
            try:
                return self._reports.get() or interruption
            except KeyboardInterrupt as error:
                interruption = error


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
