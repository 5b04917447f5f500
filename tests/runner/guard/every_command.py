"""Type every command of `runner` in one folder."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from docs.generate import read_commands
from tests.rig.command import start_runner

SERVE = ("serve", "--port", "0")


def find_untyped(*typed: Iterable[Sequence[str]]) -> set[str]:
    """The commands of the application that none of these lines calls."""
    lines = [" ".join(words) + " " for some in typed for words in some]
    paths = [one.path for one in read_commands()]
    return {path for path in paths if not any(line.startswith(f"{path} ") for line in lines)}


def serve_briefly(folder: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `runner serve` until it says its URL, or ends by itself; its code, stdout and stderr."""
    with start_runner(*SERVE, cwd=folder, env=env) as process:
        assert process.stdout
        try:
            first = process.stdout.readline()
            if first:
                with suppress(HTTPError), urlopen(first.strip(), timeout=60):
                    pass  # it is at work: before, a signal ends it at once
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, first + rest, errors
