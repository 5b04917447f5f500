"""List the sweeps that this folder and its server know."""

from runner.agent.contract.sweeps import SweepPath
from runner.errors import RunnerError
from runner.sweeps.records import SweepHandle, load_records
from runner.sweeps.servers import Servers


def known_sweeps(servers: Servers) -> list[SweepHandle]:
    """All sweeps of our own server and those that this folder joined elsewhere, oldest first.

    Leaves out, with a warning, a server that does not answer or has no key.
    """
    found: dict[SweepPath, SweepHandle] = {}
    silent: set[str] = set()
    for record in load_records(servers.state).values():
        if record.server in silent:
            continue
        try:
            server = servers.get(record.server)
            sweep = server.client.find_sweep(record.path)
        except RunnerError as error:
            if record.server == servers.chosen:
                raise
            silent.add(record.server)
            servers.report(f"warning: left out the sweeps of {record.server}: {error.message}")
            continue
        if sweep is not None:
            found[sweep.path] = SweepHandle(sweep, server, created=False)
    if servers.chosen_kind == "runner":
        server = servers.get()
        for entity, project in server.client.projects():
            for sweep in server.client.sweeps(entity, project):
                found.setdefault(sweep.path, SweepHandle(sweep, server, created=False))
    return list(found.values())
