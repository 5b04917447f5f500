"""Messages between agent, parent and children: JSON with its length before it, and open files."""

import json
import select
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

MAX_FILES = 16
_LENGTH = struct.Struct("!I")
_LONGEST = 1 << 26


def send(door: socket.socket, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    """Send a message and copies of open files.

    Raises:
        OSError: nobody is there.
    """
    data = json.dumps(message).encode("ascii")
    socket.send_fds(door, [_LENGTH.pack(len(data))], list(files), socket.MSG_NOSIGNAL)
    door.sendall(data, socket.MSG_NOSIGNAL)


def is_readable(door: socket.socket) -> bool:
    """Whether there is something to receive, or the end."""
    return bool(select.select([door], [], [], 0)[0])


def receive(door: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with its open files; None at the end.

    Raises:
        OSError: the other side is gone in mid-message, or sends something else.
    """
    head, files, _, _ = socket.recv_fds(
        door, _LENGTH.size, MAX_FILES, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    )
    if not head:
        return None
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not 0 < length < _LONGEST:
        raise ConnectionError("not a message")
    data = b""
    while len(data) < length:
        part = door.recv(length - len(data))
        if not part:
            raise ConnectionError("the message has no end")
        data += part
    return json.loads(data), files
