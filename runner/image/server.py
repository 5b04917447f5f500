"""The sweep server's image: runner's own code and the packages of its extra `server`."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import runner
from runner.agent.contract import labels
from runner.console.narration import Report
from runner.disk.package_files import list_package_files
from runner.disk.temporary import temporary_folder
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.image.buildx import Build, interruptible, run_build
from runner.image.pipconfig import PipSettings, read_pip_settings, select_proxies

BASE = "debian:bookworm-slim"
DISTRIBUTION = "sweep-runner"
# those of runner's dependencies that `runner serve` and `runner.compose` import
CORE = ("nvidia-ml-py", "pyyaml", "typer", "urllib3")
PACKAGE = Path(runner.__file__).parent
DOCKERFILE = (
    PACKAGE / "files" / "Dockerfile"
).resolve()  # a link in a clone, and buildx does not follow links


def server_tag() -> str:
    """The tag of the server's image for the present code."""
    return f"runner-server:{_hash()}"


@interruptible()
def ensure_server_image(engine: Engine, *, report: Report) -> str:
    """The ID of the server's image for the present code; built if the engine lacks it.

    Raises:
        RunnerError: the build failed.
    """
    tag = server_tag()
    if found := engine.images.find(tag):
        return found.id
    report("building the server's image")
    with temporary_folder() as folder:
        environ = engine.cli_env()
        identity = run_build(_stage(folder, tag, environ), environ=environ, report=report)
    report(f"built {tag}")
    return identity


def add_secrets(pip: PipSettings, folder: Path) -> dict[str, Path]:
    """Write the secrets of a build into `folder`. The caller removes it after the build."""
    folder.mkdir(mode=0o700, exist_ok=True)
    secrets = {"ca": pip.ca} if pip.ca else {}
    for name, text in select_secrets(pip).items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(text, "utf-8")
        secrets[name] = file
    return secrets


def select_secrets(pip: PipSettings) -> dict[str, str]:
    """The configuration files for pip and uv; leaves out empty ones."""
    texts = {"pip": pip.to_pip(), "uv": pip.to_uv()}
    return {name: text for name, text in texts.items() if text}


def select_requirements(requires: list[str]) -> list[str]:
    """Select the server's requirements from a distribution's metadata; drops markers."""
    from packaging.requirements import Requirement  # slow to load, and only a build needs it
    from packaging.utils import canonicalize_name

    found = []
    for requirement in map(Requirement, requires):
        marker, requirement.marker = requirement.marker, None
        if marker is None:
            wanted = canonicalize_name(requirement.name) in CORE
        else:
            wanted = marker.evaluate({"extra": "server"}) and not marker.evaluate({"extra": ""})
        if wanted:
            found.append(str(requirement))
    return sorted(found)


def _stage(folder: Path, tag: str, environ: Mapping[str, str]) -> Build:
    pip = read_pip_settings(environ)
    folder.chmod(0o755)
    code, context = folder / "runner", folder / "context"
    for file in list_code():
        target = code / file.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o644)
    for part, _, _ in os.walk(code):
        Path(part).chmod(0o755)  # whatever the umask: every user must read it
    (context / "deps").mkdir(parents=True)
    (context / "deps" / "requirements.txt").write_text(_requirements(), "utf-8")
    return Build(
        dockerfile=DOCKERFILE,
        context=context,
        tags=(tag,),
        target="server",
        args={"BASE": BASE, **select_proxies(environ)},
        contexts={"runner": code, **({"wheels": pip.wheels} if pip.wheels else {})},
        secrets=add_secrets(pip, folder / "secrets"),
        labels={labels.KIND: labels.SERVER_ROLE},
    )


def _hash() -> str:
    digest = hashlib.sha256("\n".join(_read_requires()).encode())
    digest.update(DOCKERFILE.read_bytes())
    for file in list_code():
        content = hashlib.sha256(file.read_bytes()).digest()
        digest.update(str(file)[len(str(PACKAGE)) + 1 :].encode() + b"\0" + content)
    return digest.hexdigest()[:12]


def list_code(package: Path = PACKAGE) -> list[Path]:
    """The code, SQL, pages and the agent's data files; Compose's `init` bundles agents from them.

    Leaves out `files/`: it contains links in a clone and copies in a wheel.
    """
    modules = list_package_files(package, (".py", ".sql", ".html"))
    return sorted({*modules, *list_package_files(package / "agent")})


def _requirements() -> str:
    return "".join(f"{one}\n" for one in select_requirements(_read_requires()))


def _read_requires() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise RunnerError(
            f"`{DISTRIBUTION}` is not installed, so the server's dependencies are unknown",
            hint="`pip install sweep-runner`, or `pip install -e .` in a clone",
            code=ExitCode.UNFIT,
        ) from error
