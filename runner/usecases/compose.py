"""`runner compose`: pin what `docker compose up` starts, in a block of `.env`."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from runner.agent.contract import paths
from runner.agent.contract.labels import PROJECT_COMMIT, PROJECT_DIRTY
from runner.backend.certificates import copy_ca_bundle, find_ca_bundle
from runner.backend.keys import get_key
from runner.backend.wandb_files import find_home
from runner.compose.env_file import ENV_FILE, ComposePins, make_extra, make_values, write_block
from runner.compose.file import FILE, render
from runner.compose.folders import shared_folder
from runner.compose.given_key import key_file
from runner.disk.own_files import read_json, write_atomic, write_json
from runner.engine.labels import is_composed
from runner.engine.target import read_access
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot, parse_selection
from runner.guard.texts import read_text
from runner.image.built import find_image
from runner.image.server import ensure_server_image, server_tag
from runner.launchers.docker.mounts import resolve_mounts
from runner.launchers.docker.observe import read_agents
from runner.launchers.docker.start import make_host
from runner.launchers.docker.user_env import check_env
from runner.server_container.container import find_server, network_name
from runner.server_container.files import find_data, make_data
from runner.server_container.port import select_port
from runner.settings.claims import is_inside
from runner.settings.load import variable_of
from runner.state.owner import chown_to_owner_of
from runner.sweeps.records import load_records, save_record
from runner.sweeps.resolve import resolve_sweep
from runner.usecases.session import Session
from runner.usecases.slots import find_slots


@dataclass(frozen=True, slots=True)
class Pinned:
    """What `pin` wrote, or would write in a dry run."""

    values: Mapping[str, str]  # of `.env`
    made: Sequence[str]  # files that were missing


def pin(
    session: Session, gpus: str | None, sweep: str | None, server: str | None, *, dry_run: bool
) -> Pinned:
    """Write `.env`, and compose.yaml if it is missing.

    Args:
        session: of this call.
        gpus: `--gpus`; None: GPU 0.
        sweep: `--sweep`: an ID, a path or a file; None: the folder's.
        server: `--server`.
        dry_run: write nothing.

    Raises:
        RunnerError: GPUs, sweep, server or `.env` do not fit; then nothing was written.
    """
    root = session.project.root
    session.engine()  # leave no state folder if none answers
    if session.state.root.resolve() != (root / ".runner").resolve():
        raise RunnerError(
            f"{FILE} has its state in `{root / '.runner'}`, but this folder's is "
            f"`{session.state.root}`",
            hint="unset `RUNNER_HOME`",
            code=ExitCode.USAGE,
        )
    values = make_values(_choose(session, gpus, sweep, server, dry_run=dry_run))
    file = _find_env(session)
    text = write_block(_read_env(file), values)
    missing = {name: made for name, made in render().items() if not (root / name).exists()}
    if not dry_run:
        for name, made in missing.items():
            write_atomic(root / name, made)
            chown_to_owner_of(root / name, root)
            session.report(f"wrote {name}")
        _write_env(file, text)
        chown_to_owner_of(session.state.root, root)
    return Pinned(values, list(missing))


def _find_env(session: Session) -> Path:
    """`.env`, which may be a link to another file of the project or its repository."""
    file = session.project.root / ENV_FILE
    if not is_inside(session.project, file):
        raise RunnerError(
            f"`{file}` is a link out of the project, to `{file.resolve()}`",
            hint="put a file in its place: runner writes the pins there",
            code=ExitCode.USAGE,
        )
    return file


def _read_env(file: Path) -> str:
    """The text of `.env`, with its line ends unchanged."""
    try:
        return read_text(file) if file.exists() else ""
    except OSError as error:
        raise RunnerError(
            f"cannot read `{file}`: {error.strerror}", hint="check its owner and mode"
        ) from error


def _write_env(file: Path, text: str) -> None:
    """Write `.env`: keeps its owner and mode, also for root; follows a link."""
    file = file.resolve()
    before = file.stat() if file.exists() else None
    write_atomic(file, text, mode=before.st_mode & 0o777 if before else 0o644)
    if before and os.geteuid() == 0:
        os.chown(file, before.st_uid, before.st_gid)
    if not before:
        chown_to_owner_of(file, file.parent)


def _choose(
    session: Session, gpus: str | None, sweep: str | None, server: str | None, *, dry_run: bool
) -> ComposePins:

    engine, run, serve = session.engine(), session.settings.run, session.settings.serve
    if run.live:
        session.report("warning: `run.live` counts for `up` and `run` only: Compose's agents copy")
    agents = read_agents(engine, session.state)
    selection = parse_selection(gpus) if gpus else None
    slots = tuple(find_slots(session, agents, selection)) if selection else ()
    image = find_image(engine, session.project, session.settings, session.state)
    chosen = _choose_server(session, server, dry_run=dry_run)
    host = make_host(engine, max(1, len(slots)))
    bundle, copy = (
        find_ca_bundle(session.environ),
        partial(copy_ca_bundle, folder=session.state.cache),
    )
    place = find_data if dry_run else make_data
    data = place(session.state, report=session.report)
    local, owner = chosen == "local", session.project.root.stat()
    cpus = run.cpus or (host.cpu_share if slots and slots[0].is_cpu else None)
    labels = {"image": image.id, **_provenance(image.labels)}
    return ComposePins(
        fleet=session.state.fleet,
        user=host.user if os.geteuid() else engine.info().user(owner.st_uid, owner.st_gid),
        image=image.id,
        interpreter=image.interpreter,
        read_only=image.read_only,
        server_image=_choose_server_image(session, dry_run=dry_run),
        server=chosen,
        port=_choose_port(session, dry_run=dry_run) if local else None,
        network=network_name(session.state),
        sweep=_choose_sweep(session, sweep or _find_called_sweep(session), chosen, server),
        slots=slots,
        driver=_choose_driver(session, slots),
        grace_s=run.grace_s,
        run_timeout_s=run.timeout,
        idle_timeout_s=run.idle_timeout,
        preload=run.preload,
        preload_free_bytes=run.preload_free,
        shm_bytes=run.shm_size or host.shm_share,
        memory_bytes=run.memory,
        cpus=cpus,
        program=run.program,
        provenance=json.dumps(labels),
        extra=_write_extra(session, slots, image.activation, dry_run=dry_run),
        trust=None if bundle is None else str(copy(bundle, dry_run=dry_run)),
        data=None if data == session.state.server else str(data),
        min_free=serve.min_free,
        server_memory=serve.memory,
    )


def _write_extra(
    session: Session, slots: tuple[Slot, ...], activation: Mapping[str, str], *, dry_run: bool
) -> str | None:
    """Write the file for settings that compose.yaml has no variables for; None if none is set."""
    settings, run = session.settings, session.settings.run
    own = (*paths.OWN_MOUNTS, paths.COMPOSE)
    mounts = resolve_mounts(run.mounts, session.project.root, own=own)
    env = {**activation, **check_env(run.env)}
    pin_index = settings.pin == "index" and not any(slot.is_cpu for slot in slots)
    file = shared_folder(session.state) / paths.EXTRA_FILE
    needed = mounts or env or pin_index or settings.memlock is not None
    if not dry_run and not needed:
        file.unlink(missing_ok=True)  # left by an earlier call
    if not dry_run and needed:
        extra = make_extra(
            mounts,
            env,
            agents=len(slots) or 1,
            files=[one for one in mounts if not Path(one.source).is_dir()],
            memlock=settings.memlock,
            pin_index=pin_index,
        )
        write_json(file, extra, mode=0o600)
    return str(file.relative_to(session.project.root)) if needed else None


def _choose_server_image(session: Session, *, dry_run: bool) -> str:
    """The ID of the server's image, built if missing; in a dry run, the tag of a missing image."""
    if not dry_run:
        return ensure_server_image(session.engine(), report=session.report)
    found = session.engine().images.find(server_tag())
    return found.id if found else server_tag()


def _choose_port(session: Session, *, dry_run: bool) -> int:
    """The port of this folder's server, the same as before if it is free."""
    engine, state = session.engine(), session.state
    if found := find_server(engine, state):
        box = engine.find(found.container)
        if box is not None and not is_composed(box):
            session.report(
                "`up` started this fleet's server: `runner down` before `docker compose up`"
            )
        return int(found.url.rpartition(":")[2])
    port = select_port(state, session.report)
    if not dry_run:
        write_json(state.server_file, {**(read_json(state.server_file) or {}), "port": port})
    return port


def _provenance(labels: Mapping[str, str]) -> dict[str, str]:

    found = {"commit": labels.get(PROJECT_COMMIT), "dirty": labels.get(PROJECT_DIRTY)}
    return {name: value for name, value in found.items() if value}


def _choose_driver(session: Session, slots: tuple[Slot, ...]) -> str:
    """How Compose requests a GPU: the way that worked before, else the first possible one."""
    if not slots or slots[0].is_cpu:
        return "nvidia"
    ways = session.engine().info().access_ways(slots[0].uuid)
    way = session.settings.access or read_access(session.state) or next(iter(ways), "gpus")
    return "cdi" if way == "cdi" else "nvidia"


def _choose_server(session: Session, flag: str | None, *, dry_run: bool) -> str:
    """`local` or W&B's URL; for W&B its key is written for the service `init`."""
    choice = session.server_choice(flag)
    session.report(f"server: {choice.url or 'local'} ({choice.why})")
    if choice.url is None:
        return "local"
    key = get_key(choice.url, environ=session.environ, home=find_home(), state=session.state)
    if not dry_run:
        file = key_file(session.state, choice.url)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, key + "\n", mode=0o600)
    return choice.url


def _find_called_sweep(session: Session) -> str | None:
    """The sweep that the caller's environment names; the services read the settings file."""
    named = session.settings.run.sweep
    if named is None or session.settings.origins["run.sweep"] == variable_of("run.sweep"):
        return named
    if named.endswith((".yaml", ".yml")):
        _find_file(session, named)  # report a wrong name now
    return None


def _choose_sweep(session: Session, spec: str | None, server: str, flag: str | None) -> str | None:
    """The path of a sweep; or a sweep file of the project, for the service `sweep`."""
    if spec is None:
        return None
    if spec.endswith((".yaml", ".yml")):
        return _find_file(session, spec)
    record = load_records(session.state).get(spec.rpartition("/")[2])
    if record and str(record.path).endswith(spec):
        if record.server != server:
            raise RunnerError(
                f"sweep `{spec}` is on {record.server}, but the server is {server}",
                hint=f"`--server {record.server}`",
                code=ExitCode.USAGE,
            )
        return str(record.path)
    if server == "local":  # it may not be up yet: the service looks it up
        return spec
    servers = replace(session, quiet=True).servers(flag)
    joined = resolve_sweep(spec, servers, session.names(), write=True)
    save_record(session.state, joined)
    return str(joined.sweep.path)


def _find_file(session: Session, spec: str) -> str:
    """The path of the sweep file in the project's folder: the service sees only that folder."""
    root = session.project.root
    file = next((one for one in (Path.cwd() / spec, root / spec) if one.is_file()), None)
    if file is None or not file.resolve().is_relative_to(root.resolve()):
        raise RunnerError(
            f"there is no sweep file `{spec}` in the project", code=ExitCode.NOT_FOUND
        )
    return str(file.resolve().relative_to(root.resolve()))
