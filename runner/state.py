"""The state folder `.runner/`: where everything of a fleet lies on the host."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner import console
from runner.agent.contract.variables import FLEET
from runner.disk.temporary import make_name
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import OWN_BYTES, DamagedFile, open_lock, read_foreign_object
from runner.guard.ownership import as_user, check_state_folder, name_user, walk_up
from runner.guard.place import Place, judge_place

FORMAT = 2  # of the folder's layout, see `state_migrations`; a newer one is refused
FOLDER = ".runner"


@dataclass(frozen=True, slots=True)
class State:
    """One state folder and the name of the fleet that it belongs to.

    With `read_only` the call only looks, or is a dry run: what other calls would remember on the
    way (the engine, a sweep's server, an image's probe) is not written, and the folder need not
    exist.
    """

    root: Path
    fleet: str
    read_only: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where commands write for a moment what they then rename or remove."""
        secret = (self.secrets / name for name in (".", "agents", "compose", "wandb"))
        probes = self.cache / "probes"
        return (self.root, self.root / "compose", self.sweeps, self.cache, probes, *secret)

    @property
    def engine_file(self) -> Path:
        """Socket and GPU access way of the engine that this fleet uses."""
        return self.root / "engine.json"

    @property
    def server_file(self) -> Path:
        """Container and port of this folder's own sweep server."""
        return self.root / "server.json"

    @property
    def sweeps(self) -> Path:
        """One file per sweep created or joined here: path, server, URL."""
        return self.root / "sweeps"

    @property
    def runs(self) -> Path:
        """`WANDB_DIR` of every run; W&B's folders lie in `runs/wandb/`."""
        return self.root / "runs"

    @property
    def checkpoints(self) -> Path:
        """One folder per run ID."""
        return self.root / "checkpoints"

    @property
    def work(self) -> Path:
        """One working copy of the project per agent."""
        return self.root / "work"

    @property
    def status(self) -> Path:
        """A folder for each agent, in which it writes what it says of itself."""
        return self.root / "status"

    @property
    def orders(self) -> Path:
        """A folder for each agent, which it only reads: what the host tells it."""
        return self.root / "orders"

    @property
    def agents(self) -> Path:
        """What stood in both: agents of `labels.SHARED_STATUS` have this one folder together."""
        return self.root / "agents"

    @property
    def secrets(self) -> Path:
        """Keys, readable by the owner only."""
        return self.root / "secrets"

    @property
    def server(self) -> Path:
        """The data of this folder's own sweep server."""
        return self.root / "server"

    @property
    def cache(self) -> Path:
        """What can be made again: the agents' code, caches of the runs, build staging."""
        return self.root / "cache"


def find_state(
    start: Path, *, environ: Mapping[str, str], read_only: bool = False, mapped: bool = False
) -> State | None:
    """The state folder that serves `start`: `RUNNER_HOME`, else the nearest up to the git root.

    Args:
        start: the folder that the command was called in.
        environ: the process's environment.
        read_only: nothing is written, not even where the folder has moved.
        mapped: this is a container, and the folder a mount of it.

    Raises:
        RunnerError: the folder may be a stranger's (see `guard.ownership`), was written by a newer
            runner, or is unreadable.
    """
    root = _find_root(start, environ)
    if root is None:
        return None
    check_state_folder(root, start, read_only=read_only)
    return _load(root, environ, read_only=read_only, mapped=mapped)


def open_state(
    start: Path, project: Path, *, environ: Mapping[str, str], mapped: bool = False
) -> State:
    """The state folder that serves `start`, made in `project` where there is none."""
    found = find_state(start, environ=environ, mapped=mapped)
    return found or _create(plan_state(project, environ=environ), start, mapped=mapped)


def find_foreign_state(start: Path) -> Path | None:
    """A state folder above `start` that does not count, because its folder may be a stranger's."""
    own = {*walk_up(start)}
    above = (one for one in start.parents if one not in own)
    return next((one / FOLDER for one in above if (one / FOLDER / "fleet").exists()), None)


def plan_state(project: Path, *, environ: Mapping[str, str], read_only: bool = False) -> State:
    """The state folder that would be made for `project`; nothing is written.

    Raises:
        RunnerError: `RUNNER_FLEET` is not a fleet's name.
    """
    name = environ.get(FLEET) or make_fleet_name(project.name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise RunnerError(
            f"`{FLEET}={name}` is not a fleet name",
            hint="use at most 40 of a-z, 0-9 and hyphens",
            code=ExitCode.USAGE,
        )
    root = Path(environ.get("RUNNER_HOME") or project / FOLDER)
    return State(root.absolute(), name, read_only)


def check_owner(state: State) -> None:
    """Whether containers may be started for this folder.

    Raises:
        RunnerError: root works in another user's folder, where its containers, which have no
            capabilities, may neither read nor write.
    """
    there = next(one for one in (state.root, *state.root.parents) if one.exists())
    owner = there.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        return
    raise RunnerError(
        f"`{there}` belongs to {name_user(owner)}, and containers of root could not write there",
        hint=as_user(owner),
        code=ExitCode.UNFIT,
    )


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file of ours; None where it is absent or no object.

    Raises:
        RunnerError: the file exists and may not be read.
    """
    try:
        return read_foreign_object(path, max_bytes=OWN_BYTES)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        if isinstance(error.__cause__, PermissionError):
            raise RunnerError(
                f"cannot read `{path}`: {error.__cause__.strerror}",
                hint="check the folder's owner and mode",
            ) from error
        return None


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file in one step; a reader sees the old text or the new, never a part.

    Raises:
        RunnerError: the disk is full, or the folder may not be written.
    """
    try:
        _replace(path, text, mode)
    except OSError as error:
        raise RunnerError(
            f"cannot write `{path}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error


def _replace(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{make_name()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, object], *, mode: int = 0o644) -> None:
    """Write one of our own files."""
    write_atomic(path, json.dumps(value, indent=1) + "\n", mode=mode)


def hand_over(path: Path, folder: Path) -> None:
    """As root in a folder of another user's: give them what is root's at `path` and below it."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    if path.is_symlink() or not path.is_dir():
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        return
    # the inner first: who has no more than CAP_CHOWN cannot enter what it has given away;
    # by handles: nobody can put a link in the way
    for _, folders, files, handle in os.fwalk(path, topdown=False):
        for name in (*folders, *files, "."):
            _give(name, owner, handle)


def make_fleet_name(folder: str) -> str:
    """`<folder>-<4 hex>` in lower case letters, digits and hyphens, at most 40 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:35].strip("-")
    return f"{plain or 'fleet'}-{secrets.token_hex(2)}"


def _give(name: str, owner: os.stat_result, handle: int) -> None:
    with suppress(FileNotFoundError):  # of a run that goes on meanwhile
        if os.stat(name, dir_fd=handle, follow_symlinks=False).st_uid == 0:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=handle, follow_symlinks=False)


def _find_root(start: Path, environ: Mapping[str, str]) -> Path | None:
    if home := environ.get("RUNNER_HOME"):
        root = Path(home).resolve()
        return root if (root / "fleet").exists() else None
    for folder in walk_up(start):
        if os.path.lexists(folder / FOLDER / "fleet"):
            return folder / FOLDER
        if (folder / ".git").exists():
            return None
    return None


def _load(root: Path, environ: Mapping[str, str], *, read_only: bool, mapped: bool) -> State:
    record = _read_fleet(root / "fleet")
    written = record.get("format", 1)
    if not isinstance(written, int) or written > FORMAT:
        raise RunnerError(
            f"`{root}` was written by a newer runner (format {written}, this one knows {FORMAT})",
            hint="upgrade: `pip install --upgrade sweep-runner`",
        )
    name = record.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise RunnerError(
            f"`{root / 'fleet'}` is damaged: it holds no fleet name",
            hint="move the folder away and start anew; its runs stay readable",
        )
    if written < FORMAT and not read_only:
        from runner.state_migrations import find_changes, migrate

        migrate(root, find_changes())
        record = _read_fleet(root / "fleet")
    state = State(root.absolute(), name, read_only)
    place = Place.from_json(record.get("place"))
    if mapped:
        _check_mapped(state, place)
        return state
    if place == Place.of(root):
        return state
    if read_only:
        return _settle(state, place, environ)
    with open_lock(root / "lock") as lock:  # two commands in a fresh copy give it one name
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = _read_fleet(root / "fleet")
        state = replace(state, fleet=str(record.get("name", name)))
        settled = _settle(state, Place.from_json(record.get("place")), environ)
        record |= {"name": settled.fleet, "place": Place.of(root).to_json()}
        write_json(root / "fleet", record)
        hand_over(root / "fleet", root)
    return settled


def _check_mapped(state: State, place: Place | None) -> None:
    """In a container: whether the folder is the one that the host knows."""
    if place and not place.is_same_folder(state.root):
        raise RunnerError(
            f"this folder is a copy of `{place.path}`, or was moved: fleet {state.fleet} may be "
            "another folder's",
            hint="call `runner compose` in it, on the host",
            code=ExitCode.UNFIT,
        )


def _read_fleet(file: Path) -> dict[str, Any]:
    try:
        return read_foreign_object(file)
    except (FileNotFoundError, DamagedFile):
        return {}


def _settle(state: State, place: Place | None, environ: Mapping[str, str]) -> State:
    """The state as it is meant here: a copied folder gets a name of its own."""
    verdict = judge_place(place, state.root, state.fleet)
    if place is None or verdict == "here":
        return state
    if verdict == "moved":
        if not state.read_only:
            from runner.user.engines import follow_engine  # here: it imports this module

            follow_engine(Path(place.path), state.root, environ)
        return state
    name = environ.get(FLEET)
    if name in (None, state.fleet):
        name = make_fleet_name(state.root.parent.name)
    console.note(
        f"`{state.root}` is a copy of `{place.path}`: its fleet is {name}, not {state.fleet}"
    )
    return replace(state, fleet=name)


def _create(state: State, start: Path, *, mapped: bool) -> State:
    if state.root.exists():
        check_state_folder(state.root, start, read_only=False)
    try:
        state.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        ours = (state.runs, state.checkpoints, state.work, state.status, state.orders)
        for folder in (*ours, state.sweeps, state.cache):
            folder.mkdir(mode=0o755, exist_ok=True)
        state.secrets.mkdir(mode=0o700, exist_ok=True)
        write_atomic(state.root / ".gitignore", "*\n")
        record = {"format": FORMAT, "name": state.fleet}
        place = {} if mapped else {"place": Place.of(state.root).to_json()}
        write_json(state.root / "fleet", {**record, **place})
    except OSError as error:
        raise RunnerError(
            f"cannot make the state folder `{state.root}`: {error.strerror}",
            hint="run in a folder of your own, or set `RUNNER_HOME`",
        ) from error
    return state
