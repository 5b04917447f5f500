"""Large JSON texts, read with few copies of them.

One character beyond the 16 bits of most makes all of a Python text take four bytes for each. So the
texts in a body that are not plain ASCII are each read by themselves, and put in their places again.
"""

import re
import secrets
from typing import IO, Any

from runner.server.wire import loads

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PLAIN = re.compile(rb'"[^"\\\x00-\x1f]*+"')  # without escapes


def load_file(file: IO[bytes]) -> Any:
    """The JSON in a file, in UTF-8.

    Raises:
        ValueError: it is not JSON.
    """
    file.seek(0)
    aside = _Aside()
    value = loads(_text_of(file.read(), aside))
    return aside.restored(value) if aside.texts else value


def _text_of(content: bytes, aside: "_Aside") -> str:
    if content.isascii():
        return content.decode("ascii")
    kept, at = bytearray(), 0
    for found in _STRING.finditer(content):
        string = found[0]
        if not string.isascii():
            kept += content[at : found.start()]
            kept += aside.put(string)
            at = found.end()
    kept += content[at:]
    del content
    return kept.decode("ascii")


class _Aside:
    """Texts that are not plain ASCII, each behind a mark that nobody can guess."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._mark = secrets.token_hex(8)

    def put(self, string: bytes) -> bytes:
        """Keep a text, in its quotes; what stands in its place."""
        self.texts.append(string)
        return b'"%s%d"' % (self._mark.encode(), len(self.texts) - 1)

    def restored(self, value: Any) -> Any:
        """A value with the texts in their places."""
        if isinstance(value, str):
            return self._take(int(value[len(self._mark) :])) if self._is_mark(value) else value
        if isinstance(value, list):
            return [self.restored(one) for one in value]
        if isinstance(value, dict):
            return {self.restored(key): self.restored(one) for key, one in value.items()}
        return value

    def _is_mark(self, value: str) -> bool:
        return value.startswith(self._mark)

    def _take(self, place: int) -> Any:
        string, self.texts[place] = self.texts[place], b""
        if _PLAIN.fullmatch(string):
            return string[1:-1].decode("utf-8", "surrogatepass")
        return loads(string.decode("utf-8", "surrogatepass"))
