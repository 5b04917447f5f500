"""`runner build`: build the project's image, tag it for Compose, and inspect it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.agent.contract.variables import COMPOSE_PROJECT
from runner.compose.env_file import ENV_FILE, agent_tag, server_tag
from runner.compose.file import FILE
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular
from runner.image.build import build_image, plan_build
from runner.image.buildx import Build
from runner.image.built import AgentImage, probe_agent_image
from runner.image.probe import Probe, check_wandb, find_missing
from runner.image.python import check_python, read_wanted
from runner.image.server import ensure_server_image
from runner.project.env_files import read_dotenv
from runner.project.find import Project
from runner.project.imports import read_imports
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
    project: Project,
    settings: Settings,
    request: BuildRequest,
    environ: Mapping[str, str],
    report: Callable[[str], None],
) -> Build:
    """The arguments for buildx. Asks no engine and writes nothing.

    Args:
        project: the project to build.
        settings: of the project.
        request: the flags.
        environ: the process's environment.
        report: gets each note that the build would print.
    """
    return plan_build(
        project,
        settings,
        cpu=request.cpu,
        cuda=request.cuda,
        base=request.base,
        tag=request.tag,
        no_cache=request.no_cache,
        environ=environ,
        report=report,
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
    probe = probe_agent_image(session.engine(), image, session.state, session.project)
    _check_fit(session, image, probe)
    _tag_for_compose(session, image)
    return image, probe


def _check_fit(session: Session, image: AgentImage, probe: Probe) -> None:
    """Refuse an image in which every run would fail at once."""
    project = session.project
    if image.kind == "ours":
        check_python(read_wanted(project.root), ".".join(map(str, probe.python)))
    check_wandb(probe, image=image.tag, ours=image.kind == "ours")
    missing = _find_missing(session, image, probe, project.program) if project.program else []
    if not missing:
        return
    wrong = f"image `{image.tag}` lacks `{'`, `'.join(missing)}`, which `{project.program}` imports"
    if _may_come_later(session.settings):
        session.report(f"warning: {wrong}")
        return
    named = project.dependencies.name if project.dependencies else "requirements.txt"
    hint = f"add the packages that have them to `{named}`, then `runner build`"
    raise RunnerError(wrong, hint=hint, code=ExitCode.UNFIT)


def _find_missing(session: Session, image: AgentImage, probe: Probe, program: str) -> list[str]:
    """The modules that the program imports, and neither image nor project has."""
    root, base = session.project.root, session.project.git_root or session.project.root
    places = (root, (root / program).parent, root / "src")

    def is_own(name: str) -> bool:
        return any((one / name).is_dir() or (one / f"{name}.py").is_file() for one in places)

    names = [one for one in read_imports(root / program, base) if not is_own(one)]
    return find_missing(session.engine(), image.id, session.state, probe, names)


def _may_come_later(settings: Settings) -> bool:
    """Whether a mount or a variable may bring modules that the image lacks."""
    return bool(settings.run.mounts) or "PYTHONPATH" in settings.run.env


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
