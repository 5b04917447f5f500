"""What all routes answer with."""

import asyncio
import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from runner.server import memory
from runner.server.access import Access
from runner.server.budget import Share
from runner.server.wire import dumps


def as_json(value: object, status: int = 200) -> Response:
    """A value."""
    return Response(dumps(value), status_code=status, media_type="application/json")


LARGE = 4 << 20  # bytes of an answer after which free memory goes back to the system


class JsonAnswer(Response):
    """An answer that may be large: others may be made once it is on its way."""

    def __init__(self, text: str, share: Share) -> None:
        """Of JSON, and what it has of the memory for answers."""
        super().__init__(text, media_type="application/json")
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.body = b""
            self._share.give_back()
            if self._share.largest > LARGE:
                asyncio.get_running_loop().run_in_executor(None, memory.give_back)


class FileAsItIs(FileResponse):
    """A file as it is now: its name may be given to another one while it is sent."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: it has gone.
        """
        self._file = path.open("rb")
        number = self._file.fileno()
        super().__init__(
            f"/proc/self/fd/{number}",
            stat_result=os.fstat(number),
            media_type="application/octet-stream",
            headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and close it."""
        with self._file:
            await super().__call__(scope, receive, send)


def refused(status: int, *messages: str) -> Response:
    """W&B's form of a refusal: its command line shows `errors`, its core `error`."""
    errors = [{"message": message} for message in messages]
    return as_json({"errors": errors, "error": "\n".join(messages), "data": None}, status)


def check_admin(request: Request) -> None:
    """Refuse with 403 whoever is not the administrator."""
    access: Access = request.state.access
    access.check_admin()
