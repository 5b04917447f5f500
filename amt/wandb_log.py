"""Which rows W&B's logs on disk hold: a killed process leaves fewer than it has logged.

A `.wandb` log is LevelDB's log format under a header of W&B's own, its records are W&B's protobuf
messages (seen in clients 0.28 to 0.31). A log is read to its end or to its first damage.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024  # the header is part of the first one
MAGIC = b":W&B\xe1\xbe\x00"
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
WAIT_S = 10.0  # W&B's own process ends within a second of ours

_CHUNK = struct.Struct("<IHB")  # CRC32 of kind and data, length, kind


def read_logged_steps(logs: Iterable[Path]) -> set[int]:
    """The `_step` of each row in these logs; first waits until nobody writes them any more."""
    # not at the top: a run that logs online needs none of it
    from wandb.proto import wandb_internal_pb2

    record_class: Any = wandb_internal_pb2.Record  # type: ignore[attr-defined] # made at run time
    steps: set[int] = set()
    for log in logs:
        _wait_until_closed(log)
        for data in _read_records(log.read_bytes()):
            record = record_class.FromString(data)
            if record.WhichOneof("record_type") == "history":
                steps.add(record.history.step.num)
    return steps


def find_earlier_logs(wandb_dir: Path, run_id: str, own_folder: Path) -> list[Path]:
    """The offline logs of other attempts at this run, oldest first."""
    logs = sorted(wandb_dir.glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    return [log for log in logs if log.parent.resolve() != own_folder.resolve()]


def _read_records(content: bytes) -> Iterator[bytes]:
    if not content.startswith(MAGIC):
        return
    at, parts = len(MAGIC), list[bytes]()
    while at + _CHUNK.size <= len(content):
        left = BLOCK - at % BLOCK
        if left < _CHUNK.size:  # a block's last bytes hold no chunk
            at += left
            continue
        checksum, length, kind = _CHUNK.unpack_from(content, at)
        data = content[at + _CHUNK.size : at + _CHUNK.size + length]
        if len(data) < length or zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
            return
        at += _CHUNK.size + length
        parts = [data] if kind in (FULL, FIRST) else [*parts, data]
        if kind in (FULL, LAST):
            yield b"".join(parts)


def _wait_until_closed(log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while _is_open(log) and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_open(log: Path) -> bool:
    """Does a process hold the file? Those of other users are not seen."""
    target = str(log.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            handles = list((process / "fd").iterdir())
        except OSError:  # it has ended meanwhile, or is another user's
            continue
        if any(_read_link(handle) == target for handle in handles):
            return True
    return False


def _read_link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile
        return ""
