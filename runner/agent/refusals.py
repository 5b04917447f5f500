"""Why an agent does not work here."""


class RefusedError(Exception):
    """The agent cannot start, or cannot go on: a fact for a person, never a bug of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StopRequestedError(BaseException):
    """SIGTERM or SIGINT came before the loop was there to handle it."""
