"""What kind of server answers at an address."""

import json
from pathlib import Path

from runner.agent.contract.servers import ServerKind
from runner.backend.http import ErrorAnswer, Http, NoAnswer

ASK_S = 5.0  # for a server to say what it is
LONGEST = 4096  # bytes of what it says


def read_kind(url: str, ca_bundle: Path | None = None) -> ServerKind | None:
    """Whose server answers at `url`, asked without a key; None where none answers.

    Our server says `{"name":"runner"}` at `/healthz`; everything else counts as W&B's.
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
