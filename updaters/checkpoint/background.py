"""Files that are written while the run goes on, whose errors are told sooner or later."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Thread


class Background:
    """One file that is being written.

    The interpreter does not end before it is. Where it could not be written and nobody has asked, that is printed once its
    owner is gone.
    """

    def __init__(self, owner: object, path: Path, write: Callable[[], None]) -> None:
        self.path = path
        self._failed: list[BaseException] = []
        self._thread = Thread(target=_run, args=(write, self._failed), name=f"saving {path.name}")
        self._finalizer = weakref.finalize(owner, _tell, self._thread, self._failed)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it is written, or cannot be."""
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Wait until it is written.

        Raises:
            OSError: it could not be; this is said once.
        """
        self._thread.join()
        self._finalizer.detach()
        if self._failed:
            raise self._failed.pop()


def _run(write: Callable[[], None], failed: list[BaseException]) -> None:
    try:
        write()
    except BaseException as error:
        failed.append(error)


def _tell(thread: Thread, failed: list[BaseException]) -> None:
    thread.join()
    for error in failed:
        sys.excepthook(type(error), error, error.__traceback__)
