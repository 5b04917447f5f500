"""Which native libraries may be left as they are at a run's end."""

import pytest

from runner.agent.warm.exits import find_loud

INSTALLED = ("/usr/lib/python3.11", "/usr/lib/python3.11/site-packages", "/opt/venv/site-packages")
QUIET = (
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30",
    "/usr/lib/libpython3.11.so.1.0",
    "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
    "/opt/venv/site-packages/numpy/_core/_multiarray.so",
    "/opt/venv/site-packages/numpy.libs/libopenblas64_p.so",
    "/opt/venv/site-packages/torch/lib/libtorch_cpu.so",
    "/opt/venv/site-packages/_yaml.cpython-311.so",
)


def test_libraries_that_are_known_have_nothing_to_do_at_the_end() -> None:
    assert find_loud(QUIET, INSTALLED) is None


@pytest.mark.parametrize(
    "library",
    [
        "/opt/venv/site-packages/h5py/_hl.so",
        "/opt/venv/site-packages/h5py.libs/libhdf5.so.310",
        "/usr/lib/x86_64-linux-gnu/libmpi.so.40",
        "/usr/lib/x86_64-linux-gnu/libcurl.so.4",
        "/home/me/project/own.so",
        "/opt/venv/site-packages/numpyro/native.so",
        "/opt/venv/site-packages-2/torch/lib.so",
    ],
)
def test_a_library_that_may_close_files_is_named(library: str) -> None:
    assert find_loud((*QUIET, library), INSTALLED) == library
