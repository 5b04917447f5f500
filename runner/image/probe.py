"""Find interpreter, wandb and project in an image; each image is asked once."""

import json
from dataclasses import dataclass
from typing import Any

from runner.agent.contract import paths, variables
from runner.disk.own_files import read_json, write_json
from runner.engine.client import Engine
from runner.engine.errors import EngineError
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State

OLDEST = (3, 10)  # for the agent's code
_MARK = "runner-probe:"
_SCRIPT = f"""
import json, os, sys
found = {{"python": list(sys.version_info[:3]), "interpreter": sys.executable, "wandb": None}}
try:
    import wandb
    found["wandb"] = wandb.__version__
except Exception as error:
    found["wandb_error"] = "%s: %s" % (type(error).__name__, error)
files = None
if os.path.isdir({paths.PROJECT!r}):
    files = []
    for folder, _, names in os.walk({paths.PROJECT!r}):
        files += [os.path.relpath(os.path.join(folder, name), {paths.PROJECT!r}) for name in names]
        if len(files) > 20000:
            break
found["files"] = files
print("{_MARK}" + json.dumps(found))
"""
# every interpreter on the image's PATH; the one that has wandb is the project's
_SEARCH = f"""
for one in "${variables.PYTHON}" python python3 {paths.INTERPRETER} /opt/conda/bin/python; do
    if [ -n "$one" ] && command -v "$one" >/dev/null 2>&1; then "$one" -c "$1"; fi
done
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of one image."""

    interpreter: str
    python: tuple[int, int, int]
    wandb: str | None  # version; None: cannot be imported
    wandb_error: str | None
    files: frozenset[str] | None  # of /opt/project; None: no such folder

    @property
    def has_project(self) -> bool:
        """Whether the image contains the project's files."""
        return self.files is not None

    def has_program(self, program: str) -> bool:
        """Whether this file of the project is in the image."""
        return self.files is not None and program.removeprefix("./") in self.files


def probe_image(engine: Engine, image_id: str, state: State, *, ours: bool) -> Probe:
    """Ask the image in a short-lived container without network; caches the answer by image ID.

    Args:
        engine: has the image.
        image_id: `sha256:…`.
        state: stores the answer.
        ours: `runner build` made it, so its interpreter is known.

    Raises:
        RunnerError: it has no Python 3.10 or newer (6).
    """
    file = state.cache / "probes" / f"{image_id.partition(':')[2] or image_id}.json"
    found = read_json(file)
    if found is None:
        found = _ask(engine, image_id, ours=ours)
        if not state.read_only:
            write_json(file, found)
    return _to_probe(found)


def check_program(probe: Probe, program: str, *, image: str) -> None:
    """Check that a run can start: the image has wandb and the program.

    Raises:
        RunnerError: it lacks wandb (6) or the program (3).
    """
    if probe.wandb is None:
        raise RunnerError(
            f"image `{image}` cannot import wandb ({probe.wandb_error})",
            hint="add `wandb` to the project's dependencies, then `runner build`",
            code=ExitCode.UNFIT,
        )
    if probe.has_project and not probe.has_program(program):
        raise RunnerError(
            f"the program `{program}` is not in image `{image}`",
            hint="run `runner build`; it leaves out files that git or .dockerignore ignores",
            code=ExitCode.NOT_FOUND,
        )


def select_interpreter(answers: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first new enough interpreter that has wandb, else the first new enough one."""
    able = [one for one in answers if tuple(one["python"][:2]) >= OLDEST]
    return next((one for one in able if one["wandb"]), able[0] if able else None)


def _ask(engine: Engine, image_id: str, *, ours: bool) -> dict[str, Any]:
    answers = _read_answers(engine, image_id, ours=ours)
    if found := select_interpreter(answers):
        return found
    versions = ", ".join(".".join(map(str, one["python"])) for one in answers)
    raise RunnerError(
        f"image `{image_id[:19]}` has no Python of {OLDEST[0]}.{OLDEST[1]} or newer"
        + (f" (it has {versions})" if versions else ""),
        hint=f"choose an image with a newer Python, or set `{variables.PYTHON}` in it",
        code=ExitCode.UNFIT,
    )


def _read_answers(engine: Engine, image_id: str, *, ours: bool) -> list[dict[str, Any]]:
    try:
        if ours:
            _, text = engine.probe(image_id, ("-I", "-c", _SCRIPT), entrypoint=(paths.INTERPRETER,))
        else:
            command = ("-c", _SEARCH, "sh", _SCRIPT)
            _, text = engine.probe(image_id, command, entrypoint=("/bin/sh",))
    except EngineError:
        if ours:
            raise
        return []  # an image without a shell
    lines = (line for line in text.splitlines() if line.startswith(_MARK))
    return [json.loads(line.removeprefix(_MARK)) for line in lines]


def _to_probe(found: dict[str, Any]) -> Probe:
    files = found.get("files")
    major, minor, micro = found["python"]
    return Probe(
        interpreter=found["interpreter"],
        python=(major, minor, micro),
        wandb=found.get("wandb"),
        wandb_error=found.get("wandb_error"),
        files=None if files is None else frozenset(files),
    )
