"""Build the agents' image if something has changed, and compare it with the project."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from runner.agent.contract import labels
from runner.console.narration import Report
from runner.disk.own_files import write_json
from runner.disk.temporary import temporary_folder
from runner.engine.client import Engine
from runner.engine.types import Image
from runner.errors import ExitCode, RunnerError
from runner.image.buildx import Build, interruptible, run_build
from runner.image.built import RECORD, AgentImage, read_record, record_file, to_agent_image
from runner.image.pipconfig import PipSettings, read_pip_settings, select_proxies
from runner.image.recipe import Recipe, read_recipe
from runner.image.server import add_secrets, select_secrets
from runner.image.variant import BASES, choose_variant
from runner.project.find import Project
from runner.settings.model import Settings
from runner.state.folder import State


@interruptible()
def build_image(
    engine: Engine,
    project: Project,
    settings: Settings,
    state: State,
    *,
    cpu: bool = False,
    cuda: int | None = None,
    base: str | None = None,
    tag: str | None = None,
    no_cache: bool = False,
    report: Report,
) -> AgentImage:
    """The image of the present project; built only if something has changed.

    Args:
        engine: builds and stores the image.
        project: the project to copy.
        settings: of the project.
        state: records the build.
        cpu: build without CUDA.
        cuda: 12 or 13; None: what the driver supports.
        base: the base image; None: the one of settings or variant.
        tag: an additional tag.
        no_cache: rebuild every step.
        report: gets one line per finished step.

    Raises:
        RunnerError: no variant fits this machine (6), a file is missing (3), a step fails (1).
    """
    _refuse_foreign(settings)
    recipe = read_recipe(project, settings, variant=choose_variant(cpu=cpu, cuda=cuda), base=base)
    _report_notes(recipe, report)
    found = None if no_cache else engine.images.find(recipe.tag)
    built = found is None or found.labels.get(labels.PROJECT_HASH) != recipe.digest
    if built:
        found = _build(engine, recipe, state, tag=tag, no_cache=no_cache, report=report)
    elif found and tag and tag not in found.tags:
        engine.images.tag(found.id, tag)
    if found is None:
        raise RunnerError(f"the engine does not have `{recipe.tag}` that it just built")
    _remember(state, recipe, found, base)
    return replace(
        to_agent_image(engine, found, recipe.tag, recipe.kind, state, project), built=built
    )


def plan_build(
    project: Project,
    settings: Settings,
    *,
    cpu: bool = False,
    cuda: int | None = None,
    base: str | None = None,
    tag: str | None = None,
    no_cache: bool = False,
    environ: Mapping[str, str],
    report: Report,
) -> Build:
    """The call of buildx that `build_image` would make, with CONTEXT for the staged folder.

    Args:
        project: the project to copy.
        settings: of the project.
        cpu: build without CUDA.
        cuda: 12 or 13; None: what the driver supports.
        base: the base image; None: the one of settings or variant.
        tag: an additional tag.
        no_cache: rebuild every step.
        environ: the process's environment.
        report: gets each note that the build would print.
    """
    _refuse_foreign(settings)
    recipe = read_recipe(project, settings, variant=choose_variant(cpu=cpu, cuda=cuda), base=base)
    _report_notes(recipe, report)
    pip = read_pip_settings(environ)
    _report_left_out(pip, report)
    plan = recipe.to_build(recipe.context or Path("CONTEXT"), tag=tag, no_cache=no_cache)
    secrets = {name: Path("SECRETS", name) for name in select_secrets(pip)}
    return _complete(plan, recipe, pip, secrets | ({"ca": pip.ca} if pip.ca else {}), environ)


def project_changed(project: Project, settings: Settings, state: State) -> bool:
    """Whether a build now would make another image than the last one."""
    record = read_record(state)
    if record is None or record["variant"] not in BASES or settings.image.name:
        return False
    variant = record["variant"]
    recipe = read_recipe(project, settings, variant=variant, base=record["base"] or None)
    return recipe.digest != record["hash"]


def _build(
    engine: Engine,
    recipe: Recipe,
    state: State,
    *,
    tag: str | None,
    no_cache: bool,
    report: Report,
) -> Image | None:
    environ = engine.cli_env()
    pip = read_pip_settings(environ)
    _report_left_out(pip, report)
    count = sum(len(one.files) for one in (recipe.files, *(files for _, files in recipe.beside)))
    report(f"building {recipe.tag} ({recipe.variant}, {count} files)")
    with temporary_folder(state.cache) as folder:
        with _staging(state.cache):
            context, dockerfile = recipe.stage(folder), recipe.stage_dockerfile(folder)
        plan = recipe.to_build(context, dockerfile=dockerfile, tag=tag, no_cache=no_cache)
        build = _complete(plan, recipe, pip, add_secrets(pip, folder / "secrets"), environ)
        return engine.images.find(run_build(build, environ=environ, report=report))


@contextmanager
def _staging(cache: Path) -> Iterator[None]:
    """Translate what may go wrong while the project's files are copied."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunnerError(
                f"the image was not built: no room for a copy of the project in `{cache}`",
                hint="make room on that disk (`runner prune`), or mount large files "
                "(`[run] mounts`) so that they stay out of the image",
                code=ExitCode.UNFIT,
            ) from error
        raise RunnerError(
            f"the image was not built: cannot copy `{error.filename}`: {error.strerror}",
            hint="try again once nothing changes the project's files",
        ) from error


def _report_notes(recipe: Recipe, report: Report) -> None:
    beside = [note for _, files in recipe.beside for note in files.notes]
    for note in (*recipe.files.notes, *beside, *recipe.dependencies.notes):
        report(f"note: {note}")


def _report_left_out(pip: PipSettings, report: Report) -> None:
    why = "is a path of this machine, so the build does not use it"
    for source in pip.left_out:
        report(f"note: `{source}` of pip's or uv's settings {why}")


def _complete(
    build: Build,
    recipe: Recipe,
    pip: PipSettings,
    secrets: Mapping[str, Path],
    environ: Mapping[str, str],
) -> Build:
    """Add what belongs to this machine and not to the image: wheels, proxies, secrets."""
    args = {**build.args, **select_proxies(environ)}
    contexts = {"wheels": pip.wheels} if pip.wheels and recipe.kind == "ours" else {}
    return replace(build, args=args, contexts=contexts, secrets=secrets)


def _refuse_foreign(settings: Settings) -> None:
    if settings.image.name:
        raise RunnerError(
            f"`[image] name` is `{settings.image.name}`: there is nothing to build",
            hint="`runner up` takes that image as it is; remove `name` to build one",
            code=ExitCode.USAGE,
        )


def _remember(state: State, recipe: Recipe, image: Image, base: str | None) -> None:
    values = (image.id, recipe.tag, recipe.kind, recipe.variant, base or "", recipe.digest)
    write_json(record_file(state), dict(zip(RECORD, values, strict=True)))
