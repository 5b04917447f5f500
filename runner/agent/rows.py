"""Whether a run has logged a row: W&B's log of it on disk says so, whatever the server.

The log is in LevelDB's format; of a record only its kind is read, the tag of one field. Seen with
clients 0.28 to 0.31.
"""

from collections.abc import Iterator
from pathlib import Path

_LARGE = 8 << 20  # bytes: that much is never written without a row
_MAGIC = b":W&B"
_MAGIC_BYTES, _BLOCK, _HEADER = 7, 32 << 10, 7
_FULL, _FIRST, _LAST = 1, 2, 4
_HISTORY = 2  # the field of a `Record` that a row of history is
_BYTES = 2  # protobuf's wire type of such a field


def has_logged(wandb_dir: Path, run: str) -> bool:
    """Whether one of the run's logs has a row."""
    return any(
        _has_row(file) for file in (wandb_dir / "wandb").glob(f"*run-*-{run}/run-{run}.wandb")
    )


def _has_row(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGE)
    except OSError:
        return False
    return len(content) == _LARGE or any(map(_is_row, _read_heads(content)))


def _read_heads(content: bytes) -> Iterator[bytes]:
    """The beginning of each record."""
    at = _MAGIC_BYTES if content.startswith(_MAGIC) else len(content)
    while at + _HEADER <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER:  # a chunk's header is never split
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if not _FULL <= kind <= _LAST:
            return  # zeros, or the log is damaged from here on
        if kind <= _FIRST:
            yield content[at + _HEADER : at + _HEADER + min(length, 32)]
        at += _HEADER + length


def _is_row(head: bytes) -> bool:
    """Whether a record's first field, behind its number, is a row of history."""
    at = 0
    while at < len(head):
        field, wire = head[at] >> 3, head[at] & 7
        if wire == _BYTES:
            return field == _HISTORY
        at += 1
        if wire != 0:
            return False
        while at < len(head) and head[at] & 0x80:
            at += 1
        at += 1
    return False
