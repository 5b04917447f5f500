"""Where Compose's services leave on the host what agents mount."""

from pathlib import Path

from runner.state.folder import State


def shared_folder(state: State) -> Path:
    """The sweep's path, the server, the agents' code; see the contract's `paths` for the files."""
    return state.root / "compose"


def key_folder(state: State) -> Path:
    """The key that agents get, and certificates."""
    return state.secrets / "compose"
