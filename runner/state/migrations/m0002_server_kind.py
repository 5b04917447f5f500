"""Add the kind of server to sweep records: before, all but this folder's own were W&B's."""

import os
from pathlib import Path

from runner.disk.own_files import read_json, write_json


def change(root: Path) -> None:
    """Add `kind` to the records in `sweeps/`; skips damaged ones."""
    for file in (root / "sweeps").glob("*.json"):
        record = read_json(file)
        if record and "kind" not in record and isinstance(record.get("server"), str):
            kind = "runner" if record["server"] == "local" else "wandb"
            before = file.stat()
            write_json(file, {**record, "kind": kind})
            # the order of the files' times is the order of the sweeps
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
