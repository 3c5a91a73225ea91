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
        self._asked = weakref.finalize(owner, _tell, self._failed)
        self._thread = Thread(target=_run, args=(write, self._failed, self._asked), name=f"saving {path.name}")
        try:
            self._thread.start()
        except BaseException:
            self._asked.detach()
            raise

    @property
    def done(self) -> bool:
        """Whether it is written, or cannot be."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it is written, or cannot be."""
        self._thread.join()

    def finish(self) -> None:
        """Wait until it is written.

        Raises:
            OSError: it could not be; this is said once.
        """
        self.wait()
        self._asked.detach()
        error = _taken(self._failed)
        if error is not None:
            raise error


def _run(write: Callable[[], None], failed: list[BaseException], asked: weakref.finalize[..., object]) -> None:
    try:
        write()
    except BaseException as error:
        failed.append(error)
    if not asked.alive:
        _tell(failed)


def _tell(failed: list[BaseException]) -> None:
    """Print what nobody will ask for. A garbage collection may come here, in any thread: nothing is waited for."""
    error = _taken(failed)
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)


def _taken(failed: list[BaseException]) -> BaseException | None:
    """The error, for one of several threads that ask."""
    try:
        return failed.pop()
    except IndexError:
        return None
