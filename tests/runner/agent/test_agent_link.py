"""The agent's heartbeats on their way: answers that break off, and bugs of our own."""

import threading
from collections.abc import Callable

import pytest

from runner.agent.courier import Courier, Reply
from runner.agent.link import Link, NotFoundError
from runner.agent.protocol import Beat
from tests.runner.agent.door import KEY, Door


def carry(link: Link, beat: Beat, identity: dict[str, object] | None = None) -> Reply | None:
    """What becomes of one heartbeat, within five seconds."""
    woken = threading.Event()
    courier = Courier(link, "agent-1", identity, woken.set)
    courier.give(beat)
    while woken.wait(5):
        woken.clear()
        if reply := courier.take():
            return reply
    return None


def status_once(code: int) -> Callable[[str], int]:
    """This one first, then 200."""
    codes = [code]
    return lambda _query: codes.pop() if codes else 200


@pytest.mark.parametrize("code", [429, 503])
def test_an_error_that_breaks_off_is_an_outage_like_any(
    door: Door, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    door.cut_errors, door.status = True, status_once(code)
    door.add("r1")

    reply = carry(Link(door.url, KEY, max_pause_s=0.1), Beat(()))

    assert reply is not None
    assert [one.run for one in reply[1]] == ["r1"]
    assert f"HTTP {code}" in capsys.readouterr().err


def test_an_error_that_breaks_off_keeps_its_meaning(door: Door) -> None:
    door.cut_errors, door.status = True, status_once(404)

    with pytest.raises(NotFoundError):
        carry(Link(door.url, KEY, max_pause_s=0.1), Beat(()))


def test_a_bug_in_the_heartbeats_thread_comes_out_in_the_loop(door: Door) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        carry(Link(door.url, KEY, max_pause_s=0.1), Beat(()), {"gpu": object()})
