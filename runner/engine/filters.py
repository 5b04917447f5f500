"""Filters of listings."""

from collections.abc import Mapping

from runner.disk.temporary import PREFIX

EARLIER_NAMES = ("runner-probe-", "runner-doctor-")  # of short-lived containers in earlier versions
SHORT_LIVED_NAMES = [f"^/{prefix}" for prefix in (PREFIX, *EARLIER_NAMES)]


def label_filters(labels: Mapping[str, str | None]) -> list[str]:
    """The engine's `label` filter for all of these labels; None matches any value."""
    return [key if value is None else f"{key}={value}" for key, value in labels.items()]
