"""The frame of a `.wandb` log: LevelDB's log format under a header of W&B's own. Pure.

Blocks of 32 KiB; each chunk is CRC32 (IEEE, over type and data), length, type and data; a record
is one full chunk, or a first, some middle ones and a last. Seen in clients 0.28 to 0.31.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 32 * 1024
MAGIC = b":W&B\xe1\xbe\x00"  # then the format's version, 0
_CHUNK = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEEDS = tuple(zlib.crc32(bytes((kind,))) for kind in range(_LAST + 1))  # of the type alone


@dataclass(frozen=True, slots=True)
class FrameError(Exception):
    """The log cannot be read beyond `offset`."""

    offset: int
    kind: str  # foreign, truncated (it ends in a record) or damaged (it goes on after the place)


def read_frames(file: BinaryIO) -> Iterator[bytes]:
    """The records of a log in their order.

    A record that was begun and ends with its block is what a killed writer leaves: not an error.

    Raises:
        FrameError: the file is no such log, or breaks off.
    """
    head = file.read(len(MAGIC))
    if head != MAGIC:
        raise FrameError(0, "truncated" if MAGIC.startswith(head) else "foreign")
    start, block = 0, head + file.read(BLOCK - len(MAGIC))
    at, parts = len(MAGIC), list[bytes]()
    while block:
        while len(block) - at >= _CHUNK.size:
            crc, length, kind = _CHUNK.unpack_from(block, at)
            data = block[at + _CHUNK.size : at + _CHUNK.size + length]
            if len(data) < length or not _FULL <= kind <= _LAST:
                cut = _FULL <= kind <= _LAST and len(block) < BLOCK
                raise FrameError(start + at, "truncated" if cut else "damaged")
            if zlib.crc32(data, _SEEDS[kind]) != crc or (kind in (_FULL, _FIRST)) == bool(parts):
                raise FrameError(start + at, "damaged")
            at += _CHUNK.size + length
            if kind == _FULL:
                yield data
                continue
            parts.append(data)
            if kind == _LAST:
                yield b"".join(parts)
                parts = []
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
