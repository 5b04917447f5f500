"""Why an agent does not work here, and the exit codes by which it leaves."""

EXIT_DONE = 0
EXIT_CRASHED = 1
EXIT_REFUSED = 69  # the engine tries three more times, then leaves it down
EXIT_STOPPED = 143  # as a shell tells SIGTERM; the engine starts it again after its own restart


class RefusedError(Exception):
    """The agent cannot start, or cannot go on: a fact for a person, never a bug of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StopRequestedError(BaseException):
    """SIGTERM or SIGINT came before the loop was there to handle it."""
