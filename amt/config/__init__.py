"""The settings of one training."""

from amt.config.kinds import Value
from amt.config.load import DEFAULTS, as_dict, build_config, load_config, read_yaml
from amt.config.schema import TrainConfig

__all__ = [
    "DEFAULTS",
    "TrainConfig",
    "Value",
    "as_dict",
    "build_config",
    "load_config",
    "read_yaml",
]
