"""How a person names a sweep."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import ExitCode, RunnerError


@dataclass(frozen=True, slots=True)
class SweepAddress:
    """A sweep as a person names it: an ID, `project/id`, `entity/project/id`, or its page."""

    names: tuple[str, ...]  # the ID is the last
    page: str | None = None  # `https://host` of a page's address

    @property
    def path(self) -> str:
        """The names as the server has them."""
        return "/".join(self.names)


def read_spec(text: str) -> SweepAddress:
    """What `SWEEP` means, quotes and slashes around it and the page's `/sweeps/` left out.

    Raises:
        RunnerError: it has no such form (2).
    """
    bare = text.strip().strip("'\"`")
    address = urlsplit(bare)
    page = f"{address.scheme}://{address.netloc}" if address.netloc else None
    names = unquote(address.path if page else bare).strip("/").split("/")
    if names[2:3] == ["sweeps"] and len(names) > 3:  # as in the browser; a tab's name may follow
        names = [*names[:2], *names[3:4]]
    shape = (3,) if page else (1, 2, 3)
    if len(names) not in shape or not all(re.fullmatch(r"[^\s/]+", name) for name in names):
        raise RunnerError(
            f"`{text.strip()}` is no sweep",
            hint="give an ID, `entity/project/id`, the address of its page, or a YAML file",
            code=ExitCode.USAGE,
        )
    return SweepAddress(tuple(names), page)


def is_file_spec(spec: str) -> bool:
    """Whether `SWEEP` means a file, one that is missing or a folder included, rather than an ID."""
    return spec.endswith((".yaml", ".yml")) or (spec != "" and Path(spec).exists())
