"""What `--help` prints: every setting with what it takes, its default and its meaning."""

from __future__ import annotations

from collections.abc import Mapping

from amt.config.kinds import Kind, sections
from amt.config.load import DEFAULTS, read_yaml

USAGE = """\
usage: python -m amt.train [--config FILE]… [--KEY=VALUE]…

Train AMT once. Later files and arguments take precedence over earlier ones.
"""


def format_help() -> str:
    """The text, ending with a newline."""
    defaults = read_yaml(DEFAULTS)
    lines = [USAGE]
    for section, kinds in sections().values():
        lines += [(section.__doc__ or "").rstrip("."), *_format_section(kinds, defaults), ""]
    return "\n".join(lines)


def _format_section(kinds: Mapping[str, Kind], defaults: Mapping[str, object]) -> list[str]:
    return [
        line
        for key, kind in kinds.items()
        for line in (
            f"  --{key}={_format_default(defaults[key])}",
            f"        {kind.meaning}: {kind.describe()}",
        )
    ]


def _format_default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
