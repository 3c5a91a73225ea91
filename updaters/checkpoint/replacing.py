"""A file that takes the place of another as a whole or not at all, whatever happens, with the older ones beside it."""

from __future__ import annotations

import errno
import filecmp
import itertools
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from threading import get_ident
from weakref import WeakValueDictionary

from updaters.checks import whole

if sys.platform != "win32":
    import fcntl

BUFFERED = 1 << 20
"""Bytes of small pieces that are written together."""


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file, which may be there already; a link stays one."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"path must be a str or a Path, got {path!r}")
    return Path(os.path.realpath(path))


def check_keep(keep: object) -> int:
    """How many files are kept."""
    return 1 if keep is None else whole(keep, "keep", 1)


def numbered(path: Path, number: int) -> Path:
    """Where the file is kept that stood at a path so many saves ago."""
    stem, suffix = (path.name, "") if path.suffix[1:].isdecimal() else (path.stem, path.suffix)
    return path.with_name(f"{stem}.{number}{suffix}") if number else path


@contextmanager
def replacing(path: Path, keep: int) -> Iterator[BufferedWriter]:
    """A file to write, which takes the place of the one at a path once it is on the disk; that one stays as it is until then.

    Args:
        path: where.
        keep: how many files to keep, this one included; older ones have a number before the suffix.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    outcome = "nothing is saved, and what was there before is as it was"
    try:
        if path.exists() and not path.is_file():  # a folder, or a device, whose place a file could take
            raise FileExistsError(errno.EEXIST, "There is something that is no regular file", str(path))
        with _partial(path) as (partial, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            _number(path, keep)
            if sys.platform == "win32":
                file.close()
            os.replace(partial, path)
            outcome = "it is saved, but older files may be left"
        _drop_beyond(path, keep)
        _sync_folder(path)
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror or error}; {outcome}", str(path)) from error


_writing: WeakValueDictionary[tuple[Path, int], BufferedWriter] = WeakValueDictionary()
"""The files that are being written, by path and thread."""


def _forget() -> None:
    """Close, in a process that was forked off, what goes on being written where it came from; or it would stay locked."""
    for file in list(_writing.values()):
        file.raw.close()  # not what is on its way, which is the other process's to write
    _writing.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def _partial(path: Path) -> Iterator[tuple[Path, BufferedWriter]]:
    """The file beside a path that is to take its place; what is left of one that was not finished is written over."""
    partial = path.with_name(f".{path.name}.partial")
    # The handler of a signal may save where its thread was saving, and would wait for itself.
    file = None if (partial, get_ident()) in _writing else _locked(partial)
    try:
        if file is None:
            partial = path.with_name(f".{path.name}.{os.urandom(8).hex()}.partial")
            file = _created(partial)
        file.truncate(0)
        if sys.platform != "win32":
            with suppress(OSError):  # there is none before, or the drive has no permissions
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRUSR | stat.S_IWUSR)
        yield partial, file
        _unlock(file)
        file.close()
    except BaseException:
        if file is not None:
            _discard(partial, file)
        raise
    finally:
        _writing.pop((partial, get_ident()), None)


def _created(partial: Path) -> BufferedWriter:
    """The file, as it is if it is there."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # others may leave links in a folder that all write to
    file = _writing[partial, get_ident()] = BufferedWriter(FileIO(os.open(partial, flags, 0o666), "wb"), BUFFERED)
    return file


def _locked(partial: Path) -> BufferedWriter | None:
    """The file, locked until it is closed, so that of several processes that write it each waits for the other.

    None where there are no locks, as on some network drives.
    """
    if sys.platform == "win32":
        return None
    while True:
        file = _created(partial)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            _discard(partial, file)
            _writing.pop((partial, get_ident()), None)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):  # or another has put it in its place meanwhile
                return file
        _unlock(file)
        file.close()
        _writing.pop((partial, get_ident()), None)


def _unlock(file: BufferedWriter) -> None:
    """Give a lock back, which closing does not where a process was forked off before it could know of the file."""
    if sys.platform != "win32":
        with suppress(OSError, ValueError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _discard(partial: Path, file: BufferedWriter) -> None:
    with suppress(OSError, ValueError):  # closing it may be what failed
        if sys.platform == "win32":
            file.close()
        # Or it is in its place already, and another process writes the next one.
        if sys.platform == "win32" or os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):
            os.unlink(partial)
    _unlock(file)
    with suppress(OSError):  # a disk that is full is still so
        file.close()


def _number(path: Path, keep: int) -> None:
    """Give older files their numbers; the last one stands under its own name too until it is replaced.

    The oldest gets a number more than are kept, for which `_drop_beyond` comes when the new one is in its place; so that nothing
    is lost to a kill.
    """
    first = numbered(path, 1)
    if keep == 1 or not path.exists() or _is_same(path, first):  # a save that was killed has got as far
        return
    free = next(number for number in itertools.count(1) if not numbered(path, number).exists())
    for number in range(free, 1, -1):
        os.replace(numbered(path, number - 1), numbered(path, number))
    try:
        os.link(path, first)
    except OSError:  # a drive without links
        with _partial(first) as (partial, file), open(path, "rb") as old:
            shutil.copyfileobj(old, file, BUFFERED)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()
            status = os.stat(path)
            os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.replace(partial, first)


def _is_same(path: Path, other: Path) -> bool:
    """Whether two files are one, or one is a copy of the other."""
    try:
        mine, its = os.stat(path), os.stat(other)
    except FileNotFoundError:
        return False
    times = mine.st_mtime_ns == its.st_mtime_ns
    return os.path.samestat(mine, its) or (times and filecmp.cmp(path, other, shallow=False))


def _drop_beyond(path: Path, keep: int) -> None:
    """Remove files that are older than what is kept."""
    if keep > 1:
        with suppress(FileNotFoundError):
            for number in itertools.count(keep):
                os.unlink(numbered(path, number))


def _sync_folder(path: Path) -> None:
    """Have the disk know the file by its name."""
    if sys.platform != "win32":
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
