"""Making a file's sweep, or going on with the one that it made before."""

from runner.sweepfile import SweepSpec, sweep_hash
from runner.sweeps.place import SweepDefaults, check_may_write, find_place
from runner.sweeps.records import SweepHandle, load_records, save_record
from runner.sweeps.servers import Servers


def create_sweep(
    parsed: SweepSpec,
    servers: Servers,
    names: SweepDefaults,
    *,
    name: str | None = None,
) -> SweepHandle:
    """Create the sweep of a checked file on the chosen server, and remember it.

    Args:
        parsed: the file as it was read and checked.
        servers: of this call.
        names: entity and W&B project where the file names none.
        name: a display name in place of the file's.
    """
    server = servers.get()
    entity, project = find_place(parsed, server, names)
    check_may_write(server, entity)
    config = {**parsed.config, **({"name": name} if name else {})}
    sweep = server.client.create_sweep(config, entity=entity, project=project)
    joined = SweepHandle(sweep, server, created=True)
    save_record(servers.state, joined, digest=sweep_hash(parsed.config))
    return joined


def find_same_sweep(
    parsed: SweepSpec, servers: Servers, names: SweepDefaults
) -> SweepHandle | None:
    """The sweep that this folder made of the same content: the newest unfinished, else the newest.

    It has the hash of the parsed file, the chosen server, and the entity and W&B project where a
    new one would be created. The server is only asked where this folder remembers such a sweep.
    """
    digest = sweep_hash(parsed.config)
    newest: SweepHandle | None = None
    for record in reversed(load_records(servers.state).values()):
        if record.digest != digest or record.server != servers.chosen:
            continue
        server, path = servers.get(), record.path
        if (path.entity, path.project) != find_place(parsed, server, names):
            continue
        sweep = server.client.find_sweep(path)
        if sweep is None:
            continue
        found = SweepHandle(sweep, server, created=False)
        if not sweep.ended:
            return found
        newest = newest or found
    return newest


def take_or_create(
    parsed: SweepSpec, servers: Servers, names: SweepDefaults, *, name: str | None = None
) -> SweepHandle:
    """The newest unfinished sweep of the same content, else a new one."""
    same = find_same_sweep(parsed, servers, names)
    if same is not None and not same.sweep.ended:
        return same
    return create_sweep(parsed, servers, names, name=name)
