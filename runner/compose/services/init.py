"""The service `init`: make everything that the other services mount."""

import os
from collections.abc import Mapping
from pathlib import Path

from runner import console
from runner.agent.contract import paths, servers, variables
from runner.agent.contract.servers import ComposeServer
from runner.agent.contract.slots import parse_slot
from runner.agent.lease import make_lease, open_folder
from runner.agent.owner import become_owner
from runner.agent.refusals import RefusedError
from runner.backend.choice import choose_server
from runner.backend.hosts import WANDB_AI
from runner.compose.folders import key_folder, shared_folder
from runner.compose.given_key import find_agents_key
from runner.compose.inside import CA_BUNDLE, KEY, PROJECT, open_fleet, read_environ
from runner.disk.own_files import write_atomic
from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.guard.walk import make_folders
from runner.launchers.docker.bundle import bundle_agent
from runner.project.find import find_project
from runner.server_container.files import ensure_key
from runner.settings.load import load_settings
from runner.state.folder import FOLDER, State
from runner.state.owner import chown_to_owner_of

GIVEN_CA = Path(paths.GIVEN_CA)


def run() -> int:
    """Make folders, keys, the agents' code."""
    if (left := PROJECT / FOLDER).is_dir():
        chown_to_owner_of(left, PROJECT)
    become_owner(PROJECT)
    environ = read_environ(os.environ)
    state = open_fleet(environ)
    chosen = choose(environ, state)
    own_key = ensure_key(state).read_text("ascii")
    shared, agents = shared_folder(state), environ[variables.AGENTS].split(",")
    own = [(name, agent) for agent in agents for name in ("work", "status", "orders")]
    kept = ("runs", "checkpoints", "sweeps", "server", "compose")
    for names in (*((name,) for name in kept), *own, ("cache", "agents")):
        make_folders(state.root, *names)
    make_folders(state.root, "agents")  # for a compose.yaml of an earlier version
    keys = key_folder(state)
    make_folders(state.root, "secrets", keys.name, mode=0o700)
    key = own_key if chosen.own else find_agents_key(chosen.url, state, environ)
    write_atomic(keys / KEY.name, key.strip() + "\n", mode=0o400)
    _copy_trust(keys / CA_BUNDLE.name)
    write_atomic(shared / paths.SERVER_FILE, chosen.to_json())
    _link(shared / paths.CODE_LINK, bundle_agent(state.cache))
    _make_leases(environ.get(variables.SLOTS, ""))
    where = "this folder's own" if chosen.own else chosen.url
    console.note(f"server: {where} ({chosen.why})")
    return 0


def choose(environ: Mapping[str, str], state: State) -> ComposeServer:
    """Choose the server as other commands do; `sweep` later asks its kind."""
    settings = load_settings(find_project(PROJECT), environ=environ, believed=True)
    named = settings.server or environ.get(variables.BASE_URL)
    flag = WANDB_AI if environ.get(variables.KEY_IS_GIVEN) and not named else None
    nobody = Path("/nonexistent")  # the container has no home of the caller
    choice = choose_server(flag=flag, environ=environ, settings=settings, home=nobody, state=state)
    if choice.own:
        return ComposeServer("runner", servers.URL, choice.why)
    return ComposeServer("wandb", str(choice.url), choice.why if not flag else "a key")


def _make_leases(slots: str) -> None:
    """Make the folder of leases, and the lease files of pinned GPUs."""
    folder = Path(paths.HOST_LEASES)
    try:
        os.close(open_folder(folder))
        for uuid in filter(None, slots.split(",")):
            make_lease(folder, parse_slot(uuid).text)
    except RefusedError as error:
        raise RunnerError(error.reason, hint=error.hint, code=ExitCode.UNFIT) from error
    except (OSError, ValueError) as error:
        raise RunnerError(f"cannot make the leases in `{folder}`: {error}") from error


def _link(link: Path, target: Path) -> None:
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _copy_trust(copy: Path) -> None:
    """Copy the caller's certificates; remove those of an earlier call."""
    if GIVEN_CA.is_file():
        write_atomic(copy, read_text(GIVEN_CA), mode=0o444)
    else:
        copy.unlink(missing_ok=True)
