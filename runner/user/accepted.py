"""Accept what a project's file decides about the user's keys, code and files.

Anybody may have made a repository. So its settings about where keys and code go, and about files
outside of it, count only after the user accepted them for this folder, or gave the same value by a
flag or in the environment. Accepted values are stored outside of the project.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.user.records import read_record, write_record

KIND = "accepted"


@dataclass(frozen=True, slots=True)
class Claim:
    """One setting of a project's file that the user must accept."""

    folder: Path  # of the project
    key: str  # dotted
    value: str
    origin: str  # the file
    effect: str  # the consequence: "keys and runs go to …"

    def __str__(self) -> str:
        return f"{self.origin}: `{self.key}` is `{self.value}`, so {self.effect}"


_granted: set[Claim] = set()  # accepted in this call


def is_accepted(claim: Claim, environ: Mapping[str, str]) -> bool:
    """Whether the user has accepted this for the project, now or before."""
    if claim in _granted:
        return True
    return claim.value in _read(claim.folder, environ).get(claim.key, [])


def accept(claims: Iterable[Claim], environ: Mapping[str, str], *, remember: bool) -> None:
    """Accept these claims; without `remember`, for this call only.

    Raises:
        RunnerError: the user's own folder cannot be written (1).
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
