"""A file of named arrays and a text, in the safetensors format: written as a whole or not at all, and read with suspicion.

Files are written here, a piece of an array at a time, since the safetensors library wants all arrays in the host's memory at
once. That library checks what is read, of which nothing is copied but what is taken.
"""

from __future__ import annotations

import errno
import filecmp
import itertools
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedWriter, FileIO
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import attrs
import numpy as np

from updaters.arrays import Array, DType, as_reals
from updaters.checks import whole

if sys.platform != "win32":
    import fcntl

KEY = "updaters"
"""Under which the text stands in the header's metadata."""

PIECE = 1 << 24
"""Bytes that are on their way at a time."""

CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "F32", "complex128": "F64"}
"""What the format calls a dtype; complex arrays are pairs of reals there, with a last axis of two."""

BUFFERED = 1 << 20
"""Bytes of small arrays that are written together."""

LONGEST = 100_000_000
"""The bytes that a header may have, as the library holds it."""


@cache
def dtype_name(dtype: DType) -> str:
    """What a dtype is called, with a `>` in front where its bytes are in the other order than most machines'."""
    big = dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")
    return f"{'>' if big else ''}{dtype.name}"


@cache
def dtype_named(name: str) -> DType:
    """The dtype of a name.

    Raises:
        ValueError: there is none.
        ModuleNotFoundError: it is bfloat16, and ml_dtypes is not installed.
    """
    dtype: DType
    plain = name.removeprefix(">")
    if plain not in CODES:
        raise ValueError(f"dtype must be one of {', '.join(CODES)}, got {name!r:.60}")
    if plain == "bfloat16":
        try:
            import ml_dtypes
        except ModuleNotFoundError:
            raise ModuleNotFoundError("bfloat16 needs ml_dtypes: pip install ml_dtypes", name="ml_dtypes") from None
        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(f"{'<' if name == plain else '>'}{np.dtype(plain).str[1:]}")
    return dtype


def dtype_of(code: str) -> DType:
    """The dtype that the format calls so."""
    return dtype_named(next(name for name, its in CODES.items() if its == code))


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file, which may be there already; a link stays one."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"path must be a str or a Path, got {path!r}")
    return Path(os.path.realpath(path))


def write(path: Path, arrays: Mapping[str, Array], text: str, keep: int = 1) -> None:
    """Write a file in place of the one that is there, which stays as it is until the new one is on the disk.

    Args:
        path: where.
        arrays: the arrays by name, of NumPy or CuPy.
        text: what is to stand in the header.
        keep: how many files to keep, this one included; older ones have a number before the suffix.

    Raises:
        OSError: it cannot be written; what was there is as it was.
        ValueError: the header would be longer than the format allows.
    """
    order = sorted(arrays, key=lambda name: -_itemsize(arrays[name]))  # so that each lies at a multiple of its own
    header = _header(order, arrays, text)
    outcome = "nothing is saved, and what was there before is as it was"
    try:
        if path.exists() and not path.is_file():  # a folder, or a device, whose place a file could take
            raise FileExistsError(errno.EEXIST, "There is something that is no regular file", str(path))
        with _partial(path) as (partial, file):
            file.write(header)
            for name in order:
                for piece in _pieces(arrays[name]):
                    file.write(piece)
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


def _itemsize(array: Array) -> int:
    size: int = array.dtype.itemsize
    return size // 2 if array.dtype.kind == "c" else size


def _header(order: list[str], arrays: Mapping[str, Array], text: str) -> bytes:
    end = 0
    entries: dict[str, Any] = {"__metadata__": {KEY: text}}
    for name in order:
        array = arrays[name]
        start, end = end, end + int(array.nbytes)
        shape = [*array.shape, 2] if array.dtype.kind == "c" else [*array.shape]
        entries[name] = {"dtype": CODES[dtype_name(array.dtype).removeprefix(">")], "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > LONGEST:
        raise ValueError(
            f"a file's header has at most {LONGEST} bytes, and that of {len(arrays)} arrays would have {len(header)}"
        )
    return len(header).to_bytes(8, "little") + header


def _pieces(array: Array) -> Iterator[memoryview]:
    """The bytes of an array in C order."""
    if array.flags.c_contiguous:
        array = array.reshape(-1)
    rows = max(1, PIECE * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        piece = piece if isinstance(piece, np.ndarray) else piece.get()
        piece = np.ascontiguousarray(as_reals(piece))
        if piece.dtype.byteorder == (">" if sys.byteorder == "little" else "="):
            piece = piece.astype(piece.dtype.newbyteorder("<"))
        yield piece.reshape(-1).view(np.uint8).data


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
        file.close()
        _writing.pop((partial, get_ident()), None)


def _discard(partial: Path, file: BufferedWriter) -> None:
    with suppress(OSError, ValueError):  # closing it may be what failed
        if sys.platform == "win32":
            file.close()
        # Or it is in its place already, and another process writes the next one.
        if sys.platform == "win32" or os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):
            os.unlink(partial)
    with suppress(OSError):  # a disk that is full is still so
        file.close()


def numbered(path: Path, number: int) -> Path:
    """Where the file is kept that stood at a path so many saves ago."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path


def check_keep(keep: object) -> int:
    """How many files are kept."""
    return 1 if keep is None else whole(keep, "keep", 1)


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
            shutil.copyfileobj(old, file, PIECE)
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


@attrs.frozen
class Stored:
    """An array in a file.

    Attributes:
        code: its dtype, as the format calls it.
        shape: its shape there.
    """

    code: str
    shape: tuple[int, ...]
    _memory: mmap
    _start: int

    def view(self) -> Array:
        """The array as it lies in the file."""
        dtype = dtype_of(self.code)
        size = prod(self.shape)
        flat = np.frombuffer(self._memory, dtype, size, self._start) if size else np.empty(0, dtype)
        return flat.reshape(self.shape)


@contextmanager
def opened(path: Path) -> Iterator[tuple[str, dict[str, Stored]]]:
    """The text and the arrays of a file, which are read when they are looked at.

    Raises:
        FileNotFoundError, OSError: there is no file, or it cannot be read.
        ValueError: it is damaged, or it is none of ours.
    """
    from safetensors import SafetensorError, safe_open

    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for somebody to write to it
        raise ValueError(f"{path} is no regular file")
    while True:
        with open(path, "rb") as file:
            length = _header_length(file, path)
            try:
                with safe_open(os.fspath(path), framework="numpy") as checked:
                    text = (checked.metadata() or {}).get(KEY)
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                continue  # another one has taken its place between the two looks at it
            if text is None:
                raise ValueError(f"{path}: no updater has saved this file")
            entries = json.loads(file.read(length))
            memory = mmap(file.fileno(), 0, access=ACCESS_READ)
        arrays = {
            name: Stored(entry["dtype"], tuple(entry["shape"]), memory, 8 + length + entry["data_offsets"][0])
            for name, entry in entries.items()
            if name != "__metadata__"
        }
        yield text, arrays
        return


def _header_length(file: BinaryIO, path: Path) -> int:
    """The length of a header, or an error where it says that it is longer than its file."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST):
        raise ValueError(f"{path} is damaged, or no safetensors file: a header of {length} bytes in {size}")
    return length
