"""Create the sweep of a file, or find the one that the file made before."""

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
        parsed: the checked file.
        servers: of this call.
        names: defaults for entity and W&B project.
        name: a display name; replaces the file's.
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
    """The newest unfinished sweep that this folder made from this content, else the newest one.

    It has the same hash of the parsed file, server, entity and W&B project as a new one would
    have. Asks the server only if this folder remembers such a sweep.
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
    """The newest unfinished sweep of the same content; else create one."""
    same = find_same_sweep(parsed, servers, names)
    if same is not None and not same.sweep.ended:
        return same
    return create_sweep(parsed, servers, names, name=name)
