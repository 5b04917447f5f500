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
from typing import IO, Any, BinaryIO, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from runner.server import memory
from runner.server.floor import Floor
from runner.server.largejson import load_file
from runner.server.limits import (
    ASIDE_BYTES,
    BODIES_BYTES,
    BODY_BYTES,
    BODY_COST,
    FILE_BYTES,
    SMALL_BODIES_BYTES,
    SMALL_BYTES,
)
from runner.server.wire import Refused, loads

_Result = TypeVar("_Result")
LENGTH_DIGITS = 12
FLOOR_EVERY = 16 << 20  # bytes of an upload between two looks at the free space
UNPACKED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON."""

    value: Any
    size: int  # bytes, unpacked

    @property
    def is_large(self) -> bool:
        """Would it hold up the event loop to look through it?"""
        return self.size > SMALL_BYTES

    async def read(self, reader: Callable[[Any], _Result]) -> _Result:
        """What `reader` makes of the value."""
        return await run_in_threadpool(reader, self.value) if self.is_large else reader(self.value)


class Room:
    """The memory for JSON bodies: who does not find enough of it waits."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """So much of it, until the body is worked off."""
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


class Bodies:
    """Takes in JSON: what is large waits in `folder` until it is whole, and then for memory.

    So a body that comes slowly, or not at all, keeps no other one waiting.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._aside = folder, 0  # bytes in it
        self._small, self._large = Room(SMALL_BODIES_BYTES), Room(BODIES_BYTES)

    @asynccontextmanager
    async def taken(self, request: Request, largest: int) -> AsyncIterator[Body]:
        """The JSON body of a request; refused with 400, 413 or 415 if it is none."""
        begun, size, file = bytearray(), 0, None
        try:
            async for part in _parts(request, largest):
                size += len(part)
                if file is None and size > SMALL_BYTES:
                    file = await run_in_threadpool(self._put_aside, begun)
                if file is None:
                    begun += part
                else:
                    self._aside += len(part)
                    if self._aside > ASIDE_BYTES:
                        raise Refused(429, "too many large bodies are under way, try again later")
                    await run_in_threadpool(file.write, part)
            if file is None:
                async with self._small.hold(size):
                    yield Body(_parsed(loads, bytes(begun) or b"{}"), size)
            else:
                async with self._large.hold(BODY_COST * size):
                    yield Body(await run_in_threadpool(_parsed, load_file, file), size)
        finally:
            if file is not None:
                self._aside -= size - len(begun)
                file.close()
                asyncio.get_running_loop().run_in_executor(None, memory.give_back)

    def _put_aside(self, begun: bytearray) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - who gets it closes it
        file.write(begun)
        return file


def largest_body(request: Request) -> int:
    """How large the body may become, as the request's head has it."""
    plain = request.headers.get("content-encoding", "identity").strip().lower() == "identity"
    announced = _announced(request) if plain else None
    return BODY_BYTES if announced is None else min(BODY_BYTES, announced)


async def read_json(request: Request, largest: int) -> Body:
    """The JSON body of a request that is not large; refused with 400, 413 or 415 if it is none."""
    content = b"".join([part async for part in _parts(request, largest)])
    return Body(_parsed(loads, content or b"{}"), len(content))


async def _parts(request: Request, largest: int) -> AsyncIterator[bytes]:
    """The body, unpacked."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", ""):
        raise Refused(415, f"content-encoding `{coding}` is not supported")
    unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    if unpack is None and (_announced(request) or 0) > largest:
        raise _too_large(largest)
    size = 0
    async for chunk in request.stream():
        rest = chunk
        while rest:
            part, rest = await run_in_threadpool(_unpacked, unpack, rest) if unpack else (rest, b"")
            size += len(part)
            if size > largest:
                raise _too_large(largest)
            yield part
    if unpack and not unpack.eof:
        raise Refused(400, "the gzip body ends too early")


def _too_large(largest: int) -> Refused:
    return Refused(413, f"the body is larger than {largest >> 10} KiB")


def _parsed(read: Callable[[_Result], Any], content: _Result) -> Any:
    try:
        return read(content)
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


def _unpacked(unpack: Any, chunk: bytes) -> tuple[bytes, bytes]:
    """A part of what is packed, and what is left."""
    try:
        return unpack.decompress(chunk, UNPACKED_AT_ONCE), unpack.unconsumed_tail
    except zlib.error:
        raise Refused(400, "the body is not gzip") from None
