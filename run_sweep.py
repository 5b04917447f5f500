"""Create or join a W&B sweep of amt and run some of its runs here, without containers.

The server is `WANDB_BASE_URL`, or W&B's cloud. With `WANDB_MODE=offline` a new sweep needs none:
its configurations are drawn here, and the runs log on disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from amt.config import load_config
from amt.environment import read_environment
from amt.errors import AmtError, ConfigError
from amt.weights import answers, require_weights
from runner.agent.command import make_argv, needs_json_file
from runner.agent.contract.commands import ARGS, DEFAULT_COMMAND, MacroValues
from runner.search.grid import Grid, make_grid
from runner.search.progress import RunView
from runner.search.suggest import next_config
from runner.sweepfile import Choice, Constant, Diagnostic, SweepSpec, read_sweep

ROOT = Path(__file__).resolve().parent
PROGRAM = "amt/train.py"
WEIGHTS = ("backbone", "pretrained", "pretrained_path")  # what decides which weights a run needs
INTERRUPTED = 130
STDERR = 2


class SweepError(Exception):
    """The user's to cure: one line says what and how."""


def main(arguments: Sequence[str]) -> int:
    """Run with the command line's options; gives the exit code: 1 if a run failed."""
    options = _parse(arguments)
    offline = os.environ.get("WANDB_MODE") == "offline"
    try:
        sweep = None if options.sweep_id else _read_sweep(options.config)
        _enter_root()
        if sweep is not None:
            _require_weights(sweep)
        if offline:
            return _run_offline(options, sweep)
        return _run_online(options, sweep)
    except (SweepError, AmtError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_sweep.py", description=__doc__)
    parser.add_argument("--project", help="W&B project; default: `WANDB_PROJECT`, else `amt`")
    parser.add_argument("--count", type=int, default=10, help="how many runs; default: %(default)s")
    parser.add_argument("--sweep_id", help="join this sweep: `ID` or `entity/project/ID`")
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "sweep_config.yaml",
        help="what to search, for a new sweep; default: sweep_config.yaml",
    )
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be at least 1")
    options.project = options.project or os.environ.get("WANDB_PROJECT") or "amt"
    return options


def _read_sweep(path: Path) -> SweepSpec:
    """The checked file; every finding is a line, and warnings do not stop anything."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SweepError(f"sweep file `{path}`: {error.strerror}") from error
    sweep, findings = read_sweep(content)
    lines = [_describe(path, one) for one in findings]
    if sweep is None:
        raise SweepError("\n       ".join(lines))
    for line in lines:
        _note(f"warning: {line}")
    return sweep


def _describe(path: Path, finding: Diagnostic) -> str:
    place = f"{path}:{finding.line}" if finding.line else str(path)
    key = f" `{finding.key}`:" if finding.key else ""
    hint = f" ({finding.hint})" if finding.hint else ""
    return f"{place}:{key} {finding.message}{hint}"


def _enter_root() -> None:
    os.chdir(ROOT)  # the sweep's program is named from here
    here = Path(sys.executable).parent  # the sweep's command says `python`: mean this one
    os.environ["PATH"] = os.pathsep.join([str(here), os.environ.get("PATH", os.defpath)])


def _require_weights(sweep: SweepSpec) -> None:
    """Look for what the runs begin with once, before anything is created."""
    if not _runs_amt(sweep):
        return
    environment = read_environment()
    for arguments in _trunk_arguments(sweep):
        try:
            trunk = load_config(arguments).trunk
        except ConfigError:
            continue  # its own message comes from the run that has these values
        require_weights(trunk, environment)


def _runs_amt(sweep: SweepSpec) -> bool:
    program = (ROOT / (sweep.program or "")).resolve()
    return program == ROOT / PROGRAM or "amt.train" in (sweep.command or ())


def _trunk_arguments(sweep: SweepSpec) -> Iterator[list[str]]:
    """The command's own arguments with each choice of a trunk that the sweep may draw."""
    fixed = _fixed_arguments(sweep)
    choices: list[list[str]] = []
    for key in WEIGHTS:
        match sweep.parameters.get(key):
            case Constant(value):
                choices.append([f"--{key}={value}"])
            case Choice(values):
                choices.append([f"--{key}={value}" for value in values])
    for chosen in itertools.product(*choices):
        yield [*fixed, *chosen]


def _fixed_arguments(sweep: SweepSpec) -> list[str]:
    """What the command gives to amt beside the drawn values: `--config FILE`, `--key=value`."""
    words = [word for word in sweep.command or () if not word.startswith("${")]
    first = next((n for n, word in enumerate(words) if word.startswith("--")), len(words))
    return words[first:]


# -- without a server ------------------------------------------------------------------------------


def _run_offline(options: argparse.Namespace, sweep: SweepSpec | None) -> int:
    """Runs drawn here, one after the other; three failures in a row end it."""
    if sweep is None:
        raise SweepError("joining a sweep needs its server: unset WANDB_MODE")
    if sweep.method == "bayes" or sweep.early_terminate:
        _note("offline no run reports how good it is: drawn at random, and none is stopped early")
    environ = {"WANDB_PROJECT": options.project, "WANDB_RUN_GROUP": sweep.name or "sweep"}
    codes: list[int] = []
    for number, config in enumerate(_draw(sweep, options.count), 1):
        values = ", ".join(f"{name}={value}" for name, value in config.items())
        _note(f"run {number} of at most {options.count}: {values}")
        codes.append(_run_once(sweep, config, environ))
        if codes[-1] in (INTERRUPTED, -signal.SIGINT):
            left = options.count - number
            _note(f"interrupted; the other {left} runs: {_again(options, left)}")
            return INTERRUPTED
        if len(codes) >= 3 and all(codes[-3:]):
            raise SweepError("three runs in a row failed; their output says why")
    folder = Path(os.environ.get("WANDB_DIR") or ROOT) / "wandb"
    _note(f"{len(codes)} runs are in `{folder}`: `runner sync-offline {folder}` sends them")
    return int(any(codes))


def _run_once(sweep: SweepSpec, config: Mapping[str, object], environ: Mapping[str, str]) -> int:
    with tempfile.TemporaryDirectory(prefix="run_sweep-") as folder:
        command = _make_command(sweep, config, Path(folder) / "values.json")
        return subprocess.run(command, env={**os.environ, **environ}, check=False).returncode


@dataclass(slots=True)
class _Drawn:
    """The progress of a sweep whose runs report no values, one after the other."""

    runs: list[RunView] = field(default_factory=list)
    best: float | None = None

    @property
    def issued(self) -> int:
        return len(self.runs)

    def free_cell(self, grid: Grid) -> int | None:
        return self.issued if self.issued < grid.size else None

    def views(self, limit: int) -> Sequence[RunView]:
        return self.runs[-limit:]

    def has_tried(self, config: Mapping[str, object]) -> bool:
        return any(run.config == config for run in self.runs)


def _draw(sweep: SweepSpec, count: int) -> Iterator[Mapping[str, object]]:
    """What the sweep server would hand out to runs that report no values."""
    drawn, grid, seed = _Drawn(), make_grid(sweep), int.from_bytes(os.urandom(4))
    while drawn.issued < count:
        config = next_config(sweep, grid, drawn, seed=seed)
        if config is None:
            return
        yield config
        drawn.runs.append(RunView(id=str(drawn.issued), state="finished", config=config))


def _add_best_metric(sweep: SweepSpec) -> dict[str, Any]:
    """The sweep's config, whose runs keep as best what the sweep ranks by."""
    command = list(sweep.command or DEFAULT_COMMAND)
    named = any(word.startswith("--best_") for word in command)
    if _runs_amt(sweep) and sweep.metric is not None and not named:
        place = next((n for n, word in enumerate(command) if word.startswith(ARGS[:-1])), None)
        added = [f"--best_metric={sweep.metric}", f"--best_goal={sweep.goal}"]
        command[place:place] = added if place is not None else []
    return {**sweep.config, "command": command}


def _make_command(sweep: SweepSpec, config: Mapping[str, object], json_file: Path) -> list[str]:
    """As W&B's agent makes it."""
    template = _add_best_metric(sweep)["command"]
    if needs_json_file(template):
        json_file.write_text(json.dumps(dict(config)))
    macros = MacroValues(config, sys.executable, sweep.program, str(json_file))
    return make_argv(template, macros, os.environ)


def _again(options: argparse.Namespace, count: int) -> str:
    words = ["WANDB_MODE=offline", "python", "run_sweep.py", "--project", options.project]
    return shlex.join([*words, "--config", str(options.config), "--count", str(count)])


# -- with a server ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Joined:
    """A sweep on a server."""

    entity: str
    project: str
    id: str
    config: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"


def _run_online(options: argparse.Namespace, sweep: SweepSpec | None) -> int:
    import wandb  # a second, which a mistake above need not wait for

    try:
        _log_in(wandb)
        joined = _create(wandb, options, sweep) if sweep else _join(wandb, options)
        return _run_agent(joined, options.count)
    except wandb.Error as error:
        raise SweepError(f"W&B: {' '.join(str(error).split())}") from error


def _log_in(wandb: Any) -> None:
    url = wandb.setup().settings.base_url
    if not answers(url):
        raise SweepError(f"W&B: {url} does not answer; WANDB_MODE=offline needs no server")
    if not wandb.login():
        raise SweepError("W&B knows no key: set `WANDB_API_KEY` or run `wandb login`")


def _create(wandb: Any, options: argparse.Namespace, sweep: SweepSpec) -> _Joined:
    config = _add_best_metric(sweep)
    sweep_id = wandb.sweep(config, entity=sweep.entity, project=options.project)
    entity = sweep.entity or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    return _Joined(str(entity), options.project, sweep_id, config)


def _join(wandb: Any, options: argparse.Namespace) -> _Joined:
    """The sweep that the option names, and its weights.

    Raises:
        SweepError: the server does not know it.
    """
    api = wandb.Api()
    *place, sweep_id = str(options.sweep_id).split("/")
    project = place[-1] if place else options.project
    entity = place[-2] if len(place) > 1 else os.environ.get("WANDB_ENTITY") or api.default_entity
    try:
        config = api.sweep(f"{entity}/{project}/{sweep_id}").config
    except (ValueError, wandb.errors.CommError) as error:
        raise SweepError(
            f"no sweep `{sweep_id}` in W&B project `{project}` of `{entity}` at "
            f"{api.settings['base_url']}: name its project with --project, or give "
            "entity/project/ID"
        ) from error
    joined = _Joined(str(entity), project, sweep_id, config)
    known, _ = read_sweep(json.dumps(config))
    if known is not None:
        _require_weights(known)
    return joined


def _run_agent(joined: _Joined, count: int) -> int:
    """Let W&B's agent run so many runs; 1 if one failed, 130 after Ctrl-C."""
    from wandb import wandb_agent

    runs: list[wandb_agent.AgentProcess] = []
    interrupted = False

    class Process(wandb_agent.AgentProcess):
        """W&B's agent reports to nobody how its runs ended: remember them."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
            runs.append(self)

    def handle(*_: object) -> NoReturn:
        nonlocal interrupted
        first, interrupted = not interrupted, True
        if first:
            left = count - sum(run.poll() == 0 for run in runs)
            words = ["python", "run_sweep.py", "--sweep_id", joined.path, "--count", str(left)]
            # not by `sys.stderr`: the signal may have come while W&B's agent writes to it
            os.write(STDERR, f"to go on later: {shlex.join(words)}\n".encode())
        raise KeyboardInterrupt

    wandb_agent.AgentProcess = Process  # type: ignore[misc]
    signal.signal(signal.SIGINT, handle)
    wandb_agent.agent(joined.id, entity=joined.entity, project=joined.project, count=count)
    if interrupted:
        return INTERRUPTED
    failed = sum(run.poll() != 0 for run in runs)
    if failed:
        _note(f"{failed} of {len(runs)} runs failed; their output says why")
    return int(failed > 0)


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
