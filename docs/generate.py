"""`python -m docs.generate`: writes the reference pages, which are made from the code.

`make generated` calls it, and a test compares the committed pages. What the code cannot know (what
a setting means, which guide explains a command) stands here.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from runner.agent.contract.additions import ADDITIONS, BY_WANDB, is_yours
from runner.agent.contract.failures import BROKEN_AFTER, HARMLESS_XIDS, POLICIES
from runner.cli.app import app
from runner.cli.catalog import COMMANDS
from runner.errors import ExitCode
from runner.image.variant import BASES
from runner.settings.load import KEYS, variable_of
from runner.settings.model import Settings

FOLDER = Path(__file__).parent
MADE = "<!-- made by `make generated` from {source}: edit that, or docs/generate.py -->\n"

CLI = """\
# Command line

{made}
Every command and option of `runner`. `runner COMMAND --help` prints the same.

## Rules for all commands

- **Output.** Data goes to stdout, narration to stderr. An error is a line `error: …` on stderr,
  often a line `hint: …` with the way out, and an [exit code](exit-codes.md).
- **`--json`** prints [one object](json.md) with `"schema": 1`. We may add fields; we never rename
  one. Every command has it but {without_json}.
- **`--dry-run`** prints what a command would do, with the causes, and writes nothing. Commands that
  only look write nothing either. Those about sweeps may start this folder's own server, and say so.
- **`--server local|URL`** overrides [which server](server.md#which-server) a command talks to.
- **Repeating a command** changes nothing more, and you may kill a command at any time:
  [What may be killed](fleet.md#what-may-be-killed).
- **`--yes`** accepts what the project's own files say about keys, code and files:
  [What the project's files may decide](fleet.md#what-the-projects-files-may-decide). In
  `sweep delete` and `server prune` it answers the question.

## Commands by purpose

{tables}

{sections}"""

GUIDES = {  # where a command is explained
    "init": "tutorial.md#your-own-project",
    "doctor": "tutorial.md#before-you-start",
    "gpus": "gpus.md",
    "build": "images.md",
    "up": "fleet.md#what-up-starts",
    "prune": "fleet.md#make-room",
    "run": "fleet.md#one-command",
    "ps": "fleet.md#look-at-it",
    "logs": "fleet.md#look-at-it",
    "stop": "fleet.md#end-it",
    "down": "fleet.md#end-it",
    "env": "fleet.md#look-at-it",
    "config": "settings.md",
    "sweep create": "sweep-file.md",
    "sweep list": "fleet.md#look-at-it",
    "sweep show": "fleet.md#look-at-it",
    "sweep best": "sweep-file.md#which-run-is-the-best",
    "sync-offline": "offline.md#back-online",
    "compose": "compose.md",
    "serve": "server.md#without-docker",
    "server status": "server.md#which-server",
    "server backup": "server.md#data-and-backup",
    "server check": "server.md#data-and-backup",
    "server usage": "server.md#space",
    "server prune": "server.md#space",
    "sweep delete": "server.md#space",
    "server key create": "server.md#keys",
    "server key list": "server.md#keys",
    "server key revoke": "server.md#keys",
}

SETTINGS = """\
# Settings

{made}
Each setting comes from the first of these that has it: a flag, a `RUNNER_*` variable,
`runner.toml` (or `[tool.runner]` in `pyproject.toml`), the default. An unknown key is an error with
a suggestion. `runner config` prints every setting with its origin.

In `runner.toml` a dot is a table: `run.shm_size` is `shm_size` in `[run]`. In a variable, commas
separate the items of a list, and a table is `NAME=value,NAME=value`.

| key | variable | value | default | meaning |
|---|---|---|---|---|
{rows}
"""

MEANINGS = {  # by key: what applies without it ("" if the code has a default), what it means
    "server": (
        "W&B where a key for it is found, else local",
        "`local`, or the URL of a server: [which server](server.md#which-server)",
    ),
    "engine": (
        "`DOCKER_HOST`, else the fleet's last engine, else Docker's current context",
        "the Docker engine, written as in `DOCKER_HOST`",
    ),
    "access": (
        "the first that works",
        "how containers get a GPU: [access](gpus.md#how-an-agent-gets-its-gpu)",
    ),
    "pin": ("", "what `CUDA_VISIBLE_DEVICES` holds; `index` is for libraries that parse integers"),
    "memlock": ("the engine's", "locked memory of an agent; -1 is unlimited"),
    "image.dependencies": ("found", "the file with the [dependencies](images.md#dependencies)"),
    "image.extras": ("none", "extras and groups of `pyproject.toml` to install"),
    "image.base": (
        ", ".join(f"`{BASES[name]}` ({name})" for name in BASES),
        "the base image, any Debian or Ubuntu",
    ),
    "image.apt": ("none", "Debian packages to install, such as `libgl1` or `git`"),
    "image.dockerfile": ("none", "[your own Dockerfile](images.md)"),
    "image.context": ("none", "its build context"),
    "image.target": ("none", "its target"),
    "image.args": ("none", "its build arguments"),
    "image.name": ("none", "an image that exists, instead of one that `runner build` makes"),
    "run.program": ("found", "the training program"),
    "run.sweep": ("found", "the sweep file"),
    "run.mounts": ("none", 'folders for the runs: `["./data:/workspace/data:ro"]`; flags add some'),
    "run.env": ("none", 'variables for the runs: `{ NAME = "value" }`; flags add some'),
    "run.shm_size": ("half the memory, shared among the agents", "shared memory of an agent"),
    "run.memory": ("no limit", "memory limit of an agent"),
    "run.cpus": ("CPU slots share the cores", "cores of an agent"),
    "run.grace_s": ("", "seconds from SIGTERM to SIGKILL, for a run to save"),
    "run.timeout": ("no limit", "the longest that a run may take; then it is interrupted"),
    "run.idle_timeout": (
        "no limit",
        "the longest time without output, CPU or GPU use; then the run is interrupted",
    ),
    "run.preload": (
        "what runs import",
        "more to import ahead of runs, or `off`: [warm starts](program-contract.md#warm-starts)",
    ),
    "run.preload_free": ("1 GiB", "with less free memory nothing is imported ahead"),
    "run.foreign_mib": ("", "MiB; a GPU on which foreign processes hold more is refused"),
    "run.live": ("", "runs work in the project's folder itself: [live](fleet.md#live)"),
    "serve.min_free": (
        "5 % of the disk, 1 GiB at most",
        "its server refuses files, never rows, below this free space: [space](server.md#space)",
    ),
    "serve.memory": ("`2g`", "memory limit of the server's container"),
    "sync.to": ("none", "the W&B server to which `sync-offline` sends runs"),
    "sync.entity": ("none", "the W&B entity there"),
    "sync.project": ("none", "the W&B project there"),
}

EXIT_CODES = """\
# Exit codes

{made}
The exit codes of `runner`. A [program](program-contract.md#how-a-run-ends) and an
[agent](program-contract.md#the-agent) have codes of their own.

| code | name | meaning |
|---|---|---|
{rows}
"""

FAILURES = """\
# Failure classes

{made}
The agent looks at a run's exit code or signal, at the last lines of its log, at the kernel's count
of processes that it killed for memory, and at what NVML says of the GPU. From these signs each run
that does not finish gets one class: the first of this table that fits. Behind torchrun,
`accelerate launch` or `torch.multiprocessing` the signs are those of the program that they started.

| class | sign | the run | the search is told | the agent |
|---|---|---|---|---|
{rows}

- **The run** fails and counts as failed, or goes back to the sweep: the next agent that asks goes
  on with it, from its checkpoint. A run that the sweep has ended does not count as a failure.
- **The search** is told that no run can be there (infeasible), or that it got a bad value. A bayes
  sweep on our server ranks both behind every run with a value, whatever the run had logged before;
  for the other methods nothing follows. W&B's server learns the run's state and no more.
- **The agent** pauses 1, 2, 4 … 30 s after the third quick failure in a row. It stops after
  {broken} different configurations in a row that are `bad_config` and logged no row: the program is
  broken, not the run. In quarantine it takes no run; `runner ps` says why, and the next `runner up`
  replaces it. Where there is no room it takes no run either: `runner ps` says on which disk, and it
  goes on by itself once more is free than the run had found, or after a while (1, 2, 4, 8,
  then 10 minutes).

Xids that a program causes are not the GPU's fault: {xids}. The kernel's count was tried with
cgroups of version 1; that of version 2 is read by the format of its files, and was not tried.
"""

ENVIRONMENT = """\
# The environment of a run

{made}
Under `wandb agent` a program finds its caller's environment, and in addition
{by_wandb}.
A run of `runner` finds its image's environment and the same six. This page lists what else it
finds. What you set with `--env`, `--env-file` or `run.env` is there too, and wins where the last
column says so; the other variables name, connect or pin an agent.

| variables | when | for what | yours wins |
|---|---|---|---|
{rows}

`<…>` differs from run to run. If you have a proxy, `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` come
in as you have them, and `NO_PROXY` with our server in it, each in lower case too. The agent keeps
its other variables from its runs: [its container](container.md#environment).
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that does something, and the context that names it."""

    path: str  # "sweep create"
    command: Any  # of typer's own click, which typer does not export
    context: typer.Context

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return str(self.command.help).strip().partition("\n\n")[0].replace("\n", " ")


def read_commands(command: Any = None, context: typer.Context | None = None) -> Iterator[Command]:
    """All commands that do something, in the order of `--help`."""
    command = typer.main.get_command(app) if command is None else command
    context = context or typer.Context(command, info_name="runner")
    if not hasattr(command, "list_commands"):
        path = context.command_path.partition(" ")[2]
        yield Command(path, command, context)
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        yield from read_commands(child, typer.Context(child, info_name=name, parent=context))


def render_cli() -> str:
    """`cli.md`."""
    commands = list(read_commands())
    without = [f"`{one.path}`" for one in commands if "--json" not in read_options(one)]
    return CLI.format(
        made=MADE.format(source="runner/cli"),
        without_json=f"{', '.join(without[:-1])} and {without[-1]}",
        tables="\n\n".join(
            _render_table(purpose, list(some)) for purpose, some in groupby(commands, find_purpose)
        ),
        sections="\n".join([*map(_render_command, commands), _render_root()]),
    )


def find_purpose(command: Command) -> str:
    """The heading under which `runner --help` lists it."""
    first = command.path.split()[0]
    return next(one.section for one in COMMANDS if one.name == first)


def _render_table(purpose: str, commands: Sequence[Command]) -> str:
    rows = [
        f"| [`runner {one.path}`](#runner-{one.path.replace(' ', '-')}) | {one.summary} |"
        for one in commands
    ]
    return "\n".join([f"| {purpose} | |", "|---|---|", *rows])


def read_options(command: Command) -> set[str]:
    """All names of its options."""
    names = {name for one in command.command.params for name in (*one.opts, *one.secondary_opts)}
    return {name for name in names if name.startswith("-")}


def _render_command(one: Command) -> str:
    usage = " ".join([f"runner {one.path}", *one.command.collect_usage_pieces(one.context)])
    text = "\n\n".join(
        part.replace("\n", " ") for part in str(one.command.help).strip().split("\n\n")
    )
    guide = f" [More]({GUIDES[one.path]})." if one.path in GUIDES else ""
    return f"## `runner {one.path}`\n\n{text}{guide}\n\n```\n{usage}\n```\n" + _render_params(one)


def _render_root() -> str:
    command = typer.main.get_command(app)
    root = Command("", command, typer.Context(command, info_name="runner"))
    return "## `runner`\n\nOptions of `runner` itself.\n" + _render_params(root)


def _render_params(one: Command) -> str:
    """A table of arguments and options; empty where there are none but `--help`."""
    records = [param.get_help_record(one.context) for param in one.command.params]
    rows = [
        f"| `{_cell(names)}` | {_cell(text)} |" for names, text in filter(None, records) if names
    ]
    return "\n".join(["", "| | |", "|---|---|", *rows, ""]) if rows else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def render_settings() -> str:
    """`settings.md`."""
    defaults, rows = Settings(), []
    for key, kind in KEYS.items():
        without, meaning = MEANINGS[key]
        default = without or f"`{defaults.get(key)}`"
        expected = kind.expected.replace('"', "`") if kind.expected.startswith("one of") else ""
        value = expected or kind.expected
        rows.append(f"| `{key}` | `{variable_of(key)}` | {value} | {default} | {meaning} |")
    return SETTINGS.format(made=MADE.format(source="runner/settings"), rows="\n".join(rows))


def render_exit_codes() -> str:
    """`exit-codes.md`; each code's text is the string below it."""
    (defined,) = ast.parse(inspect.getsource(ExitCode)).body
    texts = [
        ast.literal_eval(node.value)
        for node in getattr(defined, "body", [])
        if isinstance(node, ast.Expr)
    ]
    rows = [
        f"| {int(code)} | `{code.name}` | {text} |"
        for code, text in zip(ExitCode, texts[1:], strict=True)
    ]
    return EXIT_CODES.format(made=MADE.format(source="runner/errors.py"), rows="\n".join(rows))


def render_failures() -> str:
    """`failures.md`."""
    rows = [
        f"| `{name}` | {one.sign} | {one.run} | {one.search or 'nothing'} | {one.agent} |"
        for name, one in POLICIES.items()
    ]
    return FAILURES.format(
        made=MADE.format(source="runner/agent/contract/failures.py"),
        rows="\n".join(rows),
        broken=BROKEN_AFTER,
        xids=", ".join(map(str, HARMLESS_XIDS)),
    )


def render_environment() -> str:
    """`environment.md`."""
    rows = []
    for one in ADDITIONS:
        shown = ", ".join(_cell(f"`{name}={value}`") for name, value in one.values.items())
        wins = "yes" if any(map(is_yours, one.values)) else "no"
        rows.append(f"| {shown} | {one.when} | {one.meaning} | {wins} |")
    names = [f"`{name}`" for name in BY_WANDB]
    return ENVIRONMENT.format(
        made=MADE.format(source="runner/agent/contract/additions.py"),
        by_wandb=f"{', '.join(names[:-1])} and {names[-1]}",
        rows="\n".join(rows),
    )


def make_pages() -> dict[str, str]:
    """Name in this folder → text."""
    return {
        "cli.md": render_cli(),
        "settings.md": render_settings(),
        "exit-codes.md": render_exit_codes(),
        "failures.md": render_failures(),
        "environment.md": render_environment(),
    }


def main() -> int:
    """Write the pages."""
    for name, text in make_pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
