"""Group runs: for reading, and for sending in one process of W&B's client. Pure."""

import itertools
from collections.abc import Iterator, Sequence

from runner.offline.log.file import LogFile
from runner.offline.transfer import Transfer

SIZES = (14, 36)  # runs per process and batch; the first batch is small, to start early


def split(
    groups: Sequence[Sequence[LogFile]], workers: int
) -> Iterator[Sequence[Sequence[LogFile]]]:
    """Split runs for reading; the first groups are small, so that processes start early."""
    sizes, at = itertools.chain(SIZES, itertools.repeat(SIZES[-1])), 0
    while at < len(groups):
        size = next(sizes) * workers
        yield groups[at : at + size]
        at += size


def into_batches(transfers: Sequence[Transfer], workers: int) -> list[Sequence[Transfer]]:
    """One batch for each process; then each run that was begun before, in a batch of its own.

    A log can crash W&B's client and with it the other runs: the next call sends them alone.
    """
    fresh = [one for one in transfers if not one.begun]
    batches = [fresh[at::workers] for at in range(workers)]
    return [*filter(None, batches), *([one] for one in transfers if one.begun)]
