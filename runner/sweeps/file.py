"""Read and check a sweep file of the user, and report the findings."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_given
from runner.guard.texts import decode_text
from runner.sweepfile import Diagnostic, SweepSpec, read_sweep


def load_sweep_file(file: Path, report: Callable[[str], None]) -> SweepSpec:
    """Parse and check a sweep file; report warnings, raise all errors together.

    Raises:
        RunnerError: the file does not exist (3), or is not a valid sweep (2).
    """
    return check_sweep_file(file, *parse_sweep_file(file), report)


def parse_sweep_file(file: Path) -> tuple[SweepSpec | None, list[Diagnostic]]:
    """Read a sweep file: return the sweep, None if it has errors, and all findings.

    Raises:
        RunnerError: the file does not exist (3), or cannot be read (2).
    """
    try:
        text = decode_text(read_given(file), file)
    except FileNotFoundError as error:
        raise RunnerError(
            f"there is no sweep file `{file}`",
            hint="`runner init` writes one; `runner sweep list` shows the known sweeps",
            code=ExitCode.NOT_FOUND,
        ) from error
    except OSError as error:
        raise RunnerError(
            f"cannot read the sweep file `{file}`: {error.strerror}",
            hint=f"name a file in it, such as `{file}/sweep.yaml`"
            if file.is_dir()
            else "check its owner and mode",
            code=ExitCode.USAGE,
        ) from error
    return read_sweep(text)


def check_sweep_file(
    file: Path,
    sweep: SweepSpec | None,
    findings: Sequence[Diagnostic],
    report: Callable[[str], None],
) -> SweepSpec:
    """The sweep of a parsed file; report warnings, raise all errors together.

    Raises:
        RunnerError: the file is not a valid sweep (2).
    """
    for finding in findings:
        if finding.level == "warning":
            report(f"warning: {_tell(file, finding)}")
    errors = [_tell(file, finding) for finding in findings if finding.level == "error"]
    if sweep is None or errors:
        raise RunnerError(
            "\n       ".join(errors) or f"`{file}` is not a sweep",
            hint="nothing was created; correct the file and try again",
            code=ExitCode.USAGE,
        )
    return sweep


def _tell(file: Path, finding: Diagnostic) -> str:
    where = f"{file}:{finding.line}" if finding.line else str(file)
    key = f" `{finding.key}`:" if finding.key else ""
    hint = f" ({finding.hint})" if finding.hint else ""
    return f"{where}:{key} {finding.message}{hint}"


def to_yaml(config: Mapping[str, object]) -> str:
    """A configuration as YAML, to read and edit."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).rstrip()
