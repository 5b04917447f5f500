"""Extras and groups of pyproject.toml that `[image] extras` names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.project.toml_file import Toml

_OPTIONAL = ("project", "optional-dependencies")
_GROUPS = "dependency-groups"
_OF_UV = ("tool", "uv", "dev-dependencies")  # before PEP 735: uv's group `dev`
_POETRY = ("tool", "poetry")


@dataclass(frozen=True, slots=True)
class Additions:
    """Normalised names (PEP 685), as uv and pip compare them."""

    extras: tuple[str, ...] = ()  # of `[project.optional-dependencies]` or Poetry's table
    groups: tuple[str, ...] = ()  # of `[dependency-groups]`, or of uv or Poetry

    def as_options(self, place: str = "") -> list[str]:
        """The options of uv; `place` names a pyproject.toml outside of the working folder."""
        prefix = f"{place}:" if place else ""
        extras = [word for one in self.extras for word in ("--extra", one)]
        return [*extras, *(word for one in self.groups for word in ("--group", f"{prefix}{one}"))]


def select(content: Toml, names: Sequence[str]) -> Additions:
    """Which of the names are extras and which are groups; a name may be both.

    Raises:
        RunnerError: one is neither (2).
    """
    extras, groups = _list_extras(content), _list_groups(content)
    wanted = [canonicalize_name(one) for one in names]
    for plain, name in zip(wanted, names, strict=True):
        if plain in extras or plain in groups:
            continue
        known = [
            f"{kind} {', '.join(sorted(found.values()))}"
            for kind, found in (("the extras", extras), ("the groups", groups))
            if found
        ]
        raise RunnerError(
            f"`{content.file.name}` has no extra or group `{name}`",
            hint=f"it has {' and '.join(known) or 'none'} (`[image] extras`)",
            code=ExitCode.USAGE,
        )
    return Additions(
        tuple(one for one in wanted if one in extras),
        tuple(one for one in wanted if one in groups),
    )


def list_group(content: Toml, group: str) -> Iterator[str]:
    """The requirements of a group and of those that it includes (PEP 735)."""
    todo, seen = [group], {group}
    while todo:
        name = todo.pop(0)
        if name == "dev":
            yield from content.texts(*_OF_UV)
        for key, lines in content.table(_GROUPS).items():
            if canonicalize_name(key) != name:
                continue
            for line in lines if isinstance(lines, list) else []:
                if isinstance(line, str):
                    yield line
                elif isinstance(line, dict) and isinstance(inner := line.get("include-group"), str):
                    todo += [one for one in [canonicalize_name(inner)] if one not in seen]
                    seen.add(canonicalize_name(inner))
                else:
                    raise RunnerError(
                        f"`{content.file.name}`: `{_GROUPS}.{key}` has {line!r:.60}, which is "
                        "neither a requirement nor a group",
                        hint='write it as `{include-group = "NAME"}`',
                        code=ExitCode.USAGE,
                    )


def _list_extras(content: Toml) -> dict[str, str]:
    """Normalised name → name."""
    names = [*content.table(*_OPTIONAL), *content.table(*_POETRY, "extras")]
    return {str(canonicalize_name(one)): one for one in names}


def _list_groups(content: Toml) -> dict[str, str]:
    names = [*content.table(_GROUPS), *content.table(*_POETRY, "group")]
    if content.has(*_OF_UV) or content.has(*_POETRY, "dev-dependencies"):
        names.append("dev")
    return {str(canonicalize_name(one)): one for one in names}
