"""What one user's runner remembers lies where nobody else can write."""

import os
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.user.records import find_user_folder, read_record, write_record

FOLDER = Path("/some/project")


def test_it_lies_in_the_users_home(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}

    assert find_user_folder(home) == tmp_path / ".local" / "state" / "runner"
    assert (
        find_user_folder({**home, "XDG_STATE_HOME": str(tmp_path / "x")}) == tmp_path / "x/runner"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only root can make others' folders")
def test_another_users_place_does_not_count(tmp_path: Path) -> None:
    """As `sudo -E` leaves it in the environment."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 4242, 4242)
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(theirs)}

    assert find_user_folder(environ) == tmp_path / ".local" / "state" / "runner"
    assert theirs not in find_user_folder({"HOME": str(theirs)}).parents


def test_what_is_kept_is_read_again_for_that_folder_alone(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}

    write_record("engines", FOLDER, {"host": "unix:///a"}, environ)

    assert read_record("engines", FOLDER, environ)["host"] == "unix:///a"
    assert read_record("engines", FOLDER / "sub", environ) == {}
    assert read_record("accepted", FOLDER, environ) == {}


@pytest.mark.parametrize("what", ["file", "folder", "link", "pipe", "no JSON"])
def test_what_others_may_have_written_is_not_read(tmp_path: Path, what: str) -> None:
    environ = {"HOME": str(tmp_path)}
    write_record("engines", FOLDER, {"host": "unix:///a"}, environ)
    (file,) = (find_user_folder(environ) / "engines").iterdir()
    if what == "file":
        file.chmod(0o666)
    elif what == "folder":
        file.parent.chmod(0o777)
    else:
        content = file.read_text()
        file.unlink()
        if what == "link":
            (tmp_path / "other").write_text(content)
            file.symlink_to(tmp_path / "other")
        elif what == "pipe":
            os.mkfifo(file)
        else:
            file.write_text(content[:-3])

    assert read_record("engines", FOLDER, environ) == {}


def test_a_folder_open_to_others_is_not_written(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    write_record("engines", FOLDER, {}, environ)
    find_user_folder(environ).chmod(0o777)

    with pytest.raises(RunnerError, match="only you can write"):
        write_record("engines", FOLDER, {"host": "unix:///b"}, environ)
