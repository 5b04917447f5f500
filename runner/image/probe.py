"""Find interpreter, wandb and project in an image; each image is asked once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.agent import looks
from runner.agent.contract import paths, variables
from runner.disk.own_files import read_json, write_json
from runner.engine.client import Engine
from runner.engine.errors import EngineError
from runner.errors import ExitCode, RunnerError
from runner.project.command_fault import WordFacts
from runner.state.folder import State

OLDEST = (3, 10)  # for the agent's code
_MARK = "runner-probe:"
_LOOKS = Path(looks.__file__)  # the image's Python reads its text
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
_SPECS = """
import importlib.util, json
print({mark!r} + json.dumps({{one: importlib.util.find_spec(one) is not None for one in {names}}}))
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


def find_missing(
    engine: Engine, image_id: str, state: State, probe: Probe, names: Sequence[str]
) -> list[str]:
    """Which of these top-level modules the image lacks; nothing of them is executed.

    Args:
        engine: has the image.
        image_id: `sha256:…`.
        state: stores the answer.
        probe: of the image.
        names: of modules that are not files of the project.
    """
    file = state.cache / "probes" / f"{image_id.partition(':')[2] or image_id}.modules.json"
    known: dict[str, bool] = read_json(file) or {}
    unknown = [one for one in names if one not in known]
    if unknown:
        script = _SPECS.format(names=unknown, mark=_MARK)
        _, text = engine.probe(image_id, ("-I", "-c", script), entrypoint=(probe.interpreter,))
        for line in text.splitlines():
            if line.startswith(_MARK):
                known |= json.loads(line.removeprefix(_MARK))
        if not state.read_only:
            write_json(file, known)
    return [one for one in names if known.get(one) is False]


def read_words(
    engine: Engine, image_id: str, state: State, probe: Probe, words: Sequence[str]
) -> dict[str, WordFacts]:
    """What the words of a command are in the image, where runs start.

    Args:
        engine: has the image.
        image_id: `sha256:…`.
        state: stores the answer.
        probe: of the image.
        words: of the command.
    """
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
    stem = image_id.partition(":")[2] or image_id
    file = state.cache / "probes" / f"{stem}.{digest}.words.json"
    found = read_json(file)
    if found is None:
        place = repr(paths.PROJECT) if probe.has_project else "os.getcwd()"
        call = f"look({list(words)!r}, {place}, inside=True)"
        script = f"{_LOOKS.read_text('utf-8')}\nimport json\nprint({_MARK!r} + json.dumps({call}))"
        _, text = engine.probe(image_id, ("-I", "-c", script), entrypoint=(probe.interpreter,))
        lines = (line for line in text.splitlines() if line.startswith(_MARK))
        found = json.loads(next(lines, f"{_MARK}{{}}").removeprefix(_MARK))
        if found and not state.read_only:
            write_json(file, found)
    return {word: WordFacts(**one) for word, one in found.items()}


def check_wandb(probe: Probe, *, image: str) -> None:
    """Check that a run can log.

    Raises:
        RunnerError: the image lacks wandb (6).
    """
    if probe.wandb is None:
        raise RunnerError(
            f"image `{image}` cannot import wandb ({probe.wandb_error})",
            hint="add `wandb` to the project's dependencies, then `runner build`",
            code=ExitCode.UNFIT,
        )


def select_interpreter(answers: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first new enough interpreter that has wandb, else the first new enough one."""
    able = [one for one in answers if tuple(one["python"][:2]) >= OLDEST]
    return next((one for one in able if one["wandb"]), able[0] if able else None)


def _ask(engine: Engine, image_id: str, *, ours: bool) -> dict[str, Any]:
    answers = _read_answers(engine, image_id, ours=ours)
    if found := select_interpreter(answers):
        return found
    _check_architecture(engine, image_id)
    versions = ", ".join(".".join(map(str, one["python"])) for one in answers)
    raise RunnerError(
        f"image `{image_id[:19]}` has no Python of {OLDEST[0]}.{OLDEST[1]} or newer"
        + (f" (it has {versions})" if versions else ""),
        hint=f"choose an image with a newer Python, or set `{variables.PYTHON}` in it",
        code=ExitCode.UNFIT,
    )


def _check_architecture(engine: Engine, image_id: str) -> None:
    """Refuse an image of another architecture, unless the engine can run it all the same."""
    image, machine = engine.images.find(image_id), engine.info().architecture
    if image and machine and image.architecture not in ("", machine):
        named = image.tags[0] if image.tags else image_id[:19]
        raise RunnerError(
            f"image `{named}` is for {image.architecture}, and this machine is {machine}",
            hint=f"`docker pull --platform linux/{machine} …`, or build it for {machine}",
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
