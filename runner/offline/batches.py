"""Which runs are read together, and which one process of W&B's client is given. Pure."""

import itertools
from collections.abc import Iterator, Sequence

from runner.offline.log.file import LogFile
from runner.offline.transfer import Transfer

SIZES = (14, 36)  # runs that one process is given at a time: the first ones soon


def split(
    groups: Sequence[Sequence[LogFile]], workers: int
) -> Iterator[Sequence[Sequence[LogFile]]]:
    """Runs to be read together; the first ones few, so that the processes soon have work."""
    sizes, at = itertools.chain(SIZES, itertools.repeat(SIZES[-1])), 0
    while at < len(groups):
        size = next(sizes) * workers
        yield groups[at : at + size]
        at += size


def into_batches(transfers: Sequence[Transfer], workers: int) -> list[Sequence[Transfer]]:
    """One batch for each process; then, alone, each run whose sending was begun before.

    A log may end W&B's client, and with it the runs beside: the next call sends each of them.
    """
    fresh = [one for one in transfers if not one.begun]
    batches = [fresh[at::workers] for at in range(workers)]
    return [*filter(None, batches), *([one] for one in transfers if one.begun)]
