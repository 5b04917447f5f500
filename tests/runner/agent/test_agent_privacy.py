"""What a run can find out about its agent and its key, and what the log shows of the key."""

import os
import random
from pathlib import Path

import pytest

from runner.agent.output import MAX_LINE, Relay
from runner.agent.redact import Redactor
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand

SECRET = b"local-0123456789abcdef0123456789abcdef01"
PEEK = """
import ctypes, os
agent = os.getppid()
def tries(what):
    try:
        what()
    except PermissionError:
        return "refused"
    return "open"
libc = ctypes.CDLL(None, use_errno=True)
def trace():
    if libc.ptrace(16, agent, 0, 0) != 0:  # PTRACE_ATTACH
        raise PermissionError
files = ("mem", "environ", "maps")
found = {name: tries(lambda: open(f"/proc/{agent}/{name}", "rb").read(1)) for name in files}
found |= {name: tries(lambda: os.readlink(f"/proc/{agent}/{name}")) for name in ("cwd", "root")}
print(found | {"trace": tries(trace)})
"""


def relay(tmp_path: Path, *chunks: bytes, secret: str = SECRET.decode()) -> tuple[bytes, str]:
    """What the log shows of these writes, and the lines that are kept."""
    source, end = os.pipe()
    shown = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    relay = Relay("r1", [(source, shown)], secret=secret)
    for chunk in chunks:
        os.write(end, chunk)
    os.close(end)
    lines = relay.finish(10)
    os.close(shown)
    return (tmp_path / "log").read_bytes(), "".join(lines)


@pytest.mark.parametrize("place", [0, 1, 20, len(SECRET) - 1, len(SECRET), 500])
def test_a_key_is_replaced_wherever_it_is_cut(tmp_path: Path, place: int) -> None:
    """At the length where a line is cut, and in the lines that are kept of it."""
    text = b"x" * (MAX_LINE - place) + SECRET + b"y" * 100 + b"\nkey " + SECRET + b"\n"

    log, kept = relay(tmp_path, *(text[at : at + 4096] for at in range(0, len(text), 4096)))

    assert log.count(b"[key]") == 2
    assert "[key]" in kept
    assert SECRET[:12] not in log
    assert SECRET[-12:] not in log


def test_redaction_does_not_depend_on_the_pieces() -> None:
    """The same text in any pieces; what only looks like the beginning of a key comes out."""
    rng = random.Random(5)
    words = [SECRET, SECRET[:11], SECRET[:-1] + b"!", b"local-", b"plain\n", b"l"]
    for _ in range(300):
        text = b"".join(rng.choice(words) for _ in range(rng.randint(1, 12))) + b"."
        redactor, left, out = Redactor(SECRET), text, b""
        while left:
            size = rng.randint(1, 50)
            out += redactor.feed(left[:size])
            left = left[size:]

        assert out + redactor.flush() == text.replace(SECRET, b"[key]")


def test_most_of_a_key_at_the_end_of_a_log_is_a_key() -> None:
    redactor = Redactor(SECRET)

    assert redactor.feed(b"a " + SECRET[:30]) + redactor.flush() == b"a [key]"
    assert redactor.feed(b"local") + redactor.flush() == b"local"


@pytest.mark.slow
def test_a_run_reads_nothing_of_its_agents_process(tmp_path: Path, door: Door) -> None:
    """Both are the same user and have no capabilities, as in a container."""
    door.add("r1")
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

    code, out, err = Hand(tmp_path, door, PEEK).start(*bare).finish()

    assert code == 0, err
    names = ("mem", "environ", "maps", "cwd", "root", "trace")
    assert out == f"r1 | {dict.fromkeys(names, 'refused')}\n"


@pytest.mark.slow
def test_offline_the_key_is_in_no_variable_and_in_its_file(tmp_path: Path, door: Door) -> None:
    """SECURITY.md says so: hiding the file from a program of the same user would be a pretence."""
    door.add("r1")
    program = f"""
import os
print("variable" if any({KEY!r} in value for value in os.environ.values()) else "none")
print(open({str(tmp_path / "key")!r}).read() == {KEY + chr(10)!r})
"""

    code, out, _ = Hand(tmp_path, door, program, WANDB_MODE="offline").run()

    assert (code, out) == (0, "r1 | none\nr1 | True\n")
