"""Entity and W&B project of a sweep, where its path or file does not say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import ExitCode, RunnerError

if TYPE_CHECKING:  # `ps` asks no server
    from runner.backend.connection import Connection
    from runner.sweepfile import SweepSpec

LOCAL_ENTITY = "local"  # of a local sweep that names none; the sync maps it to the key's own


@dataclass(frozen=True, slots=True)
class SweepDefaults:
    """Entity and W&B project to use where the sweep's path does not say."""

    entity: str | None
    project: str | None
    fallback_project: str
    entity_why: str = ""  # the origins, in the user's words
    project_why: str = ""
    find_file_project: Callable[[], str | None] = lambda: None  # reads the folder's sweep file

    def describe(self) -> str:
        """Where a sweep's bare ID is looked for."""
        entity = f"`{self.entity}` ({self.entity_why})" if self.entity else "the key's own"
        if self.project:
            project = f"`{self.project}` ({self.project_why})"
        elif filed := self.find_file_project():
            project = f"`{filed}` (the sweep file)"
        else:
            project = f"`{self.fallback_project}` (the folder's name)"
        return f"entity {entity}, W&B project {project}"

    def likely_projects(self) -> list[str]:
        """The W&B projects that a bare ID may be in, the likeliest first."""
        if self.project:
            return [self.project]
        likely = (self.find_file_project(), self.fallback_project, "uncategorized")  # as W&B's
        return [one for one in dict.fromkeys(likely) if one]


def find_place(parsed: "SweepSpec", server: "Connection", names: SweepDefaults) -> tuple[str, str]:
    """Entity and W&B project of the sweep that a file makes."""
    entity = names.entity or parsed.entity or default_entity(server)
    return entity, names.project or parsed.project or names.fallback_project


def default_entity(server: "Connection") -> str:
    """The entity where nobody names one: `local` on our servers, the key's own on W&B."""
    if server.kind == "runner":
        return LOCAL_ENTITY
    viewer = server.client.viewer()
    return viewer.entity or viewer.username


def check_may_write(server: "Connection", entity: str) -> None:
    """On W&B a key may write to its viewer's own entity and to those of its teams.

    Raises:
        RunnerError: to this one it may not (4).
    """
    if server.kind == "runner":
        return
    viewer = server.client.viewer()
    if viewer.may_write(entity):
        return
    own = ", ".join(f"`{one}`" for one in dict.fromkeys([viewer.entity, *viewer.teams]) if one)
    raise RunnerError(
        f"the key for {server.client.url} may not write to entity `{entity}`",
        hint=f"it may write to {own or 'none'}",
        code=ExitCode.AUTH,
    )
