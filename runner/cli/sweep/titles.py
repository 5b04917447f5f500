"""The name of a run in output for people."""

from runner.backend.nodes import RunInfo


def title(run: RunInfo) -> str:
    """The ID of the run, and its display name if that differs."""
    return run.id if run.name in (run.id, "") else f"{run.id} ({run.name})"
