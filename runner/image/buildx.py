"""Run `docker buildx build`: report its steps, return the image ID."""

import re
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.console import format_duration
from runner.console.narration import Report
from runner.disk.temporary import temporary_folder
from runner.errors import ExitCode, RunnerError
from runner.image.failure import explain_failure

LOG_LINES = 20  # of a failed step, to be shown
KEPT_LINES = 400  # to be read for the reason: a compiler may say much after it
LONG_S = 20  # seconds between progress lines of a running step


@dataclass(frozen=True, slots=True)
class Build:
    """One call of buildx."""

    dockerfile: Path
    context: Path
    tags: tuple[str, ...]
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False

    def arguments(self) -> list[str]:
        """The arguments of `docker`; secrets are passed as file names."""
        words = ["buildx", "build", "--file", str(self.dockerfile)]
        words += ["--target", self.target] if self.target else []
        for tag in self.tags:
            words += ["--tag", tag]
        for name, value in self.args.items():
            words += ["--build-arg", f"{name}={value}"]
        for name, folder in self.contexts.items():
            words += ["--build-context", f"{name}={folder}"]
        for name, file in self.secrets.items():
            words += ["--secret", f"id={name},src={file}"]
        for name, value in self.labels.items():
            words += ["--label", f"{name}={value}"]
        words += ["--no-cache"] if self.no_cache else []
        return [*words, "--load", "--provenance=false", "--progress=plain", str(self.context)]

    def as_text(self) -> str:
        """The command for a shell, one option per line."""
        words = [shlex.quote(word) for word in ("docker", *self.arguments())]
        return re.sub(r" (--\S+|\S+$)", r" \\\n    \1", " ".join(words))


@dataclass(slots=True)
class BuildProgress:
    """Reads buildx's plain progress: finished steps, cache hits, the log of a failed step."""

    report: Report
    clock: Callable[[], float] = time.monotonic
    cached: int = 0
    started: dict[str, float] = field(default_factory=dict)  # running steps
    names: dict[str, str] = field(default_factory=dict)
    logs: dict[str, deque[str]] = field(default_factory=dict)
    failed: str | None = None
    exit_code: int | None = None  # of the failed step's command
    rest: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def read(self, line: str) -> None:
        """Read one line of output."""
        found = re.match(r"#([1-9]\d*) (.*)", line)  # 0 is buildx itself
        if not found:
            self.rest.append(line)
            return
        step, text = found.groups()
        if step not in self.names:
            self.names[step] = _shorten(text)
            self.started[step] = self.clock()
        elif text == "CACHED":
            self.cached += 1
            self.started.pop(step, None)
        elif done := re.fullmatch(r"DONE (\d+\.\d+)s", text):
            self._finish(step, float(done.group(1)))
        elif text.startswith("ERROR"):
            self._fail(step, text)
            if step not in self.logs or self.exit_code is None:  # the engine's own reason
                self._log(step, text)
        else:
            self._log(step, re.sub(r"^\d+\.\d+(?: |$)", "", text))

    def beat(self) -> None:
        """Report the steps that have been running for `LONG_S`."""
        now = self.clock()
        for step, since in list(self.started.items()):
            if now - since >= LONG_S and not _is_inner(self.names[step]):
                self.report(f"  {self.names[step]}: {format_duration(now - since)} so far")

    def log(self) -> list[str]:
        """What the failed step wrote, or buildx itself."""
        return list(self.logs.get(self.failed or "", self.rest))

    def tail(self) -> list[str]:
        """The last lines of it, to be shown."""
        return self.log()[-LOG_LINES:]

    def _fail(self, step: str, text: str) -> None:
        if self.failed is None:
            self.failed = step
            code = re.search(r"exit code: (\d+)$", text)
            self.exit_code = int(code[1]) if code else None

    def _finish(self, step: str, seconds: float) -> None:
        self.started.pop(step, None)
        name = self.names[step]
        if not _is_inner(name) and seconds >= 0.05:
            self.report(f"  {name}: {format_duration(seconds)}")

    def _log(self, step: str, text: str) -> None:
        if text.startswith("note: ") and self.names[step].startswith("[resolved "):
            self.report(text)
        self.logs.setdefault(step, deque(maxlen=KEPT_LINES)).append(text)


def run_build(build: Build, *, environ: Mapping[str, str], report: Report) -> str:
    """Build, and return the image's ID.

    Args:
        build: what to build.
        environ: of the `docker` command.
        report: gets one line per finished step.

    Raises:
        RunnerError: buildx is missing (6), or a step failed (1), after its last lines are reported.
    """
    env = {**environ, "DOCKER_CLI_HINTS": "false"}
    _check_buildx(env)
    progress = BuildProgress(report)
    with temporary_folder() as folder:
        id_file = folder / "id"
        words = ["docker", *build.arguments(), "--iidfile", str(id_file)]
        with _beating(progress):
            code = _stream(words, env, progress.read)
        if code == 0:
            if progress.cached:
                report(f"  {progress.cached} steps from the cache")
            return id_file.read_text("utf-8").strip()
    raise _explain(progress, report)


def _explain(progress: BuildProgress, report: Report) -> RunnerError:
    """Why a build failed; uses the error and hint of our own script if that failed."""
    said = dict(line.split(": ", 1) for line in progress.tail() if ": " in line)
    if progress.exit_code == ExitCode.UNFIT and {"error", "hint"} <= said.keys():
        return RunnerError(said["error"], hint=said["hint"], code=ExitCode.UNFIT)
    where = progress.names.get(progress.failed or "")
    ended = f" with exit code {progress.exit_code}" if progress.exit_code else ""
    report(f"{f'`{where}`' if where else 'the build'} failed{ended}; its last lines:")
    for line in progress.tail():
        report(f"  | {line}")
    if failure := explain_failure(where or "", progress.log()):
        message = f"the image was not built: {failure.message}"
        return RunnerError(message, hint=failure.hint, code=failure.code)
    return RunnerError(
        f"the image was not built: `{where or 'before its first step'}` failed",
        hint="the lines above say why; `runner build --dry-run` prints the whole command",
    )


@contextmanager
def _beating(progress: BuildProgress) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(LONG_S):
            progress.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C into a RunnerError (130); the context managers around it have cleaned up."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise RunnerError(
            "interrupted: no image was built, and nothing is left over",
            hint="the next build reuses the finished steps",
            code=ExitCode.INTERRUPTED,
        ) from error


def _stream(words: list[str], env: Mapping[str, str], read: Callable[[str], None]) -> int:
    """Run to the end; Ctrl-C ends the build too and is raised again."""
    process = subprocess.Popen(
        words,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        _feed(process.stdout or (), read)
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


def _feed(lines: Iterable[str], read: Callable[[str], None]) -> None:
    for line in lines:
        if text := line.rstrip():
            read(text)


def _check_buildx(env: Mapping[str, str]) -> None:
    try:
        asked = subprocess.run(
            ["docker", "buildx", "version"], env=env, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise RunnerError(
            "the `docker` command is not installed",
            hint="install Docker's command line tool with its buildx plugin",
            code=ExitCode.UNFIT,
        ) from error
    if asked.returncode:
        raise RunnerError(
            "docker's buildx plugin is missing",
            hint="`apt-get install docker-buildx-plugin` (Docker's packages) or `docker-buildx`",
            code=ExitCode.UNFIT,
        )


def _is_inner(name: str) -> bool:
    return name.startswith(("[internal]", "[context "))


def _shorten(text: str) -> str:
    """A step's name for people: our steps begin with `: 'name'`, others show their command."""
    plain = re.sub(r"--(mount|from)=\S+ +", "", " ".join(text.split()))
    if named := re.match(r"(\[.*?\]) RUN : '([^']+)'", plain):
        return f"{named.group(1)} {named.group(2)}"
    return plain if len(plain) <= 78 else f"{plain[:77]}…"
