"""Command: `compose`."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner import console
from runner.cli.consent import YesOption
from runner.cli.up import ServerOption
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular_text

if TYPE_CHECKING:
    from runner.compose.env_file import ComposePins
    from runner.fleet.slots import Slot
    from runner.usecases.session import Context


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(compose)


def compose(
    gpus: Annotated[
        str | None,
        typer.Option(help="`0,1`, `0-3`, `all`, `free`, `free:2`, a UUID, `MIG-…`, `cpu:2`."),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="An ID, `entity/project/id`, or a YAML file.")
    ] = None,
    server: ServerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the lines only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object with the values.")] = False,
    yes: YesOption = False,
) -> None:
    """Pin GPUs, sweep, server and images for `docker compose up`, in a block of `.env`."""
    from runner.compose.env_file import ENV_FILE, make_values, write_block
    from runner.compose.file import FILE, render
    from runner.state import hand_over, write_atomic
    from runner.usecases.session import open_context

    overridden = [*(["server"] if server else ()), *(["run.sweep"] if sweep else ())]
    context = open_context(create=True, read_only=dry_run, yes=yes, overridden=overridden)
    root = context.project.root
    if context.state.root.resolve() != (root / ".runner").resolve():
        raise RunnerError(
            f"{FILE} has its state in `{root / '.runner'}`, and this folder's is "
            f"`{context.state.root}`",
            hint="unset `RUNNER_HOME`",
            code=ExitCode.USAGE,
        )
    values = make_values(_choose(context, gpus, sweep, server, dry_run=dry_run))
    file = _find_env(context)
    text = write_block(_read_env(file), values)
    missing = {name: made for name, made in render().items() if not (root / name).exists()}
    if not dry_run:
        for name, made in missing.items():
            write_atomic(root / name, made)
            hand_over(root / name, root)
            console.note(f"wrote {name}")
        _write_env(file, text)
        hand_over(context.state.root, root)
    if as_json:
        written = [*missing, ENV_FILE]
        fields = {"dry_run": dry_run, "folder": str(root), "files": written, "values": values}
        console.data(console.to_json(fields))
    elif dry_run:
        console.data("\n".join(f"{name}={value}" for name, value in values.items()))
    if dry_run:
        return
    pinned = ", ".join(slot for slot in (gpus or "").split(",") if slot) or "GPU 0"
    console.note(f"pinned {pinned} in {ENV_FILE}; next: `docker compose up`")


def _find_env(context: "Context") -> Path:
    """`.env`, which may be a link to another file of the project or its repository."""
    from runner.compose.env_file import ENV_FILE
    from runner.settings.claims import is_inside

    file = context.project.root / ENV_FILE
    if not is_inside(context.project, file):
        raise RunnerError(
            f"`{file}` is a link out of the project, to `{file.resolve()}`",
            hint="put a file in its place: runner writes the pins there",
            code=ExitCode.USAGE,
        )
    return file


def _read_env(file: Path) -> str:
    """Its text with the line ends that it has."""
    try:
        return read_regular_text(file) if file.exists() else ""
    except OSError as error:
        raise RunnerError(
            f"cannot read `{file}`: {error.strerror}", hint="check its owner and mode"
        ) from error
    except UnicodeDecodeError as error:
        raise RunnerError(
            f"`{file.name}` is not UTF-8: {error}", hint="Compose reads no other; convert it"
        ) from error


def _write_env(file: Path, text: str) -> None:
    """Owner and mode stay the user's, also where root calls; a link stays one."""
    from runner.state import hand_over, write_atomic

    file = file.resolve()
    before = file.stat() if file.exists() else None
    write_atomic(file, text, mode=before.st_mode & 0o777 if before else 0o644)
    if before and os.geteuid() == 0:
        os.chown(file, before.st_uid, before.st_gid)
    if not before:
        hand_over(file, file.parent)


def _choose(
    context: "Context", gpus: str | None, sweep: str | None, server: str | None, *, dry_run: bool
) -> "ComposePins":
    from runner.backend.certificates import copy_ca_bundle, find_ca_bundle
    from runner.cli import up
    from runner.compose.env_file import ComposePins
    from runner.fleet.apply import make_host
    from runner.fleet.observe import read_agents
    from runner.fleet.slots import parse_selection
    from runner.image.built import find_image
    from runner.localserver.container import network_name
    from runner.localserver.files import find_data, make_data

    engine, run = context.engine(), context.settings.run
    agents = read_agents(engine, context.state)
    selection = parse_selection(gpus) if gpus else None
    slots = tuple(up.find_slots(context, agents, selection)) if selection else ()
    image = find_image(engine, context.project, context.settings, context.state)
    chosen = _choose_server(context, server, dry_run=dry_run)
    host = make_host(engine, max(1, len(slots)))
    bundle, copy = find_ca_bundle(os.environ), partial(copy_ca_bundle, folder=context.state.cache)
    place = find_data if dry_run else make_data
    data = place(context.state, report=console.note)
    local, owner = chosen == "local", context.project.root.stat()
    cpus = run.cpus or (host.cpu_share if slots and slots[0].is_cpu else None)
    labels = {"image": image.id, **_provenance(image.labels)}
    return ComposePins(
        fleet=context.state.fleet,
        user=host.user if os.geteuid() else engine.info().user(owner.st_uid, owner.st_gid),
        image=image.id,
        interpreter=image.interpreter,
        read_only=image.read_only,
        server_image=_choose_server_image(context, dry_run=dry_run),
        server=chosen,
        port=_choose_port(context, dry_run=dry_run) if local else None,
        network=network_name(context.state),
        sweep=_choose_sweep(context, sweep or _find_called_sweep(context), chosen, server),
        slots=slots,
        driver=_choose_driver(context, slots),
        grace_s=run.grace_s,
        shm_bytes=run.shm_size or host.shm_share,
        memory_bytes=run.memory,
        cpus=cpus,
        program=run.program,
        provenance=json.dumps(labels),
        extra=_write_extra(context, slots, dry_run=dry_run),
        trust=None if bundle is None else str(copy(bundle, dry_run=dry_run)),
        data=None if data == context.state.server else str(data),
    )


def _write_extra(context: "Context", slots: "tuple[Slot, ...]", *, dry_run: bool) -> str | None:
    """The file with what compose.yaml has no variables for; None where nothing of it is set."""
    from runner.agent.contract import paths
    from runner.compose.env_file import make_extra
    from runner.compose.folders import shared_folder
    from runner.fleet.agentspec import check_env
    from runner.fleet.mounts import resolve_mounts
    from runner.state import write_json

    settings, run = context.settings, context.settings.run
    own = (*paths.OWN_MOUNTS, paths.COMPOSE)
    mounts = resolve_mounts(run.mounts, context.project.root, own=own)
    env = check_env(run.env)
    pin_index = settings.pin == "index" and not any(slot.is_cpu for slot in slots)
    file = shared_folder(context.state) / paths.EXTRA_FILE
    needed = mounts or env or pin_index or settings.memlock is not None
    if not dry_run and not needed:
        file.unlink(missing_ok=True)  # of an earlier call
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
    return str(file.relative_to(context.project.root)) if needed else None


def _choose_server_image(context: "Context", *, dry_run: bool) -> str:
    """The ID of the server's image, built where it is missing; in a dry run then its tag."""
    from runner.image.server import ensure_server_image, server_tag

    if not dry_run:
        return ensure_server_image(context.engine(), report=console.note)
    found = context.engine().image(server_tag())
    return found.id if found else server_tag()


def _choose_port(context: "Context", *, dry_run: bool) -> int:
    """The port of this folder's server, the same each time if it can be."""
    from runner.fleet.composed import is_composed
    from runner.localserver.container import find_server, select_port
    from runner.state import read_json, write_json

    engine, state = context.engine(), context.state
    if found := find_server(engine, state):
        box = engine.find(found.container)
        if box is not None and not is_composed(box):
            console.note(
                "this fleet's server runs by `up`: `runner down` before `docker compose up`"
            )
        return int(found.url.rpartition(":")[2])
    port = select_port(state, console.note)
    if not dry_run:
        write_json(state.server_file, {**(read_json(state.server_file) or {}), "port": port})
    return port


def _provenance(labels: Mapping[str, str]) -> dict[str, str]:
    from runner.image.recipe import COMMIT_LABEL, DIRTY_LABEL

    found = {"commit": labels.get(COMMIT_LABEL), "dirty": labels.get(DIRTY_LABEL)}
    return {name: value for name, value in found.items() if value}


def _choose_driver(context: "Context", slots: "tuple[Slot, ...]") -> str:
    """How Compose asks for a GPU: the way that worked before, else the first that may."""
    from runner.engine.target import read_access

    if not slots or slots[0].is_cpu:
        return "nvidia"
    ways = context.engine().info().access_ways(slots[0].uuid)
    way = context.settings.access or read_access(context.state) or next(iter(ways), "gpus")
    return "cdi" if way == "cdi" else "nvidia"


def _choose_server(context: "Context", flag: str | None, *, dry_run: bool) -> str:
    """`local`, or W&B's URL, whose key is then left for the service `init`."""
    from runner.backend.keys import get_key
    from runner.backend.wandb_files import find_home
    from runner.compose.given_key import key_file
    from runner.state import write_atomic

    choice = context.server_choice(flag)
    console.note(f"server: {choice.url or 'local'} ({choice.why})")
    if choice.url is None:
        return "local"
    key = get_key(choice.url, environ=os.environ, home=find_home(), state=context.state)
    if not dry_run:
        file = key_file(context.state, choice.url)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, key + "\n", mode=0o600)
    return choice.url


def _find_called_sweep(context: "Context") -> str | None:
    """The sweep of the caller's environment; that of the settings file is left to the services."""
    from runner.settings.load import variable_of

    named = context.settings.run.sweep
    if named is None or context.settings.origins["run.sweep"] == variable_of("run.sweep"):
        return named
    if named.endswith((".yaml", ".yml")):
        _find_file(context, named)  # a wrong name is better said now
    return None


def _choose_sweep(
    context: "Context", spec: str | None, server: str, flag: str | None
) -> str | None:
    """The path of a sweep, or a file of the project, from which the service `sweep` makes one."""
    from runner.sweeps.records import load_records, save_record
    from runner.sweeps.resolve import resolve_sweep

    if spec is None:
        return None
    if spec.endswith((".yaml", ".yml")):
        return _find_file(context, spec)
    record = load_records(context.state).get(spec.rpartition("/")[2])
    if record and str(record.path).endswith(spec):
        if record.server != server:
            raise RunnerError(
                f"sweep `{spec}` lives on {record.server}, and the server is {server}",
                hint=f"`--server {record.server}`",
                code=ExitCode.USAGE,
            )
        return str(record.path)
    if server == "local":  # it may not be up yet: the service looks it up
        return spec
    servers = context.servers(flag, quiet=True)
    joined = resolve_sweep(spec, servers, context.names(), write=True)
    save_record(context.state, joined)
    return str(joined.sweep.path)


def _find_file(context: "Context", spec: str) -> str:
    """The sweep file as seen from the project's folder, which is all that the service has."""
    root = context.project.root
    file = next((one for one in (Path.cwd() / spec, root / spec) if one.is_file()), None)
    if file is None or not file.resolve().is_relative_to(root.resolve()):
        raise RunnerError(
            f"there is no sweep file `{spec}` in the project", code=ExitCode.NOT_FOUND
        )
    return str(file.resolve().relative_to(root.resolve()))
