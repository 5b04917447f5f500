"""Names of runs and files as names on the disk."""

import hashlib
from urllib.parse import quote

LONGEST = 200  # bytes of a file's name; file systems allow 255


def safe_name(name: str) -> str:
    """`name` as one component of a path: never a separator, never `.` or `..`, never too long."""
    encoded = quote(name, safe="")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > LONGEST:
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]
        encoded = f"{encoded[: LONGEST - 40]}-{digest}"
    return encoded
