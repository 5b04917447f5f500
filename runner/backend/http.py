"""The host's HTTP client for a sweep server, ours or W&B's, with typed errors.

It trusts the system's certificates or one bundle, and uses the caller's proxies except for
loopback. It follows no redirects and reads no password files, so that a key only goes to its
server. It uses urllib3: each addition of `requests` would have to be switched off.
"""

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import BadStatusLine, IncompleteRead, LineTooLong
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, make_headers

from runner.backend.hosts import is_loopback

TIMEOUT_S = 30.0
RETRIES = 5  # of a request that got "later", or no answer after earlier ones got one
LONGEST_PAUSE_S = 60.0
CHUNK = 1 << 20  # bytes
_TOO_OFTEN = (429,)
_LATER = (429, 502, 503, 504)  # after the last three, the server may have made the change


class NoAnswer(Exception):  # noqa: N818 - a state of the server, not a fault
    """The server sent no complete answer.

    Attributes:
        why: the reason, in one line.
        untrusted: an unknown authority signed the server's certificate.
    """

    def __init__(self, why: str, *, untrusted: bool = False) -> None:
        super().__init__(why)
        self.why, self.untrusted = why, untrusted


class ErrorAnswer(Exception):  # noqa: N818 - as above
    """A complete answer with status 400 or more, or a redirect (not followed)."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason, self.headers, self.body = status, reason, headers, body


class Http:
    """Requests to one server; threads may share it.

    Args:
        url: of the server, without a path.
        key: an API key for this server only; None: send no key.
        ca_bundle: trusted certificates; None: the system's.
        report: gets one line, from any thread, when the client waits for the server.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_bundle: Path | None = None,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.url = url.rstrip("/")
        self._report = report
        self._telling = threading.Lock()  # the thread that takes it reports, and never releases it
        self._answered = False  # it did once: the URL is right, so wait out a silence
        self._pool = _make_pool(self.url, key, ca_bundle)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patient: bool = False,
        changes: bool = False,
    ) -> bytes:
        """The body of the answer.

        Args:
            body: sent as JSON; None: no body.
            patient: wait out a rate limit, a restart, and an outage after an earlier answer.
            changes: the request changes data; repeat it only if the server certainly did not
                make the change.

        Raises:
            NoAnswer: the server could not be reached, or its answer broke off.
            ErrorAnswer: it answered with an error.
        """
        wait = _Wait(self, changes=changes) if patient else False
        with self._open(method, path, body, timeout_s=timeout_s, retries=wait) as answer:
            found: bytes = answer.data
            return found

    def read_header(self, path: str, name: str, *, timeout_s: float) -> str | None:
        """One header of the answer to HEAD; any status counts as an answer.

        Raises:
            NoAnswer: as `request`.
        """
        try:
            with self._open("HEAD", path, timeout_s=timeout_s) as answer:
                return answer.headers.get(name)
        except ErrorAnswer as error:
            return error.headers.get(name)

    @contextmanager
    def stream(
        self, path: str, *, timeout_s: float = TIMEOUT_S, chunk: int = CHUNK
    ) -> Iterator[Iterator[bytes]]:
        """The answer to GET in pieces of `chunk` bytes.

        Raises:
            NoAnswer, ErrorAnswer: as `request`; the first also while the pieces are read.
        """
        with self._open("GET", path, timeout_s=timeout_s, preload=False) as answer:
            try:
                yield answer.stream(chunk)
            finally:
                answer.close()

    def may_repeat(self, error: BaseException, *, changes: bool) -> bool:
        """Whether to try again; a change only if the server was not reached."""
        cause = _cause(error)
        if changes:
            return self._answered and isinstance(cause, ConnectionRefusedError)
        return self._answered and not isinstance(cause, ssl.SSLCertVerificationError)

    def tell(self, trouble: str) -> None:
        """Report once that the client waits for the server, and why."""
        if self._telling.acquire(blocking=False):
            self._report(f"{self.url} {trouble}: trying again for a while")

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float,
        retries: "_Wait | bool" = False,
        preload: bool = True,
    ) -> Iterator[BaseHTTPResponse]:
        try:
            answer = self._pool.request(
                method,
                self.url + path,
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._pool.headers, "Content-Type": "application/json"},
                timeout=timeout_s,
                retries=retries,
                redirect=False,
                preload_content=preload,
            )
            self._answered = self._answered or answer.status < 300
            if answer.status >= 300:
                found = answer.status, answer.reason or "", answer.headers
                raise ErrorAnswer(*found, answer.data)
            yield answer
        except (HTTPError, OSError) as error:
            raise _no_answer(error) from error


class _Wait(Retry):
    """urllib3's retry: waits 2, 4, 8, … s or as long as the server asks; reports once."""

    def __init__(self, http: Http | None = None, *, changes: bool = False, **known: Any) -> None:
        ours: dict[str, Any] = {
            "total": RETRIES,
            "allowed_methods": None,  # a GraphQL query is a POST
            "status_forcelist": _TOO_OFTEN if changes else _LATER,
            "backoff_factor": 1.0,
            "backoff_max": LONGEST_PAUSE_S,
            "raise_on_status": False,
        }
        super().__init__(**{**ours, **known})
        self._http, self._changes = http, changes

    def new(self, **known: Any) -> "_Wait":
        """The next retry of the chain; urllib3's `increment` calls this."""
        made = super().new(**known)
        made._http, made._changes = self._http, self._changes  # noqa: SLF001 - of its own class
        return made

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: Any = None,
    ) -> "_Wait":
        """Count a try; raise a final error."""
        assert self._http is not None  # noqa: S101 - only `new` makes one without it
        if error is not None and not self._http.may_repeat(error, changes=self._changes):
            raise error
        made = super().increment(method, url, response, error, _pool, _stacktrace)
        why = f"answers {response.status}" if response else ""
        self._http.tell(f"does not answer ({_no_answer(error).why})" if error else why)
        return made

    def parse_retry_after(self, retry_after: str) -> float:
        """The seconds that the server asks for, up to a limit."""
        try:
            return min(super().parse_retry_after(retry_after), LONGEST_PAUSE_S)
        except HTTPError:  # neither a number nor a date
            return 0.0


def _make_pool(url: str, key: str | None, ca_bundle: Path | None) -> urllib3.PoolManager:
    headers = make_headers(user_agent="runner", basic_auth=None if key is None else f"api:{key}")
    known: dict[str, Any] = {
        "headers": headers,
        "maxsize": 8,
    }
    proxy = _find_proxy(url)
    if "https" in (urlsplit(url).scheme, urlsplit(proxy or "").scheme):  # making one takes 20 ms
        trusted = ca_bundle and str(ca_bundle)
        known["ssl_context"] = ssl.create_default_context(cafile=trusted)
    return urllib3.ProxyManager(proxy, **known) if proxy else urllib3.PoolManager(**known)


def _find_proxy(url: str) -> str | None:
    """The caller's proxy; None for loopback."""
    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    found = urllib.request.getproxies().get(parts.scheme)
    return found and (found if "://" in found else f"http://{found}")


def _no_answer(error: BaseException) -> NoAnswer:
    cause = _cause(error)
    untrusted = isinstance(cause, ssl.SSLCertVerificationError)
    return NoAnswer(_describe(cause), untrusted=untrusted)


def _describe(cause: BaseException) -> str:
    match cause:
        case OSError():  # one subclass is also a `BadStatusLine`
            return cause.strerror or str(cause) or type(cause).__name__
        case IncompleteRead():
            return "its answer broke off"
        case BadStatusLine() | LineTooLong():
            return "its answer is not HTTP"
        case LocationValueError():
            return "it is not an address"
        case urllib3.exceptions.TimeoutError():
            return "timed out"
        case _:
            return " ".join(str(cause).split()) or type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """The error of the socket, below the library's errors."""
    below = getattr(error, "reason", None)
    if isinstance(below, BaseException) and not isinstance(error, OSError):
        return _cause(below)
    if isinstance(error, HTTPError):
        last = error.args[-1] if error.args else None
        inner = last if isinstance(last, BaseException) else error.__cause__
        if inner is not None:
            return _cause(inner)
    return error
