"""Find the uv workspace that a folder belongs to."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.ownership import walk_up
from runner.project.toml_file import Toml, read_toml


def find_workspace(folder: Path) -> Path | None:
    """The folder above whose `[tool.uv.workspace]` has `folder` as a member; as uv looks for it."""
    if not _is_project(folder):
        return None
    for above in list(walk_up(folder))[1:]:
        if not (above / "pyproject.toml").is_file():
            continue
        content = read_toml(above / "pyproject.toml")
        if content.has("tool", "uv", "workspace"):
            return above if _has_member(content, folder.relative_to(above)) else None
        if content.has("project"):
            return None  # `folder` is an example or a test of that project
    return None


def list_members(root: Path) -> Iterator[Path]:
    """The folders of a workspace's members: those with a `[project]`, and `root` itself."""
    content = read_toml(root / "pyproject.toml")
    if content.has("project"):
        yield root
    for pattern in content.texts("tool", "uv", "workspace", "members"):
        for folder in _expand(root, pattern):
            path = folder.relative_to(root)
            if ".." not in path.parts and _is_project(folder) and not _is_excluded(content, path):
                yield folder


def _expand(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:  # empty, absolute, or `**a`
        raise RunnerError(
            f"`{root / 'pyproject.toml'}`: `tool.uv.workspace.members` has the pattern "
            f"{pattern!r:.60}, which names no folders: {error}",
            hint='write it as `members = ["packages/*"]`',
            code=ExitCode.USAGE,
        ) from error


def _is_project(folder: Path) -> bool:
    file = folder / "pyproject.toml"
    return file.is_file() and read_toml(file).has("project")


def _has_member(content: Toml, path: Path) -> bool:
    named = content.texts("tool", "uv", "workspace", "members")
    return _matches_any(path, named) and not _is_excluded(content, path)


def _is_excluded(content: Toml, path: Path) -> bool:
    return _matches_any(path, content.texts("tool", "uv", "workspace", "exclude"))


def _matches_any(path: Path, patterns: Iterable[str]) -> bool:
    return any(_matches(path.parts, Path(one).parts) for one in patterns)


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether each part matches its pattern; `**` stands for any number of parts."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[n:], patterns[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
