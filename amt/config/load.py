"""Read settings: `default_config.yaml` < `--config FILE` < `--key=value`.

Nothing here imports torch, so a mistake is reported at once.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amt.config.check import check_together
from amt.config.kinds import Kind, Value, sections, settings
from amt.config.schema import TrainConfig
from amt.errors import ConfigError

LENGTH = ("epochs", "images", "validations")  # the first, or the others, say how long to train
DEFAULTS = Path(__file__).parents[1] / "default_config.yaml"


def load_config(arguments: Sequence[str]) -> TrainConfig:
    """Read the files and arguments, later ones over earlier ones, arguments over files.

    Raises:
        ConfigError: unknown key, wrong type, out of range, unreadable file.
    """
    merged = dict(read_yaml(DEFAULTS))
    overrides: dict[str, object] = {}
    for key, text in _split_arguments(arguments):
        if key == "config":
            merged = merge(merged, read_yaml(Path(text)), source=f"`{text}`")
        else:
            overrides[key] = text
    return build_config(merge(merged, overrides, source="the command line"))


def merge(
    before: Mapping[str, object], later: Mapping[str, object], *, source: str
) -> dict[str, object]:
    """Later settings over earlier ones; how long to train is one choice, made by the last.

    Raises:
        ConfigError: `later` gives both epochs and images or validations.
    """
    given = {key for key in LENGTH if str(later.get(key, 0)) not in ("0", "0.0")}
    if "epochs" in given and len(given) > 1:
        other = next(key for key in LENGTH if key in given - {"epochs"})
        raise ConfigError(f"{source} gives both epochs and {other}: an epoch is a whole pass")
    replaced = dict.fromkeys(LENGTH[1:] if "epochs" in given else LENGTH[:1], 0) if given else {}
    return {**before, **replaced, **later}


def build_config(values: Mapping[str, object]) -> TrainConfig:
    """Check and convert one value for every key.

    Raises:
        ConfigError: unknown key, wrong type, out of range, values that do not fit together.
    """
    known = settings()
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown setting `{key}`{_suggest(key, known)}")
    parts: dict[str, Any] = {
        name: section(**{key: kind.convert(values[key]) for key, kind in kinds.items()})
        for name, (section, kinds) in sections().items()
    }
    config = TrainConfig(**parts)
    check_together(config)
    return config


def read_yaml(path: Path) -> dict[str, object]:
    """The settings in a file, unchecked.

    Raises:
        ConfigError: it cannot be read, or holds no settings.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config file `{path}`: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file `{path}`: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"config file `{path}` holds no settings")
    return {str(key): value for key, value in content.items()}


def as_dict(config: TrainConfig) -> dict[str, Value]:
    """The flat form that `wandb.config` and checkpoints hold."""
    return {
        key: value for part in dataclasses.asdict(config).values() for key, value in part.items()
    }


def _suggest(key: str, known: Mapping[str, Kind]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _split_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of `--key=value` or `--key value`."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected argument `{argument}`: settings are `--key=value`")
        key, equals, text = argument[2:].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise ConfigError(f"`--{key}` has no value")
            text = following
        yield key, text
