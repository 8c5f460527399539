"""What a GGUF file says of itself before its weights begin: its facts, and the shapes of its tensors.

Read by hand: the gguf package makes objects of each of a vocabulary's words (docs/decisions/013). Files come from
anywhere, so nothing in one decides how much is read or kept.
"""

import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from reconciler.runtimes.ggml_types import BLOCKS

MOST_HEADER = 128 * 1024 * 1024
"""Bytes before the weights; the largest vocabularies take about 12 MiB."""
MOST_FACTS = 65_536
MOST_TENSORS = 131_072
LONGEST_KEY = 65_535
"""Bytes, as GGUF's specification has it."""
LONGEST_TEXT = 1024 * 1024
"""Bytes of a text that is kept; chat templates take some 10 KiB."""
MOST_NUMBERS = 4096
"""Numbers of a list that is kept, such as one for each layer."""
MOST_KEPT = 2 * 1024 * 1024
"""Bytes of all that is kept, as it stands in the file; what comes after that is passed by."""
MOST_DIMENSIONS = 4
CHUNK = 1024 * 1024
MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
"""Of the weights, where the file does not tell."""
_TEXT, _LIST = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_NUMBERS: Mapping[int, struct.Struct] = {
    number: struct.Struct(f"<{form}") for number, form in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
"""How each type of number is written."""
_UNLIKELY = "no model's header is like that; fetch the file again"

Number = bool | int | float
Fact = Number | str | tuple[Number, ...]


class HeaderError(Exception):
    """A file is no GGUF that could be loaded; the text says why and what to do, to be read behind the file's name."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself, and how large it should be."""

    facts: Mapping[str, Fact]
    """Its metadata, without long lists and lists of texts."""
    weights: Mapping[int, int]
    """Parameters by the type of the tensors that hold them (ggml's number)."""
    size: int
    """Bytes of the file."""
    least_size: int
    """Bytes that it must have to hold its tensors."""


def read_header(path: Path) -> Header:
    """The header of a file. Raises HeaderError, and OSError where it cannot be read."""
    # A pipe that bears the name of a model must not be waited for.
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise HeaderError("it is no ordinary file; put a GGUF file in its place")
        return _Reader(file.read, found.st_size).header()


class _Reader:
    """The bytes of a file from its beginning, fetched as they are needed. All it does may raise HeaderError."""

    def __init__(self, fetch: Callable[[int], bytes | None], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._data = bytearray()
        self._at = 0
        self._room = MOST_KEPT

    def header(self) -> Header:
        """The whole header."""
        self._check_magic()
        tensors, count = self._count(_U64, MOST_TENSORS), self._count(_U64, MOST_FACTS)
        facts = {}
        for _ in range(count):
            key, value = self._text(LONGEST_KEY), self._value(self._count(_U32))
            if key is not None and value is not None and self._room > 0:
                facts[key] = value
        weights, behind = self._tensors(tensors)
        self._need(self._at)
        alignment = facts.get("general.alignment", ALIGNMENT)
        step = alignment if isinstance(alignment, int) and alignment > 0 else ALIGNMENT
        begin = -(-self._at // step) * step
        return Header(facts, weights, self._size, begin + behind if behind else self._at)

    def _check_magic(self) -> None:
        self._need(4)
        if self._data[:4] != MAGIC:
            raise HeaderError("it is no GGUF file; fetch it again, or make one with llama.cpp's convert_hf_to_gguf.py")
        self._at = 4
        version = self._count(_U32)
        if version not in VERSIONS:
            raise HeaderError(f"it is of GGUF version {version}, which is not read; fetch a newer build of the model")

    def _tensors(self, count: int) -> tuple[Mapping[int, int], int]:
        """Parameters by type, and the bytes of weights that the tensors reach up to."""
        weights: Counter[int] = Counter()
        behind = 0
        for _ in range(count):
            self._text(0)
            numbers = prod(self._count(_U64) for _ in range(self._count(_U32, MOST_DIMENSIONS)))
            kind, offset = self._count(_U32), self._count(_U64)
            weights[kind] += numbers
            _, of_block, size = BLOCKS.get(kind, ("", 1, 0))
            behind = max(behind, offset + numbers // of_block * size)
        return weights, behind

    # -- values

    def _value(self, kind: int) -> Fact | None:
        """The next value; None for one that is not kept."""
        if kind == _TEXT:
            return self._text(LONGEST_TEXT)
        if kind == _LIST:
            return self._list()
        if kind not in _NUMBERS:
            raise HeaderError(f"its header has a value of the unknown type {kind}; {_UNLIKELY}")
        return self._number(_NUMBERS[kind])

    def _list(self) -> tuple[Number, ...] | None:
        kind, count = self._count(_U32), self._count(_U64)
        if kind == _TEXT:
            self._skip_texts(count)
            return None
        if kind not in _NUMBERS:
            raise HeaderError(f"its header has a list of the unknown type {kind}; {_UNLIKELY}")
        size = count * _NUMBERS[kind].size
        begin, self._at = self._at, self._at + size
        if count > MOST_NUMBERS or not self._is_kept(size):
            return None
        self._need(self._at)
        return struct.unpack_from(f"<{count}{_NUMBERS[kind].format[1:]}", self._data, begin)

    def _is_kept(self, size: int) -> bool:
        """Whether there is room for so many bytes more."""
        self._room -= size
        return self._room > 0

    def _skip_texts(self, count: int) -> None:
        """Go past so many texts: this loop takes nearly all the time that a vocabulary takes."""
        at, size_at, left = self._at, _U64.unpack_from, count
        while left:
            self._need(at + 8)
            data, end = self._data, len(self._data) - 8
            while left and at <= end:
                at += 8 + size_at(data, at)[0]
                left -= 1
        self._at = at

    def _text(self, longest: int) -> str | None:
        """The next text; None for one that is too long to be kept."""
        size = self._count(_U64)
        begin, self._at = self._at, self._at + size
        if size > longest or not self._is_kept(size):
            return None
        self._need(self._at)
        return self._data[begin : self._at].decode(errors="replace")

    def _count(self, form: struct.Struct, most: int = 2**64) -> int:
        found = int(self._number(form))
        if found > most:
            raise HeaderError(f"its header counts {found} of what may be {most}; {_UNLIKELY}")
        return found

    def _number(self, form: struct.Struct) -> Number:
        begin, self._at = self._at, self._at + form.size
        self._need(self._at)
        found: Number = form.unpack_from(self._data, begin)[0]
        return found

    def _need(self, end: int) -> None:
        """Have the bytes up to `end`."""
        if end > MOST_HEADER:
            raise HeaderError(f"its header is longer than {MOST_HEADER // 2**20} MiB; {_UNLIKELY}")
        while len(self._data) < end:
            more = self._fetch(max(CHUNK, end - len(self._data)))
            if not more:
                raise HeaderError(f"it ends after {self._size} bytes, within its header; fetch it again, whole")
            self._data += more
