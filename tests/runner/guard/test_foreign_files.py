"""What a container may leave where the host reads: nothing of it is followed or waited for."""

import os
import socket
import threading
from pathlib import Path

import pytest

from runner.guard.foreign_files import DamagedFile, read_foreign, read_foreign_object, read_given


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"x": "\\ud800"}')

    assert read_foreign(tmp_path / "a", max_bytes=15) == b'{"x": "\\ud800"}'
    assert read_foreign_object(tmp_path / "a") == {"x": "\ud800"}
    with pytest.raises(FileNotFoundError):
        read_foreign(tmp_path / "none")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("link", "is a link"),
        ("dangling", "is a link"),
        ("pipe", "is not a regular file"),
        ("folder", "is not a regular file"),
        ("socket", "cannot be read: No such device"),
        ("device", "is not a regular file"),
        ("large", "has more than 100 bytes"),
        ("sparse", "has more than 100 bytes"),
    ],
)
def test_anything_else_is_damaged_at_once(tmp_path: Path, kind: str, reason: str) -> None:
    file = tmp_path / "file"
    match kind:
        case "link":
            (tmp_path / "other").write_text("{}")
            file.symlink_to(tmp_path / "other")
        case "dangling":
            file.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(file))
        case "device":
            if os.geteuid() != 0:
                pytest.skip("root: only root makes devices")
            os.mknod(file, 0o020666, os.makedev(1, 5))  # /dev/zero
        case "large":
            file.write_bytes(b"x" * 101)
        case "sparse":
            file.touch()
            os.truncate(file, 1 << 40)

    with pytest.raises(DamagedFile, match=reason):
        read_foreign(file, max_bytes=100)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 20_000, '{"a":' * 20_000, "\xff"])
def test_what_holds_no_object_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_bytes(text.encode("latin-1"))

    with pytest.raises(DamagedFile):
        read_foreign_object(tmp_path / "file")


def test_a_pipe_that_the_user_names_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    content = b"x" * 300_000  # more than a pipe holds
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()

    assert read_given(pipe) == content
    writer.join()


def test_a_pipe_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="gives no data"):
        read_given(tmp_path / "pipe", patience_s=0.2)


@pytest.mark.parametrize("path", ["/proc/self/fd", "/proc/self/mem"])
def test_nothing_else_is_read(path: str) -> None:
    with pytest.raises(OSError, match=r"not a regular|Is a directory|error"):
        read_given(Path(path))
