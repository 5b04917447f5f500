"""Translate the engine's errors into messages with hints."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from docker.errors import APIError, DockerException, InvalidVersion
from requests.exceptions import RequestException, Timeout

from runner.engine.errors import EngineError, GpuAccessError, ImageMissing, NameTaken, PortTaken
from runner.errors import ExitCode

START_HINT = (
    "start it with `sudo systemctl start docker`; a machine without Docker can use "
    "`docker/engine.sh up` of this project's clone"
)
PERMISSION_HINT = (
    "join the group once with `sudo usermod -aG docker $USER` and log in again, "
    "or use a rootless engine"
)


@dataclass(frozen=True, slots=True)
class _Text:
    """An error text of the engine, with our class, message and hint."""

    part: str
    kind: type[EngineError]
    message: str
    hint: str


_TOOLKIT_HINT = (
    "install the NVIDIA Container Toolkit, then `sudo nvidia-ctk runtime configure` "
    "and `sudo systemctl restart docker`"
)
_CDI_HINT = (
    "write the device list with `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, "
    'and set `"features": {"cdi": true}` in /etc/docker/daemon.json (engine 25 or newer)'
)

# The engine sends these with HTTP 500 or 400 and no code: only the text identifies them.
_TEXTS = (
    _Text(
        'could not select device driver "cdi"',
        GpuAccessError,
        "the engine does not know CDI devices",
        _CDI_HINT,
    ),
    _Text(
        "could not select device driver",
        GpuAccessError,
        "the engine has no NVIDIA toolkit, so `--gpus` does not work",
        _TOOLKIT_HINT,
    ),
    _Text(
        "CDI device injection failed",
        GpuAccessError,
        "the engine's CDI device list does not have this GPU",
        _CDI_HINT,
    ),
    _Text(
        "unexpected count in CDI device request",
        GpuAccessError,
        "the engine refused the CDI device request",
        "use another way with `--access runtime` or `--access gpus`",
    ),
    _Text(
        "invoking the NVIDIA Container Runtime Hook directly",
        GpuAccessError,
        "the NVIDIA toolkit is in CDI mode, which `--gpus` cannot use on this engine",
        "use `--access cdi` or `--access runtime`",
    ),
    _Text(
        "nvidia-container-cli:",
        GpuAccessError,
        "the NVIDIA toolkit could not set up the GPU",
        "check that `nvidia-smi` works on the host and the driver fits the image's CUDA",
    ),
    _Text(
        "unknown or invalid runtime name",
        GpuAccessError,
        "the engine has no runtime `nvidia`",
        _TOOLKIT_HINT,
    ),
    _Text(
        "Unknown runtime specified",
        GpuAccessError,
        "the engine has no runtime `nvidia`",
        _TOOLKIT_HINT,
    ),
    _Text(
        "error setting rlimit type 8",
        EngineError,
        "the engine may not raise the limit of locked memory on this host",
        "lower it: `memlock = 8388608` in the settings file, or `RUNNER_MEMLOCK=8388608`",
    ),
    _Text(
        "error setting rlimit",
        EngineError,
        "the engine may not raise a resource limit on this host",
        "`runner doctor` shows the host's limits",
    ),
    _Text(
        "port is already allocated",
        PortTaken,
        "a port that the container publishes is in use",
        "stop what listens there, or try again",
    ),
    _Text(
        "address already in use",
        PortTaken,
        "a port that the container publishes is in use",
        "stop what listens there, or try again",
    ),
    _Text(
        "bind source path does not exist",
        EngineError,
        "a folder to be mounted does not exist where the engine runs",
        "make the folder, or use an engine of this machine",
    ),
    _Text(
        "invalid reference format",
        ImageMissing,
        "that is not an image name",
        "names are like `registry/name:tag`, in lower case; `docker images` lists them",
    ),
    _Text(
        "no space left on device",
        EngineError,
        "the engine's disk is full",
        "see `docker system df`, free some with `docker image prune`",
    ),
)


def translate(error: Exception, doing: str) -> EngineError:
    """Translate an error of `docker` or its transport; `doing` names the attempt."""
    if isinstance(error, APIError):
        return _translate_answer(error, doing)
    if isinstance(error, InvalidVersion):
        return EngineError(f"cannot {doing}: {error}", hint="upgrade Docker to 23.0 or newer")
    if isinstance(error, Timeout):
        return EngineError(f"the engine did not answer in time: {doing}", hint=START_HINT)
    cause = find_os_error(error)
    if isinstance(cause, PermissionError):
        return EngineError("no permission to use the engine's socket", hint=PERMISSION_HINT)
    if cause is not None:
        return EngineError(f"cannot {doing}: the engine does not answer", hint=START_HINT)
    return EngineError(f"cannot {doing}: {_one_line(str(error))}", hint="`runner doctor` may help")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate errors of the engine or the connection inside into `EngineError`."""
    try:
        yield
    except (DockerException, RequestException) as error:
        raise translate(error, doing) from error


def find_os_error(error: BaseException) -> OSError | None:
    """Find the system's error in the chain of causes, contexts and arguments."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        # errors of requests are OSErrors without a number
        if isinstance(item, OSError) and not isinstance(item, RequestException):
            return item
        reason = getattr(item, "reason", None)
        waiting += [item.__cause__, item.__context__, reason, *item.args]
    return None


def _translate_answer(error: APIError, doing: str) -> EngineError:
    text = _one_line(str(error.explanation or error))
    for known in _TEXTS:
        if known.part in text:
            return known.kind(f"cannot {doing}: {known.message}", hint=known.hint)
    if error.status_code == HTTPStatus.CONFLICT:
        return NameTaken(f"cannot {doing}: another command was faster", hint="`runner ps`")
    if error.status_code == HTTPStatus.NOT_FOUND:
        return EngineError(f"cannot {doing}: {text}", code=ExitCode.NOT_FOUND)
    return EngineError(f"cannot {doing}: {text}", hint="`runner doctor` may help")


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
