"""A run's output without its key, wherever the program or a pipe cuts it."""


class Redactor:
    """Bytes as they come → the same with `[key]` for each key; the beginning of one is held back.

    A key is cut where a line is too long, where an unfinished one shows early, and between two
    reads. It is replaced before any of that.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown of all that came so far."""
        text = (self._held + data).replace(self._secret, b"[key]")
        held = self._find_beginning(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> bytes:
        """What is left at the end: most of a key counts as the key."""
        held, self._held = self._held, b""
        return b"[key]" if 2 * len(held) > len(self._secret) else held

    def _find_beginning(self, text: bytes) -> int:
        """The length of the longest end of `text` that a key may begin with."""
        for length in range(min(len(self._secret) - 1, len(text)), 0, -1):
            if self._secret.startswith(text[-length:]):
                return length
        return 0
