"""Numbers with their units, as people read them."""

from __future__ import annotations


def format_bytes(count: int) -> str:
    """`57.8 MiB`."""
    if count < 1024:
        return f"{count} bytes"
    size, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}"
