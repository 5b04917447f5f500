"""One run's start: its files, its environment, its command."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.agent.command import make_argv, needs_json_file
from runner.agent.contract import variables
from runner.agent.contract.commands import MacroValues
from runner.agent.params import format_params
from runner.agent.process import RunProcess
from runner.agent.protocol import Command
from runner.agent.report import say
from runner.agent.settings import AgentSettings
from runner.agent.warm.client import Warm
from runner.agent.warm.command import Cold
from runner.agent.warm.handles import Forked

_ENV = "/usr/bin/env"
_NOT_INHERITED = (variables.API_KEY, "WANDB_SERVICE", variables.RESUME, variables.RUN_ID)


@dataclass(frozen=True)
class Launcher:
    """Starts runs of one sweep, one at a time."""

    settings: AgentSettings
    template: tuple[str, ...]
    program: str | None  # from the sweep's config; the server's command may name another
    provenance: Mapping[str, Any]
    environ: Mapping[str, str]
    warm: Warm
    inherited: tuple[int, ...] = ()  # open files that a run gets: the lease

    def look(self) -> None:
        """Prepare for the next run while this one works, or none does."""
        self.warm.look()

    def doors(self) -> list[int]:
        """Open files that are readable when there is something to `look` at."""
        return self.warm.doors()

    def wake_at(self) -> float | None:
        """When to `look` in any case (monotonic)."""
        return self.warm.wake_at()

    def close(self) -> None:
        """End what was prepared."""
        self.warm.close()

    def prepare(self) -> None:
        """Begin to prepare for a run whose values are not known yet."""
        self.warm.prepare(self._make_argv(Command("run"), self.environ))

    def is_ready(self, command: Command, *, last: bool) -> bool:
        """Whether the run can start; if not, after a `look` at what is being prepared."""
        if last and not self.warm.has_parent:
            return True
        return self.warm.is_settled(self._make_argv(command, self._environ(command)))

    def launch(self, command: Command, *, last: bool) -> RunProcess:
        """Start the run that the server handed out.

        Args:
            command: the server's.
            last: nothing is prepared for a run after it.

        Raises:
            OSError: a file cannot be written, or the command cannot be started.
        """
        values = dict(command.values)
        params = self.params_file(command.run)
        json_file = params.with_suffix(".json")
        env = self._environ(command)
        Path(env[variables.CHECKPOINT_DIR]).mkdir(parents=True, exist_ok=True)
        params.parent.mkdir(parents=True, exist_ok=True)
        params.write_text(format_params(values, self.provenance), "ascii")
        if needs_json_file(self.template):
            json_file.write_text(json.dumps(values), "ascii")
        argv = self._make_argv(command, env)
        if not argv:
            raise FileNotFoundError(2, "the sweep's command is empty")
        if not self.settings.offline:
            env[variables.API_KEY] = self.settings.key
        if last and not self.warm.has_parent:
            forked: Forked | Cold = Cold("no other run of this agent follows")
        else:
            forked = self.warm.start(argv, env, self.inherited)
        if last:
            self.warm.rest()
        if isinstance(forked, Cold):
            say(f"{command.run} starts cold: {forked.reason}")
        else:
            say(f"{command.run} starts warm")
        return RunProcess(
            argv,
            run=command.run,
            folder=self.settings.workspace,
            env=env,
            secret=self.settings.key,
            inherited=self.inherited,
            forked=None if isinstance(forked, Cold) else forked,
        )

    def _make_argv(self, command: Command, env: Mapping[str, str]) -> list[str]:
        program = self.settings.program or command.program or self.program
        json_file = self.params_file(command.run).with_suffix(".json")
        macros = MacroValues(dict(command.values), sys.executable, program, str(json_file))
        argv = make_argv(self.template, macros, env)
        if argv[:1] == [_ENV] and argv[1:] and "=" not in argv[1] and not Path(_ENV).exists():
            return argv[1:]  # an image without a shell may lack it
        return argv

    def _environ(self, command: Command) -> dict[str, str]:
        return make_environ(self.environ, self.settings, command, self.params_file(command.run))

    def params_file(self, run: str) -> Path:
        """Where `wandb.init` will find the run's values; the path is that of W&B's agent."""
        folder = self.settings.wandb_dir / "wandb" / f"sweep-{self.settings.sweep.id}"
        return folder / f"config-{run}.yaml"


def make_warm(settings: AgentSettings, environ: Mapping[str, str]) -> Warm:
    """Warm starts in the environment that all runs of this agent share."""
    shared = make_environ(environ, settings, Command("run"), Path())
    return Warm(settings.preload, folder=settings.workspace, environ=shared)


def make_environ(
    environ: Mapping[str, str], settings: AgentSettings, command: Command, params: Path
) -> dict[str, str]:
    """The run's environment without the key: the agent's own, W&B's variables, our settings.

    What the user set stays; of the agent's `RUNNER_*` only what a program may rely on goes on.
    """
    env = make_common_environ(environ, settings, command.run)
    env |= {
        variables.SWEEP_ID: settings.sweep.id,
        variables.RUN_ID: command.run,
        variables.RUN_VALUES: str(params),
    }
    if command.type == "resume":
        env[variables.RESUME] = "allow"
    if not settings.slot.is_cpu:
        env.setdefault(variables.CUDA_DEVICES, settings.slot.text)
    return env


def make_common_environ(
    environ: Mapping[str, str], settings: AgentSettings, name: str
) -> dict[str, str]:
    """What a run and a command without a sweep both get; `name` is that of its checkpoints."""
    inherited = {
        key: value
        for key, value in environ.items()
        if key not in _NOT_INHERITED and not key.startswith(variables.PREFIX)
    }
    return {
        **variables.OF_RUNS,
        **_intervals(settings),
        **inherited,
        variables.BASE_URL: settings.base_url,
        variables.ENTITY: settings.sweep.entity,
        variables.PROJECT: settings.sweep.project,
        variables.RUNS_DIR: str(settings.wandb_dir),
        variables.AGENT: settings.agent,
        variables.CHECKPOINT_DIR: str(settings.checkpoints.absolute() / name),
    }


def _intervals(settings: AgentSettings) -> Mapping[str, str]:
    if settings.offline:
        return variables.OF_OWN_LOGS
    if settings.server_kind == "runner":
        return {**variables.OF_OWN_LOGS, **variables.OF_OUR_SERVER}
    return {}
