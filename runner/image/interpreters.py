"""Find the interpreters of an image, and which of them has the project's packages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.agent.contract import paths, variables
from runner.engine.client import Engine
from runner.engine.errors import EngineError

OLDEST = (3, 10)  # for the agent's code
MARK = "runner-probe:"
PLACES = "its PATH, /opt, /root, /home, /usr/local and its working folder"
# of any Python that an image may have, so without f-strings
_SCRIPT = f"""
import json, os, pkgutil, sys
found = {{"python": list(sys.version_info[:3]), "interpreter": sys.executable, "wandb": None}}
try:
    import wandb
    found["wandb"] = wandb.__version__
except Exception as error:
    found["wandb_error"] = "%s: %s" % (type(error).__name__, error)
found["modules"] = sorted(set(one[1] for one in pkgutil.iter_modules()))
found["prefix"], found["path"] = sys.prefix, os.environ.get("PATH", "")
found["is_venv"] = sys.prefix != getattr(sys, "base_prefix", sys.prefix)
found["is_conda"] = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
called = [one for one in found["path"].split(os.pathsep)
          if os.access(os.path.join(one, "python"), os.X_OK)
          or os.access(os.path.join(one, "python3"), os.X_OK)]
here = os.path.dirname(sys.executable)
found["is_first"] = bool(called) and os.path.realpath(called[0]) == os.path.realpath(here)
files = None
if os.path.isdir({paths.PROJECT!r}):
    files = []
    for folder, _, names in os.walk({paths.PROJECT!r}):
        files += [os.path.relpath(os.path.join(folder, name), {paths.PROJECT!r}) for name in names]
        if len(files) > 20000:
            break
found["files"] = files
print("{MARK}" + json.dumps(found))
"""
# every interpreter of the image: those that it names, those on its PATH, then those of folders as
# venv, conda and its relatives make them
_SEARCH = f"""
script=$1 seen=:
try() {{
    one=$(command -v "$1" 2>/dev/null) || return 0
    case $seen in *":$one:"*) return 0 ;; esac
    seen=$seen$one: && "$one" -c "$script"
}}
if [ -n "${variables.PYTHON}" ]; then try "${variables.PYTHON}" && exit; fi
[ -z "$VIRTUAL_ENV" ] || try "$VIRTUAL_ENV/bin/python"
[ -z "$CONDA_PREFIX" ] || try "$CONDA_PREFIX/bin/python"
for name in python python3 python3.14 python3.13 python3.12 python3.11 python3.10 \\
    {paths.INTERPRETER} "${{PWD%/}}"/.venv/bin/python "${{PWD%/}}"/venv/bin/python \\
    "$MAMBA_ROOT_PREFIX"/bin/python "$MAMBA_ROOT_PREFIX"/envs/*/bin/python \\
    "$HOME"/.conda/envs/*/bin/python /.venv/bin/python /venv/bin/python /*/.venv/bin/python \\
    /opt/*/bin/python /opt/*/envs/*/bin/python /usr/local/*/bin/python \\
    /usr/local/*/envs/*/bin/python /root/*/bin/python /root/*/envs/*/bin/python \\
    /root/.*/bin/python /root/.*/envs/*/bin/python /home/*/*/bin/python \\
    /home/*/*/envs/*/bin/python /home/*/.venv/bin/python
do try "$name"; done
"""


def read_interpreters(engine: Engine, image_id: str, *, ours: bool) -> list[dict[str, Any]]:
    """The answer of each interpreter in the image, best known first; none where none starts.

    Args:
        engine: has the image.
        image_id: `sha256:…`.
        ours: `runner build` made it, so that its interpreter is known.

    Raises:
        EngineError: the engine fails.
    """
    if ours:
        return _ask(engine, image_id, (paths.INTERPRETER,), ("-I", "-c", _SCRIPT))
    found = _try(engine, image_id, ("/bin/sh",), ("-c", _SEARCH, "sh", _SCRIPT))
    if found:
        return found
    for interpreter in _guess(engine, image_id):  # an image without a shell
        if found := _try(engine, image_id, (interpreter,), ("-c", _SCRIPT)):
            return found
    return []


def find_refusal(engine: Engine, image_id: str) -> str | None:
    """What the engine says if it starts no program in the image, whichever it is.

    Its user or working folder may be none of the image's.
    """
    try:
        engine.probe(image_id, ("-c", ":"), entrypoint=("/bin/sh",))
    except EngineError as error:
        return None if 'exec: "' in error.message else error.message
    return None


def select_interpreter(
    answers: Iterable[Mapping[str, Any]], imports: Sequence[str] = ()
) -> Mapping[str, Any] | None:
    """The new enough interpreter that has wandb and most of `imports`; of equals the first."""
    able = [one for one in answers if tuple(one["python"][:2]) >= OLDEST]

    def rate(one: Mapping[str, Any]) -> tuple[bool, int]:
        return one["wandb"] is not None, len({*imports} & {*one["modules"]})

    return max(able, key=rate, default=None)


def make_activation(answer: Mapping[str, Any]) -> dict[str, str]:
    """The variables that activate the interpreter's environment, if the image does not.

    With them `python`, `torchrun` and the like in a sweep's command are those of the environment.
    """
    if answer["is_first"]:
        return {}
    folder, prefix = answer["interpreter"].rpartition("/")[0], answer["prefix"]
    found = {"PATH": f"{folder}:{answer['path']}".rstrip(":")}
    if answer["is_conda"]:
        found |= {"CONDA_PREFIX": prefix, "CONDA_DEFAULT_ENV": prefix.rpartition("/")[2]}
    elif answer["is_venv"]:
        found["VIRTUAL_ENV"] = prefix
    return found


def _guess(engine: Engine, image_id: str) -> list[str]:
    """Interpreters to start without looking for them; the engine looks on the image's PATH."""
    image = engine.images.find(image_id)
    known = image.environment if image else {}
    if named := known.get(variables.PYTHON):
        return [named]
    venv = known.get("VIRTUAL_ENV")
    return [*([f"{venv}/bin/python"] if venv else ()), "python3", "python", paths.INTERPRETER]


def _try(
    engine: Engine, image_id: str, entrypoint: tuple[str, ...], command: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The answers, none if the image has no such program or cannot start it."""
    try:
        return _ask(engine, image_id, entrypoint, command)
    except EngineError:
        return []


def _ask(
    engine: Engine, image_id: str, entrypoint: tuple[str, ...], command: tuple[str, ...]
) -> list[dict[str, Any]]:
    _, text = engine.probe(image_id, command, entrypoint=entrypoint)
    lines = (line for line in text.splitlines() if line.startswith(MARK))
    return [json.loads(line.removeprefix(MARK)) for line in lines]
