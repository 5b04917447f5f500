"""An empty server database, made once per process: making one takes ten times as long."""

import tempfile
from functools import cache
from pathlib import Path

from runner.server.store import Store


def place_database(root: Path) -> None:
    """Put an empty database of this version into the data folder `root`, unless it has one."""
    if not (root / "server.db").exists():
        (root / "server.db").write_bytes(_make_empty())


@cache
def _make_empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder)).close()
        return Path(folder, "server.db").read_bytes()
