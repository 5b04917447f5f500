"""What of a project goes into an image."""

import os
import subprocess
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.image.context import (
    Files,
    hash_files,
    list_files,
    stage_files,
)
from runner.image.key_files import name_exposed_keys, name_keys

GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def write(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def git(root: Path, *words: str) -> None:
    root.mkdir(exist_ok=True)
    command = ["git", "-C", str(root), "-c", "protocol.file.allow=always", *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **GIT})


def repository(root: Path, *names: str) -> None:
    git(root, "init", "-q")
    write(root, *names)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")


def paths(files: Files) -> list[str]:
    return [one.path for one in files.files]


def test_git_decides_and_deleted_files_are_gone(tmp_path: Path) -> None:
    repository(tmp_path, "train.py", "gone.py", ".gitignore")
    (tmp_path / ".gitignore").write_text("*.ckpt\n")
    (tmp_path / "gone.py").unlink()
    write(tmp_path, "new.py", "big.ckpt", "wandb/run/log", ".runner/fleet", ".env", "sub/.netrc")

    assert paths(list_files(tmp_path)) == [".gitignore", "new.py", "train.py"]


def test_submodules_and_repositories_inside_are_followed(tmp_path: Path) -> None:
    repository(tmp_path / "lib", "lib.py", "ignored.o", ".gitignore")
    root = tmp_path / "project"
    repository(root, "train.py")
    git(root, "submodule", "add", "-q", str(tmp_path / "lib"), "vendored")
    repository(root / "nested", "inside.py")
    write(root / "nested", "fresh.py")

    found = paths(list_files(root))

    assert {"vendored/lib.py", "nested/inside.py", "nested/fresh.py"} <= set(found)
    assert not [one for one in found if ".git/" in one or one.endswith("/.git")]


def test_an_empty_submodule_is_named(tmp_path: Path) -> None:
    repository(tmp_path / "lib", "lib.py")
    repository(tmp_path / "project", "train.py")
    git(tmp_path / "project", "submodule", "add", "-q", str(tmp_path / "lib"), "vendored")
    git(tmp_path / "project", "submodule", "deinit", "-q", "-f", "vendored")

    files = list_files(tmp_path / "project")

    assert [one for one in files.notes if "`vendored` is empty" in one]


def test_a_subfolder_of_a_repository_gives_its_own_files_only(tmp_path: Path) -> None:
    repository(tmp_path, "top.py", "one/train.py")

    assert paths(list_files(tmp_path / "one")) == ["train.py"]


def test_a_folder_that_its_repository_ignores_is_taken_as_it_is(tmp_path: Path) -> None:
    repository(tmp_path, "top.py")
    write(tmp_path, ".gitignore", text="scratch/")
    write(tmp_path, "scratch/train.py")

    assert paths(list_files(tmp_path / "scratch")) == ["train.py"]


def test_without_git_dockerignore_decides(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "a.ckpt", "keep.ckpt", "data/x.bin", "wandb/x", "pkg/__init__.py")
    write(tmp_path, "pkg/__pycache__/x.pyc", ".venv/pyvenv.cfg", ".venv/bin/python")
    write(tmp_path, ".dockerignore", text="# big\n*.ckpt\n!keep.ckpt\ndata\n")

    found = paths(list_files(tmp_path))

    assert found == [".dockerignore", "keep.ckpt", "pkg/__init__.py", "train.py"]


def test_mounted_folders_stay_out(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "data/x.bin")

    assert paths(list_files(tmp_path, leave_out=[tmp_path / "./data"])) == ["train.py"]


def test_links_out_of_the_project_and_lfs_pointers_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    write(tmp_path, "w.bin", text="version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "inside").symlink_to("train.py")
    (tmp_path / "outside").symlink_to("/mnt/data")

    files = list_files(tmp_path)

    assert paths(files) == ["inside", "outside", "train.py", "w.bin"]
    assert [one.split(":")[0] for one in files.notes] == [
        "`outside` is a link out of the project (/mnt/data)",
        "`w.bin` is a Git LFS pointer, not the file",
    ]


def test_much_is_told_and_too_much_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(300 * 10**6)
    assert "`big.bin` (286.1 MiB)" in list_files(tmp_path).notes[0]

    os.truncate(tmp_path / "big.bin", 6 * 10**9)
    with pytest.raises(RunnerError, match=r"5\.6 GiB"):
        list_files(tmp_path)


def test_staging_gives_plain_modes_whatever_the_umask(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, "pkg/secret.py", "run.sh")
    (source / "pkg").chmod(0o700)
    (source / "pkg" / "secret.py").chmod(0o600)
    (source / "run.sh").chmod(0o700)
    (source / "link").symlink_to("run.sh")

    before = os.umask(0o077)
    try:
        stage_files(list_files(source), tmp_path / "staged")
    finally:
        os.umask(before)

    def mode(name: str) -> int:
        return (tmp_path / "staged" / name).stat().st_mode & 0o777

    assert [mode(name) for name in (".", "pkg", "pkg/secret.py", "run.sh")] == [
        0o755,
        0o755,
        0o644,
        0o755,
    ]
    assert (tmp_path / "staged" / "link").readlink() == Path("run.sh")


def test_the_hash_follows_content_mode_and_name(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.py")
    first = hash_files(list_files(tmp_path))
    assert hash_files(list_files(tmp_path)) == first

    (tmp_path / "a.py").chmod(0o755)
    second = hash_files(list_files(tmp_path))
    (tmp_path / "b.py").write_text("y")
    third = hash_files(list_files(tmp_path))
    (tmp_path / "b.py").rename(tmp_path / "c.py")

    assert len({first, second, third, hash_files(list_files(tmp_path))}) == 4


def test_files_with_keys_are_named(tmp_path: Path) -> None:
    repository(tmp_path, "train.py", "deploy/id_rsa", ".gitignore")
    write(tmp_path, ".gitignore", text=".pypirc\n")
    write(tmp_path, ".env", ".pypirc", "id_rsa.pub")

    (note,) = name_keys(list_files(tmp_path))

    assert note.startswith("`deploy/id_rsa` looks like a key and goes into the image")


HEAD = "-----BEGIN RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("path", "text", "is_key"),
    [
        ("deploy/server.pem", f"{HEAD}\nMIIEpAIBAAKCAQEA7b\n", True),
        ("deploy/windows.key", f"{HEAD}\r\nMIIEpAIBAAKCAQEA7b\r\n", True),
        ("old.pem", f"{HEAD}\nProc-Type: 4,ENCRYPTED\n", True),
        ("account.json", f'{{"private_key": "{HEAD}\\nMIIEpAIBAAKCAQEA7b"}}', True),
        (".env.production", "A=1", True),
        (".aws/credentials", "[default]", True),
        ("kaggle.json", "{}", True),
        (".env.example", "A=", False),
        ("train.py", f'HEAD = "{HEAD}"\nprint(HEAD)\n', False),
        ("server.crt", "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA7b\n", False),
        ("credentials", "[default]", False),
        ("large.pem", f"{HEAD}\nMIIEpAIBAAKCAQEA7b\n" + "x" * 20_000, False),
    ],
)
def test_a_key_is_known_by_its_name_or_content(
    tmp_path: Path, path: str, text: str, is_key: bool
) -> None:
    write(tmp_path, path, text=text)

    assert [one.split("`")[1] for one in name_keys(list_files(tmp_path))] == [path] * is_key


@pytest.mark.parametrize(
    ("ignored", "named"),
    [(None, [".env", ".netrc"]), (".env*\n", [".netrc"]), ("*\n!train.py\n", [])],
)
def test_keys_in_the_context_of_ones_own_dockerfile_are_named(
    tmp_path: Path, ignored: str | None, named: list[str]
) -> None:
    write(tmp_path, "train.py", ".env", ".netrc", "sub/.env")
    if ignored:
        write(tmp_path, ".dockerignore", text=ignored)

    notes = name_exposed_keys(tmp_path)

    assert [one.split("`")[1] for one in notes] == named
    assert all("name it in `.dockerignore`" in one for one in notes)
