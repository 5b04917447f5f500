"""W&B's core, started before its run is known: without key, run ID or anything of the run."""

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

TESTED = ("0.28.2", "0.31.0")
"""Versions of the client with which the tests do this; others start their core in `wandb.init`."""
_SERVICE = "wandb.sdk.lib.service.service_process"
_LOOKED_AT = re.compile(
    r"WANDB_|GO|.*_PROXY$|SSL_|REQUESTS_|CURL_|HOME$|PATH$|TMP|TEMP|TZ$|USER$|LOGNAME$|XDG_|AWS_|"
    r"AZURE_|GOOGLE_|OTEL_|KUBERNETES_|LD_|CUDA_|NVIDIA_|DCGM|ROC|HIP",
    re.IGNORECASE,
)


class Core:
    """A core that waits; the program's `wandb.init` finds it, or starts another."""

    def __init__(self, service: Any, process: Any, *, own: "Sequence[str]") -> None:
        self._service, self._process, self._own = service, process, frozenset(own)
        self._original = service.start
        self._pid, self._folder = os.getpid(), os.getcwd()  # noqa: PTH109 - no more imports
        self._environ = self._select(os.environ)

    def offer(self) -> None:
        """Let the next start of a core take this one."""
        self._service.start = self._start

    def end(self) -> None:
        """Kill it."""
        with suppress(OSError):
            os.kill(self._process._process.pid, signal.SIGKILL)  # noqa: SLF001 - no other way
            self._process.join()

    def _start(self, settings: object) -> object:
        self._service.start = self._original
        if os.getpid() != self._pid:  # a fork of the run has a core of its own
            return self._original(settings)
        same = self._folder == os.getcwd() and self._environ == self._select(os.environ)  # noqa: PTH109
        if same and self._process._process.poll() is None:  # noqa: SLF001
            return self._process
        self.end()
        return self._original(settings)

    def _select(self, environ: "Mapping[str, str]") -> "dict[str, str]":
        return {
            name: value
            for name, value in environ.items()
            if _LOOKED_AT.match(name) and name not in self._own
        }


def start_core(own: "Sequence[str]") -> "Core | None":
    """Start one, where the client is imported and of a tested version.

    Args:
        own: variables that each run sets differently, unknown as yet.
    """
    wandb, service = sys.modules.get("wandb"), sys.modules.get(_SERVICE)
    settings = sys.modules.get("wandb.sdk.wandb_settings")
    if not (wandb and service and settings) or wandb.__version__ not in TESTED:
        return None
    try:
        process = service.start(settings.Settings())
    except Exception:  # noqa: BLE001 - `wandb.init` meets and tells it again
        return None
    return Core(service, process, own=own)
