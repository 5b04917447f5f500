"""The frame of a `.wandb` log: LevelDB's log format after a header of W&B. Pure.

Blocks of 32 KiB; each chunk is CRC32 (IEEE, over type and data), length, type and data; a record
is one full chunk, or a first, some middle ones and a last. Seen in clients 0.28 to 0.31.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

BLOCK = 32 * 1024
# W&B's client drops rows above 10 MB. An artifact has at most 100,000 files in one record, which
# take some 20 MB.
MAX_RECORD_BYTES = 32 << 20
MAGIC = b":W&B\xe1\xbe\x00"  # followed by the format version, 0
_CHUNK = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEEDS = tuple(zlib.crc32(bytes((kind,))) for kind in range(_LAST + 1))  # CRC of the type byte


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read `size` bytes; fewer only at the end."""


@dataclass(eq=False)  # a context manager sets its traceback, a set its hash
class FrameError(Exception):
    """The log cannot be read beyond byte `offset`."""

    offset: int
    kind: str  # foreign, truncated (it ends in a record), damaged (it goes on after the place), …


def read_frames(file: Readable) -> Iterator[bytes]:
    """The records of a log in their order.

    A killed writer may leave a record that ends with its block: that is not an error.

    Raises:
        FrameError: the file is not such a log, or breaks off.
    """
    head = file.read(len(MAGIC))
    if head != MAGIC:
        raise FrameError(0, "truncated" if MAGIC.startswith(head) else "foreign")
    start, block = 0, head + file.read(BLOCK - len(MAGIC))
    at, parts, size = len(MAGIC), list[bytes](), 0
    unpack, crc32, header = _CHUNK.unpack_from, zlib.crc32, _CHUNK.size  # locals are faster
    while block:
        last = len(block) - header
        while at <= last:
            crc, length, kind = unpack(block, at)
            end = at + header + length
            if end > len(block) or not _FULL <= kind <= _LAST:
                cut = _FULL <= kind <= _LAST and len(block) < BLOCK
                raise FrameError(start + at, "truncated" if cut else "damaged")
            data = block[at + header : end]
            if crc32(data, _SEEDS[kind]) != crc or (kind <= _FIRST) == bool(parts):
                raise FrameError(start + at, "damaged")
            at = end
            if kind == _FULL:
                yield data
                continue
            parts.append(data)
            size += header + length
            if size > MAX_RECORD_BYTES:
                raise FrameError(start + at, "too large")
            if kind == _LAST:
                yield b"".join(parts)
                parts, size = [], 0
        if len(block) < BLOCK and (parts or at < len(block)):
            raise FrameError(start + at, "truncated")
        start, at = start + len(block), 0
        block = file.read(BLOCK)


class FrameWriter:
    """Writes records as a log."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, len(MAGIC)
        file.write(MAGIC)

    def write(self, record: bytes) -> None:
        """Append one record."""
        left = BLOCK - self._at % BLOCK
        if _CHUNK.size + len(record) <= left:
            return self._put_chunk(_FULL, record)
        rest, first = memoryview(record), True
        while True:
            if left < _CHUNK.size:
                self._put(b"\0" * left)
                left = BLOCK
            data = bytes(rest[: left - _CHUNK.size])
            rest = rest[len(data) :]
            kind = (_FULL if not rest else _FIRST) if first else (_LAST if not rest else _MIDDLE)
            self._put_chunk(kind, data)
            if not rest:
                return None
            first, left = False, BLOCK - self._at % BLOCK

    def _put_chunk(self, kind: int, data: bytes) -> None:
        self._put(_CHUNK.pack(zlib.crc32(data, _SEEDS[kind]), len(data), kind) + data)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._at += len(data)
