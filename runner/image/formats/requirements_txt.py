"""requirements.txt with the files that it includes."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.image.formats.model import Dependencies, Layout, as_lines, brings_cuda, with_local
from runner.image.formats.wheel_folders import find_folder, find_links_in_line
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


def read_requirements(project: Project, file: Path, layout: Layout, *, cpu: bool) -> Dependencies:
    """The lines of the file and of those that it includes.

    Raises:
        RunnerError: a line works on one machine alone (2), or a file or folder does not exist.
    """
    lines = read_lines(file, layout.bounds)
    check_lines(lines, project.root)
    links: dict[str, Path] = {}
    wanted: dict[Flag, list[str]] = {"-r": [], "-c": []}
    local = []
    for line in lines:
        if path := find_links_in_line(line.text):
            name = f"links/{len(links)}"
            links[name] = find_folder(line.file, layout, path)
            wanted["-r"].append(f"--find-links /deps/{name}")
        elif line.flag == "-r" and line.is_local:
            local.append(line)
        else:
            wanted[line.flag].append(line.text)
    beside = _find_beside(local, layout)
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
            links=links,
            beside=layout.list_beside(beside.values()),
        ),
        [_in_image(one, beside, layout) for one in local if not _is_project(one)],
        layout,
    )


def _find_beside(lines: Iterable[Line], layout: Layout) -> dict[str, Path]:
    """The folders and files that lines name outside of the project, by the line's path.

    Raises:
        RunnerError: one is outside of the repository as well (2).
    """
    found = {}
    for line in lines:
        if line.path and ".." in Path(line.path).parts:
            place = layout.find(layout.root / line.file.name, line.path)
            if not layout.is_inside(place):
                found[line.path] = place
    return found


def _in_image(line: Line, beside: Mapping[str, Path], layout: Layout) -> str:
    place = beside.get(line.path or "")
    if place is None or line.path is None:
        return line.text
    there = layout.in_image(place)
    text = line.text.replace(f"file:{line.path}", f"file://{there}")
    return text.replace(line.path, there)


def _is_project(line: Line) -> bool:
    """Whether it is the project itself, with nothing that a shell would read otherwise."""
    return line.path == "." and bool(re.fullmatch(r"(-e )?\.(\[[\w,.\-]+\])?", line.text))
