"""What Compose started for a folder, told by Compose's own labels."""

from pathlib import Path

from runner.engine.types import Container
from runner.state import State

FOLDER_LABEL = "com.docker.compose.project.working_dir"


def is_composed(container: Container) -> bool:
    """Whether Compose made it."""
    return FOLDER_LABEL in container.labels


def is_here(container: Container, state: State) -> bool:
    """Whether Compose made it from the compose.yaml beside this state folder."""
    folder = container.labels.get(FOLDER_LABEL)
    return folder is not None and Path(folder).resolve() == state.root.parent.resolve()
