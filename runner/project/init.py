"""`runner init`: write a settings file and a sweep file from what a folder contains."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from runner.agent.contract.commands import DEFAULT_COMMAND
from runner.agent.contract.paths import WORKSPACE
from runner.disk.own_files import write_atomic
from runner.guard.foreign_files import read_regular
from runner.project.find import SETTINGS_FILE, Project

DATA_FOLDERS = re.compile(r"(data|datasets?|inputs?|corpus|images)([-_.].*)?", re.IGNORECASE)
SWEEP_FILE = "sweep.yaml"
_MAXIMIZED = re.compile(r"acc|score|auc|f1|reward|return|precision|recall|iou|map\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProgramOption:
    """A value that the program reads from its command line or `wandb.config`, to sweep over."""

    name: str
    default: int | float | None  # None: the program has no default


def init_project(project: Project, *, dry_run: bool = False) -> list[str]:
    """Write missing files; never change an existing one.

    Returns:
        A line for each thing that was found and each file that was kept or written. In a dry run,
        the text of each file that would be written.
    """
    said = list(_describe(project))

    def write(file: Path, text: str, remark: str = "") -> None:
        if not dry_run:
            write_atomic(file, text)
        said.append(f"{'would write' if dry_run else 'wrote'} {file.name}{remark}")
        said.extend(text.rstrip().splitlines() if dry_run else ())

    settings = project.root / SETTINGS_FILE
    if project.settings_file:
        said.append(f"kept {project.settings_file.name}")
    else:
        write(settings, settings_text(project, find_data_folders(project.root)))
    if project.sweep_file:
        said.append(f"kept {project.sweep_file.name}")
    else:
        remark = ": an example, change its metric and parameters"
        write(project.root / SWEEP_FILE, sweep_text(project), remark)
    return said


def find_data_folders(root: Path) -> list[str]:
    """Folders with usual names for data; they are mounted, not copied into the image."""
    folders = (one for one in sorted(root.iterdir()) if one.is_dir())
    return [one.name for one in folders if DATA_FOLDERS.fullmatch(one.name) and not _is_code(one)]


def find_parameters(source: str) -> list[ProgramOption]:
    """Numbers that the program reads: from argparse options, else from its config."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    if options := [found for call in calls if (found := _read_option(call))]:
        return options
    known = {one.name: one for call in calls for one in _read_config(call)}
    read = re.findall(r"""\bconfig(?:\[["'](\w+)["']\]|\.get\(["'](\w+)["'])""", source)
    for name in (first or second for first, second in read):
        known.setdefault(name, ProgramOption(name, None))
    return list(known.values())


def find_metric(source: str) -> str | None:
    """A metric that the program logs: prefers validation over training, and losses."""
    names = re.findall(r"""\.log\(\s*\{\s*["']([^"'{}]+)["']""", source)
    ranked = sorted(names, key=lambda name: ("val" not in name, "loss" not in name))
    return ranked[0] if ranked else None


def settings_text(project: Project, data: list[str]) -> str:
    """The text of runner.toml: sets what was found, and lists other settings as comments."""
    file = project.dependencies
    found = file.name if file and file.parent == project.root else None  # a workspace's lies above
    mounts = [f"./{name}:{WORKSPACE}/{name}:ro" for name in data]
    sweep = project.sweep_file.name if project.sweep_file else SWEEP_FILE
    return "\n".join(
        [
            "# Settings of this project; `runner config` shows them with their origin.",
            "",
            "[image]",
            _line("dependencies", found, "requirements.txt"),
            '# extras = ["train"]                    # extras and groups of pyproject.toml',
            '# apt = ["libgl1"]                      # Debian packages',
            '# base = "debian:bookworm-slim"         # instead of the default base image',
            '# dockerfile = "Dockerfile"             # your own instead (context, target, args)',
            '# name = "registry/image:tag"           # or an image that exists',
            "",
            "[run]",
            _line("program", project.program, "train.py"),
            _line("sweep", sweep, sweep),
            _line("mounts", mounts or None, [f"./data:{WORKSPACE}/data:ro"]),
            '# env = { OMP_NUM_THREADS = "4" }',
            '# shm_size = "16g"                      # shared memory for data loaders',
            '# memory = "64g"',
            "# cpus = 8",
            "# grace_s = 30                          # from SIGTERM to SIGKILL",
            '# timeout = "12h"                       # the longest that a run may take',
            '# idle_timeout = "30m"                  # and may do nothing',
            '# preload = ["off"]                     # start each run cold',
            "# live = true                           # for development: no copies, runs work here",
            "",
        ]
    )


def sweep_text(project: Project) -> str:
    """The text of a valid sweep file, with the program's own options if it has some."""
    source = _read_source(project)
    metric = find_metric(source) or "loss"
    goal = "maximize" if _MAXIMIZED.search(metric) and "loss" not in metric else "minimize"
    parameters = find_parameters(source)[:8] or [ProgramOption("learning_rate", 0.01)]
    program = f"program: {project.program}" if project.program else "program: train.py  # yours"
    lines = [
        "# A sweep in W&B's own format: https://docs.wandb.ai/guides/sweeps",
        "# `runner up --gpus cpu:2 --sweep sweep.yaml` runs it.",
        program,
        "method: random  # or grid, or bayes",
        "run_cap: 20  # without it a random search never ends",
        "metric:",
        f"  name: {json.dumps(metric)}  # as the program logs it",
        f"  goal: {goal}",
        "parameters:",
    ]
    for parameter in parameters:
        lines += _parameter_lines(parameter)
    lines += [
        "# early_terminate:  # stop runs that fall behind",
        "#   type: hyperband",
        "#   min_iter: 3",
        "# command:  # how a run is started; this is the default",
        f"#   {json.dumps(DEFAULT_COMMAND)}",
    ]
    return "\n".join([*lines, ""])


def _describe(project: Project) -> Iterator[str]:
    yield f"project {project.root}"
    yield f"program: {project.program or 'none found (train.py, main.py, or one that uses wandb)'}"
    yield f"dependencies: {_name_dependencies(project)}"
    for folder in find_data_folders(project.root):
        yield f"data: {folder}/ is mounted read-only, not built into the image"


def _name_dependencies(project: Project) -> str:
    file = project.dependencies
    if file is None:
        return "none found: the image would have Python only"
    above = "" if file.parent == project.root else f" of the workspace in {file.parent}"
    return f"{file.name}{above}"


def _parameter_lines(parameter: ProgramOption) -> list[str]:
    default = parameter.default
    if default is None:
        return [f"  {parameter.name}:", "    values: [0.01, 0.1, 1.0]  # a guess: choose yours"]
    if isinstance(default, int):
        values = sorted({max(1, default // 2), default, default * 2})
        return [f"  {parameter.name}:", f"    values: {values}  # default {default}"]
    if default <= 0:
        return [f"  {parameter.name}:", f"    values: [{default}]"]
    return [
        f"  {parameter.name}:",
        "    distribution: log_uniform_values",
        f"    min: {_plain(default / 10)}",
        f"    max: {_plain(default * 10)}",
    ]


def _read_option(call: ast.Call) -> ProgramOption | None:
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "add_argument":
        return None
    words = [one.value for one in call.args if isinstance(one, ast.Constant)]
    names = [one for one in words if isinstance(one, str) and one.startswith("--")]
    values = {one.arg: one.value for one in call.keywords}
    default = values.get("default")
    if not names or not isinstance(default, ast.Constant):
        return None
    value = default.value
    if "seed" in names[0] or not _is_number(value):
        return None
    return ProgramOption(names[0].removeprefix("--"), value)


def _read_config(call: ast.Call) -> Iterator[ProgramOption]:
    """The numbers in `wandb.init(config={"lr": 0.1})`."""
    for keyword in call.keywords:
        if keyword.arg != "config" or not isinstance(keyword.value, ast.Dict):
            continue
        for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                name, number = key.value, value.value
                if isinstance(name, str) and "seed" not in name and _is_number(number):
                    yield ProgramOption(name, number)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: float) -> str:
    """A number in a form that YAML reads as a number: `1e-05` would be text."""
    text = f"{value:.6g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if mark and "." not in mantissa else text


def _line(key: str, value: object, example: object) -> str:
    text = f"{key} = {json.dumps(example if value is None else value)}"
    return f"# {text}" if value is None else text


def _is_code(folder: Path) -> bool:
    return (folder / "__init__.py").exists() or any(folder.glob("*.py"))


def _read_source(project: Project) -> str:
    if project.program is None:
        return ""
    return read_regular(project.root / project.program).decode("utf-8", errors="replace")
