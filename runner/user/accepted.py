"""What a project's file decides about the user's keys, code and files: only once it was accepted.

A repository may be anybody's, so what it says about where keys and code go, and about files
outside of it, counts when its user has accepted it for this folder, or has said the same by a flag
or in the environment. What was accepted is remembered outside of the project.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.user.records import read_record, write_record

KIND = "accepted"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a file of the project decides."""

    folder: Path  # the project's
    key: str  # the dotted key
    value: str
    origin: str  # the file
    effect: str  # what it leads to: "keys and runs go to …"

    def __str__(self) -> str:
        return f"{self.origin}: `{self.key}` is `{self.value}`, so {self.effect}"


_granted: set[Claim] = set()  # in this call


def is_accepted(claim: Claim, environ: Mapping[str, str]) -> bool:
    """Whether the user has accepted this for the project, now or before."""
    if claim in _granted:
        return True
    return claim.value in _read(claim.folder, environ).get(claim.key, [])


def accept(claims: Iterable[Claim], environ: Mapping[str, str], *, remember: bool) -> None:
    """Let these count, without `remember` in this call only.

    Raises:
        RunnerError: the user's own folder cannot be written.
    """
    by_folder: dict[Path, list[Claim]] = {}
    for claim in claims:
        _granted.add(claim)
        by_folder.setdefault(claim.folder, []).append(claim)
    for folder, own in by_folder.items() if remember else ():
        values = _read(folder, environ)
        for claim in own:
            if claim.value not in values.setdefault(claim.key, []):
                values[claim.key].append(claim.value)
        write_record(KIND, folder, {"values": values}, environ)


def _read(folder: Path, environ: Mapping[str, str]) -> dict[str, list[str]]:
    values = read_record(KIND, folder, environ).get("values")
    if not isinstance(values, dict):
        return {}
    return {str(key): list(one) for key, one in values.items() if isinstance(one, list)}
