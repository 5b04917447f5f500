"""Choose entity and W&B project of a sweep if its path or file does not name them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import ExitCode, RunnerError

if TYPE_CHECKING:  # `ps` asks no server
    from runner.backend.connection import Connection
    from runner.sweepfile import SweepSpec

LOCAL_ENTITY = "local"  # entity of local sweeps; the sync replaces it with the key's own


@dataclass(frozen=True, slots=True)
class SweepDefaults:
    """Default entity and W&B project for sweeps whose path does not name them."""

    entity: str | None
    project: str | None
    fallback_project: str
    entity_why: str = ""  # the origin, for messages
    project_why: str = ""
    find_file_project: Callable[[], str | None] = lambda: None  # reads the folder's sweep file

    def describe(self) -> str:
        """Where runner looks for a bare sweep ID."""
        entity = f"`{self.entity}` ({self.entity_why})" if self.entity else "the key's own"
        if self.project:
            project = f"`{self.project}` ({self.project_why})"
        elif filed := self.find_file_project():
            project = f"`{filed}` (the sweep file)"
        else:
            project = f"`{self.fallback_project}` (the folder's name)"
        return f"entity {entity}, W&B project {project}"

    def likely_projects(self) -> list[str]:
        """The W&B projects to search for a bare ID, the likeliest first."""
        if self.project:
            return [self.project]
        likely = (self.find_file_project(), self.fallback_project, "uncategorized")  # W&B's default
        return [one for one in dict.fromkeys(likely) if one]


def find_place(parsed: "SweepSpec", server: "Connection", names: SweepDefaults) -> tuple[str, str]:
    """Entity and W&B project for the sweep of a file."""
    entity = names.entity or parsed.entity or default_entity(server)
    return entity, names.project or parsed.project or names.fallback_project


def default_entity(server: "Connection") -> str:
    """The default entity: `local` on our servers, the key's own on W&B."""
    if server.kind == "runner":
        return LOCAL_ENTITY
    viewer = server.client.viewer()
    return viewer.entity or viewer.username


def check_may_write(server: "Connection", entity: str) -> None:
    """Check that a W&B key may write to the entity: the viewer's own, or a team's.

    Raises:
        RunnerError: it may not (4).
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
