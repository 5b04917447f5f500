"""The one door to Docker: observe, start, stop, read. Nothing here decides.

Its values are in `engine.types`, its errors in `engine.errors`.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types.daemon import CancellableStream
from requests.exceptions import RequestException

from runner.disk.temporary import is_abandoned, make_name
from runner.engine.archive import unpack
from runner.engine.connect import TIMEOUT_S, open_api, read_proxies
from runner.engine.errors import (
    ImageMissing,
    NameTaken,
)
from runner.engine.filters import SHORT_LIVED_NAMES, label_filters
from runner.engine.logs import follow_lines, interleave_lines, merge_lines, split_lines
from runner.engine.payload import create_body, read_restart
from runner.engine.read import (
    read_container,
    read_event,
    read_image,
    read_info,
    read_listed,
    read_places,
    stamp_seconds,
)
from runner.engine.target import Target, find_target, remember_target
from runner.engine.translate import translate, translated
from runner.engine.types import (
    Container,
    EngineInfo,
    Event,
    Image,
    LogLine,
    Places,
    Spec,
)
from runner.state.folder import State


class Events:
    """What happens to containers, as it comes; `close` from another thread ends it."""

    def __init__(self, stream: CancellableStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Event]:
        with translated("follow the engine's events"):
            try:
                for item in self._stream:
                    yield read_event(item)
            finally:
                _release(self._stream)

    def close(self) -> None:
        """End the iteration."""
        self._stream.close()


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

    @classmethod
    def connect(
        cls,
        host: str | None = None,
        *,
        state: State | None = None,
        environ: Mapping[str, str],
    ) -> Self:
        """Reach the engine that flag, `DOCKER_HOST`, `state` or the current context names.

        One that was named by hand and answers is remembered in `state`. What a command that was
        killed left on it is removed.

        Raises:
            EngineError: none answers, no permission, or it is too old.
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
        """Give the connections back."""
        self._api.close()

    @property
    def host(self) -> str:
        """The address, as in `DOCKER_HOST`."""
        return self._target.host

    @property
    def origin(self) -> str:
        """Who named this engine: `flag`, `DOCKER_HOST`, `state` or `context`."""
        return self._target.origin

    def cli_env(self) -> dict[str, str]:
        """The environment of `docker` as a subprocess: the caller's, and what names this engine."""
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

    def places_of(self, identity: str) -> Places | None:
        """Working folder and mounts of a container; None where it is gone."""
        with translated(f"look at container `{identity[:12]}`"):
            try:
                return read_places(self._api.inspect_container(identity))
            except NotFound:
                return None

    def find(self, name: str) -> Container | None:
        """The container of this name or ID."""
        with translated(f"look at container `{name}`"):
            try:
                return read_container(self._api.inspect_container(name))
            except NotFound:
                return None

    def start(self, spec: Spec) -> Container:
        """Make and start a container; one that does not start is removed again.

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

    def launch(self, spec: Spec) -> str:
        """As `start`, without a look at what became of it; the container's ID."""
        identity = self._create(spec)
        try:
            self._start(identity, spec)
        except BaseException:  # Ctrl-C too: nothing half-made is left behind
            self.remove(identity, kill=True)
            raise
        return identity

    def stop(self, identity: str, *, grace_s: int, stay_down: bool = True) -> int | None:
        """SIGTERM, then SIGKILL after the grace period; the exit code, None where it is gone.

        `stay_down` clears the restart policy, once it has exited and never before: an update
        takes a running container of NVIDIA's legacy mode its GPU.
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
        """Give a container another name; `NameTaken` where it is in use."""
        with translated(f"rename container `{identity[:12]}` to `{name}`"):
            self._api.rename(identity, name)

    def remove(self, identity: str, *, kill: bool = False) -> None:
        """Remove a container; a running one only with `kill`. One that is gone is no error."""
        with translated(f"remove container `{identity[:12]}`"):
            try:
                self._api.remove_container(identity, force=kill, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT or not kill:
                    raise  # with `kill` a conflict means that its removal is in progress

    def wait(self, identity: str, *, timeout_s: float | None = None) -> int:
        """The exit code of the first exit from now on."""
        with translated(f"wait for container `{identity[:12]}`"):
            return int(self._api.wait(identity, timeout=timeout_s)["StatusCode"])

    def logs(
        self,
        identity: str,
        *,
        follow: bool = False,
        since_s: float | None = None,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        """The container's output; with `follow` until it has ended for good, across restarts."""

        def read(since: str | None) -> Iterator[bytes]:
            return self._frames(identity, follow, since, since_s, tail)

        if not follow:
            return split_lines(read(None))
        return follow_lines(read, lambda: self._goes_on(identity))

    def logs_of(
        self,
        identities: Mapping[str, str],
        *,
        follow: bool = False,
        since_s: float | None = None,
        tail: int | None = None,
    ) -> Iterator[tuple[str, LogLine]]:
        """Output of several containers (name to show → ID) as one, each line with its name."""
        sources = {
            name: self.logs(identity, follow=follow, since_s=since_s, tail=tail)
            for name, identity in identities.items()
        }
        return interleave_lines(sources) if follow else merge_lines(sources)

    def events(self, labels: Mapping[str, str | None], *, since_s: float | None = None) -> Events:
        """What happens to the containers with these labels; with `since_s` what was missed too."""
        wanted = label_filters(labels)
        filters = {"type": "container", "label": wanted}
        with translated("follow the engine's events"):
            since = None if since_s is None else f"{since_s:.6f}"
            return Events(self._api.events(since=since, filters=filters, decode=True))

    def image(self, reference: str) -> Image | None:
        """The image of this tag or ID, where the engine has it."""
        with translated(f"look at image `{reference}`"):
            try:
                return read_image(self._api.inspect_image(reference))
            except NotFound:
                return None

    def images(self, labels: Mapping[str, str | None]) -> list[Image]:
        """The images that carry all of `labels`."""
        wanted = label_filters(labels)
        with translated("list images"):
            rows = self._api.images(filters={"label": wanted})
        found = (self.image(row["Id"]) for row in rows)
        return [one for one in found if one is not None]

    def tag_image(self, reference: str, tag: str) -> None:
        """Give an image one more name, `repository:tag`."""
        repository, _, name = tag.rpartition(":")
        with translated(f"tag image `{reference}`"):
            self._api.tag(reference, repository, name)

    def probe(
        self, image: str, command: tuple[str, ...], *, entrypoint: tuple[str, ...] = ()
    ) -> tuple[int, str]:
        """Exit code and output of a throw-away container without network."""
        tmpfs = {"/tmp": "exec"}  # noqa: S108
        with self.short_lived(Spec("", image, command, entrypoint=entrypoint, tmpfs=tmpfs)) as box:
            code = self.wait(box.id, timeout_s=TIMEOUT_S)
            return code, "\n".join(line.text for line in self.logs(box.id))

    @contextmanager
    def short_lived(self, spec: Spec) -> Iterator[Container]:
        """A container without network and with a name of its own, gone afterwards.

        Its name has this process's mark: where this process is killed, the next command that
        connects to the engine removes it.
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

    def changed_files(self, identity: str) -> list[str]:
        """Paths that were added or changed in the container's own file system."""
        with translated(f"compare container `{identity[:12]}` with its image"):
            changes = self._api.diff(identity) or []
        return [one["Path"] for one in changes if one["Kind"] in (0, 1)]

    def copy_out(
        self, identity: str, folder: str, destination: Path, *, only: Collection[str]
    ) -> list[str]:
        """Copy those files of a container's folder into `destination`, as the caller's.

        Args:
            identity: the container; it may have ended.
            folder: what `destination` stands for.
            destination: made where something is copied.
            only: absolute paths in the container; folders among them are made for their files.

        Returns:
            Those of the paths that were not copied: links out of the folder, device files.
        """
        with translated(f"copy `{folder}` out of container `{identity[:12]}`"):
            chunks, _ = self._api.get_archive(identity, f"{folder.rstrip('/')}/.")
            return unpack(chunks, folder, destination, only)

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> str:
        """The ID of the user-defined network of this name, made where there is none."""
        with translated(f"make network `{name}`"):
            if found := self._find_network(name):
                return found
            try:
                made = self._api.create_network(
                    name, driver="bridge", labels=dict(labels), check_duplicate=True
                )
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:
                    raise
                return self._find_network(name) or name
            return str(made["Id"])

    def remove_network(self, name: str) -> bool:
        """Remove a network; false where there is none or something still uses it."""
        with translated(f"remove network `{name}`"):
            identity = self._find_network(name)
            if identity is None:
                return False
            try:
                self._api.remove_network(identity)
            except APIError as error:
                if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    return False
                raise
            return True

    def network_gateway(self, name: str) -> str | None:
        """The host's address in a network: what a container can reach a host service at."""
        with translated(f"look at network `{name}`"):
            identity = self._find_network(name)
            if identity is None:
                return None
            found = self._api.inspect_network(identity)
        configs = (found.get("IPAM") or {}).get("Config") or []
        return next((one["Gateway"] for one in configs if one.get("Gateway")), None)

    def _create(self, spec: Spec) -> str:
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

    def _start(self, identity: str, spec: Spec) -> None:
        try:
            self._api.start(identity)
        except (DockerException, RequestException) as error:
            if isinstance(error, NotFound) and self.find(identity) is None:
                raise NameTaken(
                    f"cannot start `{spec.name}`: another command was faster", hint="`runner ps`"
                ) from error
            raise translate(error, f"start `{spec.name}`") from error

    def _frames(
        self,
        identity: str,
        follow: bool,
        since: str | None,
        since_s: float | None,
        tail: int | None,
    ) -> Iterator[bytes]:
        first = since is None
        start = since_s if since is None else stamp_seconds(since)
        with translated(f"read the log of `{identity[:12]}`"):
            try:
                stream = self._api.logs(
                    identity,
                    stream=True,
                    follow=follow,
                    timestamps=True,
                    since=start,
                    tail="all" if tail is None or not first else tail,
                )
            except NotFound:
                return
            try:
                yield from stream
            finally:
                _release(stream)

    def _goes_on(self, identity: str) -> bool:
        found = self.find(identity)
        return found is not None and found.state in ("running", "restarting", "paused")

    def _find_network(self, name: str) -> str | None:
        rows = self._api.networks(names=[name])
        return next((str(row["Id"]) for row in rows if row["Name"] == name), None)


def _release(stream: CancellableStream) -> None:
    """Close an answer that is read no further; its own `close` leaves the socket's file open."""
    stream._response.close()  # noqa: SLF001 - docker-py has no public way
