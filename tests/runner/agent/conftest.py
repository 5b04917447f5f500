"""What the agent's tests share."""

from collections.abc import Iterator

import pytest

from tests.runner.agent.door import Door, serve


@pytest.fixture
def door() -> Iterator[Door]:
    with serve() as door:
        yield door
