"""What Compose started for a folder, told by Compose's own labels."""

from pathlib import Path

from runner.agent.contract.labels import COMPOSE_FOLDER as FOLDER_LABEL
from runner.engine.types import Container
from runner.state import State

__all__ = ["FOLDER_LABEL", "is_composed", "is_here"]


def is_composed(container: Container) -> bool:
    """Whether Compose made it."""
    return FOLDER_LABEL in container.labels


def is_here(container: Container, state: State) -> bool:
    """Whether Compose made it from the compose.yaml beside this state folder."""
    folder = container.labels.get(FOLDER_LABEL)
    return folder is not None and Path(folder).resolve() == state.root.parent.resolve()
