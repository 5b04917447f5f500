"""How a run is named to a person."""

from runner.backend.nodes import RunInfo


def title(run: RunInfo) -> str:
    """Its ID, and its display name where that differs."""
    return run.id if run.name in (run.id, "") else f"{run.id} ({run.name})"
