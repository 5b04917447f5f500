"""The project's own folder in place of a copy: what runs find in it, and what `up` says of it."""

from collections.abc import Mapping
from pathlib import Path

from runner.agent.looks import look
from runner.launchers.docker.live import LiveFolder, find_live_folder
from runner.project.command_fault import WordFacts
from runner.settings.model import FLAG
from runner.usecases.session import Session


def choose_live(session: Session, *, installed: bool) -> LiveFolder | None:
    """The project's folder where the settings want it; None: runs work in copies.

    Args:
        session: of this call.
        installed: the image has the project.

    Raises:
        RunnerError: programs would get more than a project (6).
    """
    settings = session.settings
    if not settings.run.live:
        return None
    by_flag = settings.origins.get("run.live") == FLAG
    return find_live_folder(
        session.project.root, session.state, installed=installed, by_flag=by_flag
    )


def report_live(session: Session, live: LiveFolder | None, sharing: int) -> LiveFolder | None:
    """Say that runs change the folder itself, and that `sharing` agents do so; returns it."""
    if live is None:
        return None
    session.report(f"runs work in `{live.root}` itself: each takes the files as they are then")
    if sharing > 1:
        session.report(
            f"warning: {sharing} agents share this folder: with relative paths they overwrite "
            "each other's files"
        )
    return live


def see_live(facts: Mapping[str, WordFacts], root: Path) -> dict[str, WordFacts]:
    """The facts of a command's words where files are the folder's and programs the image's."""
    here = {
        name: WordFacts(**one) for name, one in look(list(facts), str(root), inside=False).items()
    }
    return {
        word: of_image if word.startswith("/") else _merge(here[word], of_image)
        for word, of_image in facts.items()
    }


def _merge(here: WordFacts, of_image: WordFacts) -> WordFacts:
    return WordFacts(
        kind=here.kind,
        executable=here.executable,
        head=here.head,
        on_path=of_image.on_path,
        module=of_image.module if here.module is None else here.module,
        has_main=here.has_main,
        starter=of_image.starter if here.head == of_image.head else None,
    )
