"""Find interpreter, wandb and project in an image; each image is asked once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.agent import looks
from runner.agent.contract import paths, variables
from runner.disk.own_files import read_json, write_json
from runner.engine.client import Engine
from runner.engine.types import Image
from runner.errors import ExitCode, RunnerError
from runner.image.interpreters import (
    MARK,
    OLDEST,
    PLACES,
    find_refusal,
    make_activation,
    read_interpreters,
    select_interpreter,
)
from runner.project.command_fault import WordFacts
from runner.state.folder import State

_LOOKS = Path(looks.__file__)  # the image's Python reads its text
_SPECS = """
import importlib.util, json
print({mark!r} + json.dumps({{one: importlib.util.find_spec(one) is not None for one in {names}}}))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of one image."""

    interpreter: str
    python: tuple[int, int, int]
    wandb: str | None  # version; None: cannot be imported
    wandb_error: str | None
    files: frozenset[str] | None  # of /opt/project; None: no such folder
    activation: Mapping[str, str]  # variables that the image lacks for this interpreter
    others: tuple[str, ...]  # interpreters that it has besides
    modules: frozenset[str]  # top-level ones on its path; finders may know others

    @property
    def has_project(self) -> bool:
        """Whether the image contains the project's files."""
        return self.files is not None

    def has_program(self, program: str) -> bool:
        """Whether this file of the project is in the image."""
        return self.files is not None and program.removeprefix("./") in self.files


def probe_image(
    engine: Engine, image_id: str, state: State, *, ours: bool, imports: Sequence[str] = ()
) -> Probe:
    """Ask the image in a short-lived container without network; caches the answer by image ID.

    Args:
        engine: has the image.
        image_id: `sha256:…`.
        state: stores the answer.
        ours: `runner build` made it, so its interpreter is known.
        imports: modules that the project's program imports; they decide between interpreters.

    Raises:
        RunnerError: it has no Python 3.10 or newer (6).
    """
    stem = image_id.partition(":")[2] or image_id
    file = state.cache / "probes" / f"{stem}.pythons.json"
    known = read_json(file)
    answers: list[dict[str, Any]] = (
        read_interpreters(engine, image_id, ours=ours) if known is None else known["answers"]
    )
    chosen = select_interpreter(answers, imports)
    if chosen is None:
        raise _explain_lack(engine, image_id, answers)
    if known is None and not state.read_only:
        write_json(file, {"answers": answers})
    return _to_probe(chosen, answers)


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
    unknown = [one for one in names if one not in known and one not in probe.modules]
    if unknown:
        script = _SPECS.format(names=unknown, mark=MARK)
        _, text = engine.probe(
            image_id,
            ("-I", "-c", script),
            entrypoint=(probe.interpreter,),
            environment=probe.activation,
        )
        for line in text.splitlines():
            if line.startswith(MARK):
                known |= json.loads(line.removeprefix(MARK))
        if not state.read_only:
            write_json(file, known)
    return [one for one in names if one not in probe.modules and known.get(one) is False]


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
        script = f"{_LOOKS.read_text('utf-8')}\nimport json\nprint({MARK!r} + json.dumps({call}))"
        _, text = engine.probe(
            image_id,
            ("-I", "-c", script),
            entrypoint=(probe.interpreter,),
            environment=probe.activation,
        )
        lines = (line for line in text.splitlines() if line.startswith(MARK))
        found = json.loads(next(lines, f"{MARK}{{}}").removeprefix(MARK))
        if found and not state.read_only:
            write_json(file, found)
    return {word: WordFacts(**one) for word, one in found.items()}


def check_wandb(probe: Probe, *, image: str, ours: bool) -> None:
    """Check that a run can log.

    Raises:
        RunnerError: the image lacks wandb (6).
    """
    if probe.wandb is not None:
        return
    hint = "add `wandb` to the project's dependencies, then `runner build`"
    if not ours:
        hint = (
            f"install it there: `{probe.interpreter} -m pip install wandb`; no other Python has it"
        )
        if probe.others:
            hint += f" (`{'`, `'.join(probe.others[:4])}`)"
    raise RunnerError(
        f"image `{image}` cannot import wandb ({probe.wandb_error})",
        hint=hint,
        code=ExitCode.UNFIT,
    )


def _explain_lack(
    engine: Engine, image_id: str, answers: Sequence[Mapping[str, Any]]
) -> RunnerError:
    """The error for an image in which no agent can run."""
    image = engine.images.find(image_id)
    named = image.tags[0] if image and image.tags else image_id[:19]
    asked = image.environment.get(variables.PYTHON) if image else None
    if other := _find_architecture(engine, image):
        return RunnerError(
            f"image `{named}` is for {other[0]}, and this machine is {other[1]}",
            hint=f"`docker pull --platform linux/{other[1]} …`, or build it for {other[1]}",
            code=ExitCode.UNFIT,
        )
    if not answers and (refusal := find_refusal(engine, image_id)):
        return RunnerError(
            f"image `{named}` does not start: {refusal}",
            hint="no program starts in it: correct `USER` or `WORKDIR` in its Dockerfile",
            code=ExitCode.UNFIT,
        )
    versions = ", ".join(".".join(map(str, one["python"])) for one in answers)
    has = f" (it has {versions})" if versions else ""
    oldest = ".".join(map(str, OLDEST))
    if asked:
        wrong = "is older than" if versions else "does not start as"
        return RunnerError(
            f"image `{named}` sets `{variables.PYTHON}={asked}`, which {wrong} a Python of "
            f"{oldest} or newer{has}",
            hint=f"correct `ENV {variables.PYTHON}=…` in its Dockerfile, or leave it out",
            code=ExitCode.UNFIT,
        )
    return RunnerError(
        f"image `{named}` has no Python of {oldest} or newer{has}",
        hint=f"runner looked in {PLACES}: install one, or name it by `ENV {variables.PYTHON}=…`",
        code=ExitCode.UNFIT,
    )


def _find_architecture(engine: Engine, image: Image | None) -> tuple[str, str] | None:
    """The image's architecture and the machine's, if they differ."""
    machine = engine.info().architecture
    if image is None or not machine or image.architecture in ("", machine):
        return None
    return image.architecture, machine


def _to_probe(found: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> Probe:
    files = found.get("files")
    major, minor, micro = found["python"]
    return Probe(
        interpreter=found["interpreter"],
        python=(major, minor, micro),
        wandb=found.get("wandb"),
        wandb_error=found.get("wandb_error"),
        files=None if files is None else frozenset(files),
        activation=make_activation(found),
        others=tuple(one["interpreter"] for one in answers if one is not found),
        modules=frozenset(found["modules"]),
    )
