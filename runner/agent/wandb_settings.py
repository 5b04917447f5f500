"""W&B's settings file in the container's home: what holds where a program drops our variables.

Recipes for cross-validation delete `WANDB_*` between two folds. Without a file the client then
offers the key that is left to W&B's cloud.
"""

from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from runner.agent.contract import variables
from runner.agent.report import say
from runner.agent.settings import AgentSettings

SECTION = "default"  # the client reads no other
FOLDER = ".config/wandb"  # in the home folder, unless a variable names another


def write_wandb_settings(settings: AgentSettings, environ: Mapping[str, str]) -> None:
    """Write it wherever the client looks for it, beside settings that lie there already.

    Outside of a container the home is a person's: nothing is written.
    """
    home, moved = environ.get(variables.HOME), environ.get(variables.CONFIG_DIR)
    if settings.container is None or not home:
        return
    usual = Path(home, FOLDER)
    for folder in {usual, Path(moved) if moved else usual}:
        _merge(folder / "settings", make_values(settings))


def make_values(settings: AgentSettings) -> dict[str, str]:
    """Server, entity and project of the sweep."""
    values = {
        "base_url": settings.base_url,
        "entity": settings.sweep.entity,
        "project": settings.sweep.project,
    }
    return {**values, "mode": variables.OFFLINE} if settings.offline else values


def _merge(file: Path, values: Mapping[str, str]) -> None:
    parser = RawConfigParser()
    try:
        parser.read(file, "utf-8")
    except (Error, UnicodeDecodeError):  # the client takes a damaged one for empty
        parser = RawConfigParser()
    if not parser.has_section(SECTION):
        parser.add_section(SECTION)
    for name, value in values.items():
        parser.set(SECTION, name, value.replace("%", "%%"))  # the client interpolates
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as stream:
            parser.write(stream)
    except OSError as error:
        say(f"cannot write W&B's settings `{file}`: {error.strerror}")
