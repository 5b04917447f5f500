"""The server's log: one line per event on stderr, as `name=value` pairs (logfmt).

A line names places (entities, projects, runs, sweeps) and numbers. It never holds a key, a URL's
query, or anything that was logged: of a fault the frames are kept, not what the exception says.
"""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime

OURS = "runner.server"
MAX_LENGTH = 2_000  # characters of one value
_PLAIN = re.compile(r"[\w.:/@%+-]+", re.ASCII)
_FIELDS = "fields"


def note(log: logging.Logger, event: str, **fields: object) -> None:
    """Note an event that is no trouble."""
    log.info(event, extra={_FIELDS: fields})


def warn(log: logging.Logger, event: str, **fields: object) -> None:
    """Note an event that a person should know of."""
    log.warning(event, extra={_FIELDS: fields})


def configure() -> None:
    """Write every event to stderr: our own, and the warnings of the libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(logging.INFO)


def reason(error: Exception) -> str:
    """Why the disk fails, without the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Logfmt(logging.Formatter):
    """`time=… level=… source=… event="…" name=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        moment = datetime.fromtimestamp(record.created, UTC)
        pairs: dict[str, object] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "source": record.name.removeprefix(f"{OURS}."),
            "event": record.getMessage().partition("\n")[0],
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            pairs |= _describe(record.exc_info[1])
        return " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())


def _describe(error: BaseException) -> dict[str, str]:
    """What kind of fault it is, and where: innermost frame last."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    where = " > ".join(f"{one.filename}:{one.lineno}:{one.name}" for one in frames)
    return {"error": type(error).__name__, "at": where}


def _quoted(value: object) -> str:
    text = str(value)[:MAX_LENGTH]
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
