"""HTTP connections: as uvicorn's, and none that waits for ever or fills the memory.

A request whose head is not whole in 10 s, or whose body in 30 s, is answered with 408. Uploads may
take longer, and clients may read slowly, as long as 64 KiB go through in each 30 s.
"""

import asyncio
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from runner.server.limits import BODY_S, HEAD_BYTES, HEAD_S, PART_BYTES
from runner.server.unsent import Reader, Unsent

MAX_FILES = 65_536
OTHER_FILES = 256  # that are open beside connections
LINGER_S = 1.0  # that a connection is read, and forgotten, after the last answer
STORAGE = b"/storage/"  # below it bodies may take long, as long as they go on


def limit_connections() -> int:
    """How many connections there may be, with as many open files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(64, wanted - OTHER_FILES)


class HttpConnection(HttpToolsProtocol):
    """One client's."""

    most: ClassVar[int] = 1024  # `limit_connections` says how many the system allows
    unsent: ClassVar[Unsent] = Unsent()  # what all clients have not read

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._active: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until: float | None = None  # when the wait is over; None: nothing is waited for
        self._head = 0  # bytes of a head that is not whole yet
        self._is_whole = True  # nothing of a request is outstanding
        self._is_closing = False  # the last answer is given
        self._part = 0  # bytes of an upload's next part
        self._reader: Reader | None = None  # of answers that are not read as they are written

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(503, "Service Unavailable", "too many connections")
        else:
            self._wait(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, and write nothing more to it."""
        self._stop()
        self._cancel_timer()
        self._stop_reader()
        self._forget_active()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in bytes, as long as the head does not grow for ever."""
        if self._is_closing:  # it has been told why
            return
        if self._is_whole:  # the first bytes of a request
            self._is_whole, self._head = False, 0
            self._wait(HEAD_S)
        if self._head >= 0:
            self._head += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES and not self._is_closing:
            self._refuse(431, "Request Header Fields Too Large", "the head is too large")

    def send_400_response(self, msg: str) -> None:
        """Say that it is not HTTP; a request that is worked on is not answered then."""
        self._refuse(400, "Bad Request", msg)

    def on_message_begin(self) -> None:
        """The head begins, perhaps behind another request's body."""
        super().on_message_begin()
        self._is_whole, self._head = False, max(0, self._head)
        self._wait(HEAD_S)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head, self._part = -1, 0
        self._wait(BODY_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is here."""
        if self.url.startswith(STORAGE) and not self.cycle.response_complete:
            self._part += len(body)
            if self._part >= PART_BYTES:
                self._part = 0
                self._wait(BODY_S)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_whole, self._head = True, 0
        self._stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is written, perhaps not read; where it is the last one, nobody else waits."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        """No further request has come."""
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def pause_writing(self) -> None:
        """More is written than the client reads."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read nearly all."""
        super().resume_writing()
        self._stop_reader()
        if self.transport.is_closing():
            self._watch_reader()

    def _watch_reader(self) -> None:
        if self._reader is None and self.transport.get_write_buffer_size() > 0:
            self._reader = self.unsent.watch(self.transport, self.loop)

    def _stop_reader(self) -> None:
        if self._reader is not None:
            self.unsent.forget(self._reader)
            self._reader = None

    def _wait(self, seconds: float) -> None:
        """Wait so long from now; the timer that runs is kept where it ends before."""
        self._until = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._until:
            self._set_timer(self._until)

    def _stop(self) -> None:
        self._until = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_at(when, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._until is None:
            return
        if self._until > self.loop.time():
            self._set_timer(self._until)
        else:
            self._is_late()

    def _is_late(self) -> None:
        self._until = None
        if self.flow.read_paused:  # it is we who do not read on
            self._wait(BODY_S)
        elif self._is_whole:
            self.transport.close()  # nothing was ever asked
        else:
            self._refuse(408, "Request Timeout", "the request did not become whole in time")

    def _refuse(self, status: int, reason: str, message: str) -> None:
        """Say why, and close the connection, unless an answer is on its way already."""
        self._stop()
        active = self._active
        self._forget_active()
        if active is None or active.response_complete or not active.response_started:
            body = f'{{"errors":[{{"message":"{message}"}}],"error":"{message}","data":null}}'
            head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n"
            length = f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(f"{head}{length}{body}".encode())
        self._close_gently()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request; of pipelined ones it is not the one that came last."""
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def _forget_active(self) -> None:
        """Let the answer that is being made go nowhere."""
        self.pipeline.clear()
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.waiting_for_100_continue = False  # else it is asked for its body
            self._active.message_event.set()

    def _close_gently(self) -> None:
        """Close, but not before the other side could read why: it may still be sending."""
        self._is_closing = True
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()
            self._cancel_timer()
            self._timer = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()
