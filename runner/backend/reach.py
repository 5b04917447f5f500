"""Find out what kind of server answers at a URL."""

import json
from pathlib import Path

from runner.agent.contract.servers import ServerKind
from runner.backend.http import ErrorAnswer, Http, NoAnswer

ASK_S = 5.0  # timeout of the question
LONGEST = 4096  # bytes of the answer that are read


def read_kind(url: str, ca_bundle: Path | None = None) -> ServerKind | None:
    """The kind of server at `url`, asked without a key; None if it does not answer.

    Our server answers `{"name":"runner"}` at `GET /healthz`; any other answer counts as W&B's.
    """
    try:
        with Http(url, ca_bundle=ca_bundle).stream(
            "/healthz", timeout_s=ASK_S, chunk=LONGEST
        ) as pieces:
            body = json.loads(next(pieces, b""))
    except ErrorAnswer as error:
        return None if error.status >= 500 else "wandb"
    except NoAnswer:
        return None
    except (ValueError, RecursionError):
        return "wandb"
    return "runner" if isinstance(body, dict) and body.get("name") == "runner" else "wandb"
