"""The host folders that Compose's services write and agents mount."""

from pathlib import Path

from runner.state.folder import State


def shared_folder(state: State) -> Path:
    """Contains the sweep's path, the server and the agents' code; the contract names the files."""
    return state.root / "compose"


def key_folder(state: State) -> Path:
    """Contains the agents' key and certificates."""
    return state.secrets / "compose"
