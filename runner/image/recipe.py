"""The content of an agent's image, and the hash in its tag."""

import hashlib
import json
import platform
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.agent.contract import labels as contract
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular
from runner.guard.git import ask_git
from runner.guard.texts import decode_text, read_text
from runner.image.buildx import Build
from runner.image.built import ImageKind
from runner.image.context import (
    Files,
    hash_files,
    list_file,
    list_files,
    list_wheels,
    stage_files,
    with_named,
)
from runner.image.dependencies import read_dependencies
from runner.image.formats.locked import ImagePython
from runner.image.formats.model import Dependencies
from runner.image.key_files import name_exposed_keys, name_keys
from runner.image.python import check_python, python_of_base, read_wanted, select_base
from runner.image.server import DOCKERFILE, PACKAGE
from runner.image.variant import BASES, CUDA12_INDEX, Name
from runner.project.find import Project
from runner.settings.model import Settings

CONSTRAINTS = "constraints-cpu.txt"  # tested versions of torch and torchvision for CPUs


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image of a project: everything that decides its content."""

    name: str
    root: Path
    kind: ImageKind
    variant: Name
    files: Files
    dependencies: Dependencies
    args: Mapping[str, str]
    dockerfile: Path
    context: Path | None = None  # build context of the user's own Dockerfile
    target: str | None = None
    beside: tuple[tuple[str, Files], ...] = ()  # where below BESIDE → the files there
    labels: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    @property
    def tag(self) -> str:
        """`runner-<project>:<12 hex digits of the content's hash>`."""
        return f"runner-{self.name}:{self.digest[:12]}"

    def stage(self, folder: Path) -> Path:
        """Write the build context below `folder`; a user's Dockerfile has its own context."""
        if self.context:
            return self.context
        context = folder / "context"
        (context / "deps").mkdir(parents=True)
        for name, text in self.dependencies.files.items():
            file = context / "deps" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        if self.variant == "cpu":
            (context / "deps" / CONSTRAINTS).write_text(read_constraints(), "utf-8")
        for name, folder in self.dependencies.links.items():
            stage_files(list_wheels(folder), context / "deps" / name)
        stage_files(self.files, context / "project")
        (context / "beside").mkdir()
        for path, files in self.beside:
            stage_files(files, context / "beside" / path)
        return context

    def stage_dockerfile(self, folder: Path) -> Path:
        """The Dockerfile in UTF-8, which is all that BuildKit reads: itself, or a copy."""
        content = read_regular(self.dockerfile)
        text = decode_text(content, self.dockerfile)
        if content.removeprefix(BOM_UTF8) == text.encode():
            return self.dockerfile
        copy = folder / self.dockerfile.name
        copy.write_text(text, "utf-8")
        ignored = self.dockerfile.with_name(f"{copy.name}.dockerignore")
        if ignored.is_file():  # BuildKit looks for it beside the Dockerfile
            copy.with_name(ignored.name).write_bytes(read_regular(ignored))
        return copy

    def to_build(
        self,
        context: Path,
        *,
        dockerfile: Path | None = None,
        tag: str | None = None,
        no_cache: bool = False,
    ) -> Build:
        """The call of buildx, without secrets and indexes of this machine."""
        return Build(
            dockerfile=dockerfile or self.dockerfile,
            context=context,
            tags=(self.tag, *([tag] if tag else [])),
            target=self.target,
            args=self.args,
            labels=self.labels,
            no_cache=no_cache,
        )


def read_recipe(
    project: Project, settings: Settings, *, variant: Name, base: str | None = None
) -> Recipe:
    """Read the project's files and dependencies, and hash them.

    Args:
        project: the project to copy.
        settings: of the project.
        variant: `cpu`, `cuda12` or `cuda13`.
        base: the base image; None: the one of settings or variant.
    """
    mounted = [project.root / one.source for one in settings.run.mounts]
    inside = [one for one in mounted if one.resolve() != project.root.resolve()]
    files = list_files(project.root, leave_out=inside)
    if settings.image.dockerfile:
        recipe = _from_dockerfile(project, settings, files, settings.image.dockerfile, variant)
    else:
        recipe = _ours(project, settings, files, variant, base)
    digest = _digest(recipe)
    labels = {
        contract.KIND: contract.AGENT_ROLE,
        contract.PROJECT_HASH: digest,
        contract.VARIANT: variant,
        contract.RECIPE: recipe.kind,
        **_read_provenance(project),
    }
    return replace(recipe, digest=digest, labels=labels)


def read_constraints() -> str:
    """The constraints file with tested versions of torch and torchvision for CPUs."""
    return (PACKAGE / "files" / CONSTRAINTS).read_text("utf-8")


def pinned_torch() -> str:
    """The requirement of CPU builds: `torch==2.13.0+cpu`."""
    lines = read_constraints().splitlines()
    return next(line.strip() for line in lines if line.startswith("torch=="))


def _ours(
    project: Project, settings: Settings, files: Files, variant: Name, base: str | None
) -> Recipe:
    for key in ("args", "context", "target"):
        if settings.get(f"image.{key}"):
            raise RunnerError(
                f"`[image] {key}` is for a Dockerfile of your own",
                hint="add `[image] dockerfile`, or remove it",
                code=ExitCode.USAGE,
            )
    cpu, wanted = variant == "cpu", read_wanted(project.root)
    named = base or settings.image.base
    base = named or select_base(wanted, BASES[variant])
    fits = None
    if version := python_of_base(base):
        check_python(wanted, version, base=base)
        fits = ImagePython(version, platform.machine())
    found = read_dependencies(project, settings.image, cpu=cpu, target=fits)
    found = replace(found, notes=(*found.notes, *name_keys(files)))
    files = with_named(files, found.named)
    if not named and base != BASES[variant]:
        note = f"{' and '.join(wanted)}: Python {python_of_base(base)} of `{base}` is the base"
        found = replace(found, notes=(*found.notes, note))
    args = {"BASE": base}
    given = {
        "APT": " ".join(dict.fromkeys([*settings.image.apt, *(["git"] * found.needs_git)])),
        "TORCH": (pinned_torch() if cpu else found.torch) if found.torch else "",
        "REQUIREMENTS": found.requirements,
        "OVERRIDES": CONSTRAINTS if cpu else "",
        "EXPORT": found.export,
        "LOCAL": found.local,
        "INSTALL": found.install,
        "TORCH_INDEX": CUDA12_INDEX if variant == "cuda12" else "",
    }
    args |= {name: value for name, value in given.items() if value}
    target = "installed" if found.local or found.install else "agent"
    if target == "installed":
        args["INSTALL"] = found.install  # without one, the Dockerfile would install the project
    return Recipe(
        project.name,
        project.root,
        "ours",
        variant,
        files,
        found,
        args,
        DOCKERFILE,
        target=target,
        beside=tuple(_list_beside(found)),
    )


def _list_beside(found: Dependencies) -> Iterator[tuple[str, Files]]:
    """Where below BESIDE → the files there; a folder brings those in it, named or not."""
    folders = {one for one in found.beside.values() if one.is_dir()}
    for path, one in found.beside.items():
        if folders.isdisjoint(one.parents):
            yield (
                (path, list_files(one))
                if one in folders
                else (
                    str(Path(path).parent),
                    list_file(one),
                )
            )


def _from_dockerfile(
    project: Project, settings: Settings, files: Files, name: str, variant: Name
) -> Recipe:
    file = project.root / name
    if not file.is_file():
        raise RunnerError(
            f"the Dockerfile `{name}` does not exist",
            hint="correct `[image] dockerfile`",
            code=ExitCode.NOT_FOUND,
        )
    context = project.root / (settings.image.context or ".")
    return Recipe(
        project.name,
        project.root,
        "dockerfile",
        variant,
        files,
        Dependencies(None, notes=tuple(name_exposed_keys(context))),
        settings.image.args,
        file,
        context=context,
        target=settings.image.target,
    )


def _digest(recipe: Recipe) -> str:
    parts = {
        "variant": recipe.variant,
        "args": dict(recipe.args),
        "deps": dict(recipe.dependencies.files),
        "dockerfile": read_text(recipe.dockerfile),
        "constraints": read_constraints() if recipe.variant == "cpu" else "",
        "target": recipe.target,
        "files": hash_files(recipe.files),
        "links": [
            (name, hash_files(list_wheels(one))) for name, one in recipe.dependencies.links.items()
        ],
        "beside": [(path, hash_files(files)) for path, files in recipe.beside],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_provenance(project: Project) -> dict[str, str]:
    """Commit, and whether the files differ from it; empty outside a repository."""
    if project.git_root is None:
        return {}
    head = ask_git(project.root, "rev-parse", "HEAD")
    # git would use a submodule's own settings to look for changes in it
    words = ("status", "--porcelain", "--ignore-submodules=dirty", "--", ".")
    changed = ask_git(project.root, *words, compares=True)
    if not (head and changed) or head.returncode:
        return {}  # git is missing, or there is no commit yet
    dirty = "true" if changed.stdout.strip() else "false"
    return {
        contract.PROJECT_COMMIT: head.stdout.decode("ascii").strip(),
        contract.PROJECT_DIRTY: dirty,
    }
