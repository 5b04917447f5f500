"""Whether a run can work in an image as agents run: as the caller, and without capabilities."""

import json
from typing import Any

from runner.agent.contract import paths
from runner.disk.own_files import read_json, write_json
from runner.engine.client import Engine
from runner.engine.errors import EngineError
from runner.errors import ExitCode, RunnerError
from runner.image.built import AgentImage
from runner.image.interpreters import MARK
from runner.image.probe import Probe
from runner.state.folder import State

_SCRIPT = f"""
import json, os
closed = []
def note(error):
    if not isinstance(error, FileNotFoundError):
        closed.append(error.filename)
for folder, folders, names in os.walk({paths.PROJECT!r}, onerror=note):
    closed += [os.path.join(folder, one) for one in names
               if os.path.isfile(os.path.join(folder, one))
               and not os.access(os.path.join(folder, one), os.R_OK)]
    if closed:
        break
found = {{"closed": closed[:1], "folder": os.getcwd(), "writable": os.access(".", os.W_OK)}}
print("{MARK}" + json.dumps(found))
"""


def check_fit(
    engine: Engine, image: AgentImage, probe: Probe, state: State, *, user: str
) -> str | None:
    """Look at the image as a run would; return a warning if a run cannot write in its folder.

    Args:
        engine: has the image.
        image: of the agents.
        probe: of the image.
        state: stores the answer.
        user: of the agents, "uid:gid".

    Raises:
        RunnerError: the user may not start its Python, or not read its project (6).
    """
    stem, uid = image.id.partition(":")[2] or image.id, user.partition(":")[0]
    file = state.cache / "probes" / f"{stem}.{user.replace(':', '-')}.fit.json"
    found = read_json(file)
    if found is None:
        found = _ask(engine, image, user)
        if found and not state.read_only:
            write_json(file, found)
    if not found:
        raise _closed(image, f"user {uid} cannot start `{probe.interpreter}`", probe.interpreter)
    if found["closed"]:
        name = found["closed"][0]
        raise _closed(image, f"user {uid} cannot read `{name}`", name)
    if probe.has_project or found["writable"]:
        return None
    return (
        f"warning: user {uid} cannot write to `{found['folder']}`, where runs work in image "
        f"`{image.tag}`: `--relaxed` lets them"
    )


def _ask(engine: Engine, image: AgentImage, user: str) -> dict[str, Any]:
    """The answer; empty if the interpreter does not start."""
    try:
        _, text = engine.probe(
            *(image.id, ("-I", "-c", _SCRIPT)), entrypoint=(image.interpreter,), user=user
        )
    except EngineError:
        return {}
    lines = (line for line in text.splitlines() if line.startswith(MARK))
    answer = next(lines, f"{MARK}{{}}").removeprefix(MARK)
    return dict(json.loads(answer))


def _closed(image: AgentImage, what: str, path: str) -> RunnerError:
    parts = path.split("/")
    top = "/".join(parts[:3]) if len(parts) > 3 else path
    return RunnerError(
        f"in image `{image.tag}` {what}",
        hint=f"`--relaxed` lets it, or `RUN chmod -R a+rX {top}` in its Dockerfile",
        code=ExitCode.UNFIT,
    )
