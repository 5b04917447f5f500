"""Memory that is free goes back to the system."""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own


def give_back() -> None:
    """Let go of what the allocator keeps: each thread's share of it may be as a large body."""
    if _trim is not None:
        _trim(0)
