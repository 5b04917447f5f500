"""Request bodies: gzip, chunked or plain, never larger than the server can bear."""

import asyncio
import os
import tempfile
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from runner.server.floor import Floor
from runner.server.limits import BODIES_BYTES, BODY_BYTES, FILE_BYTES
from runner.server.wire import Refused, loads

_Result = TypeVar("_Result")
LENGTH_DIGITS = 12
FLOOR_EVERY = 16 << 20  # bytes of an upload between two looks at the free space
SMALL = 64 << 10  # bytes that are looked through on the event loop


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON."""

    value: Any
    size: int  # bytes, unpacked

    @property
    def is_large(self) -> bool:
        """Would it hold up the event loop to look through it?"""
        return self.size > SMALL

    async def read(self, reader: Callable[[Any], _Result]) -> _Result:
        """What `reader` makes of the value."""
        return await run_in_threadpool(reader, self.value) if self.is_large else reader(self.value)


class Room:
    """The memory for JSON bodies: who does not find enough of it waits."""

    def __init__(self, size: int = BODIES_BYTES) -> None:
        self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, request: Request) -> AsyncIterator[None]:
        """As much as the request's body may take once it is unpacked, until it is worked off."""
        size = largest_body(request)
        if self._waiting or size > self._left:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back(size)
                raise
        else:
            self._left -= size
        try:
            yield
        finally:
            self._give_back(size)

    def _give_back(self, size: int) -> None:
        self._left += size
        while self._waiting and (
            self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._left
        ):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._left -= wanted
                turn.set_result(None)


def largest_body(request: Request) -> int:
    """How large the body may become, as the request's head has it."""
    plain = request.headers.get("content-encoding", "identity").strip().lower() == "identity"
    announced = _announced(request) if plain else None
    return BODY_BYTES if announced is None else min(BODY_BYTES, announced)


async def read_json(request: Request) -> Body:
    """The JSON body of a request; refused with 400, 413 or 415 if it is none."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", ""):
        raise Refused(415, f"content-encoding `{coding}` is not supported")
    unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        body += await run_in_threadpool(_unpacked, unpack, chunk) if unpack else chunk
        if len(body) > BODY_BYTES:
            raise Refused(413, f"the body is larger than {BODY_BYTES >> 20} MiB")
    if unpack and not unpack.eof:
        raise Refused(400, "the gzip body ends too early")
    try:
        read = Body(bytes(body) or b"{}", len(body))
        return Body(await read.read(loads), len(body))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


@asynccontextmanager
async def received(request: Request, folder: Path, floor: Floor) -> AsyncIterator[tuple[Path, int]]:
    """The body as a file in `folder`, whole and on the disk, with its size; to be moved away."""
    floor.check(_announced(request) or 0)
    aside = await run_in_threadpool(_begin, folder)
    try:
        size = checked = 0
        with aside.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > FILE_BYTES:
                    raise Refused(413, f"the file is larger than {FILE_BYTES >> 30} GiB")
                if size > checked + FLOOR_EVERY:  # others write, too
                    checked = size
                    floor.check(0)
                await run_in_threadpool(file.write, chunk)
            await run_in_threadpool(_settle, file)
        yield aside, size
    finally:
        aside.unlink(missing_ok=True)


def _announced(request: Request) -> int | None:
    """How many bytes the request's head says that there will be."""
    length = request.headers.get("content-length", "")
    plain = length.isascii() and length.isdecimal() and len(length) < LENGTH_DIGITS
    return int(length) if plain else None


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
        unpacked: bytes = unpack.decompress(chunk, BODY_BYTES + 1)
    except zlib.error:
        raise Refused(400, "the body is not gzip") from None
    if unpack.unconsumed_tail:
        raise Refused(413, f"the body is larger than {BODY_BYTES >> 20} MiB")
    return unpacked
