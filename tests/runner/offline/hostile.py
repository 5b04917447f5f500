"""Run folders as a program in a container, or a stranger's repository, may leave them."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.offline.log.leveldb import FrameWriter
from runner.offline.log.protobuf import load_records

SECRET = "a-secret-of-the-host"


def md5(content: str) -> str:
    """As manifests have it."""
    return base64.b64encode(hashlib.md5(content.encode()).digest()).decode()


def framed(*records: bytes) -> bytes:
    """A log of these records; its checksums are right."""
    file = io.BytesIO()
    writer = FrameWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


def record(**fields: Any) -> bytes:
    """One record, encoded: `record(exit={"exit_code": 0})`."""
    return bytes(load_records().Record(**fields).SerializeToString())


def updates(values: dict[str, Any]) -> dict[str, Any]:
    """A config's or summary's changes."""
    return {"update": [{"key": key, "value_json": json.dumps(one)} for key, one in values.items()]}


def run_record(run_id: str, **more: Any) -> bytes:
    """What the client writes first of a run."""
    config = updates({"lr": 0.1})
    return record(run={"run_id": run_id, "project": "p", "config": config, **more})


def history(step: int) -> bytes:
    """One row, and the summary that goes with it."""
    items = [
        {"nested_key": [key], "value_json": json.dumps(value)}
        for key, value in {"loss": step * 1.5, "_step": step}.items()
    ]
    return record(history={"step": {"num": step}, "item": items})


def summary(**values: Any) -> bytes:
    """A change of the summary."""
    return record(summary=updates(values))


def usual(run_id: str, more: Sequence[bytes] = (), rows: int = 3, **run: Any) -> list[bytes]:
    """The records of a short run, with `more` before its end."""
    return [
        record(header={"version_info": {"producer": "0.31.0"}}),
        run_record(run_id, **run),
        *map(history, range(rows)),
        summary(loss=1.5 * (rows - 1)),
        *more,
        record(exit={"exit_code": 0}),
    ]


def place(home: Path, run_id: str, data: bytes, *, second: int = 0) -> Path:
    """A run's folder below `home/wandb`, with this log; gives the folder."""
    folder = home / "wandb" / f"offline-run-20260101_0000{second:02}-{run_id}"
    (folder / "files").mkdir(parents=True)
    (folder / f"run-{run_id}.wandb").write_bytes(data)
    return folder


def make_run(home: Path, run_id: str, *more: bytes, rows: int = 3, **run: Any) -> Path:
    """A run that logged `rows` rows, and these records; gives its folder."""
    return place(home, run_id, framed(*usual(run_id, more, rows, **run)))


def files(*paths: str) -> bytes:
    """A record that names run files."""
    return record(files={"files": [{"path": path} for path in paths]})


def artifact(name: str, *paths: str, run_id: str = "x", manifest: str = "") -> bytes:
    """A record of an artifact of these local files, or of a file that lists them."""
    contents = [
        {"path": f"{number}.bin", "local_path": path, "digest": md5(SECRET), "size": len(SECRET)}
        for number, path in enumerate(paths)
    ]
    return record(
        artifact={
            "run_id": run_id,
            "project": "p",
            "type": "model",
            "name": name,
            "digest": hashlib.md5(name.encode()).hexdigest(),
            "manifest": {
                "version": 1,
                "storage_policy": "wandb-storage-policy-v1",
                "contents": contents,
                "manifest_file_path": manifest,
            },
            "finalize": True,
            "client_id": f"client-{name}",
            "sequence_client_id": f"sequence-{name}",
        }
    )
