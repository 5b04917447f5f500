"""Settings that must fit together: what is valid alone may be wrong beside another."""

from __future__ import annotations

from amt.config.schema import TrainConfig
from amt.errors import ConfigError


def _check_length(config: TrainConfig) -> None:
    optim = config.optim
    if bool(optim.epochs) == bool(optim.images or optim.validations):
        raise ConfigError(
            "how long to train is either epochs or images and validations; given are "
            f"epochs {optim.epochs}, images {optim.images}, validations {optim.validations}"
        )
    if not optim.epochs and not (optim.images and optim.validations):
        raise ConfigError(
            f"images {optim.images} and validations {optim.validations}: both must be given"
        )
    if config.steps < config.epochs:
        raise ConfigError(
            f"images {optim.images} make {config.steps} steps of batch_size "
            f"{optim.batch_size}, fewer than validations {optim.validations}"
        )


def check_together(config: TrainConfig) -> None:
    """Refuse what cannot be trained with, rather than change it in silence.

    Raises:
        ConfigError: the first contradiction, with both settings and a way out.
    """
    model, trunk, optim = config.model, config.trunk, config.optim
    if model.hidden_dim % model.decoder_heads:
        raise ConfigError(
            f"hidden_dim {model.hidden_dim} must be a multiple of decoder_heads "
            f"{model.decoder_heads}"
        )
    if model.contact_hidden_dim % model.decoder_heads:
        raise ConfigError(
            f"contact_hidden_dim {model.contact_hidden_dim} must be a multiple of decoder_heads "
            f"{model.decoder_heads}"
        )
    _check_length(config)
    if optim.batch_size > config.data.train_scenes:
        raise ConfigError(
            f"batch_size {optim.batch_size} exceeds train_scenes {config.data.train_scenes}"
        )
    if optim.scheduler_min_lr > optim.learning_rate:
        raise ConfigError(
            f"scheduler_min_lr {optim.scheduler_min_lr:g} exceeds learning_rate "
            f"{optim.learning_rate:g}: the rate would rise instead of fall"
        )
    if trunk.freeze_layers and not trunk.pretrained and not trunk.allow_random_frozen:
        raise ConfigError(
            "freeze_layers without pretrained weights freezes noise: set pretrained, "
            "freeze_layers=0 or allow_random_frozen"
        )
