"""Read from a container's labels who made it; the contract's `labels` has their names."""

from pathlib import Path

from runner.agent.contract.labels import COMPOSE_FOLDER
from runner.engine.types import Container
from runner.state.folder import State


def is_composed(container: Container) -> bool:
    """Whether Compose made it."""
    return COMPOSE_FOLDER in container.labels


def is_here(container: Container, state: State) -> bool:
    """Whether Compose made it from the compose.yaml next to this state folder."""
    folder = container.labels.get(COMPOSE_FOLDER)
    return folder is not None and Path(folder).resolve() == state.root.parent.resolve()
