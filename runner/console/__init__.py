"""All that a person reads: narration on stderr, data on stdout."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from runner.console.terminal import escape_json, inline, log_text, visible
from runner.errors import RunnerError

SCHEMA = 1


def note(text: str) -> None:
    """One line of narration: a finished action, or what is decided and why."""
    sys.stderr.write(f"{inline(text)}\n")  # at once: several threads may have something to say
    sys.stderr.flush()


def data(text: str) -> None:
    """One line (or block) of what was asked for."""
    _write(visible(text))


def log_line(source: str, text: str) -> None:
    """One line of a container's log, after the name of where it comes from."""
    _write(f"{inline(source)} | {log_text(text)}")


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `runner ps | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RunnerError(
            f"cannot write the output: {error.strerror}", hint="check where stdout goes"
        ) from error


def report_error(error: RunnerError, *, as_json: bool) -> None:
    """`error: …`, then `hint: …`; as one object on stdout under `--json`."""
    if as_json:
        body = {"code": int(error.code), "message": error.message, "hint": error.hint}
        data(to_json({"error": body}))
        return
    first, *more = error.message.split("\n")
    note(f"error: {first}")
    for line in more:
        note(f"       {line.strip()}")
    if error.hint:
        note(f"hint: {error.hint}")


def to_json(fields: Mapping[str, Any]) -> str:
    """The object that scripts read: `schema` first; NaN and infinities as strings."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_finite({"schema": SCHEMA, **fields}), ensure_ascii=not unicode)
    return escape_json(text)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned by spaces, no frame: readable, and cut by `awk` alike."""
    cells = [[inline(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = (
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return "\n".join(lines)


def format_bytes(count: float) -> str:
    """`71.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_duration(seconds: float) -> str:
    """`8.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
