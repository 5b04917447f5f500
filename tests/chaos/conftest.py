"""What the long proofs share."""

from __future__ import annotations

from tests.amt.conftest import cache

__all__ = ["cache"]
