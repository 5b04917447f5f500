"""Make foreign text safe for a terminal: it cannot move the cursor, hide, recolor or forge text.

Text of containers, logs, sweep files, settings and servers may contain escape sequences, control
characters, surrogates, and marks that change the direction of reading.
"""

import re

_COLOR = r"\x1b\[[0-9;:]*m"
_SEQUENCE = re.compile(
    rf"(?P<color>{_COLOR})"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS, SOS, PM, APC up to their end
    r"|[\x9d\x90\x98\x9e\x9f].*?(?:\x07|\x1b\\|\x9c|$)"  # the same, with one-character introducers
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI
    r"|\x1b[ -/]*[0-~]?",  # all others
    re.DOTALL,
)
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1
    "\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # zero width, line separators, direction marks
    "\ud800-\udfff]"  # surrogates: bytes that are not text
)
_RESET = "\x1b[0m"


def visible(text: str) -> str:
    r"""Text of several lines, with invisible characters escaped: `\x1b`, `\u202e`.

    Newlines and tabs stay.
    """
    return _HIDDEN.sub(_write_out, text)


def inline(value: object) -> str:
    r"""A value within a line: as `visible`, and a newline becomes `\n`."""
    return visible(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def escape_json(text: str) -> str:
    r"""Equal JSON text, with invisible characters as `\uXXXX`."""
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def log_text(text: str) -> str:
    """A line of a log: keeps colors and ends them; removes other sequences and characters."""
    kept = _SEQUENCE.sub(lambda match: match["color"] or "", text)
    parts = re.split(f"({_COLOR})", kept)
    clean = "".join(part if part.startswith("\x1b") else _HIDDEN.sub("", part) for part in parts)
    colored = len(parts) > 1 and not clean.endswith((_RESET, "\x1b[m"))
    return clean + (_RESET if colored else "")


def _write_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
