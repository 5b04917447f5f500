"""What the user can cause or cure, each with the exit code that tells its agent what to do."""

from __future__ import annotations


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
