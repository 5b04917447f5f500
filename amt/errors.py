"""What the user can cause or cure, each with the exit code that its agent acts on."""

from __future__ import annotations

from pathlib import Path

from amt.units import format_bytes


class AmtError(Exception):
    """An expected failure; its text is the one line that the user sees."""

    exit_code = 1


class ConfigError(AmtError):
    """These settings cannot be trained with."""

    exit_code = 2


class NotFiniteError(AmtError):
    """The training has diverged."""

    exit_code = 65


class TrackingError(AmtError):
    """W&B could not be reached, or refused."""


class OutOfMemoryError(AmtError):
    """The device has too little memory for one image at a time."""


class WeightsError(AmtError):
    """Pretrained weights cannot be downloaded."""


class CheckpointError(AmtError):
    """A checkpoint cannot be gone on with."""


class DiskError(AmtError):
    """A file cannot be written."""

    @classmethod
    def of(cls, path: Path, size_bytes: int, error: OSError, remedy: str) -> DiskError:
        """Name the file, its size, the reason and the remedy."""
        reason = error.strerror or type(error).__name__
        return cls(f"cannot write `{path}` ({format_bytes(size_bytes)}): {reason}; {remedy}")
