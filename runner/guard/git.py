"""Ask git about a folder, without running programs from the folder's own git settings."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

# a repository's own configuration can name programs for these
_OVERRIDES = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "safe.bareRepository": "explicit",
}
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",  # do not write the index
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # for git before 2.44, which does not know GIT_NO_LAZY_FETCH
}


def ask_git(
    folder: Path, *words: str, compares: bool = False
) -> "subprocess.CompletedProcess[bytes] | None":
    """The result of `git -C folder …`; None if this machine does not have git.

    Args:
        folder: git's working folder.
        words: the command and its arguments.
        compares: git will read file contents, so turn off filters (such as Git LFS) of the
            repository's own configuration; the user's filters stay on.
    """
    filters = dict(_find_filters(folder)) if compares else {}
    return _call(folder, words, {**_OVERRIDES, **filters})


def find_git_root(folder: Path) -> Path | None:
    """The nearest folder upwards with a `.git` of any type."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def _find_filters(folder: Path) -> Iterator[tuple[str, str]]:
    """Settings of the repository's own filter programs, with values that turn them off."""
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    words = ("config", "--show-scope", "--name-only", "-z", "--get-regexp", pattern)
    listed = _call(folder, words, _OVERRIDES)
    if listed is None or listed.returncode:
        return
    fields = os.fsdecode(listed.stdout).split("\0")
    for scope, name in zip(fields[::2], fields[1::2], strict=False):
        if scope in ("local", "worktree"):
            yield name, "false" if name.endswith(".required") else ""


def _call(
    folder: Path, words: tuple[str, ...], settings: Mapping[str, str]
) -> "subprocess.CompletedProcess[bytes] | None":
    environ = {**os.environ, **_ENVIRONMENT}
    first = int(environ.get("GIT_CONFIG_COUNT") or 0)  # append to the caller's own
    for number, (key, value) in enumerate(settings.items(), first):
        environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    environ["GIT_CONFIG_COUNT"] = str(first + len(settings))
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
