"""Find settings of a project's files that count only after the user accepted them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.backend.wandb_files import find_home, find_wandb_claims, is_known_server
from runner.project.find import Project
from runner.user.accepted import Claim

SERVERS = ("server", "sync.to")
_PATHS = ("image.context", "image.dockerfile", "image.dependencies", "run.sweep")
DEFAULT_ENGINE = "unix:///var/run/docker.sock"


def find_claims(
    project: Project, values: Mapping[str, object], environ: Mapping[str, str]
) -> Iterator[Claim]:
    """The claims of the project's file and its W&B settings about keys, code and files.

    Args:
        project: whose settings file has `values`.
        values: by dotted key.
        environ: the process's environment.
    """
    home, folder = Path(environ.get("HOME") or find_home()), project.root
    origin = project.settings_file.name if project.settings_file else ""
    for key in SERVERS:
        value = values.get(key)
        if isinstance(value, str) and not is_known_server(value, environ=environ, home=home):
            yield Claim(folder, key, value, origin, f"runs and code go to {value}")
    engine = values.get("engine")
    if isinstance(engine, str) and engine not in (DEFAULT_ENGINE, environ.get("DOCKER_HOST")):
        effect = "containers start there, with a key in them"
        yield Claim(folder, "engine", engine, origin, effect)
    for key in _PATHS:
        value = values.get(key)
        if isinstance(value, str) and not is_inside(project, value):
            effect = f"files outside of the project are read: {project.root / value}"
            yield Claim(folder, key, value, origin, effect)
    if values.get("run.live"):
        effect = "runs read and change the project's folder itself, not a copy"
        yield Claim(folder, "run.live", "true", origin, effect)
    yield from find_wandb_claims(home, Path.cwd(), environ)


def is_inside(project: Project, path: str | Path) -> bool:
    """Whether a path, relative to the project, is in the project or its repository."""
    base = (project.git_root or project.root).resolve()
    return (project.root / path).resolve().is_relative_to(base)
