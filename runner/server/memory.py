"""Memory that is free goes back to the system."""

import ctypes

_LIBRARY = ctypes.CDLL(None)
_trim = getattr(_LIBRARY, "malloc_trim", None)  # glibc's own
_option = getattr(_LIBRARY, "mallopt", None)
_ARENA_MAX = -8  # as `malloc.h` has it
ARENAS = 2


def share_arenas() -> None:
    """Let threads share the allocator's pools; each has one of its own otherwise, never full.

    To be called before there are threads: pools that are there remain.
    """
    if _option is not None and _trim is not None:
        _option(_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Let go of what the allocator keeps: each thread's share of it may be as a large body."""
    if _trim is not None:
        _trim(0)
