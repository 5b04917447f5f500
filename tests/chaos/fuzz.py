"""Hostile requests by chance: valid ones that are damaged, as JSON, as bytes, in their order.

What the server answers with 5xx, or not at all, is made smaller as long as it stays a finding.
"""

import asyncio
import base64
import contextlib
import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

IDLE_S = 0.2  # after an answer: no further one comes
DEEP = "[" * 2000 + "]" * 2000
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, 10**19, 10**400, "", "x", "\x00", "\ud800", "ü", "NaN"),
    *([], {}, [[]], {"a": {"b": []}}, "9" * 5000, DEEP, "../..", "%2e%2e", "a" * 300, "$regex"),
    *('{"$or":[{"a":1}]}', "{}", "[]", "null", "QWdlbnQ6eA==", "local", "demo", "r1", "_step"),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: its head, and its body as JSON or bytes."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: Any = None

    def encode(self) -> bytes:
        """As it is sent."""
        body = self.body
        content = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            content = json.dumps(body).encode()
        names = {name.lower() for name, _ in self.headers}
        length = () if "content-length" in names else (("Content-Length", str(len(content))),)
        lines = [f"{name}: {value}" for name, value in (*self.headers, *length)]
        head = "\r\n".join((f"{self.method} {self.path} HTTP/1.1", *lines, "", ""))
        return head.encode("utf-8", "surrogatepass") + content


@dataclass(slots=True)
class Findings:
    """What was seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    found: list[tuple[str, bytes]] = field(default_factory=list)  # what is wrong, the bytes
    slowest_s: float = 0.0


def mutate(rng: random.Random, value: Any) -> Any:
    """A JSON value with something odd in it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        changed = {**value}
        match rng.randrange(5):
            case 0:
                del changed[key]
            case 1:
                changed[str(rng.choice(ODD))[:40]] = changed.pop(key)
            case _:
                changed[key] = mutate(rng, value[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        changed_list = copy.copy(value)
        at = rng.randrange(len(value))
        changed_list[at] = mutate(rng, value[at])
        return changed_list * rng.choice([1, 1, 1, 50])
    if isinstance(value, str) and value[:1] in ("{", "[") and rng.random() < 0.6:
        with contextlib.suppress(ValueError, RecursionError):
            return json.dumps(mutate(rng, json.loads(value)))
    if isinstance(value, str) and value and rng.random() < 0.4:
        at = rng.randrange(len(value))
        return value[:at] + str(rng.choice(ODD))[:60] + value[at + rng.randrange(3) :]
    return rng.choice(ODD)


def damage(rng: random.Random, content: bytes) -> bytes:
    """Bytes of which some are changed, doubled or missing."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if not changed:
            break
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randrange(1, 20)]
            case 2:
                changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
            case _:
                changed[at:at] = changed[max(0, at - 30) : at]
    return bytes(changed)


def vary(rng: random.Random, shot: Shot) -> Shot:
    """A request that is not quite as it should be."""
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            return Shot(shot.method, shot.path, shot.headers, mutate(rng, shot.body))
        case 4:
            body = shot.body if isinstance(shot.body, bytes) else json.dumps(shot.body).encode()
            return Shot(shot.method, shot.path, shot.headers, damage(rng, body))
        case 5:
            parts = shot.path.split("/")
            odd = ["..", "%2e%2e", "%00", "%ED%A0%80", "", "a" * 300, "%", "?a=1", "x%2Fy", "*"]
            parts[rng.randrange(len(parts))] = rng.choice(odd)
            return Shot(shot.method, "/" + "/".join(parts).lstrip("/"), shot.headers, shot.body)
        case 6:
            method = rng.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"])
            return Shot(method, shot.path, shot.headers, shot.body)
    name = rng.choice(["Content-Encoding", "Authorization", "Origin", "Host", "Expect", "Range"])
    value = rng.choice(["gzip", "br", "", "x", "Basic !", "100-continue", "bytes=0-", "a" * 3000])
    kept = tuple(one for one in shot.headers if one[0] != name)
    return Shot(shot.method, shot.path, (*kept, (name, value)), shot.body)


class Fuzzer:
    """Sends requests to a server at a port."""

    def __init__(self, port: int, key: str, seeds: list[Shot], seed: int) -> None:
        self._port, self._seeds, self._rng = port, seeds, random.Random(seed)
        credentials = base64.b64encode(f"api:{key}".encode()).decode()
        self._key = (("Host", "127.0.0.1"), ("Authorization", f"Basic {credentials}"))
        self.findings = Findings()

    async def run(self, count: int, *, at_once: int = 8) -> Findings:
        """Send so many."""
        left = iter(range(count))
        await asyncio.gather(*(self._work(left) for _ in range(at_once)))
        return self.findings

    async def _work(self, left: Iterator[int]) -> None:
        for _ in left:
            shots = [self._make() for _ in range(self._rng.choice([1, 1, 1, 3]))]
            sent = b"".join(shots)
            if self._rng.random() < 0.08:
                sent = damage(self._rng, sent)
            wrong = await self._send(sent, whole=len(shots))
            if wrong is not None:
                self.findings.found.append((wrong, await self._shrink(sent, wrong)))

    def _make(self) -> bytes:
        rng = self._rng
        shot = rng.choice(self._seeds)
        headers = self._key if rng.random() < 0.95 else self._key[:1]
        shot = Shot(shot.method, shot.path, headers, shot.body)
        for _ in range(rng.choice([1, 1, 2, 3])):
            shot = vary(rng, shot)
        return shot.encode()

    async def _send(self, sent: bytes, *, whole: int = 1) -> str | None:
        """What is wrong with the answer to some bytes; None: nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        begun = time.monotonic()
        try:
            parts = 3 if self._rng.random() < 0.05 else 1
            for at in range(parts):
                writer.write(sent[at * len(sent) // parts : (at + 1) * len(sent) // parts])
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            received = await asyncio.wait_for(_read(reader), 45)
        except TimeoutError:
            return "no answer"
        except (ConnectionError, OSError):
            received = b""
        finally:
            writer.close()
        took = time.monotonic() - begun - IDLE_S
        self.findings.slowest_s = max(self.findings.slowest_s, took)
        statuses = [
            int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()
        ]
        self.findings.statuses.update(statuses)
        if any(status >= 500 for status in statuses):
            return f"answered with {max(statuses)}"
        if not statuses and whole:
            return "dropped"
        return None

    async def _shrink(self, sent: bytes, wrong: str) -> bytes:
        """Fewer bytes that are answered in the same way."""
        size = len(sent) // 2
        tries = 0
        while size >= 1 and tries < 200:
            at = 0
            while at < len(sent) and tries < 200:
                shorter = sent[:at] + sent[at + size :]
                tries += 1
                if shorter and await self._send(shorter) == wrong:
                    sent = shorter
                else:
                    at += size
            size //= 2
        return sent


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Until the other side has no more, or none for a while."""
    received = b""
    while True:
        try:
            async with asyncio.timeout(IDLE_S if received else None):
                part = await reader.read(1 << 16)
        except (ConnectionError, TimeoutError):
            return received
        if not part:
            return received
        received += part


def seeds_of(
    inputs: dict[str, dict[str, object]], queries: dict[str, dict[str, object]]
) -> list[Shot]:
    """Valid requests of every kind."""
    make: Callable[[str, dict[str, object]], Shot] = lambda query, variables: Shot(  # noqa: E731 - short
        "POST", "/graphql", (), {"query": query, "variables": variables}
    )
    shots = [
        make(f"mutation($i: X){{{name}(input:$i){{__typename}}}}", {"i": given})
        for name, given in inputs.items()
    ]
    shots += [make(query, variables) for query, variables in queries.items()]
    rows = ['{"_step":0,"loss":NaN,"n":{"a":1}}', '{"_step":1,"loss":"x"}']
    files = {
        "wandb-history.jsonl": {"offset": 0, "content": rows},
        "wandb-summary.json": {"offset": 0, "content": ['{"loss":1}']},
        "wandb-events.jsonl": {"offset": 0, "content": ['{"cpu":1}']},
        "output.log": {"offset": 0, "content": ["a", "b"]},
    }
    stream = {"files": files, "complete": False, "exitcode": 0, "preempting": False}
    shots += [Shot("POST", "/files/local/hostile/r1/file_stream", (), stream)] * 6
    shots += [
        Shot("PUT", "/storage/local/hostile/r1/a.txt", (), b"abc"),
        Shot("GET", "/storage/local/hostile/r1/a.txt", ()),
        Shot("GET", "/", ()),
        Shot("GET", "/healthz", ()),
        Shot("GET", "/usage", ()),
        Shot("POST", "/prune", (), {"place": "a/b", "before": 1.5, "keep_best": 3}),
        Shot("DELETE", "/sweeps/a/b/nothing", ()),
        Shot("GET", "/keys", ()),
        Shot("POST", "/keys", (), {"kind": "read", "name": "a", "sweep": "a/b/c"}),
        Shot("DELETE", "/keys/abc", ()),
        Shot("GET", "/sweeps/local/hostile/s", ()),
        Shot("GET", "/local/hostile/runs/r1", ()),
        Shot("POST", "/sdk/otel/v1/metrics", (), {}),
    ]
    return shots
