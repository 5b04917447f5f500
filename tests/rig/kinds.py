"""Kinds of skips: what a machine may lack. `RUNNER_REQUIRE` turns a skip into a failure.

    pytest.skip("root: only root can become another user")

With `RUNNER_REQUIRE=root,cdi` no test is skipped for these two. A skip of none of the kinds fails.
"""

import os
from collections.abc import Mapping

import pytest

KINDS = {
    "engine": "a Docker engine",
    "images": "the images of `docker/engine.sh base --tiny`",
    "cdi": "an engine that reads CDI specs from a folder in which the tests may write",
    "hooks": "an engine that `docker/engine.sh` started with RUNNER_ENGINE_HOOKS=tests/rig/hooks",
    "compose": "a second, later Compose, as `docker/engine.sh compose` fetches it",
    "own": "the engine of `docker/engine.sh`: its programs and its socket are on this machine",
    "root": "the tests run as root, who can become another user",
    "mounts": "a machine where root may mount a tmpfs",
    "history": "a clone with all its commits",
    "wheels": "a Python for which packages of the past have wheels: 3.11 or 3.12",
    "bare": "a machine without NVIDIA's driver",
    "gpu": "a GPU and `nvidia-smi`",
    "cloud": "RUNNER_CLOUD_KEY, a key of W&B itself",
}


def read_required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The kinds of `RUNNER_REQUIRE`.

    Raises:
        UsageError: one of them is unknown.
    """
    found = frozenset(filter(None, environ.get("RUNNER_REQUIRE", "").split(",")))
    if unknown := found - KINDS.keys():
        raise pytest.UsageError(
            f"RUNNER_REQUIRE: unknown kind {', '.join(sorted(unknown))}; there are: "
            + ", ".join(KINDS)
        )
    return found


def judge_skip(reason: str, required: frozenset[str]) -> str | None:
    """Why a skip with this reason is a failure, if it is one."""
    kind = reason.removeprefix("Skipped: ").partition(":")[0]
    if kind not in KINDS:
        return f"a skip begins with its kind, one of {', '.join(KINDS)}: {reason}"
    if kind in required:
        return f"RUNNER_REQUIRE names `{kind}`: {KINDS[kind]}. {reason}"
    return None
