"""One connection to the server, lean enough that the load tool leaves the machine to it."""

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

LATER = (0, 408, 425, 429, 500, 502, 503, 504)  # W&B's client and our agent then try again
MAX_PAUSE_S = 1.0
GIVE_UP_S = 300.0


class RefusedError(Exception):
    """An answer after which a client does not try again."""


@dataclass(slots=True)
class Timings:
    """Seconds of each answered request by its kind, in the order of the answers."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    repeated: int = 0

    def note(self, kind: str, seconds: float) -> None:
        """Keep one."""
        self.taken.setdefault(kind, []).append(seconds)


class _Exchange(asyncio.Protocol):
    """A connection on which one request at a time is under way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._need = -1  # bytes of head and body; -1: the head is not whole yet
        self._body_at = 0
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._body_at, self._need = end + 4, end + 4 + length
        if len(self._buffer) >= self._need and self._waiting is not None:
            status = int(self._buffer[9:12])
            body = bytes(self._buffer[self._body_at : self._need])
            del self._buffer[: self._need]
            self._need = -1
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed by the server"))

    def exchange(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; its status and body."""
        if self.transport is None:
            raise ConnectionResetError("closed by the server")
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiting


class Link:
    """Requests to one server, each repeated until it is answered with what is not "later"."""

    def __init__(
        self,
        port: Callable[[], int],
        key: str,
        timings: Timings,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        self._port, self._timings, self._timeout_s = port, timings, timeout_s
        credentials = base64.b64encode(f"api:{key}".encode()).decode()
        self._common = (
            f"Host: 127.0.0.1\r\nAuthorization: Basic {credentials}\r\n"
            "User-Agent: wandb-core\r\nContent-Type: application/json\r\n"
        )
        self._exchange: _Exchange | None = None

    async def send(self, kind: str, method: str, path: str, body: bytes) -> bytes:
        """The body of the first answer with a status of 2xx.

        Raises:
            RefusedError: a client would not try again.
        """
        head = f"{method} {path} HTTP/1.1\r\n{self._common}Content-Length: {len(body)}\r\n\r\n"
        request = head.encode() + body
        pause_s, begun = 0.02, time.perf_counter()
        while True:
            status, reply = await self._try(request)
            if 200 <= status < 300:
                self._timings.note(kind, time.perf_counter() - begun)
                return reply
            if status not in LATER or time.perf_counter() - begun > GIVE_UP_S:
                raise RefusedError(f"{method} {path}: {status} {reply[:300]!r}")
            self._timings.repeated += 1
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _try(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; status 0 where nobody answers."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._exchange is None:
                    loop = asyncio.get_running_loop()
                    made = await loop.create_connection(_Exchange, "127.0.0.1", self._port())
                    self._exchange = made[1]
                return await self._exchange.exchange(request)
        except (OSError, TimeoutError) as error:
            self.close()
            return 0, str(error).encode()

    def close(self) -> None:
        """End the connection."""
        if self._exchange is not None and self._exchange.transport is not None:
            self._exchange.transport.close()
        self._exchange = None
