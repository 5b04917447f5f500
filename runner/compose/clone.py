"""`python -m runner.compose.clone SWEEP`: writes the generated files of a clone of this repository.

The clone's compose files also build its images, with the arguments of `runner build`. Without a
GPU they use the sweep file SWEEP.
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

from runner.agent.contract import labels, paths, variables
from runner.compose import pins
from runner.compose.file import Builds, ask, render
from runner.image.recipe import Recipe, read_recipe
from runner.image.server import BASE, select_requirements
from runner.image.variant import Name
from runner.project.find import find_project
from runner.settings.load import load_settings


def make_files(root: Path, *, cpu_sweep: str) -> dict[str, str]:
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
            "TORCH_INDEX": ask(pins.TORCH_INDEX),
        },
        cpu_labels=_marks(cpu),
        cpu_sweep=cpu_sweep,
    )
    dockerfile = root / "docker" / "Dockerfile"
    return {
        **render(builds),
        "docker/Dockerfile": _fill_blocks(dockerfile.read_text("utf-8"), _read_blocks(root)),
        "docker/agent-requirements.txt": cuda.dependencies.files["requirements.txt"],
        "docker/server-requirements.txt": _server_requirements(root),
    }


def _read_recipe(root: Path, variant: Name) -> Recipe:
    project = find_project(root)
    return read_recipe(project, load_settings(project, environ={}, believed=True), variant=variant)


def _marks(recipe: Recipe) -> Mapping[str, str]:
    return {labels.VARIANT: recipe.labels[labels.VARIANT]}


def _read_blocks(root: Path) -> Mapping[str, str]:
    """The generated blocks of the Dockerfile, by origin."""
    agreed = {
        "VENV": paths.VENV,
        "PROJECT_DIR": paths.PROJECT,
        "BESIDE_DIR": paths.BESIDE,
        "CACHE_DIR": paths.CACHE,
        "HOME_DIR": paths.HOME,
        "USER_NAME": variables.USER,
    }
    script = "docker/torch-index.sh"
    return {
        "runner/agent/contract": "".join(f"ARG {name}={value}\n" for name, value in agreed.items()),
        script: (root / script).read_text("utf-8"),
    }


def _fill_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Write each block between the marks that name its origin."""
    for origin, content in blocks.items():
        begin = f"# >>> {origin}, by `make generated`\n"
        before, _, rest = text.partition(begin)
        text = before + begin + content + rest[rest.index("# <<<\n") :]
    return text


def _server_requirements(root: Path) -> str:
    """The server's requirements, from the metadata of the installed package."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extra = [f"{one}; extra == 'server'" for one in project["optional-dependencies"]["server"]]
    wanted = [*project["dependencies"], *extra]
    return "".join(f"{one}\n" for one in select_requirements([str(Requirement(x)) for x in wanted]))


def main() -> int:
    """Write all files in the current folder."""
    for name, text in make_files(Path.cwd(), cpu_sweep=sys.argv[1]).items():
        Path(name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
