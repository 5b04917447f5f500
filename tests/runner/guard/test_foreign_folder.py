"""Files of a folder that strangers write in: below it they are opened, out of it they are not."""

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.guard.foreign_files import DamagedFile
from runner.guard.foreign_folder import MAX_DEPTH, MAX_LINKS, ForeignFolder, OutsideError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with a file in it, beside a secret."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "top" / "in" / "ner").mkdir(parents=True)
    (tmp_path / "top" / "plain").write_text("plain")
    (tmp_path / "top" / "in" / "ner" / "deep").write_text("deep")
    return tmp_path / "top"


@pytest.fixture
def folder(top: Path) -> Iterator[ForeignFolder]:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number counts
    with ForeignFolder(top) as opened:
        yield opened
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - no handle is left


def read(folder: ForeignFolder, path: str) -> str:
    with folder.open(path) as file:
        return file.read().decode()


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("plain", "plain"),
        ("./in/../plain", "plain"),
        ("in//ner/deep", "deep"),
        ("{top}/in/ner/deep", "deep"),
        ("chain", "plain"),
        ("folder/deep", "deep"),
    ],
)
def test_a_path_and_a_link_that_stay_below_are_followed(
    folder: ForeignFolder, top: Path, target: str, content: str
) -> None:
    (top / "chain").symlink_to("in/back")
    (top / "in" / "back").symlink_to("../plain")
    (top / "folder").symlink_to("in/ner")
    (top / "link").symlink_to(target.format(top=top))

    assert read(folder, "link") == content
    if "{" not in target:
        assert read(folder, target) == content


@pytest.mark.parametrize(
    "target",
    [
        "../secret",
        "in/../../secret",
        "{top}/../secret",
        "{top}x/secret",
        "/etc/hostname",
        "/proc/self/root/etc/hostname",
        "chain",
        "out/secret",
        "..",
        "/",
    ],
)
def test_a_link_that_leaves_is_refused(folder: ForeignFolder, top: Path, target: str) -> None:
    (top / "chain").symlink_to("in/back")
    (top / "in" / "back").symlink_to("../../secret")
    (top / "out").symlink_to("..")
    (top / "link").symlink_to(target.format(top=top))

    with pytest.raises(OutsideError, match=r"leaves its folder"):
        folder.open("link")


@pytest.mark.parametrize(
    "path", ["../secret", "in/../../secret", "/etc/hostname", "in/ner/../../.."]
)
def test_a_path_that_leaves_is_refused(folder: ForeignFolder, path: str) -> None:
    with pytest.raises(OutsideError):
        folder.open(path)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    folder: ForeignFolder, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(top / "fifo")
    monkeypatch.chdir(top)  # the path of a socket is 108 bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (top / "loop").symlink_to("loop")
    (top / "device").symlink_to("/dev/zero")

    for name in ("fifo", "socket", "in", "", "loop", "device", "loop/x", "nul\0"):
        with pytest.raises(DamagedFile):
            folder.open(name)
    for name in ("absent", "in/absent", "absent/plain", "plain/x"):
        with pytest.raises(FileNotFoundError):
            folder.open(name)


def test_links_and_depth_have_an_end(folder: ForeignFolder, top: Path) -> None:
    (top / "0").symlink_to("plain")
    for number in range(1, MAX_LINKS + 1):
        (top / str(number)).symlink_to(str(number - 1))
    deep = top.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "file").touch()

    assert read(folder, str(MAX_LINKS - 1)) == "plain"
    with pytest.raises(DamagedFile, match="without an end"):
        folder.open(str(MAX_LINKS))
    with pytest.raises(DamagedFile, match="folders deep"):
        folder.open("d/" * (MAX_DEPTH + 1) + "file")
    with pytest.raises(DamagedFile, match="it is a link"):
        folder.open("0", max_links=0)


def test_a_folder_is_opened_by_no_link_and_no_way_up(folder: ForeignFolder, top: Path) -> None:
    (top / "out").symlink_to("..")
    (top / "alias").symlink_to("in")

    with folder.folder("in/ner") as inner:
        assert inner.path == top / "in" / "ner"
        assert [name for name, _ in inner.entries()] == ["deep"]
    for path in ("out", "alias", "alias/ner", "in/..", "..", "plain", "/etc"):
        with pytest.raises(DamagedFile):
            folder.folder(path)
    with pytest.raises(FileNotFoundError):
        folder.folder("absent")
    with pytest.raises(DamagedFile, match="is a link"):
        ForeignFolder(top / "alias")


def test_a_file_that_turns_into_a_link_between_two_looks_is_not_followed(
    folder: ForeignFolder, top: Path
) -> None:
    """A program swaps file and folder for links as fast as it can; the secret never comes out.

    It rests now and then: a reader in step with it would never see the file itself.
    """
    (top / "evil").symlink_to("..")
    stop, seen = threading.Event(), set[str]()
    (top / "in" / "secret").write_text("mine")

    def swap() -> None:
        for turn in itertools.count():
            (top / "in").rename(top / "kept")
            (top / "evil").rename(top / "in")
            (top / "in").rename(top / "evil")
            (top / "kept").rename(top / "in")
            if stop.wait(0.001 if turn % 10 == 0 else 0):
                return

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        looks = 0
        while looks < 3000 or not seen >= {"mine", "OutsideError"}:
            looks += 1
            try:
                seen.add(read(folder, "in/secret"))
            except (DamagedFile, FileNotFoundError) as error:
                seen.add(type(error).__name__)
    finally:
        stop.set()
        thread.join()

    assert "secret" not in seen
