"""uv.lock: exported by uv in the build."""

from collections.abc import Iterable
from pathlib import Path

from runner.guard.texts import read_text
from runner.image.formats.model import Dependencies
from runner.image.formats.pyproject import check_extras
from runner.project.toml_file import read_toml

LOCKED = "/tmp/locked.txt"  # noqa: S108 - inside the build, on a tmpfs of its own


def read_uv_lock(file: Path, extras: Iterable[str], *, cpu: bool) -> Dependencies:
    lock, text = read_toml(file), read_text(file)
    versions = {one.get("name"): one.get("version") for one in lock.tables("package")}
    torch = f"torch=={versions['torch']}" if versions.get("torch") else None
    words = ["--frozen", "--no-dev", "--no-emit-workspace", "--no-header"]
    for extra in check_extras(file.parent / "pyproject.toml", extras):
        words += ["--extra", extra]
    if cpu and torch:
        words += ["--no-hashes", "--prune", "torch"]
    return Dependencies(
        file.name,
        files={"pyproject.toml": read_text(file.parent / "pyproject.toml"), file.name: text},
        requirements=f"-r {LOCKED}",
        export=" ".join(words),
        torch=torch,
        needs_git="source = { git = " in text,
    )
