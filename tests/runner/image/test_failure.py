"""Last lines of a step that failed → what happened and the way out."""

import pytest

from runner.errors import ExitCode
from runner.image.failure import explain_failure

NOTHING = "error: No solution found when resolving dependencies\n  cause: Because"
WHEELS = (  # as uv 0.8 draws and wraps it
    "  \u00d7 No solution found when resolving dependencies:\n"
    "  ╰─▶ Because tensorflow==2.10.0 has no wheels with a matching Python ABI tag\n"
    "      (e.g., `cp311`) and you require tensorflow==2.10.0, we can conclude that\n"
    "      your requirements are unsatisfiable.\n\n"
    "      hint: You require CPython 3.11 (`cp311`), but we only found wheels for\n"
    "      `tensorflow` (v2.10.0) with the following Python ABI tags: `cp37m`,\n"
    "      `cp38`, `cp39`, `cp310`\n"
)
BUILT = "error: Failed to build `{}`\n  cause: The build backend returned an error\n{}\n"


@pytest.mark.parametrize(
    ("text", "message", "way"),
    [
        (
            (
                f"{NOTHING} there is no version of wandb==0.0.1 and you require "
                "wandb==0.0.1, we can conclude that your requirements are unsatisfiable."
            ),
            "no index has a version of `wandb` that fits `wandb==0.0.1`",
            "choose another version of `wandb`",
        ),
        (
            (
                f"{NOTHING} only numpy<=2.5.5 is available and you require "
                "numpy>=99, we can conclude that your requirements are unsatisfiable."
            ),
            "no index has a version of `numpy` that fits `numpy>=99`",
            "choose another version of `numpy`",
        ),
        (
            (
                f"{NOTHING} only the following versions of numpy are available:"
                "\n     numpy<1.99\n     numpy>=2\n     and you require numpy>1.99,<2, we can"
            ),
            "no index has a version of `numpy` that fits `numpy>1.99,<2`",
            "choose another version of `numpy`",
        ),
        (
            (
                f"{NOTHING} posekit-xyz was not found in the package registry "
                "and you require posekit-xyz, we can conclude that"
            ),
            "no index has a package `posekit-xyz`",
            "correct its name; a private index",
        ),
        (
            WHEELS,
            "`tensorflow==2.10.0` has no wheel for the Python of the image",
            'or another Python: `[image] base = "ubuntu:22.04"`',
        ),
        (
            (
                f"{NOTHING} jax-metal==0.1.0 has no wheels with a matching "
                "platform tag (e.g., `manylinux_2_36_x86_64`) and you require jax-metal==0.1.0"
            ),
            "`jax-metal==0.1.0` has no wheel for this machine",
            "choose another version of `jax-metal`",
        ),
        (
            (
                f"{NOTHING} the current Python version (3.11.2) does not "
                "satisfy Python>=3.12 and kit==2.0 depends on Python>=3.12, we can"
            ),
            "`kit==2.0` needs Python>=3.12, and the image has 3.11.2",
            'choose a base that has it (`[image] base = "debian:trixie-slim"`)',
        ),
        (
            (
                f"{NOTHING} only pandas<=3.0.6 is available and pandas>=2.0.1 "
                "depends on numpy>=1.21, we can conclude that pandas>2 depends on numpy>=1.21.\n"
                "         And because you require numpy<1.20 and pandas>2, we can conclude"
            ),
            "the dependencies contradict each other",
            "loosen one of the versions",
        ),
        (
            BUILT.format("pyaudio==0.2.13", "x.c:9:10: fatal error: portaudio.h: No such file"),
            (
                "`pyaudio==0.2.13` has no wheel that fits, and building it from source failed: the "
                "header `portaudio.h` is missing"
            ),
            "`apt-file search portaudio.h`",
        ),
        (
            BUILT.format("dlib==19.24", "[Errno 2] No such file or directory: 'cmake'"),
            "the program `cmake` is missing",
            '`[image] apt = ["cmake"]`',
        ),
        (
            BUILT.format("flash-attn==2.8", "ModuleNotFoundError: No module named 'torch'"),
            "its build imports `torch` without saying so",
            "name a wheel of it by its URL",
        ),
        (
            BUILT.format("sklearn==0.0.post12", "The 'sklearn' PyPI package is deprecated"),
            "`sklearn==0.0.post12` has no wheel that fits, and building it from source failed",
            "add what its build needs to `[image] apt`",
        ),
        (
            BUILT.format("own @ file:///opt/project/libs/own", "SyntaxError"),
            "building `own` from its folder failed",
            "lines above",
        ),
        (
            (
                "error: Request failed after 3 retries in 6.4s\n  cause: Failed to fetch: "
                "http://me:pa55@10.0.0.9:3141/simple/idna/\n  cause: tcp connect error"
            ),
            "10.0.0.9 cannot be reached from the build",
            "check network and proxy",
        ),
        (
            (
                "error: Failed to fetch: `https://pypi.example.org/simple/kit/`\n  cause: HTTP "
                "status client error (401 Unauthorized) for url (https://pypi.example.org/simple/kit/)"
            ),
            "the index pypi.example.org refuses: 401 Unauthorized",
            "pip config list",
        ),
        (
            (
                "error: Failed to download and build `kit @ git+http://127.0.0.1:9/kit.git`\n"
                "  cause: Git operation failed\n  cause: failed to clone\n  cause: "
                "process didn't exit: `/usr/bin/git fetch 'http://127.0.0.1:9/kit.git' '+HEAD:x'`"
            ),
            "the git repository of a dependency cannot be fetched from 127.0.0.1",
            "a build has no keys of yours",
        ),
        (
            "E: Unable to locate package libgl9",
            "the base's distribution has no package `libgl9`",
            "`[image] apt`",
        ),
        (
            (
                "W: Failed to fetch http://deb.example.org/dists/x/InRelease  Temporary failure "
                "resolving 'deb.example.org'\nW: Some index files failed to download.\n"
                "E: Unable to locate package python3\nE: Unable to locate package python3-venv"
            ),
            "the servers of the base's distribution cannot be reached",
            "check network and proxy",
        ),
        (
            (
                "W: Failed to fetch http://deb.example.org/dists/x/InRelease  Could not connect to "
                "127.0.0.1:9\nE: Unable to locate package git"
            ),
            "the servers of the base's distribution cannot be reached",
            "check network and proxy",
        ),
        ("/bin/sh: 1: apt-get: not found", "the base image has no `apt-get`", "Debian or Ubuntu"),
    ],
)
def test_the_package_and_the_way_out_are_named(text: str, message: str, way: str) -> None:
    found = explain_failure("[agent 4/6] what the project depends on", text.splitlines())

    assert found is not None
    assert message in found.message
    assert way in found.hint
    assert "pa55" not in found.message + found.hint


@pytest.mark.parametrize(
    "text",
    [
        "error: failed to create directory: No space left on device (os error 28)",
        "ERROR: failed to copy: write /var/lib/docker/x: no space left on device",
        "exec /bin/sh: exec format error",
        "ERROR: docker.io/library/a:1: no match for platform in manifest: not found",
    ],
)
def test_what_this_machine_cannot_do_is_told_by_the_exit_code(text: str) -> None:
    found = explain_failure("[2/3] RUN make", [text])

    assert found is not None
    assert found.code == ExitCode.UNFIT


@pytest.mark.parametrize(
    ("text", "message", "way"),
    [
        (
            'ERROR: failed to do request: Head "https://registry-1.docker.io/v2/x": dial tcp',
            (
                "the engine has no base image `debian:nope` for this machine's processor, and its "
                "registry cannot be reached"
            ),
            "let the engine reach registry-1.docker.io",
        ),
        (
            "ERROR: docker.io/library/debian:nope: not found",
            "the base image `debian:nope` cannot be pulled",
            "correct its name",
        ),
    ],
)
def test_a_base_that_is_not_there_is_named(text: str, message: str, way: str) -> None:
    step = "[internal] load metadata for docker.io/library/debian:nope"

    found = explain_failure(step, [text])

    assert found is not None
    assert found.message == message
    assert way in found.hint


@pytest.mark.parametrize("text", ["", "make: *** [all] Error 2", "compile failed at x.c:3"])
def test_an_unknown_reason_is_left_to_the_lines(text: str) -> None:
    assert explain_failure("[3/4] RUN make", [text]) is None
