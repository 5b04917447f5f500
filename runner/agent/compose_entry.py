"""An agent that Compose started: what the command line tells other agents is found out in here.

Compose knows neither the caller's uid nor a GPU's UUID nor the sweep. The one-shot services left
the sweep in a folder, whose owner is the caller, and NVML shows the one GPU that came in.
"""

import json
import os
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from runner.agent.contract import exits, paths, variables
from runner.agent.contract.servers import ComposeServer
from runner.agent.contract.slots import parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.agent.entry import main as work
from runner.agent.entry import write_refusal
from runner.agent.gpu import SeenGpu
from runner.agent.lease import Lease
from runner.agent.owner import become_owner
from runner.agent.refusals import RefusedError
from runner.agent.report import say
from runner.agent.workcopy import hold

_WRITTEN = (
    variables.WORKSPACE,
    variables.STATUS_DIR,
    variables.RUNS_DIR,
    variables.CHECKPOINTS,
)


def main() -> int:
    """Become an agent as `up` starts it, and work; the exit code."""
    try:
        lease = prepare(os.environ)
    except RefusedError as error:
        say(error.reason)
        write_refusal(os.environ, error.reason)
        return exits.AGENT_REFUSED
    return work(lease)


def prepare(environ: MutableMapping[str, str]) -> Lease | None:
    """Drop root's rights and complete the environment; the lease that only root could take.

    Raises:
        RefusedError: no sweep, not exactly one GPU, its lease is another agent's, or the working
            copy is.
    """
    folder = Path(environ[variables.COMPOSE_DIR])
    try:
        lease = _take_lease(environ)
    finally:
        become_owner(folder, [Path(environ[name]) for name in _WRITTEN])
    _hold(Path(environ[variables.WORKSPACE]))  # the service `sweep` leaves it alone meanwhile
    whole = complete(environ, read_sweep(folder), _read_server(folder), _read_provenance(folder))
    for name in environ.keys() - whole.keys():
        del environ[name]
    environ.update(whole)
    return lease


def complete(
    environ: Mapping[str, str],
    sweep: SweepPath,
    server: ComposeServer,
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """The environment that `up` would have given this agent.

    Raises:
        RefusedError: no slot is named, and not exactly one GPU is here.
    """
    said = {
        name: value
        for name, value in environ.items()
        if value or name not in variables.MAY_BE_EMPTY
    }
    slot = said.get(variables.SLOT) or _read_gpu()
    whole = {**said, **make_environment(sweep, server), variables.SLOT: slot}
    known = {**json.loads(said.get(variables.PROVENANCE, "{}")), **provenance}
    whole[variables.PROVENANCE] = json.dumps(known)
    found = {**make_devices(whole), **_find_trust(whole)}
    given = whole.get(variables.GIVEN, "").split(",")  # other values may be the image's
    return {**whole, **{name: value for name, value in found.items() if name not in given}}


def read_sweep(folder: Path) -> SweepPath:
    """The path that the one-shot `sweep` left here.

    Raises:
        RefusedError: it left none.
    """
    try:
        return SweepPath.parse((folder / paths.SWEEP_FILE).read_text("utf-8").strip())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RefusedError(
            f"no sweep: `docker compose up` runs the service `sweep` first ({why})"
        ) from error


def make_environment(sweep: SweepPath, server: ComposeServer) -> dict[str, str]:
    """What the sweep and its server say."""
    return {
        variables.SWEEP: str(sweep),
        variables.SERVER_KIND: server.kind,
        variables.BASE_URL: server.url,
        variables.ENTITY: sweep.entity,
        variables.PROJECT: sweep.project,
    }


def make_devices(environ: Mapping[str, str]) -> dict[str, str]:
    """How the run is pinned: the UUID, which is the same inside and outside of a container."""
    text = environ[variables.SLOT]
    try:
        slot = parse_slot(text)
    except ValueError as error:
        raise RefusedError(f"`{variables.SLOT}`: {error}") from error
    visible = {variables.CUDA_DEVICES: "" if slot.is_cpu else slot.text}
    cpus = environ.get(variables.CPUS)
    threads = {variables.THREADS: str(max(1, int(float(cpus))))} if cpus else {}
    return {**visible, **threads}


def select_only(gpus: Iterable[SeenGpu]) -> str:
    """The UUID of the one GPU or MIG slice that is here.

    Raises:
        RefusedError: none or several are.
    """
    seen = [one.uuid for gpu in gpus for one in (gpu.migs or (gpu,))]
    if len(seen) != 1:
        names = ", ".join(f"`{uuid}`" for uuid in seen) or "none"
        raise RefusedError(f"one GPU is for each agent; NVML shows {names}")
    return seen[0]


def _take_lease(environ: MutableMapping[str, str]) -> Lease | None:
    """The lease out of the folder of all, which is for root alone.

    Where `.env` names a GPU, its lease is the only one in here, and is taken later.
    """
    leases = Path(paths.ALL_LEASES)
    if os.geteuid() != 0:
        if not environ.get(variables.SLOT) and not Path(paths.LEASES).is_dir():
            raise RefusedError("`.env` names a user and no GPU: call `runner compose` again")
        return None
    if not leases.is_dir():
        return None
    uuid = environ.get(variables.SLOT) or _read_gpu()
    if parse_slot(uuid).is_cpu:
        return None
    environ[variables.SLOT] = uuid
    return Lease.take(leases, uuid, mounted=True)


def _find_trust(environ: Mapping[str, str]) -> dict[str, str]:
    """Certificates that lie beside the key, to be trusted in place of the image's."""
    file = Path(environ[variables.KEY_FILE]).with_name(Path(paths.CA_BUNDLE).name)
    return dict.fromkeys(variables.TRUST, str(file)) if file.is_file() else {}


def _hold(copy: Path) -> None:
    try:
        hold(copy)
    except BlockingIOError as error:
        raise RefusedError(f"another agent works in `{copy}`") from error
    except OSError as error:
        say(f"the working copy cannot be locked: {error.strerror}")


def _read_gpu() -> str:
    from runner.agent.nvml import read_sight  # slow, and a CPU slot does not need it

    return select_only(read_sight().gpus)


def _read_provenance(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / paths.PROVENANCE_FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # of no use for the run itself
        return {}


def _read_server(folder: Path) -> ComposeServer:
    try:
        return ComposeServer.from_json((folder / paths.SERVER_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError(f"no server is known: {error}") from error
