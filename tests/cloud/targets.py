"""W&B's cloud, or what plays it: where the tests of this folder log to."""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.cloud import TRUST, client_environment

PROJECT = "runner-cloud-tests"
WAIT_S = 60.0  # until what was sent can be read


@dataclass(frozen=True, slots=True)
class Target:
    """A server of W&B's kind with a key that may write to `entity`."""

    url: str
    key: str
    entity: str
    ca_file: Path | None

    def environment(self, home: Path) -> dict[str, str]:
        """For a client whose files lie in `home`; its intervals are W&B's defaults."""
        trusted = dict.fromkeys(TRUST, str(self.ca_file)) if self.ca_file else {}
        names = {"WANDB_ENTITY": self.entity, "WANDB_PROJECT": PROJECT, "NO_PROXY": "127.0.0.1"}
        return {**client_environment(self.url, self.key, home), **trusted, **names}

    def ask(self, query: str, given: Mapping[str, object] | None = None) -> tuple[int, Any]:
        """Status and JSON of one GraphQL request; `given` is its variable `i`."""
        credentials = base64.b64encode(f"api:{self.key}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": {"i": given}}).encode(),
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 429:
                    time.sleep(float(error.headers.get("Retry-After") or 1))
                    return self.ask(query, given)
                return error.code, json.load(error)


def wait_until(read: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """What is read once it is as wanted, or as it is after a minute."""
    deadline = time.monotonic() + WAIT_S
    while not wanted(found := read()) and time.monotonic() < deadline:
        time.sleep(1)
    return found
