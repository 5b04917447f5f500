"""Find the sweep that a user names."""

from dataclasses import astuple

from runner.agent.contract.sweeps import SweepPath
from runner.errors import ExitCode, RunnerError
from runner.sweeps.address import SweepAddress, read_spec
from runner.sweeps.known import known_sweeps
from runner.sweeps.place import SweepDefaults, check_may_write, default_entity
from runner.sweeps.records import SweepHandle, SweepRecord, load_records
from runner.sweeps.servers import Servers


def resolve_sweep(
    spec: str, servers: Servers, names: SweepDefaults, *, write: bool = False
) -> SweepHandle:
    """The existing sweep of this ID, path or page.

    With `write`, a W&B key must be allowed to write to the sweep's entity (else code 4).

    Raises:
        RunnerError: it does not exist (3), its server refuses the key (4), or does not answer.
    """
    named = read_spec(spec)
    joined = _find(named, servers, names, write=write)
    if joined is None:
        raise _unknown(named, servers, names)
    return joined


def _find(
    spec: SweepAddress, servers: Servers, names: SweepDefaults, *, write: bool
) -> SweepHandle | None:
    record = load_records(servers.state).get(spec.names[-1])
    if record and _is_meant(spec, record, servers):
        if record.server != servers.chosen:
            servers.report(f"server: {record.server}, where this folder has `{record.path}`")
        server = servers.get(record.server)
        if write:
            check_may_write(server, record.path.entity)
        sweep = server.client.find_sweep(record.path)
        return None if sweep is None else SweepHandle(sweep, server, created=False)
    server = servers.get(_name_server(spec, servers))
    if (
        len(spec.names) == 1 and server.kind == "runner"
    ):  # our server has few W&B projects: ask each
        candidates = server.client.projects()
    else:
        entity = names.entity if len(spec.names) < 3 else spec.names[0]
        entity = entity or default_entity(server)
        projects = spec.names[-2:-1] or names.likely_projects()
        candidates = [(entity, project) for project in projects]
        if write:
            check_may_write(server, entity)
    for entity, project in candidates:
        if sweep := server.client.find_sweep(SweepPath(entity, project, spec.names[-1])):
            return SweepHandle(sweep, server, created=False)
    return None


def _is_meant(spec: SweepAddress, record: SweepRecord, servers: Servers) -> bool:
    """Whether `spec` names this sweep of the folder."""
    if astuple(record.path)[-len(spec.names) :] != spec.names:
        return False
    return spec.page is None or servers.name_of(spec.page) == record.server


def _name_server(spec: SweepAddress, servers: Servers) -> str:
    """The server of the page's URL, else the chosen one."""
    if spec.page is None:
        return servers.chosen
    name = servers.name_of(spec.page)
    if name != servers.chosen:
        servers.report(f"server: {name}, as the sweep's address says")
    return name


def _unknown(spec: SweepAddress, servers: Servers, names: SweepDefaults) -> RunnerError:
    server = servers.get(servers.name_of(spec.page) if spec.page else None)
    listed = [record.path for record in load_records(servers.state).values()]
    if servers.chosen_kind == "runner":
        listed = [joined.sweep.path for joined in known_sweeps(servers)]
    known = ", ".join(f"`{path}`" for path in listed[-8:])
    hint = f"known sweeps: {known}" if known else "create one: `runner sweep create sweep.yaml`"
    if (sweep_id := spec.names[-1]) != sweep_id.lower():
        hint = f"W&B's IDs are in lower case: `{sweep_id.lower()}`; {hint}"
    where = "" if server.kind == "runner" or len(spec.names) == 3 else f" ({names.describe()})"
    return RunnerError(
        f"there is no sweep `{spec.path}` on {server.client.url}{where}",
        hint=hint,
        code=ExitCode.NOT_FOUND,
    )
