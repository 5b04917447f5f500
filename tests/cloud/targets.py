"""W&B's cloud, or what plays it: where the tests of this folder log to."""

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        names = ("WANDB", "RUNNER", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        trust = {name: str(self.ca_file) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        return {
            **kept,
            **(trust if self.ca_file else {}),
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "WANDB_API_KEY": self.key,
            "WANDB_BASE_URL": self.url,
            "WANDB_DATA_DIR": str(home),
            "WANDB_DIR": str(home),
            "WANDB_ENTITY": self.entity,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_PROJECT": PROJECT,
        }

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
