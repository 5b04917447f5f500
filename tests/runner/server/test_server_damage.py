"""A check of damaged data says what is damaged, and touches nothing that it does not understand."""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.server.check import check
from runner.server.filenodes import artifact_folder
from runner.server.records import Artifact, blank_run, replace
from runner.server.seal import seal_all
from tests.runner.server.servers import Clock, history, make_sweep, open_service, row, stream

PAGE = 4096
HEAD = 100  # bytes of the first page that say what the file is
MANIFEST = "wandb_manifest.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with sealed rows and loose ones, and artifacts."""
    data, rng = tmp_path_factory.mktemp("sound") / "data", random.Random(1)
    data.mkdir()
    service = open_service(data, Clock())
    store = service.store
    make_sweep(service)
    for name, count in {"r1": 1100, "r2": 1100, "r3": 300}.items():
        config = '{"lr":{"value":0.1}}'
        store.put(replace(blank_run("local", "demo", name, 1.0), sweep="s1", config=config))
        for at in range(0, count, 100):
            rows = (row(at + n, loss=rng.random(), b=rng.random()) for n in range(100))
            stream(service, name, history(at, *rows))
    for run in store.runs("local", "demo"):
        seal_all(store, run)
    for version in (0, 1):
        put_artifact(data, artifact := make_artifact(version))
        store.put(artifact)
    store.close()
    return data


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return shutil.copytree(sound, tmp_path / "data")


def make_artifact(version: int) -> Artifact:
    names = "local", "demo", "r1", "model", "weights", f"digest{version}"
    return Artifact(f"QXJ0aWZhY3Q6{version}==", *names, "COMMITTED", version, None, 1.0)


def put_artifact(data: Path, artifact: Artifact) -> None:
    """Its files: two of its own, one of the first version, one that lies elsewhere."""
    folder, first = data / "artifacts" / artifact_folder(artifact), make_artifact(0).id
    entries = {
        "w.bin": {"size": 7, "birthArtifactID": artifact.id},
        "a/ü b.txt": {"size": 2, "digest": "x"},
        "old.bin": {"size": 3, "birthArtifactID": first},
        "far.bin": {"size": 9, "ref": "s3://bucket/far.bin"},
    }
    for name, text in {"data/w.bin": "weights", "data/a/%C3%BC%20b.txt": "ab"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if artifact.id == first:
        (folder / "data" / "old.bin").write_text("old")
    (folder / "manifest").mkdir()
    (folder / "manifest" / MANIFEST).write_text(json.dumps({"version": 1, "contents": entries}))


def change(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "server.db", isolation_level=None)) as database:
        for sql in statements:
            database.execute(sql)


def told(data: Path, *, repair: bool = False) -> list[tuple[str, str, bool]]:
    return [(fault.where, fault.what, mended) for fault, mended in check(data, repair=repair)]


def test_what_is_sound_has_no_faults(data: Path) -> None:
    assert told(data) == []


def zero(page: bytes, _: random.Random) -> bytes:
    return bytes(len(page))


def scramble(page: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(page))


def flip(page: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(page))
    return page[:at] + bytes([page[at] ^ 1 << rng.randrange(8)]) + page[at + 1 :]


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("harm", [zero, scramble, flip])
def test_a_damaged_page_ends_no_check_with_a_fault_of_its_own(
    data: Path, harm: Callable[[bytes, random.Random], bytes], repair: bool
) -> None:
    """Every fourth page in turn: an error that is meant for people, findings, or a free page."""
    file, rng = data / "server.db", random.Random(2)
    content = file.read_bytes()
    outcomes = []
    for begin in range(0, len(content), 4 * PAGE):
        low, high = max(begin, HEAD), begin + PAGE
        file.write_bytes(content[:low] + harm(content[low:high], rng) + content[high:])
        try:
            outcomes.append(bool(check(data, repair=repair)))
        except RunnerError as error:
            outcomes.append("cannot be opened" in error.message)
    assert any(outcomes)


def test_a_damaged_database_is_named_and_left_as_it_is(data: Path) -> None:
    change(data, "update sweep set runs=9")
    file = data / "server.db"
    with closing(sqlite3.connect(file)) as database:
        sql = "select rootpage from sqlite_master where name='run'"
        [page] = database.execute(sql).fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    file.write_bytes(content)

    found = told(data, repair=True)

    assert found
    for where, what, mended in found:
        assert where == "server.db"
        assert what.endswith(": take the last backup")
        assert not mended
    assert file.read_bytes() == content


@pytest.mark.parametrize("new", ["x'00'", "cast('no rows' as blob)", "zeroblob(length(data))"])
@pytest.mark.parametrize("run", ["r1", "r3"])  # sealed rows; loose ones
def test_rows_that_cannot_be_read_are_named_and_the_rest_is_repaired(
    data: Path, run: str, new: str
) -> None:
    where = f"run='{run}' and first=0 and kind='history'"
    change(data, f"update chunk set data={new} where {where}", "update sweep set runs=9")

    found = told(data, repair=True)

    [lost] = [what for _, what, mended in found if "cannot be read: lost" in what and not mended]
    assert lost.startswith("lines 0 to ")
    assert any(mended for _, what, mended in found if what == "counts 9 runs, there are 3")
    assert ("counts 9 runs, there are 3", False) not in [one[1:] for one in told(data)]


def test_columns_of_rows_that_are_lost_are_not_repaired(data: Path) -> None:
    change(
        data,
        "update chunk set data=x'00' where run='r1' and first=0 and kind='history'",
        "delete from points where run='r1' and first=0",
    )
    found = {what: mended for _, what, mended in told(data, repair=True)}
    assert found["its columns are not those of its rows"] is False


HARMS: dict[str, Callable[[Path], object]] = {
    "`w.bin` is missing": lambda folder: (folder / "data" / "w.bin").unlink(),
    "`w.bin` has another size": lambda folder: (folder / "data" / "w.bin").write_text("weight"),
    "`a/ü b.txt` is missing": lambda folder: shutil.rmtree(folder / "data" / "a"),
    "its manifest is missing": lambda folder: (folder / "manifest" / MANIFEST).unlink(),
    "its manifest cannot be read": lambda folder: (folder / "manifest" / MANIFEST).write_text("[]"),
}


@pytest.mark.parametrize("what", HARMS)
def test_files_that_a_committed_artifact_lacks_are_named(data: Path, what: str) -> None:
    HARMS[what](data / "artifacts" / artifact_folder(make_artifact(1)))
    assert told(data, repair=True) == [("local/demo/weights:v1", what, False)]


def test_a_file_that_an_earlier_version_brought_is_missed_in_both(data: Path) -> None:
    (data / "artifacts" / artifact_folder(make_artifact(0)) / "data" / "old.bin").unlink()
    assert [one[:2] for one in told(data)] == [
        (f"local/demo/weights:v{version}", "`old.bin` is missing") for version in (0, 1)
    ]


def test_an_artifact_that_is_still_sent_may_lack_files(data: Path) -> None:
    change(data, "update artifact set state='PENDING' where version=1")
    shutil.rmtree(data / "artifacts" / artifact_folder(make_artifact(1)))
    assert told(data) == []
