"""Find the image for a project's agents: the last one built, or a named one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from runner.agent.contract import labels, paths
from runner.disk.own_files import read_json
from runner.engine.client import Engine
from runner.engine.types import Image
from runner.errors import ExitCode, RunnerError
from runner.image.probe import Probe, probe_image
from runner.project.find import Project
from runner.project.imports import read_imports
from runner.settings.model import Settings
from runner.state.folder import State

ImageKind = Literal["ours", "dockerfile", "foreign"]
RECORD = ("id", "tag", "kind", "variant", "base", "hash")


@dataclass(frozen=True, slots=True)
class AgentImage:
    """An image that agents run in."""

    id: str
    tag: str
    interpreter: str
    kind: ImageKind
    labels: Mapping[str, str]
    read_only: bool = False  # its programs do not write into it
    activation: Mapping[str, str] = field(default_factory=dict)  # of the interpreter's environment
    size_bytes: int = 0
    built: bool = False  # this call built it


def find_image(
    engine: Engine,
    project: Project,
    settings: Settings,
    state: State,
    *,
    override: str | None = None,
) -> AgentImage:
    """The image for agents: `--image` or `[image] name`, else the last one built.

    Args:
        engine: has the image.
        project: for the hint.
        settings: with `[image] name`.
        state: has the record of the last build.
        override: `--image`.

    Raises:
        RunnerError: it does not exist (3).
    """
    if name := override or settings.image.name:
        found = engine.images.find(name)
        if found is None:
            raise RunnerError(
                f"the engine has no image `{name}`",
                hint=f"`docker pull {name}`, or correct the name",
                code=ExitCode.NOT_FOUND,
            )
        return to_agent_image(engine, found, name, find_kind(found), state, project)
    record = read_record(state)
    found = engine.images.find(record["id"]) if record else None
    if record is None or found is None:
        raise RunnerError(
            f"the image of `{project.root.name}` is not built",
            hint="`runner build`, or `runner build --cpu` for a machine without GPUs",
            code=ExitCode.NOT_FOUND,
        )
    kind: ImageKind = "dockerfile" if record["kind"] == "dockerfile" else "ours"
    return to_agent_image(engine, found, record["tag"], kind, state, project)


def to_agent_image(
    engine: Engine, image: Image, tag: str, kind: ImageKind, state: State, project: Project
) -> AgentImage:
    """Make an `AgentImage`; finds the interpreter of images that we did not build."""
    made = AgentImage(
        image.id, tag, paths.INTERPRETER, kind, image.labels, True, size_bytes=image.size_bytes
    )
    if kind == "ours":
        return made
    probe = probe_agent_image(engine, made, state, project)
    return replace(
        made,
        interpreter=probe.interpreter,
        read_only=kind == "dockerfile" and probe.has_project,
        activation=probe.activation,
    )


def probe_agent_image(engine: Engine, image: AgentImage, state: State, project: Project) -> Probe:
    """Ask the image; of several interpreters that of the project's program answers.

    Raises:
        RunnerError: it has no Python 3.10 or newer (6).
    """
    base, program = project.git_root or project.root, project.program
    imports = read_imports(project.root / program, base) if program else ()
    return probe_image(engine, image.id, state, ours=image.kind == "ours", imports=imports)


def find_kind(image: Image) -> ImageKind:
    """The kind of an image by its labels, so a pulled, loaded or tagged image keeps its kind."""
    if image.labels.get(labels.KIND) != labels.AGENT_ROLE:
        return "foreign"
    recipe = image.labels.get(labels.RECIPE)
    if recipe is None:  # from an earlier version or from Compose
        return "ours" if image.environment.get("VIRTUAL_ENV") == paths.VENV else "dockerfile"
    return "ours" if recipe == "ours" else "dockerfile"


def read_record(state: State) -> dict[str, str] | None:
    """The record of the last build; None if it is damaged, so that a build repairs it."""
    found = read_json(record_file(state)) or {}
    record = {key: str(found[key] or "") for key in RECORD if key in found}
    return record if len(record) == len(RECORD) else None


def record_file(state: State) -> Path:
    """The file with the record of the last build."""
    return state.cache / "image.json"
