"""What `doctor` asks W&B: whether it answers, what time it is there, and whose key we have."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from runner.client import Client, describe_silence
from runner.doctor.findings import Finding, from_error, judge_clock
from runner.errors import ExitCode, RunnerError
from runner.settings.server import (
    ServerChoice,
    find_home,
    find_key_origin,
    find_netrc_trouble,
)
from runner.settings.trust import find_ca_bundle
from runner.state import State

TIMEOUT_S = 5


def look_at_wandb(
    choice: ServerChoice, environ: Mapping[str, str], state: State | None
) -> Iterator[Finding]:
    """The findings where W&B is the server; none where it is this folder's own."""
    if choice.url is None:
        return
    found = find_key_origin(choice.url, environ=environ, home=find_home(), state=state)
    if found is None:
        why = find_netrc_trouble(environ, find_home()) or choice.why
        login = f"wandb login --host={choice.url}"
        yield Finding("W&B key", "fail", f"none for {choice.url} ({why})", login)
    try:
        trust = find_ca_bundle(environ)
        date = _read_date(choice.url, trust)
    except RunnerError as error:
        yield from_error("W&B", error)
        return
    except (OSError, http.client.HTTPException) as error:
        detail = f"{choice.url} cannot be reached: {describe_silence(error)}"
        fix = "look at network and proxy (`HTTPS_PROXY`), or `--server local`"
        yield Finding("W&B", "fail", detail, fix)
        return
    yield Finding("W&B", "ok", f"{choice.url} answers ({choice.why})")
    if date:
        other = parsedate_to_datetime(date).isoformat()
        yield judge_clock(other, now=datetime.now(UTC), whose="W&B's")
    if found:
        yield _try_key(Client(choice.url, found[0], kind="wandb", ca_bundle=trust), found[1])


def _read_date(url: str, trust: Path | None) -> str | None:
    """The server's clock; any answer of its is an answer."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - http(s) by choice
    context = ssl.create_default_context(cafile=trust)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            return str(answer.headers["Date"] or "")
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers["Date"] or "")


def _try_key(client: Client, origin: str) -> Finding:
    try:
        viewer = client.viewer()
    except RunnerError as error:
        if error.code == ExitCode.AUTH:
            login = f"wandb login --relogin --host={client.url}"
            fix = f"correct `{origin}`" if origin == "WANDB_API_KEY" else login
            return Finding("W&B key", "fail", f"{error.message} (it is from {origin})", fix)
        return from_error("W&B key", error, "warn")
    return Finding("W&B key", "ok", f"of {viewer.username or viewer.entity}, from {origin}")
