"""`runner build`: build the project's image, tag it for Compose, and inspect it."""

from collections.abc import Mapping
from dataclasses import dataclass

from runner.agent.contract.variables import COMPOSE_PROJECT
from runner.compose.env_file import ENV_FILE, agent_tag, server_tag
from runner.compose.file import FILE
from runner.guard.foreign_files import read_regular
from runner.image.build import build_image, plan_build
from runner.image.buildx import Build
from runner.image.built import AgentImage
from runner.image.probe import Probe, probe_image
from runner.image.server import ensure_server_image
from runner.project.env_files import read_dotenv
from runner.project.find import Project
from runner.settings.model import Settings
from runner.usecases.session import Session


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """The flags of `build` that are not settings."""

    cpu: bool = False
    cuda: int | None = None  # 12 or 13; None: what the driver supports
    base: str | None = None
    tag: str | None = None  # in addition to the project's own tag
    no_cache: bool = False


def plan(
    project: Project, settings: Settings, request: BuildRequest, environ: Mapping[str, str]
) -> Build:
    """The arguments for buildx. Asks no engine and writes nothing."""
    return plan_build(
        project,
        settings,
        cpu=request.cpu,
        cuda=request.cuda,
        base=request.base,
        tag=request.tag,
        no_cache=request.no_cache,
        environ=environ,
    )


def build(session: Session, request: BuildRequest) -> tuple[AgentImage, Probe]:
    """Build the image if anything has changed, and inspect it.

    Raises:
        RunnerError: a setting or file is wrong (2, 3), there is no GPU to build for (6), or the
            build failed (1).
    """
    image = build_image(
        session.engine(),
        session.project,
        session.settings,
        session.state,
        cpu=request.cpu,
        cuda=request.cuda,
        base=request.base,
        tag=request.tag,
        no_cache=request.no_cache,
        report=session.report,
    )
    _tag_for_compose(session, image)
    probe = probe_image(session.engine(), image.id, session.state, ours=image.kind == "ours")
    return image, probe


def _tag_for_compose(session: Session, image: AgentImage) -> None:
    """Tag the image with the names that compose.yaml uses without `.env`."""
    root, engine = session.project.root, session.engine()
    file = root / ENV_FILE
    text = read_regular(file).decode("utf-8", errors="replace") if file.is_file() else ""
    known = {**read_dotenv(text, session.environ), **session.environ}
    named = known.get(COMPOSE_PROJECT) or ""
    environ = {COMPOSE_PROJECT: named}
    if tag := agent_tag(root.name, environ):
        engine.images.tag(image.id, tag)
    if (root / FILE).is_file() and (tag := server_tag(root.name, environ)):
        engine.images.tag(ensure_server_image(engine, report=session.report), tag)
