"""`up --sweep FILE` again: the same sweep, until it has ended or `--new` asks for another."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Folder]:
    """A project with a built image."""
    name = f"test-same-{os.getpid()}"
    made = make_folder(tmp_path_factory.mktemp("same") / "plain", name, engine_env.env)
    made.use_image(plain_image)
    yield made
    engine_env.remove_fleet(name)


def up(folder: Folder, file: str, *more: str) -> tuple[str, list[str]]:
    """The sweep's path and what was done."""
    shown = folder.json("up", "--gpus", "cpu:1", "--sweep", file, *more)
    return shown["sweep"], [action["do"] for action in shown["actions"]]


def test_twice_is_one_sweep_and_changes_nothing_more(folder: Folder) -> None:
    file = folder.write_sweep("twice.yaml", "hold")
    first = up(folder, file)

    with (folder.root / file).open("a") as text:
        text.write("# a remark is no change\n")
    second = up(folder, file)
    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", file, "--dry-run")

    assert (first[1], second) == (["start"], (first[0], ["keep"]))
    assert f"sweep {first[0]} of `{file}` is unfinished; `--new` creates another one\n" in said
    another = up(folder, file, "--new", "--now")
    assert another[0] != first[0]
    assert another[1] == ["replace"]
    folder.run("stop")


def test_of_an_ended_one_nothing_starts(folder: Folder) -> None:
    file = folder.write_sweep("ended.yaml", "idle")
    folder.run("up", "--gpus", "cpu:1", "--sweep", file, "--follow")

    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", file, "--follow")

    assert f"of `{file}` has ended; `--new` creates another one\n" in said
    assert "the sweep is finished: nothing to start" in said
    assert "created sweep" not in said
    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", file, "--follow", "--new")
    assert "created sweep" in said


def test_new_goes_with_a_file_alone(folder: Folder) -> None:
    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", "abc123", "--new", code=2)

    assert said.endswith(
        "error: `--new` creates the sweep of a file, and `abc123` is not a file\n"
        "hint: leave `--new` out, or name the YAML file\n"
    )


def test_two_at_once_make_one(folder: Folder) -> None:
    file = folder.write_sweep("race.yaml", "hold", "race")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: up(folder, file), range(2)))

    assert results[0][0] == results[1][0]
    assert sorted(done for _, (done,) in results) in (["keep", "replace"], ["keep", "start"])
    records = (folder.root / ".runner" / "sweeps").glob("*.json")
    hashes = [json.loads(record.read_text())["hash"] for record in records]
    assert hashes.count(json.loads(newest(folder))["hash"]) == 1
    folder.run("stop")


def test_a_file_is_read_once(folder: Folder) -> None:
    """As from `--sweep <(make-sweep)`: a pipe has nothing for a second reader."""
    folder.write_sweep("text.yaml", "hold")
    pipe = folder.root / "pipe.yaml"
    os.mkfifo(pipe)
    text = (folder.root / "text.yaml").read_text() + "description: by pipe\n"
    writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
    writer.start()

    path, done = up(folder, "pipe.yaml", "--now")

    writer.join(5)
    assert done in (["start"], ["replace"])
    record = json.loads((folder.root / ".runner/sweeps" / f"{path.split('/')[2]}.json").read_text())
    assert record["config"]["description"] == "by pipe"
    folder.run("stop")
    pipe.unlink()


def newest(folder: Folder) -> str:
    """The record that was written last."""
    records = (folder.root / ".runner" / "sweeps").glob("*.json")
    return max(records, key=lambda file: file.stat().st_mtime_ns).read_text()
