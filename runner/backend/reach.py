"""How this host reaches a sweep server by HTTP, and what kind of server answers there."""

import json
import ssl
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from runner.agent.contract.servers import ServerKind

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ASK_S = 5.0  # for a server to say what it is


def is_loopback(url: str) -> bool:
    """Whether the address is this host's own: containers do not reach it, proxies do not count."""
    return urlsplit(url).hostname in LOOPBACK


def make_opener(url: str, ca_bundle: Path | None) -> urllib.request.OpenerDirector:
    """For requests to this server: its certificates, the caller's proxies, and no redirects.

    Args:
        url: the server's.
        ca_bundle: certificates that are trusted; None: the system's.
    """
    handlers: list[urllib.request.BaseHandler] = []
    if is_loopback(url):  # a proxy for the outside must not come between
        handlers.append(urllib.request.ProxyHandler({}))
    trust = ssl.create_default_context(cafile=ca_bundle and str(ca_bundle))
    handlers.append(urllib.request.HTTPSHandler(context=trust))
    handlers.append(_NoRedirects())
    return urllib.request.build_opener(*handlers)


def read_kind(url: str, ca_bundle: Path | None = None) -> ServerKind | None:
    """Whose server answers at `url`, asked without a key; None where none answers.

    Our server says `{"name":"runner"}` at `/healthz`; everything else counts as W&B's.
    """
    try:
        with make_opener(url, ca_bundle).open(f"{url}/healthz", timeout=ASK_S) as answer:
            body = json.loads(answer.read(4096))
    except HTTPError as error:
        with error:
            return None if error.code >= 500 else "wandb"
    except (ValueError, RecursionError):
        return "wandb"
    except (OSError, HTTPException):
        return None
    return "runner" if isinstance(body, dict) and body.get("name") == "runner" else "wandb"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along, to whatever host."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""
