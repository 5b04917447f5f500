"""`python -m runner.compose.clone`: writes what a clone of this repository has that is made.

Its compose files also build its images, with the arguments of `runner build`.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

from runner.agent.contract import paths, variables
from runner.compose import pins
from runner.compose.file import Builds, render
from runner.image.recipe import VARIANT_LABEL, Recipe, read_recipe
from runner.image.server import BASE, select_requirements
from runner.image.variant import CPU_INDEX, Name
from runner.project import find_project
from runner.settings.load import load_settings


def make_files(root: Path) -> dict[str, str]:
    """Path in the clone at `root` → text."""
    cuda, cpu = _read_recipe(root, "cuda13"), _read_recipe(root, "cpu")
    layout = {"LAYOUT": "clone"}
    builds = Builds(
        server={**layout, "BASE": BASE},
        agent={**layout, **cuda.args},
        agent_labels=_marks(cuda),
        target=cuda.target or "agent",
        cpu={
            **{name: value for name, value in cpu.args.items() if cuda.args.get(name) != value},
            "TORCH_INDEX": f"${{{pins.TORCH_INDEX}-{CPU_INDEX}}}",
        },
        cpu_labels=_marks(cpu),
    )
    dockerfile = root / "docker" / "Dockerfile"
    return {
        **render(builds),
        "docker/Dockerfile": _fill_block(dockerfile.read_text("utf-8")),
        "docker/agent-requirements.txt": cuda.dependencies.files["requirements.txt"],
        "docker/server-requirements.txt": _server_requirements(root),
    }


def _read_recipe(root: Path, variant: Name) -> Recipe:
    project = find_project(root)
    return read_recipe(project, load_settings(project, environ={}), variant=variant)


def _marks(recipe: Recipe) -> Mapping[str, str]:
    return {VARIANT_LABEL: recipe.labels[VARIANT_LABEL]}


def _fill_block(dockerfile: str) -> str:
    """With what the images have to agree on with their containers, in its marked block."""
    agreed = {
        "VENV": paths.VENV,
        "PROJECT_DIR": paths.PROJECT,
        "CACHE_DIR": paths.CACHE,
        "HOME_DIR": paths.HOME,
        "USER_NAME": variables.USER,
    }
    lines = "".join(f"ARG {name}={value}\n" for name, value in agreed.items())
    return re.sub(r"(?<=\n)(# >>> .*\n)(?:.*\n)*?(# <<<\n)", rf"\1{lines}\2", dockerfile)


def _server_requirements(root: Path) -> str:
    """As the metadata of an installed runner have it."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extra = [f"{one}; extra == 'server'" for one in project["optional-dependencies"]["server"]]
    wanted = [*project["dependencies"], *extra]
    return "".join(f"{one}\n" for one in select_requirements([str(Requirement(x)) for x in wanted]))


def main() -> int:
    """Write all of it in the current folder."""
    for name, text in make_files(Path.cwd()).items():
        Path(name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
