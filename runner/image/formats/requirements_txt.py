"""requirements.txt with the files that it includes."""

import re
from collections.abc import Sequence
from pathlib import Path

from runner.image.formats.model import Dependencies, as_lines, brings_cuda, with_local
from runner.image.requirements import (
    Flag,
    Line,
    check_lines,
    name_of,
    needs_git,
    read_lines,
    without_hashes,
)
from runner.project.find import Project


def read_requirements(
    project: Project, file: Path, bounds: Sequence[Path], *, cpu: bool
) -> Dependencies:
    lines = read_lines(file, bounds)
    check_lines(lines, project.root)
    wanted: dict[Flag, list[str]] = {"-r": [], "-c": []}
    local = []
    for line in lines:
        if line.flag == "-r" and line.is_local:
            local.append(line)
        else:
            wanted[line.flag].append(line.text)
    torch = next((one for one in wanted["-r"] if name_of(one) == "torch"), None)
    if cpu:  # torch is installed and pinned already; the file's hashes would not match
        for flag in wanted:
            kept = [one for one in wanted[flag] if not brings_cuda(name_of(one))]
            wanted[flag] = [without_hashes(one) for one in kept] if torch else kept
    elif torch and "--hash" in torch:
        torch = None  # installed with the others, where its hash is checked
    names: dict[Flag, str] = {"-r": "requirements.txt", "-c": "constraints.txt"}
    files = {names[flag]: as_lines(wanted[flag]) for flag in names if wanted[flag]}
    own = [one.text for one in local if _is_project(one)]
    return with_local(
        Dependencies(
            file.name,
            files,
            requirements=" ".join(f"{flag} {names[flag]}" for flag in names if names[flag] in files)
            if wanted["-r"]
            else "",
            install=own[0] if own else "",
            torch=torch,
            needs_git=any(needs_git(one.text) for one in lines),
        ),
        [one.text for one in local if not _is_project(one)],
    )


def _is_project(line: Line) -> bool:
    """Whether it is the project itself, with nothing that a shell would read otherwise."""
    return line.path == "." and bool(re.fullmatch(r"(-e )?\.(\[[\w,.\-]+\])?", line.text))
