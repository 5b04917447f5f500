"""W&B's cloud and its names; when two addresses are one server."""

import re
from urllib.parse import urlsplit

LOCAL = "local"  # how people name this folder's own server
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# W&B's cloud: one service under two hosts; the client's default moved with 0.31 (urls.py there)
FORGE = "https://api.forge.coreweave.com"
WANDB_AI = "https://api.wandb.ai"
CLOUD_HOSTS = {
    "api.forge.coreweave.com": FORGE,
    "forge.coreweave.com": FORGE,
    "api.wandb.ai": WANDB_AI,
    "wandb.ai": WANDB_AI,
}


def find_app_url(url: str) -> str:
    """Where a person sees what is at `url`: the cloud's API has a host of its own."""
    return url.replace("://api.", "://", 1) if is_cloud(url) else url


def client_default() -> str:
    """The cloud's host as the installed client knows it: a key without a host is for that."""
    from importlib import metadata  # slow to load, and few calls need it

    try:
        found = re.match(r"(\d+)\.(\d+)", metadata.version("wandb"))
    except metadata.PackageNotFoundError:
        return WANDB_AI
    return FORGE if found and (int(found[1]), int(found[2])) >= (0, 31) else WANDB_AI


def is_cloud(url: str) -> bool:
    """Whether this is W&B's own cloud, by either of its hosts."""
    return host_of(url) in CLOUD_HOSTS


def is_same_host(one: str, other: str) -> bool:
    """Whether two addresses are one server, the cloud being one under all its names."""
    return host_of(one) == host_of(other) or (is_cloud(one) and is_cloud(other))


def host_of(url: str) -> str:
    """The host, with its port where the address has one, in lower case."""
    return urlsplit(url).netloc.lower()


def is_loopback(url: str) -> bool:
    """Whether the address is this host's own: containers do not reach it, proxies do not count."""
    return urlsplit(url).hostname in LOOPBACK
