"""Read the output of containers from the engine."""

from collections.abc import Callable, Iterator, Mapping

from docker.api.client import APIClient
from docker.errors import NotFound
from docker.types.daemon import CancellableStream

from runner.engine.logs import follow_lines, interleave_lines, merge_lines, split_lines
from runner.engine.read import stamp_seconds
from runner.engine.translate import translated
from runner.engine.types import Container, LogLine


class Logs:
    """The output of one engine's containers.

    Args:
        api: the connection.
        find: finds a container by its ID.

    Raises:
        EngineError: every iterator, if the engine does not answer (6).
    """

    def __init__(self, api: APIClient, find: Callable[[str], Container | None]) -> None:
        self._api, self._find = api, find

    def of(
        self,
        identity: str,
        *,
        follow: bool = False,
        since_s: float | None = None,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        """The container's output; with `follow`, across restarts until it has ended for good."""

        def read(since: str | None) -> Iterator[bytes]:
            return self._frames(identity, follow, since, since_s, tail)

        if not follow:
            return split_lines(read(None))
        return follow_lines(read, lambda: self._goes_on(identity))

    def together(
        self,
        identities: Mapping[str, str],
        *,
        follow: bool = False,
        since_s: float | None = None,
        tail: int | None = None,
    ) -> Iterator[tuple[str, LogLine]]:
        """Merge the output of several containers (name to show → ID), each line with its name."""
        sources = {
            name: self.of(identity, follow=follow, since_s=since_s, tail=tail)
            for name, identity in identities.items()
        }
        return interleave_lines(sources) if follow else merge_lines(sources)

    def _frames(
        self,
        identity: str,
        follow: bool,
        since: str | None,
        since_s: float | None,
        tail: int | None,
    ) -> Iterator[bytes]:
        first = since is None
        start = since_s if since is None else stamp_seconds(since)
        with translated(f"read the log of `{identity[:12]}`"):
            try:
                stream = self._api.logs(
                    identity,
                    stream=True,
                    follow=follow,
                    timestamps=True,
                    since=start,
                    tail="all" if tail is None or not first else tail,
                )
            except NotFound:
                return
            try:
                yield from stream
            finally:
                _release(stream)

    def _goes_on(self, identity: str) -> bool:
        found = self._find(identity)
        return found is not None and found.state in ("running", "restarting", "paused")


def _release(stream: CancellableStream) -> None:
    """Close an unread answer; its own `close` leaves the socket's file open."""
    stream._response.close()  # noqa: SLF001 - docker-py has no public way
