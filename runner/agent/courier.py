"""Heartbeats in a thread of their own: no outage keeps the agent from seeing a signal."""

import threading
from collections import deque
from collections.abc import Callable, Mapping

from runner.agent.link import Link
from runner.agent.protocol import HEARTBEAT, Beat, Command, heartbeat_variables, read_commands

Reply = tuple[Beat, list[Command]]


class Courier:
    """Carries one heartbeat at a time; a late try carries the newest that was given."""

    def __init__(
        self,
        link: Link,
        agent_id: str,
        identity: Mapping[str, object] | None,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called, in the thread, when there is something new to look at."""
        self._link, self._agent_id, self._identity, self._wake = link, agent_id, identity, wake
        self._beat: Beat | None = None
        self._given = threading.Event()
        self._replies: deque[Reply | Exception] = deque()
        self.busy = False  # a heartbeat is on its way
        threading.Thread(target=self._carry, name="heartbeat", daemon=True).start()

    @property
    def trouble(self) -> str | None:
        """Why the server does not answer at present."""
        return self._link.trouble

    def give(self, beat: Beat) -> None:
        """Send this; where another one still waits for an answer, the next try carries this."""
        self._beat = beat
        if not self.busy:
            self.busy = True
            self._given.set()

    def take(self) -> Reply | None:
        """An answer, with the heartbeat that it answers.

        Raises:
            RefusedError: the server wants no more of this agent.
            Exception: a bug of ours, which must not end in silence.
        """
        if not self._replies:
            return None
        self.busy = False
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _carry(self) -> None:
        while self._given.wait():
            self._given.clear()
            self._replies.append(self._ask())
            self._wake()

    def _ask(self) -> Reply | Exception:
        sent: list[Beat] = []

        def newest() -> dict[str, object]:
            assert self._beat  # noqa: S101 - `give` sets it before it wakes this thread
            sent.append(self._beat)
            return heartbeat_variables(self._agent_id, sent[-1], self._identity)

        try:
            data = self._link.ask(HEARTBEAT, newest, patient=True, on_trouble=self._wake)
            return sent[-1], read_commands(data)
        except Exception as error:  # noqa: BLE001 - `take` raises it in the loop
            return error
