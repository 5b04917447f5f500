"""Request bodies: gzip, chunked or plain, never larger than the server can bear."""

import os
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from runner.server.wire import Refused, loads

Result = TypeVar("Result")
LARGEST = 128 << 20  # of a JSON body, unpacked; the client's largest are some 10 MiB
SMALL = 64 << 10  # bytes that are looked through on the event loop
LARGEST_FILE = 64 << 30  # of an uploaded file


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON."""

    value: Any
    size: int  # bytes, unpacked

    @property
    def is_large(self) -> bool:
        """Would it hold up the event loop to look through it?"""
        return self.size > SMALL

    async def read(self, reader: Callable[[Any], Result]) -> Result:
        """What `reader` makes of the value."""
        return await run_in_threadpool(reader, self.value) if self.is_large else reader(self.value)


async def read_json(request: Request) -> Body:
    """The JSON body of a request; refused with 400, 413 or 415 if it is none."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", ""):
        raise Refused(415, f"content-encoding `{coding}` is not supported")
    unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        body += await run_in_threadpool(_unpacked, unpack, chunk) if unpack else chunk
        if len(body) > LARGEST:
            raise Refused(413, f"the body is larger than {LARGEST >> 20} MiB")
    if unpack and not unpack.eof:
        raise Refused(400, "the gzip body ends too early")
    try:
        read = Body(bytes(body) or b"{}", len(body))
        return Body(await read.read(loads), len(body))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


@asynccontextmanager
async def received(request: Request, folder: Path) -> AsyncIterator[tuple[Path, int]]:
    """The body as a file in `folder`, whole and on the disk, with its size; to be moved away."""
    aside = await run_in_threadpool(_begin, folder)
    try:
        size = 0
        with aside.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > LARGEST_FILE:
                    raise Refused(413, f"the file is larger than {LARGEST_FILE >> 30} GiB")
                await run_in_threadpool(file.write, chunk)
            await run_in_threadpool(_settle, file)
        yield aside, size
    finally:
        aside.unlink(missing_ok=True)


def _begin(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".")
    os.close(handle)
    return Path(name)


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())


def _unpacked(unpack: Any, chunk: bytes) -> bytes:
    try:
        unpacked: bytes = unpack.decompress(chunk, LARGEST + 1)
    except zlib.error:
        raise Refused(400, "the body is not gzip") from None
    if unpack.unconsumed_tail:
        raise Refused(413, f"the body is larger than {LARGEST >> 20} MiB")
    return unpacked
