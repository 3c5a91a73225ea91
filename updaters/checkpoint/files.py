"""Named arrays and a text in one file, in the safetensors format: written a piece at a time, and read with suspicion.

Files are written here, since the safetensors library wants all arrays in the host's memory at once. It checks what is read; but
not before the header is known to be one of ours, with no more arrays than its text speaks of, since it takes gigabytes and a
minute for a header that names millions of them. Of what it finds in order nothing is copied but what is taken.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import attrs
import numpy as np

from updaters.arrays import Array, DType, as_reals
from updaters.checkpoint.replacing import replacing

KEY = "updaters"
"""Under which the text stands in the header's metadata."""

PIECE = 1 << 22
"""Bytes that are on their way at a time."""

CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "F32", "complex128": "F64"}
"""What the format calls a dtype; complex arrays are pairs of reals there, with a last axis of two."""

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


@cache
def dtype_of(code: str) -> DType:
    """The dtype that the format calls so."""
    return dtype_named(next(name for name, its in CODES.items() if its == code))


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
    with replacing(path, keep) as file:
        file.write(header)
        for name in order:
            for piece in _pieces(arrays[name]):
                file.write(piece)


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
    rows = PIECE * len(array) // max(1, array.nbytes)
    if not rows:
        for row in array:
            yield from _pieces(row)
        return
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        piece = piece if isinstance(piece, np.ndarray) else piece.get()
        piece = np.ascontiguousarray(as_reals(piece))
        if piece.dtype.byteorder == (">" if sys.byteorder == "little" else "="):
            piece = piece.astype(piece.dtype.newbyteorder("<"))
        yield piece.reshape(-1).view(np.uint8).data


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


T = TypeVar("T")


@contextmanager
def opened(path: Path, read: Callable[[str, int], T]) -> Iterator[tuple[T, dict[str, Stored]]]:
    """What a file says, and its arrays, which are read when they are looked at.

    Args:
        path: where.
        read: what is made of the text in the header. It is given the number of arrays too, for which the library comes after it.

    Raises:
        FileNotFoundError, OSError: there is no file, or it cannot be read.
        ValueError: it is damaged, or it is none of ours.
    """
    while True:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for somebody to write to it
            raise ValueError(f"{path} is no regular file")
        with open(path, "rb") as file:
            header = _header_of(file, path)
            text, count = _read_header(header, path)
            try:
                said = read(text, count)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}: {error!s:.500}") from None
            _check_layout(path)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                continue  # another one has taken its place meanwhile, and that is the one that was checked
            memory, start = mmap(file.fileno(), 0, access=ACCESS_READ), file.tell()
        entries = json.loads(header)
        arrays = {
            name: Stored(entry["dtype"], tuple(entry["shape"]), memory, start + entry["data_offsets"][0])
            for name, entry in entries.items()
            if name != "__metadata__"
        }
        yield said, arrays
        return


def _check_layout(path: Path) -> None:
    """Raise where arrays do not lie one after the other, or are not as long as their shapes say."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


_START = f'{{"__metadata__":{{"{KEY}":"'
_ENTRY = re.compile(r',"(?:[^"\\]|\\.)*+":\{"dtype":"\w++","shape":\[[0-9,]*+\],"data_offsets":\[[0-9]++,[0-9]++\]\}', re.DOTALL)
_END = re.compile(r"\} *+\Z")


def _header_of(file: BinaryIO, path: Path) -> str:
    """The header of a file, unless it is longer than the file, or than any is."""
    size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    if size < 8 or not 0 < length <= min(size - 8, LONGEST):
        raise ValueError(f"{path} is damaged, or no safetensors file: a header of {length} bytes in {size}")
    if file.read(1) != b"{":
        raise ValueError(f"{path} is damaged, or no safetensors file: no header of JSON")
    try:
        return "{" + file.read(length - 1).decode("ascii")  # others would take four bytes for each
    except UnicodeDecodeError:
        raise ValueError(f"{path}: no updater has saved this file") from None


def _read_header(header: str, path: Path) -> tuple[str, int]:
    """The text in a header and the number of its arrays, if it is written as here and by the library; nothing else is kept."""
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
    if not _END.match(header, place):
        raise ValueError(f"{path} is damaged: no header as updaters write it, at character {place}")
    return text, count
