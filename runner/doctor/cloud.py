"""What `doctor` asks a server that is named by its URL: whether it answers, its time, our key."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runner.backend.certificates import find_ca_bundle
from runner.backend.choice import ServerChoice
from runner.backend.client import Client
from runner.backend.http import Http, NoAnswer
from runner.backend.keys import find_key_origin
from runner.backend.wandb_files import find_home, find_netrc_trouble
from runner.doctor.findings import Finding, from_error, judge_clock
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State
from runner.sweeps.servers import find_kind

TIMEOUT_S = 5


def look_at_server(
    choice: ServerChoice, environ: Mapping[str, str], state: State | None
) -> Iterator[Finding]:
    """The findings where the server is named by its URL; none where it is this folder's own."""
    if choice.url is None:
        return
    try:
        trust = find_ca_bundle(environ)
        kind = find_kind(choice.url, state, trust)
    except RunnerError as error:
        yield from_error("W&B", error)
        return
    check = "W&B" if kind == "wandb" else "server"
    found = find_key_origin(choice.url, environ=environ, home=find_home(), state=state)
    if found is None:
        why = find_netrc_trouble(environ, find_home()) or choice.why
        login = f"wandb login --host={choice.url}"
        yield Finding(f"{check} key", "fail", f"none for {choice.url} ({why})", login)
    try:
        date = Http(choice.url, ca_bundle=trust).read_header("/", "Date", timeout_s=TIMEOUT_S)
    except NoAnswer as error:
        detail = f"{choice.url} cannot be reached: {error.why}"
        fix = "check network and proxy (`HTTPS_PROXY`), or use `--server local`"
        yield Finding(check, "fail", detail, fix)
        return
    what = "answers" if kind == "wandb" else "answers, it is a sweep server of runner"
    yield Finding(check, "ok", f"{choice.url} {what} ({choice.why})")
    if date:
        other = parsedate_to_datetime(date).isoformat()
        whose = "W&B's" if kind == "wandb" else "the server's"
        yield judge_clock(other, now=datetime.now(UTC), whose=whose)
    if found:
        client = Client(choice.url, found[0], kind=kind, ca_bundle=trust)
        yield _try_key(client, found[1], f"{check} key")


def _try_key(client: Client, origin: str, check: str) -> Finding:
    try:
        viewer = client.viewer()
    except RunnerError as error:
        if error.code == ExitCode.AUTH:
            login = f"wandb login --relogin --host={client.url}"
            fix = f"correct `{origin}`" if origin == "WANDB_API_KEY" else login
            return Finding(check, "fail", f"{error.message} (key from {origin})", fix)
        return from_error(check, error, "warn")
    return Finding(check, "ok", f"of {viewer.username or viewer.entity}, from {origin}")
