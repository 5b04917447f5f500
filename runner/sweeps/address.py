"""Parse the name that a user gives a sweep."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import ExitCode, RunnerError


@dataclass(frozen=True, slots=True)
class SweepAddress:
    """The user's name of a sweep: an ID, `project/id`, `entity/project/id`, or its page's URL."""

    names: tuple[str, ...]  # the last one is the ID
    page: str | None = None  # `https://host` of the page's URL

    @property
    def path(self) -> str:
        """The names, joined by slashes."""
        return "/".join(self.names)


def read_spec(text: str) -> SweepAddress:
    """Parse `SWEEP`; ignores quotes and slashes around it and the page's `/sweeps/`.

    Raises:
        RunnerError: it is not the name of a sweep (2).
    """
    bare = text.strip().strip("'\"`")
    address = urlsplit(bare)
    page = f"{address.scheme}://{address.netloc}" if address.netloc else None
    names = unquote(address.path if page else bare).strip("/").split("/")
    if names[2:3] == ["sweeps"] and len(names) > 3:  # a page's URL; the name of a tab may follow
        names = [*names[:2], *names[3:4]]
    shape = (3,) if page else (1, 2, 3)
    if len(names) not in shape or not all(re.fullmatch(r"[^\s/]+", name) for name in names):
        raise RunnerError(
            f"`{text.strip()}` is not a sweep ID, path, URL or YAML file",
            hint="give an ID, `entity/project/id`, the address of its page, or a YAML file",
            code=ExitCode.USAGE,
        )
    return SweepAddress(tuple(names), page)


def is_file_spec(spec: str) -> bool:
    """Whether `SWEEP` is a file and not an ID; the file may be missing, or a folder."""
    return spec.endswith((".yaml", ".yml")) or (spec != "" and Path(spec).exists())
