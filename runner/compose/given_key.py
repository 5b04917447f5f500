"""Find W&B's key for the agents of Compose in the file that the user names."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from runner.agent.contract import paths, variables
from runner.backend.keys import find_key, read_own_key
from runner.compose import pins
from runner.disk.own_files import write_atomic
from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.state.folder import State

GIVEN = Path(paths.GIVEN_KEY)


def find_agents_key(url: str, state: State, environ: Mapping[str, str]) -> str:
    """W&B's key for this host: from the given file, else from the copy of `runner compose`.

    Raises:
        RunnerError: there is no key (4).
    """
    kept = key_file(state, url)
    if environ.get(variables.KEY_IS_GIVEN):
        key = read_key(GIVEN, url, state)
        write_atomic(kept, key + "\n", mode=0o600)
        return key
    if not kept.is_file():
        raise RunnerError(
            f"no W&B key for {url}",
            hint=f"`{pins.KEY_FILE}=~/.netrc docker compose up`, or `runner compose` first",
            code=ExitCode.AUTH,
        )
    return kept.read_text("ascii").strip()


def key_file(state: State, url: str) -> Path:
    """The path of Compose's copy of the key for this host only."""
    return state.secrets / "wandb" / (urlsplit(url).netloc.replace(":", "_") or "none")


def read_key(file: Path, url: str, state: State | None) -> str:
    """The key in a file that contains only a key, or this server's key in a .netrc.

    Raises:
        RunnerError: the file cannot be read, has no key for it, or has our own server's key.
    """
    try:
        text = read_text(file).strip()
    except OSError as error:
        raise RunnerError(
            f"cannot read the key: {error}", hint=f"check {pins.KEY_FILE}", code=ExitCode.AUTH
        ) from error
    if text and text == read_own_key(state):
        raise RunnerError(
            f"{pins.KEY_FILE} holds the key of this folder's own server, not one for {url}",
            hint="name a file with W&B's key, or a .netrc",
            code=ExitCode.AUTH,
        )
    if len(text.split()) == 1:
        return text
    nobody = Path("/nonexistent")
    environ = {"NETRC": str(file)}
    found = find_key(url, environ=environ, home=nobody, state=state, folder=nobody)
    if found is None:
        raise RunnerError(f"{pins.KEY_FILE} has no key for {url}", code=ExitCode.AUTH)
    return found
