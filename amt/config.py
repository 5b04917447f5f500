"""The settings of one training: `default_config.yaml` < `--config FILE` < `--key=value`.

Names are flat and the same in the YAML files, on the command line, in a sweep and in
`wandb.config`. Nothing here imports torch, so a mistake is told at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from amt.errors import ConfigError

DEFAULTS = Path(__file__).with_name("default_config.yaml")

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Range:
    """The closed interval a number must lie in."""

    low: float
    high: float = math.inf


Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(1e-12)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All settings, each checked; the defaults are in `default_config.yaml`."""

    # data
    data: Literal["synthetic"]
    train_scenes: Count
    val_scenes: Count
    image_size: Annotated[int, Range(14)]  # pixels; a multiple of the trunk's patch
    crop_context: Annotated[float, Range(1, 3)]  # sides of the crop stored for augmentation
    aug_rotation_range: Annotated[float, Range(0, 180)]  # degrees each way, camera roll
    aug_scale_min: Annotated[float, Range(0.2, 1)]
    aug_scale_max: Annotated[float, Range(1, 5)]
    aug_translation_std: Share  # of the crop's side
    aug_color_jitter: Share
    aug_joint_noise_std: NotNegative  # metres, on the joints that refinement starts from

    # model
    backbone: str  # a timm vision transformer of DINOv2 form
    pretrained: bool
    pretrained_path: str  # a local weights file; empty: timm's own download
    patch_size: Annotated[int, Range(0)]  # this and the next three: 0 is the backbone's own
    trunk_dim: Annotated[int, Range(0)]
    trunk_depth: Annotated[int, Range(0)]
    trunk_heads: Annotated[int, Range(0)]
    layer_scale: NotNegative  # initial LayerScale of a trunk without pretrained weights
    freeze_layers: Annotated[int, Range(0)]
    allow_random_frozen: bool
    hidden_dim: Annotated[int, Range(4)]
    decoder_layers: Count
    decoder_heads: Count
    dropout: Annotated[float, Range(0, 0.9)]
    num_refinement_steps: Annotated[int, Range(0, 8)]

    # losses
    loss_weight_hand_coarse: NotNegative
    loss_weight_hand_refined: NotNegative
    loss_weight_reprojection: NotNegative
    loss_weight_root_depth: NotNegative
    fingertip_weight: Positive

    # optimization
    images: Count  # training images in all: steps = images / batch_size
    batch_size: Count
    learning_rate: Positive
    lr_mult_pretrained: NotNegative
    lr_mult_new_encoders: NotNegative
    warmup_share: Share
    scheduler_min_lr: NotNegative
    weight_decay: NotNegative
    grad_clip: Positive
    ema_decay: Annotated[float, Range(0, 0.999999)]

    # the run
    seed: Annotated[int, Range(0, 2**31)]
    validations: Count  # evenly spaced
    checkpoint_minutes: NotNegative
    device: Literal["auto", "cpu", "cuda"]
    use_bf16: bool

    @property
    def steps(self) -> int:
        """Optimizer steps; the last images of a division with a rest are not used."""
        return self.images // self.batch_size


def load_config(arguments: Sequence[str]) -> TrainConfig:
    """Read the files and arguments, later ones over earlier ones.

    Raises:
        ConfigError: unknown key, wrong type, out of range, unreadable file.
    """
    merged = dict(read_yaml(DEFAULTS))
    overrides: dict[str, object] = {}
    for key, text in _split_arguments(arguments):
        if key == "config":
            merged |= read_yaml(Path(text))
        else:
            overrides[key] = text
    return build_config(merged | overrides)


def build_config(values: Mapping[str, object]) -> TrainConfig:
    """Check and convert one value for every key."""
    known = _hints()
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown setting `{key}`{_suggest(key, known)}")
    converted: dict[str, Any] = {key: _convert(key, values[key], known[key]) for key in known}
    config = TrainConfig(**converted)
    _check_together(config)
    return config


def read_yaml(path: Path) -> dict[str, object]:
    """The settings in a file, unchecked."""
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
    return dataclasses.asdict(config)


def _check_together(config: TrainConfig) -> None:
    if config.hidden_dim % config.decoder_heads:
        raise ConfigError(
            f"hidden_dim {config.hidden_dim} must be a multiple of decoder_heads "
            f"{config.decoder_heads}"
        )
    if config.steps < config.validations:
        raise ConfigError(
            f"images {config.images} make {config.steps} steps of batch_size "
            f"{config.batch_size}, fewer than validations {config.validations}"
        )
    if config.batch_size > config.train_scenes:
        raise ConfigError(
            f"batch_size {config.batch_size} exceeds train_scenes {config.train_scenes}"
        )
    if config.freeze_layers and not config.pretrained and not config.allow_random_frozen:
        raise ConfigError(
            "freeze_layers without pretrained weights freezes noise: set pretrained, "
            "freeze_layers=0 or allow_random_frozen"
        )


def _hints() -> dict[str, Any]:
    hints = get_type_hints(TrainConfig, include_extras=True)
    return {field.name: hints[field.name] for field in fields(TrainConfig)}


def _suggest(key: str, known: Mapping[str, object]) -> str:
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


def _convert(key: str, value: object, hint: Any) -> Value:
    """The value as its type, within its range."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            allowed = ", ".join(map(str, get_args(hint)))
            raise ConfigError(f"{key} is `{value}`: must be one of {allowed}")
        return str(value)
    limits: Range | None = None
    if get_origin(hint) is Annotated:
        hint, limits = get_args(hint)
    try:
        converted = _CONVERTERS[hint](value)
    except ValueError as error:
        raise ConfigError(f"{key} is `{value}`: must be {_NAMES[hint]}") from error
    if limits is not None and not limits.low <= float(converted) <= limits.high:
        bounds = f"at least {limits.low:g}"
        if limits.high < math.inf:
            bounds = f"between {limits.low:g} and {limits.high:g}"
        raise ConfigError(f"{key} is {converted}: must be {bounds}")
    return converted


def _to_bool(value: object) -> bool:
    match str(value).lower():
        case "true" | "yes" | "1":
            return True
        case "false" | "no" | "0":
            return False
    raise ValueError


def _to_int(value: object) -> int:
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - told as a wrong setting, not as a bug
    number = float(str(value))  # a sweep may send 32.0
    if not number.is_integer():
        raise ValueError
    return int(number)


def _to_float(value: object) -> float:
    """Also of strings: YAML reads `1e-3`, without a dot, as text."""
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - told as a wrong setting, not as a bug
    number = float(str(value))
    if not math.isfinite(number):
        raise ValueError
    return number


def _to_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - told as a wrong setting, not as a bug
    return value


_CONVERTERS: dict[type, Callable[[object], Value]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
