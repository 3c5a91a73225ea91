"""A file of named arrays and a text, in the safetensors format: written as a whole or not at all, and read with suspicion.

Files are written here, a piece of an array at a time, since the safetensors library wants all arrays in the host's memory at
once. They are read by that library; but not before the header is known to be one of ours, with no more arrays than its text
speaks of, since the library takes gigabytes and a minute for a header that names millions of them.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import numpy as np

from updaters.arrays import Array, as_reals
from updaters.checks import whole

if sys.platform != "win32":
    import fcntl

KEY = "updaters"
"""Under which the text stands in the header's metadata."""

PIECE = 1 << 24
"""Bytes that are on their way at a time."""

CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "F32", "complex128": "F64"}
"""What the format calls a dtype; complex arrays are pairs of reals there, with a last axis of two."""

LONGEST = 100_000_000
"""The bytes that a header may have, as the library holds it."""


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
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(path))
        with _partial(path) as file:
            file.write(header)
            for name in order:
                for piece in _pieces(arrays[name]):
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            _number(path, keep)
            if sys.platform == "win32":
                file.close()
            os.replace(_partial_path(path), path)
        _drop_beyond(path, keep)
        _sync_folder(path)
    except OSError as error:
        said = f"{error.strerror or error}; nothing is saved, and what was there before is as it was"
        raise type(error)(error.errno, said, str(path)) from error


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
        entries[name] = {"dtype": CODES[array.dtype.name], "shape": shape, "data_offsets": [start, end]}
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


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _partial(path: Path) -> Iterator[BinaryIO]:
    """The file beside a path that is to take its place; what is left of one that was not finished is written over."""
    partial = _partial_path(path)
    file = _locked(partial)
    try:
        with file:
            try:
                yield file
            except BaseException:
                with suppress(OSError):
                    os.unlink(partial)
                raise
    except BaseException:
        if sys.platform == "win32":
            with suppress(OSError):
                os.unlink(partial)
        raise


def _locked(partial: Path) -> BinaryIO:
    """The file, empty, and locked until it is closed, so that of several processes that write it each waits for the other."""
    while True:
        file = open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "wb")  # noqa: SIM115
        if sys.platform != "win32":
            with suppress(OSError):  # some network drives have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):  # or another has put it in its place meanwhile
                file.truncate(0)
                return file
        file.close()


def numbered(path: Path, number: int) -> Path:
    """Where the file is kept that stood at a path so many saves ago."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path


def check_keep(keep: object) -> int:
    """How many files are kept."""
    return 1 if keep is None else whole(keep, "keep", 1)


def _number(path: Path, keep: int) -> None:
    """Give older files their numbers; the last one stands under its own name too until it is replaced."""
    first = numbered(path, 1)
    if keep == 1 or not path.exists() or (first.exists() and first.samefile(path)):  # a save that was killed has got as far
        return
    for number in range(keep - 1, 1, -1):
        with suppress(FileNotFoundError):
            os.replace(numbered(path, number - 1), numbered(path, number))
    link = path.with_name(f".{first.name}.partial")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a drive without links
        link.write_bytes(path.read_bytes())
    os.replace(link, first)


def _drop_beyond(path: Path, keep: int) -> None:
    """Remove files that were kept when more of them were."""
    if keep > 1:
        number = keep
        while (old := numbered(path, number)).exists():
            old.unlink()
            number += 1


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
    _name: str
    _file: Any

    def read(self) -> Array:
        """The array, in memory of its own."""
        return self._file.get_tensor(self._name)


@attrs.define
class Opened:
    """A file of ours.

    Attributes:
        text: the text in its header.
        count: how many arrays the header names.
    """

    text: str
    count: int
    _path: Path
    _file: BinaryIO
    _open: ExitStack

    def arrays(self) -> dict[str, Stored]:
        """The arrays, which are read when they are asked for, until the file is closed.

        Raises:
            ValueError: they are not where the header says, or another file has taken the place of this one.
        """
        from safetensors import safe_open

        file = self._open.enter_context(safe_open(os.fspath(self._path), framework="numpy"))
        if not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
            raise ValueError("another file was saved in its place while it was being read")
        arrays = {}
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            arrays[name] = Stored(part.get_dtype(), tuple(part.get_shape()), name, file)
        return arrays


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """A file, whose header has been looked at.

    Raises:
        FileNotFoundError, OSError: there is no file, or it cannot be read.
        ValueError: it is damaged, or it is none of ours; also where that comes out within the block.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for somebody to write to it
        raise ValueError(f"{path} is no regular file")
    with open(path, "rb") as file, ExitStack() as stack:
        text, count = _read_header(file, path)
        from safetensors import SafetensorError

        try:
            yield Opened(text, count, path, file, stack)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: {error}") from error


_START = f'{{"__metadata__":{{"{KEY}":"'
_ENTRY = re.compile(
    r',"(?:[^"\\]|\\.)*+":\{"dtype":"\w++","shape":\[[\d,]*+\],"data_offsets":\[\d++,\d++\]\}', re.ASCII | re.DOTALL
)
_END = re.compile(r"\} *+\Z")


def _read_header(file: BufferedReader, path: Path) -> tuple[str, int]:
    """The text in a header and the number of its arrays, if it is written as it is here; nothing else of it is kept."""
    size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    if size < 8 or not 0 < length <= min(size - 8, LONGEST):
        raise ValueError(f"{path} is damaged, or no safetensors file: a header of {length} bytes in {size}")
    if file.peek(1)[:1] != b"{":
        raise ValueError(f"{path} is damaged, or no safetensors file: no header of JSON")
    header = file.read(length).decode("latin-1")
    if not header.startswith(_START):
        raise ValueError(f"{path}: no updater has saved this file")
    try:
        text, place = json.JSONDecoder().raw_decode(header, len(_START) - 1)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error!s:.60}") from None
    count = 0
    if header.startswith("}", place):
        place += 1
        while found := _ENTRY.match(header, place):
            place = found.end()
            count += 1
    if not (header.isascii() and _END.match(header, place)):
        raise ValueError(f"{path} is damaged: no header as updaters write it, at its byte {place}")
    return text, count
