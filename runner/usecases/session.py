"""What most commands need first: the project, its settings, its state and its servers."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runner.backend.choice import ServerChoice, choose_server
from runner.backend.keys import find_key_origin
from runner.backend.wandb_files import find_home, read_wandb_settings
from runner.console.narration import Report
from runner.disk.temporary import remove_abandoned
from runner.errors import ExitCode, RunnerError
from runner.guard.ownership import name_user
from runner.project.find import Project, find_project
from runner.settings.load import load_settings
from runner.settings.model import Settings
from runner.state.find import find_foreign_state, find_state, open_state, plan_state
from runner.state.folder import State
from runner.sweeps.place import SweepDefaults
from runner.usecases.consent import Ask, load_checked, settle

if TYPE_CHECKING:
    from runner.engine.client import Engine
    from runner.sweepfile import Diagnostic, SweepSpec
    from runner.sweeps.servers import OwnServerPolicy, Servers


@dataclass(slots=True)
class Session:
    """One call of a command: the folder it was called in, and who gets its reports."""

    project: Project
    settings: Settings
    start: Path
    environ: Mapping[str, str]
    report: Report  # takes a line of narration
    quiet: bool  # do not report which server was chosen
    read_only: bool  # the command only looks, or is a dry run
    _state: State | None = None
    _engine: "Engine | None" = None
    _sweeps: "dict[Path, tuple[SweepSpec | None, list[Diagnostic]]]" = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state folder. It is made when first needed, so that a refused call leaves none."""
        if self._state is None:
            root = self.project.root
            self._state = (
                plan_state(root, environ=self.environ, read_only=True)
                if self.read_only
                else open_state(self.start, root, environ=self.environ)
            )
        return self._state

    def engine(self) -> "Engine":
        """The Docker engine, connected when first needed."""
        if self._engine is None:
            from runner.engine.client import Engine

            if self._state is None and not self.read_only:  # make no folder without an engine
                Engine.connect(self.settings.engine, environ=self.environ).close()
            self._engine = Engine.connect(
                self.settings.engine, state=self.state, environ=self.environ
            )
            if not self.read_only:
                remove_abandoned(*self.state.folders, Path(tempfile.gettempdir()))
        return self._engine

    def server_choice(self, flag: str | None) -> ServerChoice:
        """The server that this call uses, and why."""
        return choose_server(
            flag=flag,
            environ=self.environ,
            settings=self.settings,
            home=find_home(),
            state=self._state,
        )

    def servers(self, flag: str | None, *, own: "OwnServerPolicy" = "renew") -> "Servers":
        """The servers of this call; reports in one line which one was chosen and why."""
        from runner.sweeps.servers import Servers

        choice = self.server_choice(flag)
        if choice.own and self._state is None:
            self.engine()  # leave no state folder if none answers
        if not self.quiet:
            self.report(f"server: {self._describe(choice)}")
        return Servers(
            choice,
            self.state,
            engine=self.engine,
            environ=self.environ,
            report=self.report,
            own=own,
            serve=self.settings.serve,
        )

    def names(self, *, entity: str | None = None, project: str | None = None) -> SweepDefaults:
        """Entity and W&B project: from flags, else the environment, else W&B's own settings."""
        saved = read_wandb_settings(find_home(), self.project.root, self.environ)

        def find(name: str, flag: str | None) -> tuple[str | None, str]:
            variable = f"WANDB_{name.upper()}"
            if flag:
                return flag, f"--{name}"
            if value := self.environ.get(variable):
                return value, variable
            return saved.get(name), "W&B's settings file"

        (entity, entity_why), (project, project_why) = (
            find("entity", entity),
            find("project", project),
        )
        return SweepDefaults(
            entity,
            project,
            self.project.root.name or "uncategorized",
            entity_why,
            project_why,
            self._file_project,
        )

    def _describe(self, choice: ServerChoice) -> str:
        """The server; for W&B also the key's origin and the place of bare sweep IDs."""
        if choice.url is None:
            return f"this folder's own ({choice.why})"
        key = find_key_origin(choice.url, environ=self.environ, home=find_home(), state=self.state)
        origin = f"key from {key[1]}" if key else "no key"
        return f"{choice.url} ({choice.why}), {origin}, {self.names().describe()}"

    def load_sweep(self, file: Path) -> "SweepSpec":
        """Read and check a sweep file, once per call; reports its warnings.

        Raises:
            RunnerError: it does not exist (3), or is not a valid sweep (2).
        """
        from runner.sweeps.file import check_sweep_file

        return check_sweep_file(file, *self._parse_sweep(file), self.report)

    def warn_of_command(self, sweep: "SweepSpec", file: Path) -> None:
        """Report why the sweep's command cannot start in the project's folder, if so."""
        from runner.usecases.starting import find_folder_fault, make_sample

        program = sweep.program or self.settings.run.program
        argv = make_sample(sweep.command, program, sweep.config)
        if fault := find_folder_fault(self.project.root, argv, sweep.command):
            self.report(f"warning: {file}: {fault.message} ({fault.hint})")

    def _parse_sweep(self, file: Path) -> "tuple[SweepSpec | None, list[Diagnostic]]":
        from runner.sweeps.file import parse_sweep_file

        key = file.resolve()
        if key not in self._sweeps:
            self._sweeps[key] = parse_sweep_file(file)
        return self._sweeps[key]

    def _file_project(self) -> str | None:
        """The W&B project that the folder's sweep file names."""
        named = self.settings.run.sweep
        file = self.project.root / named if named else self.project.sweep_file
        try:
            sweep, _ = self._parse_sweep(file) if file else (None, ())
        except RunnerError:
            return None
        return sweep.project if sweep else None


def open_session(
    start: Path,
    environ: Mapping[str, str],
    *,
    report: Report,
    ask: Ask,
    flags: Mapping[str, object] | None = None,
    create: bool = False,
    read_only: bool = False,
    quiet: bool = False,
    yes: bool | None = None,
    overridden: Iterable[str] = (),
) -> Session:
    """Read the folder `start`.

    Args:
        flags: settings of the command line, by dotted key.
        create: make the state folder when it is first needed (with `read_only`, only plan it);
            otherwise it must exist.
        read_only: write nothing into it.
        quiet: for JSON output: do not report which server was chosen.
        yes: `--yes` of a command that acts on what the project's files decide about keys and code;
            None for a command that changes nothing: it ignores what was not accepted.
        overridden: keys of settings that flags of this call replace.

    Raises:
        RunnerError: the state folder is missing (3), or the settings are wrong (2).
    """
    project = find_project(start)

    def load() -> Settings:
        return load_settings(project, environ=environ, flags=flags or {})

    if yes is None:
        settings = load_checked(load, report)
    else:
        settings = settle(
            load,
            yes=yes,
            overridden=frozenset(overridden),
            environ=environ,
            remember=not read_only,
            report=report,
            ask=ask,
        )
    state = find_state(start, environ=environ, read_only=read_only)
    if state is None and not create:
        raise RunnerError(
            f"no fleet was started from `{start}`: there is no `.runner` folder",
            hint=_say_foreign(start)
            or "go to the project's folder, or `runner up --gpus … --sweep …`",
            code=ExitCode.NOT_FOUND,
        )
    return Session(project, settings, start, environ, report, quiet, read_only, state)


def _say_foreign(start: Path) -> str | None:
    found = find_foreign_state(start)
    if found is None:
        return None
    whose = name_user(found.stat().st_uid)
    return (
        f"`{found}` belongs to {whose}, or others may write above it: run runner in its own folder"
    )
