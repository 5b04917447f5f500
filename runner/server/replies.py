"""What all routes answer with."""

from starlette.requests import Request
from starlette.responses import Response

from runner.server.access import Access
from runner.server.wire import dumps


def as_json(value: object, status: int = 200) -> Response:
    """A value."""
    return Response(dumps(value), status_code=status, media_type="application/json")


def refused(status: int, *messages: str) -> Response:
    """W&B's form of a refusal: its command line shows `errors`, its core `error`."""
    errors = [{"message": message} for message in messages]
    return as_json({"errors": errors, "error": "\n".join(messages), "data": None}, status)


def check_admin(request: Request) -> None:
    """Refuse with 403 whoever is not the administrator."""
    access: Access = request.state.access
    access.check_admin()
