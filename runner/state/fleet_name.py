"""Names of fleets. They must be valid in Docker's names of containers and networks."""

import re
import secrets


def is_fleet_name(text: str) -> bool:
    """Whether it is a fleet name: at most 40 of a-z, 0-9 and hyphens, without a leading hyphen."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", text) is not None


def make_fleet_name(folder: str) -> str:
    """`<folder>-<4 hex>` in lower case letters, digits and hyphens, at most 40 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:35].strip("-")
    return f"{plain or 'fleet'}-{secrets.token_hex(2)}"
