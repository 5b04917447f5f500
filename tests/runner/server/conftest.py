"""A service on a clock of the test's own, and a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.server.service import Service
from tests.runner.server.servers import Clock, Server, open_service


@pytest.fixture
def clock() -> Clock:
    """The service's clock."""
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    """A service over an empty store."""
    service = open_service(tmp_path, clock)
    yield service
    service.store.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a session share: each uses a project of its own."""
    server = Server(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server
    assert server.stop() == 0
