"""Why an agent does not work here."""


class RefusedError(Exception):
    """The agent cannot start, or cannot go on: a fact for a person, never a bug of ours."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint  # what to do, where a command tells it


class StopRequestedError(BaseException):
    """SIGTERM or SIGINT came before the loop was there to handle it."""


def describe_os_error(error: OSError) -> str:
    """What the system says, and of which file."""
    return f"{error.strerror}" + (f": `{error.filename}`" if error.filename else "")
