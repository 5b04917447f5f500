"""The agent's HTTP: one GraphQL call at a time, tried until the server has answered."""

import base64
import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any

from runner.agent.contract.variables import CA_FILE
from runner.agent.refusals import RefusedError
from runner.agent.report import say

TIMEOUT_S = 60.0  # as W&B's agent waits for a heartbeat
TOO_OFTEN = 429
PATIENT_TRIES = 4  # answered with that in a row, until it counts as an outage
_TRY_AGAIN = (408, 425, TOO_OFTEN)  # and everything from 500


class NotFoundError(RefusedError):
    """404: no such sweep or agent, or not any more."""


class RejectedError(RefusedError):
    """A GraphQL error in an answer of status 200."""


class _NoAnswerError(Exception):
    """Nobody answered, or only with "later"; `lost`: the request may have been obeyed."""

    def __init__(
        self,
        reason: str,
        retry_after_s: float = 0.0,
        *,
        limited: bool = False,
        lost: bool = False,
    ) -> None:
        super().__init__(reason)
        self.retry_after_s, self.limited, self.lost = retry_after_s, limited, lost


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would follow one as a GET and send the key along."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """Never."""


class Link:
    """The way to a sweep's server. Proxies come from the environment, as urllib reads them."""

    def __init__(self, base_url: str, key: str, *, max_pause_s: float) -> None:
        self._url = f"{base_url}/graphql"
        self._max_pause_s = max_pause_s
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode(),
            "Content-Type": "application/json",
            "User-Agent": "runner-agent",
        }
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=make_tls_context()), _NoRedirects()
        )
        self._answered = self._limited = False
        self.trouble: str | None = None  # why the server does not answer at present
        self.pausing = False  # between two tries

    def ask(
        self,
        query: str,
        variables: Callable[[], dict[str, Any]],
        *,
        patient: bool = False,
        on_trouble: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """The reply's `data`; waits out whatever passes, and says so once.

        Args:
            query: the GraphQL document.
            variables: asked for at each try, so that a late try carries the newest.
            patient: take even a GraphQL error for something that passes.
            on_trouble: called when an outage begins and when it is over.
            on_lost: called at each try that may have been obeyed, and whose answer is lost.

        Raises:
            RefusedError: an answer that another try will not change.
        """
        pause_s, tries = 0.2, 0
        while True:
            tries += 1
            try:
                data = self._call(query, variables())
            except RejectedError as error:
                if not patient:
                    raise
                failure = _NoAnswerError(error.reason)
            except _NoAnswerError as error:
                failure = error
            else:
                self._tell(None, on_trouble)
                return data
            if failure.lost:
                on_lost()
            if failure.limited and tries <= PATIENT_TRIES and self.trouble is None:
                self._tell_limit(failure)
            else:
                self._tell(str(failure), on_trouble)
            self.pausing = True
            time.sleep(max(failure.retry_after_s, pause_s * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter
            self.pausing = False
            pause_s = min(pause_s * 2, self._max_pause_s)

    def _tell(self, trouble: str | None, on_trouble: Callable[[], None]) -> None:
        """Say the beginning and the end of an outage, once each."""
        if (trouble is None) == (self.trouble is None):
            return
        self.trouble = trouble
        answer = "answers again" if trouble is None else f"does not answer, trying on: {trouble}"
        say(f"{self._url} {answer}")
        on_trouble()

    def _tell_limit(self, failure: _NoAnswerError) -> None:
        """That the server limits rates: once for all, as it is no outage."""
        if not self._limited:
            self._limited = True
            say(f"{self._url} limits how often it is asked: waiting as it says ({failure})")

    def _call(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - settings allow only http and https
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                reply = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _translate(error) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError) and not self._answered:
                raise RefusedError(
                    f"the certificate of {self._url} is not trusted: "
                    f"{error.reason.verify_message}; set `{CA_FILE}`"
                ) from error
            raise _NoAnswerError(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _NoAnswerError(str(error) or type(error).__name__, lost=True) from error
        except ValueError as error:
            raise _NoAnswerError("the answer is no JSON", lost=True) from error
        self._answered = True
        return _unpack(reply)


def make_tls_context() -> ssl.SSLContext:
    """Trust `SSL_CERT_FILE` or the system's bundle, else the one of the image's certifi."""
    paths = ssl.get_default_verify_paths()
    folder = paths.capath
    if paths.cafile is None and not (folder and any(Path(folder).iterdir())):
        try:
            import certifi
        except ImportError:
            return ssl.create_default_context()
        return ssl.create_default_context(cafile=certifi.where())
    return ssl.create_default_context()


def _translate(error: urllib.error.HTTPError) -> RefusedError | _NoAnswerError:
    try:
        text = _message(error.read())
    except (OSError, http.client.HTTPException):  # cut off; the status was whole
        text = ""
    detail = f"HTTP {error.code}" + (f", {text}" if text else "")
    if error.code in _TRY_AGAIN or error.code >= 500:
        wait_s = _retry_after(error.headers.get("Retry-After"))
        limited, lost = error.code == TOO_OFTEN, error.code >= 500
        return _NoAnswerError(detail, wait_s, limited=limited, lost=lost)
    if error.code == 404:
        return NotFoundError(f"the server does not know this sweep ({detail})")
    if error.code in (401, 403):
        return RefusedError(f"the server refuses the key ({detail})")
    return RefusedError(f"the server refuses the request ({detail})")


def _message(body: bytes) -> str:
    """The first error's text in a GraphQL answer; nothing of other pages."""
    try:
        return str(json.loads(body)["errors"][0]["message"])[:200]
    except (ValueError, LookupError, TypeError):
        return ""


def _retry_after(text: str | None) -> float:
    return min(float(text), 300.0) if text and text.isdecimal() else 0.0


def _unpack(reply: object) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise _NoAnswerError("the answer is no GraphQL reply")
    data = reply.get("data")
    if isinstance(data, dict) and any(data.values()):
        return data
    text = _message(json.dumps(reply).encode()) or "an empty answer"
    raise RejectedError(f"the server refuses the request ({text})")
