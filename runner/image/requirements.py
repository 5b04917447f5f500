"""Read requirements files, and find the lines that no installer can take in an image."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text

Flag = Literal["-r", "-c"]  # a requirement, or a constraint
_CONDA = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*=[^=\s][^=\s]*(=[^=\s]+)?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_NAMED = re.compile(r"[A-Za-z0-9][\w.\-]*\s*(\[[^\]]*\])?\s*@\s*(?=file:)")
_SHOWN = 3  # lines in a message


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line of a requirements file, without its comment."""

    flag: Flag
    text: str
    file: Path
    number: int  # of the physical line on which it begins

    @property
    def is_local(self) -> bool:
        """Whether it is a folder or file, or editable: it needs the project's files first."""
        return bool(re.match(r"(-e|--editable)\b", self.text)) or self.path is not None

    @property
    def path(self) -> str | None:
        """The folder or file that it names, without extras and marker; None: something else."""
        return local_path(self.text)


def name_of(requirement: str) -> str:
    """The package name in a requirement, normalised (PEP 503)."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return canonicalize_name(found.group(0)) if found else ""


def without_hashes(line: str) -> str:
    """The line without its `--hash` options."""
    return re.sub(r"\s+--hash[= ]\S+", "", line)


def needs_git(text: str) -> bool:
    """Whether a dependency file installs from a git repository."""
    return bool(re.search(r"\bgit\+(https?|ssh|git|file):|\bgit\s*=\s*[\"']", text))


def local_path(text: str) -> str | None:
    """The path in a line such as `-e ./libs/own[extra]` or `own @ file:libs/own ; marker`."""
    editable = re.match(r"(-e|--editable)[= ]\s*", text)
    rest = text[editable.end() :] if editable else text
    if rest.startswith("-"):
        return None
    rest = _NAMED.sub("", rest)
    if rest.startswith("file:"):
        rest = unquote(rest.removeprefix("file:").removeprefix("//").removeprefix("localhost"))
    elif (
        _URL.match(rest)
        or " @ " in rest
        or (
            not (editable or rest.startswith((".", "/")))
            and ("/" not in re.split(r"[\s;@<>=!~\[]", rest, maxsplit=1)[0])
        )
    ):
        return None
    plain = re.split(r"\s*;|\s+--|\s+#|#", rest, maxsplit=1)[0].strip()
    return re.sub(r"\[[^\]]*\]$", "", plain)


def read_lines(file: Path, bounds: Sequence[Path]) -> list[Line]:
    """All lines of a file and of those that it includes.

    Args:
        file: the requirements file.
        bounds: folders, in one of which each file must be.

    Raises:
        RunnerError: a file cannot be read, or is outside of the bounds (2).
    """
    return list(_read(file, "-r", set(), bounds))


def check_lines(lines: Iterable[Line], root: Path) -> None:
    """Refuse lines that work on no other machine than the one that wrote them.

    Raises:
        RunnerError: conda's form, or a path that the project does not have (2).
    """
    wrong = [(one, why) for one in lines if (why := _find_fault(one, root))]
    if not wrong:
        return
    shown = "; ".join(
        f"`{one.file.name}` line {one.number}: `{one.text:.80}` {why}"
        for one, why in wrong[:_SHOWN]
    )
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    conda = any(_is_conda(one) for one, _ in wrong)
    raise RunnerError(
        f"these lines cannot be installed in an image: {shown}{more}",
        hint="write the file again with `pip list --format=freeze > requirements.txt`"
        if conda
        else "put the folder into the project and name it from there, as `./libs/posekit`",
        code=ExitCode.USAGE,
    )


def check_bounds(file: Path, bounds: Iterable[Path]) -> None:
    """Refuse a file that is outside of these folders.

    Raises:
        RunnerError: it is (2).
    """
    if "\0" in str(file):
        raise RunnerError(f"`{file}` is not a file name", code=ExitCode.USAGE)
    if any(file.resolve().is_relative_to(one) for one in bounds):
        return
    raise RunnerError(
        f"`{file}` is outside of the project (`{file.resolve()}`) but would go into the image",
        hint="copy it into the project, or name it: `RUNNER_IMAGE_DEPENDENCIES=…`",
        code=ExitCode.USAGE,
    )


def _read(file: Path, flag: Flag, seen: set[Path], bounds: Sequence[Path]) -> Iterator[Line]:
    file = Path(os.path.normpath(file))
    if file in seen:
        return
    seen.add(file)
    check_bounds(file, bounds)
    try:
        text = read_text(file)
    except OSError as error:
        raise RunnerError(
            f"cannot read the requirements `{file}`: {error.strerror}",
            hint="correct the line that includes it (`-r` or `-c`)",
        ) from error
    for number, line in _join(text):
        plain = re.sub(r"(^|\s+)#.*$", "", line).strip()
        included = re.match(r"(-r|--requirement|-c|--constraint)[ =]*(\S+)$", plain)
        if included:
            inner: Flag = "-c" if included.group(1) in ("-c", "--constraint") else flag
            yield from _read(file.parent / included.group(2), inner, seen, bounds)
        elif plain:
            yield Line(flag, plain, file, number)


def _join(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues, and the number of the first."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield begun, " ".join([*parts, line])
        parts = []
    if parts:
        yield begun, " ".join(parts)


def _find_fault(line: Line, root: Path) -> str | None:
    if _CONDA.fullmatch(line.text):
        return "is conda's form, not pip's"
    path = line.path
    if path is None or "$" in path:  # uv fills in variables
        return None
    if path.startswith("/"):
        return "is a path of one machine"
    return None if (root / path).exists() else f"names `{path}`, which does not exist"


def _is_conda(line: Line) -> bool:
    """Written in a conda environment, by `conda list --export` or `pip freeze`."""
    path = line.path or ""
    return bool(_CONDA.fullmatch(line.text)) or (" @ file:" in line.text and path.startswith("/"))
