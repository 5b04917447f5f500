"""Clients read the same rows and values as from the version before series were kept."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.rig.command import ROOT
from tests.runner.server.clients import OLDEST, OURS, Client
from tests.runner.server.servers import Server

pytestmark = pytest.mark.client
BEFORE = "325977b"  # the last version that kept rows in files
RUN = "local/values/v1"
ROWS = 3_000


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that version."""
    words = ["git", "-C", str(ROOT), "archive", BEFORE, "runner"]
    made = subprocess.run(words, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"history: this clone does not have the commit {BEFORE}")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def written(old_code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the version before, with a run of every kind of value."""
    server = Server(tmp_path_factory.mktemp("written") / "data", code=old_code)
    server.start()
    Client(server, server.data.parent / "home").script("nested_rows.py", "write", RUN)
    assert server.stop() == 0
    return server.data


def read(server: Server, home: Path, version: str) -> dict[str, Any]:
    """What a client of this version reads."""
    server.start()
    try:
        output = Client(server, home, version).script("nested_rows.py", "read", RUN)
    finally:
        server.stop()
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_the_same_rows_and_values_are_read_as_before(
    written: Path, old_code: Path, tmp_path: Path, version: str
) -> None:
    for name in ("old", "new"):
        shutil.copytree(written, tmp_path / name)

    before = read(Server(tmp_path / "old", code=old_code), tmp_path / "home", version)
    after = read(Server(tmp_path / "new"), tmp_path / "home", version)

    for kind, found in before.items():
        assert after[kind] == found, kind
    nested = after["scan_history"]["nested"]
    assert [row["n.a.b"] for row in nested] == [step / 7 for step in range(ROWS)]
    assert len(after["scan_history"]["all"]) == len(after["history"]["every"]) == ROWS
    assert [row["_step"] for row in after["scan_history"]["pages"]] == list(range(ROWS))
    assert len(after["scan_history"]["third"]) == ROWS // 3
    assert after["scan_history"]["nobody's"] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_what_is_logged_to_this_version_is_read_as_it_was_logged(
    tmp_path: Path, version: str
) -> None:
    server = Server(tmp_path / "data")
    server.start()
    Client(server, tmp_path / "home", version).script("nested_rows.py", "write", RUN)
    assert server.stop() == 0

    found = read(server, tmp_path / "home", version)

    rows = found["scan_history"]["all"]
    assert [row["_step"] for row in rows] == list(range(ROWS))
    for step, row in enumerate(rows):
        assert row["n"] == {"a": {"b": step / 7, "t": f"t{step % 3}"}, "c": step % 2 == 0}
        assert (row["x"], row["d.e"], row["large"]) == (step, -step, 2**62 + step)
        assert row["text"] == "a" * (step % 4) + "ü\U0001f600\u2028"
        assert row["list"] == [step, None, "z"]
        assert ("third" in row) == (step % 3 == 0)
    assert [row["n.a.b"] for row in found["scan_history"]["nested"]] == [
        step / 7 for step in range(ROWS)
    ]
    assert [row["_step"] for row in found["scan_history"]["part"]] == list(range(990, 1_010))
    media = ROWS // 500 if version == OURS else 0  # the other one has no numpy
    assert len(found["scan_history"]["media"]) == media
