"""Read text files that a user wrote, in the encodings that editors and shells write.

A byte order mark decides; UTF-16 without one is recognized where nearly every other byte is NUL,
which no text in UTF-8 has. PowerShell's `>` writes UTF-16.
"""

import codecs
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096  # bytes that decide whether it is UTF-16 without a mark
_LEAST = 4  # bytes, to be recognized without a mark
_MOST = 0.8  # share of ASCII in text, as in its comments and keys


def read_text(file: Path) -> str:
    """The text of a user's file.

    Raises:
        OSError: as `read_regular`.
        RunnerError: it is not text (2); the message names file, line and byte.
    """
    return decode_text(read_regular(file), file)


def decode_text(content: bytes, file: Path | str) -> str:
    """The text of a file with this content, without a byte order mark, its line ends unchanged.

    Raises:
        RunnerError: it is not text (2); the message names file, line and byte.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    encoding = encoding or _guess_utf16(content) or "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise RunnerError(
            f"`{file}` is not {encoding.removesuffix('-sig').upper()} text: line {line} has the "
            f"byte 0x{byte:02x}",
            hint="save it as UTF-8, for example: "
            f"`iconv -f latin1 -t utf-8 {Path(file).name} > new`",
            code=ExitCode.USAGE,
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RunnerError(
            f"`{file}` is not text: line {line} has the byte 0x00",
            hint="name a file with text",
            code=ExitCode.USAGE,
        )
    return text


def _guess_utf16(content: bytes) -> str | None:
    sample = content[: min(_SAMPLE, len(content) & ~1)]
    if len(content) % 2 or len(sample) < _LEAST:
        return None
    first, second = sample[::2], sample[1::2]
    if _is_ascii(first) and second.count(0) >= _MOST * len(second):
        return "utf-16-le"
    if _is_ascii(second) and first.count(0) >= _MOST * len(first):
        return "utf-16-be"
    return None


def _is_ascii(sample: bytes) -> bool:
    """Whether most of it is ASCII, and none of it NUL."""
    count = sum(0 < one < 0x80 for one in sample)
    return count >= _MOST * len(sample) and not sample.count(0)
