"""What a run finds in its environment beside what `wandb agent` sets.

docs/environment.md is made from it; tests compare it with what runs find.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from runner.agent.contract import paths, variables

When = Literal[
    "always",
    "not with `--offline`",
    "on our server",
    "on our server, or with `--offline`",
    "on a GPU",
    "the cores are limited",
    "the run goes on",
    "you have certificates of your own",
    "people see the server at another address",
    "the image has an environment that it does not activate",
]

BY_WANDB = (
    *(variables.ENTITY, variables.PROJECT, variables.RUNS_DIR),
    *(variables.SWEEP_ID, variables.RUN_ID, variables.RUN_VALUES),
)
"""What `wandb agent` sets for its runs. A run of ours has all of it."""


@dataclass(frozen=True)
class Addition:
    """Variables that are there in the same case and for the same purpose."""

    values: Mapping[str, str]  # name → value; of one that differs from run to run, a word for it
    when: When
    meaning: str


ADDITIONS = (
    Addition(
        {variables.CHECKPOINT_DIR: f"{paths.CHECKPOINTS}/<run id>"},
        "always",
        "a folder for the run's checkpoints; a run that goes on finds the same one",
    ),
    Addition({variables.AGENT: "<agent>"}, "always", "the name of the run's agent"),
    Addition({variables.BASE_URL: "<URL>"}, "always", "the sweep's server"),
    Addition({variables.API_KEY: "<key>"}, "not with `--offline`", "the key for that server"),
    Addition(
        {variables.MODE: f"{variables.ONLINE}|{variables.OFFLINE}"},
        "always",
        "where W&B's client logs to",
    ),
    Addition(
        {variables.APP_URL: "<URL>"},
        "people see the server at another address",
        "the start of the links that W&B's client prints",
    ),
    Addition({variables.RESUME: "allow"}, "the run goes on", "`wandb.init` goes on with it"),
    Addition(
        {variables.DATA_DIR: variables.FIXED[variables.DATA_DIR]},
        "always",
        "files that W&B's client has yet to send stay on the host",
    ),
    Addition(
        variables.OF_RUNS,
        "always",
        "output comes at once; W&B's client outlasts an outage, and reports its own faults nowhere",
    ),
    Addition(
        variables.OF_OWN_LOGS,
        "on our server, or with `--offline`",
        "a killed run loses at most a second of its log",
    ),
    Addition(
        variables.OF_OUR_SERVER,
        "on our server",
        "rows arrive within seconds, after an outage too",
    ),
    Addition(
        {name: variables.FIXED[name] for name in (variables.HOME, *variables.USER_NAMES)},
        "always",
        "a user ID that the image does not know has a home and a name",
    ),
    Addition(variables.CACHES, "always", "caches that all runs share; W&B's settings file"),
    Addition(
        {
            variables.CUDA_DEVICES: "<UUID>",
            variables.NVIDIA_DEVICES: "<UUID>",
            variables.CUDA_ORDER: variables.FIXED[variables.CUDA_ORDER],
        },
        "always",
        "the run sees its agent's GPU and no other; without one, none",
    ),
    Addition(
        {variables.NVIDIA_CAPABILITIES: variables.CAPABILITIES},
        "on a GPU",
        "which libraries of the driver come in",
    ),
    Addition(
        {variables.THREADS: "<cores>"},
        "the cores are limited",
        "as many threads as cores: on CPU slots, and with `--cpus`",
    ),
    Addition(
        dict.fromkeys(variables.TRUST, paths.CA_BUNDLE),
        "you have certificates of your own",
        "OpenSSL, Go, requests and curl trust them",
    ),
    Addition(
        {
            "PATH": "<its bin>:<the image's>",
            "VIRTUAL_ENV": "<its folder>",
            "CONDA_PREFIX": "<its folder>",
            "CONDA_DEFAULT_ENV": "<its name>",
        },
        "the image has an environment that it does not activate",
        "`python` and the commands of packages are the environment's; a venv or conda's",
    ),
)


def is_yours(name: str) -> bool:
    """Whether the user may set this variable to something else."""
    decided = (variables.API_KEY, variables.APP_URL, variables.RESUME)
    return not variables.is_reserved(name) and name not in decided


def list_additions(cases: "tuple[When, ...]") -> Iterator[str]:
    """The names of what is added in these cases."""
    for one in ADDITIONS:
        if one.when in cases:
            yield from one.values
