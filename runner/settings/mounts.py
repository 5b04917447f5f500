"""Parse the user's mounts: `SRC:DST[:ro]`."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from runner.agent.contract import paths
from runner.errors import ExitCode, RunnerError


@dataclass(frozen=True, slots=True)
class UserMount:
    """A folder or file of the host, and its path for runs."""

    source: str  # relative to the project, with `~` for the home
    target: PurePosixPath  # absolute
    read_only: bool
    origin: str = field(default="", compare=False)  # `flag`, a variable, or the project's file

    def __str__(self) -> str:
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


def parse_mount(text: str) -> UserMount:
    """Parse a mount.

    Raises:
        RunnerError: it is not a mount (2).
    """
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
        raise not_a_mount(text, "a mount is `SRC:DST`, or `SRC:DST:ro`")
    target = PurePosixPath(parts[1])
    if not target.is_absolute() or ".." in target.parts:
        hint = f"`{parts[1]}` must be an absolute path; the project is `{paths.WORKSPACE}`"
        raise not_a_mount(text, hint)
    return UserMount(parts[0], target, read_only=parts[2:] == ["ro"])


def not_a_mount(text: object, hint: str) -> RunnerError:
    """The error for a mount that cannot be made."""
    return RunnerError(f"`{text}` is not a mount", hint=hint, code=ExitCode.USAGE)
