"""The one door to Docker: observe, start, stop, read. Nothing here decides.

Its values are in `engine.types`, its errors in `engine.errors`. Methods raise EngineError.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Self

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from runner.disk.temporary import is_abandoned, make_name
from runner.engine.attach import Attachment, open_streams
from runner.engine.connect import TIMEOUT_S, open_api, read_proxies
from runner.engine.errors import (
    ImageMissing,
    NameTaken,
)
from runner.engine.files import ContainerFiles
from runner.engine.filters import SHORT_LIVED_NAMES, label_filters
from runner.engine.images import Images
from runner.engine.networks import Networks
from runner.engine.output import Logs
from runner.engine.payload import create_body, read_restart
from runner.engine.read import (
    read_container,
    read_info,
    read_listed,
)
from runner.engine.target import Target, find_target, remember_target
from runner.engine.translate import translate, translated
from runner.engine.types import (
    Container,
    ContainerSpec,
    EngineInfo,
)
from runner.state.folder import State


class Engine:
    """A connection to one engine; safe to use from several threads."""

    def __init__(
        self,
        api: APIClient,
        target: Target,
        *,
        environ: Mapping[str, str],
        proxies: Mapping[str, str],
    ) -> None:
        self._api, self._target, self._environ, self._proxies = api, target, environ, proxies
        self._info: EngineInfo | None = None
        self.images, self.networks = Images(api), Networks(api)
        self.files, self.logs = ContainerFiles(api), Logs(api, self.find)

    @classmethod
    def connect(
        cls,
        host: str | None = None,
        *,
        state: State | None = None,
        environ: Mapping[str, str],
    ) -> Self:
        """Reach the engine that flag, `DOCKER_HOST`, `state` or the current context names.

        Remembers for `state` an engine that the user named. Removes containers that killed
        commands left on it.

        Raises:
            EngineError: it does not answer, refuses access, or is too old (6).
        """
        target = find_target(host, state, environ)
        api = open_api(target)
        if state is not None:
            remember_target(target, state, environ)
        proxies = read_proxies(target.host, environ)
        engine = cls(api, target, environ=environ, proxies=proxies)
        engine.remove_abandoned()
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    @property
    def host(self) -> str:
        """The address, as in `DOCKER_HOST`."""
        return self._target.host

    @property
    def origin(self) -> str:
        """The origin of the address: `flag`, `DOCKER_HOST`, `state` or `context`."""
        return self._target.origin

    def cli_env(self) -> dict[str, str]:
        """The environment of a `docker` subprocess: the caller's, with this engine's address."""
        return {**self._environ, **self._target.cli_env}

    def info(self) -> EngineInfo:
        """The engine's description of itself; asked once."""
        if self._info is None:
            with translated("ask the engine about itself"):
                self._info = read_info(
                    self._api.info(), api_version=str(self._api.api_version), host=self.host
                )
        return self._info

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        """Containers that carry all of `labels` (None: with any value), by name."""
        wanted = label_filters(labels)
        with translated("list containers"):
            rows = self._api.containers(all=True, filters={"label": wanted})
        found = (read_listed(row) or self.find(row["Id"]) for row in rows)
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def find(self, name: str) -> Container | None:
        """The container of this name or ID."""
        with translated(f"look at container `{name}`"):
            try:
                return read_container(self._api.inspect_container(name))
            except NotFound:
                return None

    def start(self, spec: ContainerSpec) -> Container:
        """Make and start a container; remove it if it does not start.

        Raises:
            NameTaken: the name is in use, or another command removed ours: a lost race.
            ImageMissing: the engine does not have the image.
            GpuAccessError: this way of giving GPUs does not work here.
            PortTaken: a published port is in use.
            EngineError: anything else.
        """
        started = self.find(self.launch(spec))
        if started is None:
            raise NameTaken(f"cannot start `{spec.name}`: another command removed it at once")
        return started

    def launch(self, spec: ContainerSpec, *, before: Callable[[str], None] = lambda _: None) -> str:
        """Make and start a container without inspecting it; return its ID. Errors as in `start`.

        Args:
            spec: of the container.
            before: is called with the ID when the container exists and does not run yet.
        """
        identity = self.create(spec)
        try:
            before(identity)
            self._start(identity, spec)
        except BaseException:  # also for Ctrl-C: leave no container behind
            self.remove(identity, kill=True)
            raise
        return identity

    def stop(self, identity: str, *, grace_s: int, stay_down: bool = True) -> int | None:
        """Send SIGTERM, then SIGKILL after `grace_s`; return the exit code, None if it is gone.

        `stay_down` clears the restart policy after the exit: in NVIDIA's legacy mode an update
        of a running container removes its GPU.
        """
        with translated(f"stop container `{identity[:12]}`"):
            try:
                self._api.stop(identity, timeout=grace_s)
            except NotFound:
                return None
        ended = self.find(identity)
        if ended is None:
            return None
        if stay_down and not ended.alive:
            self.set_restart(identity, "no")
        return ended.exit_code

    def kill(self, identity: str, signal: str = "SIGKILL") -> None:
        """Send a signal to the container's first process."""
        with translated(f"signal container `{identity[:12]}`"):
            self._api.kill(identity, signal)

    def set_restart(self, identity: str, policy: str) -> None:
        """Change the restart policy (`no`, `on-failure:3`, …) of a container that has ended."""
        with translated(f"set the restart policy of `{identity[:12]}`"):
            self._api.update_container(identity, restart_policy=read_restart(policy))

    def rename(self, identity: str, name: str) -> None:
        """Rename a container. Raises `NameTaken` if the name is in use."""
        with translated(f"rename container `{identity[:12]}` to `{name}`"):
            self._api.rename(identity, name)

    def remove(self, identity: str, *, kill: bool = False) -> None:
        """Remove a container, a running one only with `kill`. A missing one is not an error."""
        with translated(f"remove container `{identity[:12]}`"):
            try:
                self._api.remove_container(identity, force=kill, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT or not kill:
                    raise  # with `kill`, a conflict means that the engine is removing it

    def wait(self, identity: str, *, timeout_s: float | None = None) -> int:
        """Wait for the next exit; return its code."""
        with translated(f"wait for container `{identity[:12]}`"):
            return int(self._api.wait(identity, timeout=timeout_s)["StatusCode"])

    def probe(
        self,
        image: str,
        command: tuple[str, ...],
        *,
        entrypoint: tuple[str, ...],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> tuple[int, str]:
        """Run a short-lived container without network; return its exit code and output."""
        spec = ContainerSpec("", image, command, environment or {}, user=user)
        tmpfs = {"/tmp": "exec"}  # noqa: S108
        with self.short_lived(replace(spec, entrypoint=entrypoint, tmpfs=tmpfs)) as box:
            code = self.wait(box.id, timeout_s=TIMEOUT_S)
            return code, "\n".join(line.text for line in self.logs.of(box.id))

    @contextmanager
    def short_lived(self, spec: ContainerSpec) -> Iterator[Container]:
        """A container without network and with a unique name; removed afterwards.

        Its name contains a mark of this process: if the process is killed, the next command that
        connects to the engine removes the container.
        """
        started = self.start(replace(spec, name=make_name(), network="none"))
        try:
            yield started
        finally:
            self.remove(started.id, kill=True)

    def remove_abandoned(self) -> None:
        """Remove the short-lived containers of commands that were killed."""
        with translated("list containers"):
            rows = self._api.containers(all=True, filters={"name": SHORT_LIVED_NAMES})
        for row in rows:
            if is_abandoned(str(row["Names"][0]), time.time() - row["Created"]):
                self.remove(row["Id"], kill=True)

    def create(self, spec: ContainerSpec) -> str:
        """Make a container and do not start it; return its ID. Errors as in `start`."""
        info = self.info()
        body = create_body(
            spec,
            relabel=info.selinux,
            remapped=info.userns_remap,
            proxies={} if spec.network == "none" else self._proxies,
        )
        try:
            made = self._api.create_container_from_config(body, spec.name)
        except ImageNotFound as error:
            raise ImageMissing(
                f"the engine has no image `{spec.image}`", hint="`runner build`"
            ) from error
        except (DockerException, RequestException) as error:
            raise translate(error, f"create `{spec.name}`") from error
        return str(made["Id"])

    def attach(self, identity: str, *, tty: bool) -> Attachment:
        """Input and output of a container that does not run yet.

        Raises:
            EngineError: the engine is not on this machine.
        """
        with translated(f"attach to container `{identity[:12]}`"):
            return Attachment(open_streams(self._api, identity, host=self.host), tty=tty)

    def resize(self, identity: str, *, lines: int, columns: int) -> None:
        """Set the size of a container's terminal; one that has ended needs none."""
        with suppress(DockerException, RequestException):
            self._api.resize(identity, lines, columns)

    def _start(self, identity: str, spec: ContainerSpec) -> None:
        try:
            self._api.start(identity)
        except (DockerException, RequestException) as error:
            if isinstance(error, NotFound) and self.find(identity) is None:
                raise NameTaken(
                    f"cannot start `{spec.name}`: another command was faster", hint="`runner ps`"
                ) from error
            raise translate(error, f"start `{spec.name}`") from error
