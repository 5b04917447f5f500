"""Clients that read or send slowly: their connections end, and what they hold is bounded."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.server import limits
from runner.server.budget import SMALL_ANSWER, Budget, Pool, Share
from runner.server.wire import Refused
from tests.runner.server.servers import Server
from tests.runner.server.test_server_app import with_key
from tests.runner.server.test_server_bodies import growth
from tests.runner.server.test_server_hostile import MAKE

MIB = 1 << 20
CODE = """
import runner.server.limits as limits
limits.BODY_S, limits.PART_BYTES = 2.0, 1000
"""
ALL = 'query{project(name:"unsent"){runs(first:100){edges{node{config}}}}}'


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Server]:
    """A server that waits for a client's next 1,000 bytes for 2 s."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(CODE)
    server = Server(tmp_path / "data")
    assert server.try_start({"PYTHONPATH": f"{code}:{server.code}"})
    yield server
    server.stop(signal.SIGKILL)


def ask_slowly(server: Server, query: str, *more: str) -> socket.socket:
    """A connection that has asked, and reads nothing; it has a small buffer of its own."""
    body = json.dumps({"query": query}).encode()
    head = ["POST /graphql HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *more]
    head.append(f"Authorization: {with_key(server)['Authorization']}")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall("\r\n".join((*head, "", "")).encode() + body)
    return connection


def fill(server: Server, size: int) -> None:
    """A project whose answer to `ALL` has so many MiB."""
    for number in range(size):
        config = json.dumps({"a": {"value": "x" * MIB}})
        server.ask(MAKE, i={"name": f"r{number}", "modelName": "unsent", "config": config})


def is_over(connection: socket.socket) -> bool:
    """Has the server closed it? What came before is read."""
    try:
        while connection.recv(MIB):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.slow
def test_answers_that_nobody_reads_are_cut_off_and_take_bounded_memory(hasty: Server) -> None:
    fill(hasty, 20)
    with growth(hasty) as grown, ExitStack() as stack:
        held = [stack.enter_context(ask_slowly(hasty, ALL, "Connection: close")) for _ in range(40)]
        for _ in range(10):
            assert hasty.ask("{viewer{id}}")["viewer"]["id"]
            time.sleep(0.5)
        assert all(is_over(one) for one in held)
        assert len(hasty.ask(ALL)["project"]["runs"]["edges"]) == 20
    assert grown[0] < 4 * limits.ANSWERS_BYTES + limits.UNSENT_BYTES
    assert "level=error" not in hasty.errors
    assert hasty.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("Connection: close",)])
def test_an_answer_may_be_read_slowly_as_long_as_it_goes_on(
    hasty: Server, more: tuple[str, ...]
) -> None:
    fill(hasty, 6)
    with ask_slowly(hasty, ALL, *more) as connection:
        received = 0
        for _ in range(6):
            time.sleep(1.0)
            received += len(connection.recv(5000))
        while received < 6 * MIB:
            part = len(connection.recv(MIB))
            assert part
            received += part


@pytest.mark.slow
@pytest.mark.parametrize(("each_s", "is_taken"), [(0.001, True), (0.6, False)])
def test_an_upload_has_a_least_speed(hasty: Server, each_s: float, is_taken: bool) -> None:
    """One byte now and then would hold a connection for ever."""
    hasty.ask(MAKE, i={"name": "r1", "modelName": "unsent"})
    credentials = with_key(hasty)["Authorization"]
    path = "/storage/local/unsent/r1/a"
    head = f"PUT {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n"
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: 4000\r\n\r\n".encode())
        begun = time.monotonic()
        for _ in range(4000):
            if time.monotonic() > begun + 6.0:
                break
            try:
                connection.sendall(b"x")
            except ConnectionError:
                break
            time.sleep(each_s)
        status = connection.recv(100)
    assert status.startswith(b"HTTP/1.1 200" if is_taken else b"HTTP/1.1 408")


def test_what_all_answers_take_together_is_bounded() -> None:
    pool = Pool(10 * MIB)
    first, second, third = Share(pool), Share(pool), Share(pool)
    budget = Budget.of_query(time.monotonic(), first)
    for _ in range(9):
        budget.spend(size=MIB)
    other = Budget.of_query(time.monotonic(), second)
    other.spend(size=1000)
    with pytest.raises(Refused) as refused:
        other.spend(size=MIB)
    assert refused.value.status == 429

    small = Budget.of_query(time.monotonic(), Share(pool))
    small.spend(size=SMALL_ANSWER)  # whatever the large ones have

    first.give_back()
    second.give_back()
    Budget.of_query(time.monotonic(), third).spend(size=10 * MIB)
