"""Whether a sweep server of ours answers at an address, and what it says of itself."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from runner.backend.http import ErrorAnswer, Http, NoAnswer
from runner.errors import ExitCode, RunnerError


class KeyRefused(RunnerError):  # noqa: N818 - an answer, not a fault
    """The server was started with another key than the folder has now."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a running server says of itself."""

    version: str
    sweeps: int
    runs_live: int


def read_health(
    url: str, key: str, *, ca_bundle: Path | None = None, timeout_s: float = 5
) -> Health | None:
    """What the server at `url` says; None while it does not answer.

    Raises:
        RunnerError: something answers that is not our server, or refuses the key.
    """
    try:
        answer = Http(url, key, ca_bundle=ca_bundle).request("GET", "/healthz", timeout_s=timeout_s)
        body = json.loads(answer)
    except ErrorAnswer as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return None
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise KeyRefused(
                f"{url} refuses this folder's key",
                hint="if it is this folder's own server: `runner down`, then `runner up` "
                "starts it with the key",
                code=ExitCode.AUTH,
            ) from error
        raise _not_ours(url, f"it answers {error.status}") from error
    except (NoAnswer, ValueError):
        return None
    if not isinstance(body, dict) or body.get("name") != "runner":
        raise _not_ours(url, "something else answers")
    return Health(
        str(body.get("version")), int(body.get("sweeps") or 0), int(body.get("runs_live") or 0)
    )


def _not_ours(url: str, why: str) -> RunnerError:
    return RunnerError(
        f"{url} is not a sweep server of runner ({why})",
        hint="`runner down`, then try again: the server gets another port",
    )
