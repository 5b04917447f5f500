"""The server's key, and tokens for URLs that are fetched without it."""

import base64
import binascii
import hashlib
import hmac

DIGITS = 12  # of a time
LIFETIME_S = 8 * 24 * 3600  # the client repeats an upload for seven days


class Tokens:
    """Checks the key, signs upload and download URLs with it."""

    def __init__(self, key: str, secret: bytes | None = None) -> None:
        self._key = key.encode()
        self.first_secret = hashlib.sha256(b"storage urls of " + self._key).digest()
        self._secret = self.first_secret if secret is None else secret

    def admits(self, authorization: str | None) -> bool:
        """Is this `Authorization` header HTTP Basic, user `api`, with our key?"""
        given = given_key(authorization)
        return given is not None and hmac.compare_digest(given, self._key)

    def sign(self, path: str, *, write: bool, now: float) -> str:
        """The query string that opens `path` for a while."""
        expires = int(now) + LIFETIME_S
        return f"expires={expires}&token={self._token(path, write=write, expires=expires)}"

    def opens(
        self, path: str, *, write: bool, expires: str | None, token: str | None, now: float
    ) -> bool:
        """Does the token of a URL open `path`? One for writing opens it for reading, too."""
        if not (expires and token and expires.isascii() and expires.isdecimal()):
            return False
        if len(expires) > DIGITS or int(expires) < now or not token.isascii():
            return False
        wanted = [True] if write else [True, False]
        return any(
            hmac.compare_digest(token, self._token(path, write=one, expires=int(expires)))
            for one in wanted
        )

    def _token(self, path: str, *, write: bool, expires: int) -> str:
        message = f"{'write' if write else 'read'}\n{expires}\n{path}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def given_key(authorization: str | None) -> bytes | None:
    """The key in an `Authorization` header: HTTP Basic, user `api`."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, key = base64.b64decode(credentials, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return key if user == b"api" else None
