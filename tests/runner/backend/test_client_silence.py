"""What the host's client makes of servers that speak no HTTP, break off, or go for a moment."""

import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from runner.backend import http as module
from runner.backend.client import Client
from runner.backend.nodes import Viewer
from runner.errors import RunnerError

JSON = b'{"data":{"viewer":{"username":"me","entity":"me","teams":null}}}'
WHOLE = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(JSON), JSON)
CUT = WHOLE[:-9]
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server's URL; each connection gets the next of these bytes, then it is gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, answers))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join()


def _serve(listener: socket.socket, answers: Sequence[bytes]) -> None:
    with listener:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as request:
                request.readline()
                headers = http.client.parse_headers(request)
                request.read(int(headers["Content-Length"]))
                connection.sendall(answer)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a client reports; its pauses take no time."""
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.0)
    return []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (SSH, "its answer is not HTTP"),
        (CUT, "its answer broke off"),
        (b"", "Remote end closed connection without response"),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", "is not a sweep server: its answer is not JSON"),
        (b"HTTP/1.0 500 No\r\nContent-Length: 99\r\n\r\n{", "its answer broke off"),
    ],
)
def test_no_whole_answer_is_one_line(answer: bytes, words: str, told: list[str]) -> None:
    with answering(answer) as url, pytest.raises(RunnerError) as caught:
        Client(url, "k", kind="runner", report=told.append).viewer()

    assert caught.value.message.endswith(words)
    assert "\n" not in caught.value.message
    assert told == []


def test_a_server_that_was_there_is_waited_for(told: list[str]) -> None:
    with answering(WHOLE, CUT, b"", WHOLE) as url:
        client = Client(url, "k", kind="runner", report=told.append)

        assert [client.viewer() for _ in range(2)] == [Viewer("me", "me", ())] * 2

    assert told == [f"{url} does not answer (its answer broke off): trying again for a while"]


def test_a_change_is_not_repeated_where_it_may_have_been_made(told: list[str]) -> None:
    with answering(WHOLE, b"", WHOLE) as url:
        client = Client(url, "k", kind="runner", report=told.append)
        client.viewer()
        with pytest.raises(RunnerError, match="closed connection"):
            client.create_sweep({"method": "grid"}, entity="me", project="p")
        client.viewer()

    assert told == []


def test_a_server_that_stays_away_is_given_up(told: list[str]) -> None:
    with answering(WHOLE) as url:
        client = Client(url, "k", kind="runner", report=told.append)
        client.viewer()

    with pytest.raises(RunnerError, match=r"no answer from .*: Connection refused$"):
        client.viewer()
    assert told == [f"{url} does not answer (Connection refused): trying again for a while"]
