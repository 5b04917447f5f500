"""Pretrained weights of a trunk: where they lie, and how they get there.

`python -m amt.trunk fetch` stores them where runs look, those in containers too. Nothing here
imports torch: a sweep looks for them before it makes anything.
"""

from __future__ import annotations

import logging
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path

from amt.config.schema import TrunkConfig
from amt.environment import Environment
from amt.errors import ConfigError, DiskError, WeightsError
from amt.files import replace_file
from amt.units import format_bytes

FILE = "model.safetensors"  # as timm's repositories on the hub name it
ANSWER_S = 3.0  # for the hub; its own client retries for half a minute

_log = logging.getLogger(__name__)


def find_weights(config: TrunkConfig, environment: Environment) -> Path | None:
    """The file to begin with, of those on this machine; None where none is needed or there.

    Raises:
        ConfigError: `pretrained_path` is not a file.
    """
    if not config.pretrained:
        return None
    if config.pretrained_path:
        path = Path(config.pretrained_path)
        if not path.is_file():
            raise ConfigError(f"pretrained_path `{path}` is not a file")
        return path
    stored = (folder / f"{config.backbone}.safetensors" for folder in environment.weights)
    return next((path for path in stored if path.is_file()), None) or _find_in_hub_cache(config)


def require_weights(config: TrunkConfig, environment: Environment) -> Path | None:
    """As `find_weights`; what is not there is downloaded if the hub answers.

    Raises:
        ConfigError: there are none, and the hub does not answer within 3 s.
    """
    found = find_weights(config, environment)
    if found is not None or not config.pretrained:
        return found
    try:
        return download_weights(config.backbone, environment)
    except WeightsError as error:
        raise ConfigError(
            f"no weights for `{config.backbone}` on this machine, and {error}: run "
            "`python -m amt.trunk fetch` where there is a network, name a file in "
            "pretrained_path, or set pretrained=false"
        ) from error


def fetch_weights(backbone: str, folder: Path, environment: Environment) -> Path:
    """Store a backbone's weights in a folder, from the hub or its cache; gives the file.

    Raises:
        WeightsError: the hub does not answer, or does not have them.
        DiskError: there is no room.
    """
    source = download_weights(backbone, environment)
    target = folder / f"{backbone}.safetensors"
    size = source.stat().st_size
    _log.info("storing %s of weights in `%s`", format_bytes(size), target)
    remedy = "free space there, or name another folder with --to"
    with replace_file(target, size_bytes=size, remedy=remedy) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
    return target


def download_weights(backbone: str, environment: Environment) -> Path:
    """The file in the hub's own cache, after fetching it where it is not there.

    Raises:
        WeightsError: the hub does not answer, or does not have it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, hub_url = f"timm/{backbone}", environment.hub_url
    if not answers(hub_url):
        raise WeightsError(f"{hub_url} does not answer")
    _log.info("downloading `%s` from %s", repository, hub_url)
    try:
        return Path(hf_hub_download(repository, FILE, endpoint=hub_url))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{hub_url} does not give `{repository}`: {reason}") from error
    except OSError as error:
        raise DiskError.of(Path(FILE), 0, error, "free space, or set HF_HOME") from error


def answers(url: str) -> bool:
    """Does anybody answer there within 3 s? In a thread: a name server may take longer."""
    found: list[bool] = []
    asking = threading.Thread(target=lambda: found.append(_ask(url)), daemon=True)
    asking.start()
    asking.join(ANSWER_S)
    return found == [True]


def _ask(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - from the settings
        with urllib.request.urlopen(request, timeout=ANSWER_S):  # noqa: S310 - as above
            return True
    except urllib.error.HTTPError:
        return True  # an error is an answer, too
    except (OSError, ValueError):
        return False


def _find_in_hub_cache(config: TrunkConfig) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(f"timm/{config.backbone}", FILE)
    return Path(found) if isinstance(found, str) else None
