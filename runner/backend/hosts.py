"""Hosts of W&B's cloud, and whether two URLs are the same server."""

import re
from urllib.parse import urlsplit

LOCAL = "local"  # the user's name for this folder's own server
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# W&B's cloud has two hosts; the default changed in client 0.31 (its urls.py)
FORGE = "https://api.forge.coreweave.com"
WANDB_AI = "https://api.wandb.ai"
CLOUD_HOSTS = {
    "api.forge.coreweave.com": FORGE,
    "forge.coreweave.com": FORGE,
    "api.wandb.ai": WANDB_AI,
    "wandb.ai": WANDB_AI,
}


def find_app_url(url: str) -> str:
    """The base URL of the web pages: the cloud's API has another host."""
    return url.replace("://api.", "://", 1) if is_cloud(url) else url


def client_default() -> str:
    """The cloud's default URL in the installed client: keys without a host are for it."""
    from importlib import metadata  # slow to load, and few calls need it

    try:
        found = re.match(r"(\d+)\.(\d+)", metadata.version("wandb"))
    except metadata.PackageNotFoundError:
        return WANDB_AI
    return FORGE if found and (int(found[1]), int(found[2])) >= (0, 31) else WANDB_AI


def is_cloud(url: str) -> bool:
    """Whether this is W&B's cloud, under one of its hosts."""
    return host_of(url) in CLOUD_HOSTS


def is_same_host(one: str, other: str) -> bool:
    """Whether two URLs are the same server; all hosts of the cloud are one."""
    return host_of(one) == host_of(other) or (is_cloud(one) and is_cloud(other))


def host_of(url: str) -> str:
    """The host in lower case, with the port if the URL has one."""
    return urlsplit(url).netloc.lower()


def is_loopback(url: str) -> bool:
    """Whether the URL is on loopback: containers cannot reach it, and proxies are not used."""
    return urlsplit(url).hostname in LOOPBACK
