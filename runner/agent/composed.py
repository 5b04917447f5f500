"""An agent that Compose started: what the command line tells other agents is found out in here.

Compose knows neither the caller's uid nor a GPU's UUID nor the sweep. The owner of `/status` is the
caller, NVML shows the one GPU that came in, and the one-shot services left the rest in a folder.
"""

import json
import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from runner.agent.entry import leave_word
from runner.agent.entry import main as work
from runner.agent.gpu import SeenGpu
from runner.agent.owner import become_owner
from runner.agent.refusals import EXIT_REFUSED, RefusedError
from runner.agent.report import say
from runner.agent.workcopy import hold

# Compose cannot leave a variable out: what is not said is empty
_OPTIONAL = (
    *("RUNNER_COUNT", "RUNNER_CPUS", "RUNNER_GPU_UUID", "RUNNER_PROGRAM", "RUNNER_PROVENANCE"),
    "WANDB_APP_URL",
)
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_WRITTEN = ("RUNNER_WORKSPACE", "RUNNER_STATUS_DIR", "WANDB_DIR", "RUNNER_CHECKPOINTS")


def main() -> int:
    """Become an agent as `up` starts it, and work; the exit code."""
    try:
        prepare(os.environ)
    except RefusedError as error:
        say(error.reason)
        leave_word(os.environ, error.reason)
        return EXIT_REFUSED
    return work()


def prepare(environ: MutableMapping[str, str]) -> None:
    """Drop root's rights and complete the environment.

    Raises:
        RefusedError: no sweep, not exactly one GPU, or another agent in the working copy.
    """
    become_owner(Path(environ["RUNNER_STATUS_DIR"]), [Path(environ[name]) for name in _WRITTEN])
    _hold(Path(environ["RUNNER_WORKSPACE"]))  # the service `sweep` leaves it alone meanwhile
    for name in [name for name, value in environ.items() if not value and name in _OPTIONAL]:
        del environ[name]
    folder = Path(environ["RUNNER_COMPOSE"])
    environ.update(make_environment(read_sweep(folder), _read_server(folder)))
    if "RUNNER_GPU_UUID" not in environ:
        environ["RUNNER_GPU_UUID"] = _read_gpu()
    environ.update(make_devices(environ))
    trust = Path(environ["RUNNER_KEY_FILE"]).with_name("ca.pem")
    if trust.is_file():
        environ.update(dict.fromkeys(_TRUST, str(trust)))


def read_sweep(folder: Path) -> str:
    """The path that the one-shot `sweep` left here.

    Raises:
        RefusedError: it left none.
    """
    try:
        return (folder / "sweep").read_text("utf-8").strip()
    except OSError as error:
        raise RefusedError(
            f"no sweep: `docker compose up` runs the service `sweep` first ({error.strerror})"
        ) from error


def make_environment(sweep: str, server: dict[str, Any]) -> dict[str, str]:
    """What the sweep and its server say."""
    entity, _, rest = sweep.partition("/")
    return {
        "RUNNER_SWEEP": sweep,
        "RUNNER_SERVER_KIND": str(server["kind"]),
        "WANDB_BASE_URL": str(server["url"]),
        "WANDB_ENTITY": entity,
        "WANDB_PROJECT": rest.partition("/")[0],
    }


def make_devices(environ: MutableMapping[str, str]) -> dict[str, str]:
    """How the run is pinned: the UUID, which is the same inside and outside of a container."""
    uuid = environ["RUNNER_GPU_UUID"]
    if not uuid.startswith("cpu-"):
        return {"CUDA_VISIBLE_DEVICES": uuid}
    cpus = environ.get("RUNNER_CPUS")
    threads = {} if cpus is None else {"OMP_NUM_THREADS": str(max(1, int(float(cpus))))}
    return {"CUDA_VISIBLE_DEVICES": "", **threads}


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


def _hold(copy: Path) -> None:
    try:
        hold(copy)
    except BlockingIOError as error:
        raise RefusedError(f"another agent works in `{copy}`") from error
    except OSError as error:
        say(f"the working copy cannot be locked: {error.strerror}")


def _read_gpu() -> str:
    from runner.agent.nvml import read_sight  # slow, and a CPU slot has no use for it

    return select_only(read_sight().gpus)


def _read_server(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "server.json").read_text("utf-8"))
        return {"kind": value["kind"], "url": value["url"]}
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise RefusedError(f"no server is known: {error}") from error
