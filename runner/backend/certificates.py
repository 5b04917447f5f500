"""Find the certificates that the caller trusts in addition to the system's."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from runner.agent.contract.variables import TRUST as NAMES
from runner.disk.own_files import write_atomic
from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text


def find_ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """The file of certificates that the caller's environment names.

    Raises:
        RunnerError: the file does not exist (2).
    """
    for name in NAMES:
        if not (named := environ.get(name)):
            continue
        file = Path(named).expanduser()
        if file.is_file():
            return file.resolve()
        if file.is_dir():  # requests also accepts a folder; agents need a file
            continue
        raise RunnerError(
            f"`{name}` names `{named}`, and there is no such file",
            hint=f"correct it, or `unset {name}`",
            code=ExitCode.USAGE,
        )
    return None


def copy_ca_bundle(bundle: Path, folder: Path, *, dry_run: bool = False) -> Path:
    """Copy the bundle into `folder` for mounting: the original may be replaced at any time.

    A dry run only returns the path.
    """
    text = read_text(bundle)
    copy = folder / f"ca-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
    if not dry_run and not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(copy, text, mode=0o644)
    return copy
