"""Folders are walked by handle: no link, file or pipe in the way is followed."""

import os
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.guard.walk import (
    clear_name,
    clear_unless_file,
    is_empty,
    make_file,
    make_folders,
    replace_file,
    walk,
)


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    made = make_folders(tmp_path, "a", "b", mode=0o700)

    assert made == tmp_path / "a" / "b"
    assert made.stat().st_mode & 0o777 == 0o700
    with walk(tmp_path, "a") as folder:
        assert not is_empty(folder)
    with pytest.raises(FileNotFoundError), walk(tmp_path, "a", "c"):
        pass


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe"])
@pytest.mark.parametrize("depth", [0, 1])
def test_what_is_in_the_way_is_named(tmp_path: Path, kind: str, depth: int) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    place = root.joinpath("a", "b") if depth else root / "a"
    place.parent.mkdir(parents=True)
    match kind:
        case "link":
            place.symlink_to(outside)
        case "dangling":
            place.symlink_to(outside / "none")
        case "file":
            place.touch()
        case _:
            os.mkfifo(place)

    with pytest.raises(RunnerError, match=f"`{place}` is a ") as caught:
        make_folders(root, "a", "b", "c")

    assert caught.value.code == ExitCode.UNFIT
    assert f"mv {place}" in (caught.value.hint or "")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0"])
def test_a_name_is_one_step(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunnerError, match="is not a place for this file"):
        make_folders(tmp_path / "..", name)


def test_a_file_is_made_once_and_never_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "kept").write_text("text")
    with walk(tmp_path) as folder:
        make_file("new", folder, tmp_path / "new")
        make_file("kept", folder, tmp_path / "kept")
        with pytest.raises(RunnerError, match="is a link, but runner needs a file there"):
            make_file("link", folder, tmp_path / "link")

    assert (tmp_path / "new").read_text() == ""
    assert (tmp_path / "kept").read_text() == "text"
    assert not outside.exists()


def test_a_file_takes_the_place_of_whatever_had_its_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "folder"
    (folder / "full" / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    with walk(folder) as handle:
        for name in ("full", "link", "pipe", "new", "new"):
            replace_file(name, handle, folder / name, "text")

    names = {one.name for one in folder.iterdir() if one.is_file()}
    assert names == {"full", "link", "pipe", "new"}
    assert {one.read_text() for one in folder.iterdir() if one.is_file()} == {"text"}
    assert outside.read_text() == "mine"


def test_what_is_no_file_gives_its_name_up(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "full" / "deep").mkdir(parents=True)
    with walk(tmp_path) as folder:
        for name in ("kept", "link", "full", "none"):
            clear_unless_file(name, folder)
        left = {one.name for one in tmp_path.iterdir()} - {"kept"}
        clear_name("kept", folder)
        clear_name("none", folder)

    assert len(left) == 1
    assert left.pop().startswith(".full.")
    assert not (tmp_path / "kept").exists()
