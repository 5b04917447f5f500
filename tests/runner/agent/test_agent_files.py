"""What the agent places and holds: working copy, lease, and its own code as a bundle."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from runner.agent.lease import Lease, make_lease
from runner.agent.refusals import RefusedError
from runner.agent.workcopy import Filled, fill, hold, is_held
from runner.fleet.exchange import prepare_copy
from runner.image.server import list_code
from runner.launchers.docker.bundle import PACKAGE, bundle_agent, read_agent_files
from runner.state.folder import State
from tests.rig.user import acting_as


class Copy:
    """A project, its working copy and its manifest."""

    def __init__(self, folder: Path) -> None:
        self.project, self.work = folder / "project", folder / "work"
        self.manifest = folder / "a-0.files"
        self.project.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.project / name).write_text(text)

    def fill(self, *mounts: str, sweep: str = "s1") -> Filled:
        paths = [PurePosixPath(mount) for mount in mounts]
        return fill(self.project, self.work, self.manifest, sweep=sweep, mounts=paths)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_copy_that_is_worked_in_is_known_and_is_nobody_elses(tmp_path: Path) -> None:
    before = (is_held(tmp_path / "missing"), is_held(tmp_path))

    hold(tmp_path)

    assert (before, is_held(tmp_path)) == ((False, False), True)
    with pytest.raises(BlockingIOError):
        hold(tmp_path)


def test_files_links_and_modes_arrive(copy: Copy) -> None:
    (copy.project / "pkg").mkdir()
    (copy.project / "pkg" / "mod.py").write_text("x")
    (copy.project / "run.sh").write_text("#!/bin/sh")
    (copy.project / "run.sh").chmod(0o700)
    (copy.project / "link").symlink_to("pkg/mod.py")

    done = copy.fill()

    assert done == Filled(placed=3, deleted=0)
    assert (copy.work / "pkg" / "mod.py").read_text() == "x"
    assert (copy.work / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (copy.work / "pkg" / "mod.py").stat().st_mode & 0o777 == 0o644
    assert (copy.work / "link").readlink() == Path("pkg/mod.py")
    record = json.loads(copy.manifest.read_text())
    assert record["sweep"] == "s1"
    assert set(record["files"]) == {"pkg/mod.py", "run.sh", "link"}
    assert copy.fill() == Filled(0, 0)


def test_what_both_sides_changed_is_kept_beside_the_new_version(copy: Copy) -> None:
    copy.write(a="1", b="1", c="1", d="1", e="1", gone="1", changed="1")
    copy.fill()
    (copy.work / "b").write_text("a run wrote this")
    (copy.work / "e").write_text("this stays: the image's is the same")
    (copy.work / "new").write_text("the image had no such file")
    (copy.work / "changed").write_text("and this")
    (copy.work / "d").unlink()
    (copy.work / "out.log").write_text("kept")
    (copy.project / "gone").unlink()
    (copy.project / "changed").unlink()
    copy.write(a="2", b="2", d="2", new="2")

    done = copy.fill()

    beside = (("b", "b.kept"), ("new", "new.kept"))
    assert done == Filled(placed=4, deleted=1, kept=("e",), beside=beside)
    texts = {file.name: file.read_text() for file in copy.work.iterdir()}
    assert texts == {
        "a": "2",
        "b": "2",
        "b.kept": "a run wrote this",
        "c": "1",
        "d": "2",
        "e": "this stays: the image's is the same",
        "new": "2",
        "new.kept": "the image had no such file",
        "changed": "and this",
        "out.log": "kept",
    }
    assert copy.fill() == Filled(0, 0, kept=("e",))
    (copy.work / "b").write_text("again")
    copy.write(b="3")
    assert copy.fill().beside == (("b", "b.kept.2"),)


def test_a_mode_alone_is_a_change_and_no_work_of_a_run(copy: Copy) -> None:
    copy.write(tool="1", script="1", output="1")
    (copy.project / "script").chmod(0o755)
    copy.fill()
    (copy.project / "tool").chmod(0o755)
    (copy.project / "script").chmod(0o644)
    (copy.work / "output").chmod(0o755)

    assert copy.fill() == Filled(placed=3, deleted=0)
    modes = [(copy.work / name).stat().st_mode & 0o777 for name in ("tool", "script", "output")]
    assert modes == [0o755, 0o644, 0o644]


NAMES = [
    *(b"\xff\xfe", b"a\nb", b"-rf", b"#!", b"x" * 255, b"caf\xe9.py", b"~ $`"),
    "ä".encode() * 127,
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_any_bytes_survive(copy: Copy, name: bytes) -> None:
    source, work = (os.path.join(os.fsencode(one), name) for one in (copy.project, copy.work))  # noqa: PTH118 - bytes

    def write(path: bytes, text: bytes) -> None:
        with open(path, "wb") as file:  # noqa: PTH123 - bytes
            file.write(text)

    write(source, b"1")
    assert copy.fill() == Filled(placed=1, deleted=0)
    write(source, b"2")
    assert copy.fill() == Filled(placed=1, deleted=0)
    write(source, b"3")
    write(work, b"a run's")
    ((changed, aside),) = copy.fill().beside
    assert (os.fsencode(changed), (copy.work / aside).read_bytes()) == (name, b"a run's")
    assert os.listdir(os.fsencode(copy.project)) == [name]  # noqa: PTH208 - bytes
    os.unlink(source)  # noqa: PTH108 - bytes
    assert copy.fill() == Filled(placed=0, deleted=1)
    assert os.listdir(copy.work) == [aside]  # noqa: PTH208 - bytes


def test_a_package_that_is_gone_is_no_package_any_more(copy: Copy) -> None:
    """Python would import a folder with nothing but compiled modules in it."""
    package, outputs = copy.project / "pkg", copy.project / "outputs"
    for folder in (package, outputs):
        folder.mkdir()
        (folder / "mod.py").write_text("x")
    copy.fill()
    for name in ("pkg", "outputs"):
        cache = copy.work / name / "__pycache__"
        cache.mkdir()
        (cache / "mod.cpython-311.pyc").write_text("compiled")
    (copy.work / "outputs" / "last.pt").write_text("a run's")
    for folder in (package, outputs):
        shutil.rmtree(folder)

    assert copy.fill().deleted == 2
    left = sorted(str(one.relative_to(copy.work)) for one in copy.work.rglob("*"))
    assert left == ["outputs", "outputs/last.pt"]


def test_folders_and_files_change_places(copy: Copy) -> None:
    (copy.project / "one").mkdir()
    (copy.project / "one" / "mod.py").write_text("1")
    copy.write(two="1")
    copy.fill()
    (copy.work / "one" / "out.log").write_text("a run's")
    (copy.work / "two").write_text("a run's")
    shutil.rmtree(copy.project / "one")
    (copy.project / "two").unlink()
    copy.write(one="2")
    (copy.project / "two").mkdir()
    (copy.project / "two" / "mod.py").write_text("2")

    done = copy.fill()

    assert done == Filled(2, 1, beside=(("one", "one.kept"), ("two/mod.py", "two.kept")))
    assert (copy.work / "one").read_text() == "2"
    assert (copy.work / "two" / "mod.py").read_text() == "2"
    assert (copy.work / "one.kept" / "out.log").read_text() == "a run's"
    assert (copy.work / "two.kept").read_text() == "a run's"


def test_a_folder_with_a_mount_in_it_stays_where_it_is(copy: Copy) -> None:
    copy.fill()
    (copy.work / "data" / "coco").mkdir(parents=True)
    copy.write(data="1")

    assert copy.fill("data/coco") == Filled(0, 0, kept=("data",))
    assert (copy.work / "data" / "coco").is_dir()


def test_a_write_that_fails_leaves_no_part_of_a_file(copy: Copy) -> None:
    copy.write(a="1")
    copy.fill()
    copy.write(a="2" * 100_000)
    program = """if True:
        import resource, signal, sys
        from pathlib import Path
        from runner.agent.workcopy import fill
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        fill(*map(Path, sys.argv[1:]), sweep="s1")
    """
    words = (sys.executable, "-c", program, copy.project, copy.work, copy.manifest)
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert "OSError: [Errno 27]" in done.stderr
    assert [(one.name, one.read_text()) for one in copy.work.iterdir()] == [("a", "1")]
    assert copy.fill() == Filled(placed=1, deleted=0)


def test_an_interrupted_filling_is_no_run_s_work(copy: Copy) -> None:
    copy.write(a="1", b="1")
    copy.fill()
    copy.write(a="2", b="2")
    record = json.loads(copy.manifest.read_text())
    copy.fill()
    done = json.loads(copy.manifest.read_text())["files"]
    copy.manifest.write_text(json.dumps({**record, "placing": done}))  # as if killed before the end
    (copy.work / "b").write_text("1")
    copy.write(a="3", b="3")

    assert copy.fill() == Filled(placed=2, deleted=0)


def test_nothing_below_a_mount_is_touched(copy: Copy) -> None:
    (copy.project / "data").mkdir()
    (copy.project / "data" / "x").write_text("the project's")
    copy.fill()
    (copy.work / "data" / "x").write_text("the mount's")
    (copy.project / "data" / "x").unlink()

    copy.fill("data")

    assert (copy.work / "data" / "x").read_text() == "the mount's"


def test_a_link_that_a_run_put_in_a_folder_s_place_is_not_written_through(
    copy: Copy, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    copy.work.mkdir()
    (copy.work / "pkg").symlink_to(outside)
    (copy.project / "pkg").mkdir()
    (copy.project / "pkg" / "mod.py").write_text("x")

    assert copy.fill().beside == (("pkg/mod.py", "pkg.kept"),)
    assert (copy.work / "pkg.kept").readlink() == outside
    assert (copy.work / "pkg" / "mod.py").read_text() == "x"
    assert list(outside.iterdir()) == []


def test_another_sweep_begins_in_an_emptied_copy(copy: Copy, tmp_path: Path) -> None:
    state = State(tmp_path, "demo")
    copy.work = state.work / "a-0"
    copy.manifest = state.status / "a-0" / "a-0.files"
    copy.manifest.parent.mkdir(parents=True)
    copy.write(a="1")
    assert prepare_copy(state, "a-0", "s1") is None
    copy.fill()
    (copy.work / "result").write_text("of s1")

    assert prepare_copy(state, "a-0", "s1") is None
    aside = prepare_copy(state, "a-0", "s2")

    assert aside == copy.work.with_name("a-0.s1")
    assert sorted(file.name for file in aside.iterdir()) == ["a", "result"]
    assert list(copy.work.iterdir()) == []
    assert not copy.manifest.exists()
    assert prepare_copy(state, "a-0", "s1") is None  # an empty one needs no other name
    copy.fill(sweep="s1")
    assert prepare_copy(state, "a-0", "s2") == copy.work.with_name("a-0.s1.2")


def test_a_copy_of_an_earlier_version_is_known_by_its_manifest(copy: Copy, tmp_path: Path) -> None:
    state = State(tmp_path, "demo")
    copy.work = state.work / "a-0"
    copy.manifest = state.agents / "a-0.files"
    copy.manifest.parent.mkdir()
    copy.write(a="1")
    copy.fill()

    assert prepare_copy(state, "a-0", "s2") == copy.work.with_name("a-0.s1")
    assert not copy.manifest.exists()


@pytest.mark.parametrize(
    "change", [{"sweep": "../../x"}, {"sweep": 3}, {"sweep": "a\n"}, {"files": [1]}, {"files": 7}]
)
def test_a_manifest_of_a_programs_own_is_none(
    copy: Copy, tmp_path: Path, change: dict[str, object]
) -> None:
    state = State(tmp_path, "demo")
    manifest = state.agents / "a-0.files"
    manifest.parent.mkdir()
    copy.work = state.work / "a-0"
    copy.work.mkdir(parents=True)
    (copy.work / "a").write_text("mine")
    manifest.write_text(json.dumps({"sweep": "s1", "files": {}, **change}))

    assert prepare_copy(state, "a-0", "s2") is None
    assert (copy.work / "a").read_text() == "mine"
    copy.write(a="1")
    assert fill(copy.project, copy.work, manifest, sweep="s2").beside == (("a", "a.kept"),)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "x" * 300, "\ud800", "", "a\0b"])
def test_a_manifest_removes_nothing_outside_of_the_copy(
    copy: Copy, tmp_path: Path, path: str
) -> None:
    (tmp_path / "x").write_text("1")
    copy.write(a="1")
    copy.fill()
    record = json.loads(copy.manifest.read_text())
    record["files"][path] = record["files"]["a"]
    copy.manifest.write_text(json.dumps(record))

    assert copy.fill() == Filled(0, 0)
    assert (tmp_path / "x").read_text() == "1"


def test_a_lease_has_one_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    take = (
        "import sys; from pathlib import Path; from runner.agent.lease import Lease;"
        "held = Lease.take(Path(sys.argv[1]), 'GPU-a'); print('held', flush=True); input()"
    )
    argv = [sys.executable, "-c", take, str(folder)]
    other = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"held\n"

    with pytest.raises(RefusedError, match="is held by another agent"):
        Lease.take(folder, "GPU-a")
    Lease.take(folder, "GPU-b").touch()
    other.kill()
    other.communicate()
    Lease.take(folder, "GPU-a").touch()

    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o666}


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder like `/var/tmp`; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe"])
def test_leases_lie_in_a_real_folder(tmp_path: Path, kind: str) -> None:
    folder, outside = tmp_path / "leases", tmp_path / "outside"
    outside.mkdir(mode=0o777)
    match kind:
        case "link":
            folder.symlink_to(outside)
        case "dangling":
            folder.symlink_to(tmp_path / "none")
        case "file":
            folder.touch()
        case _:
            os.mkfifo(folder)

    for take in (Lease.take, make_lease):
        with pytest.raises(RefusedError, match=f"`{folder}` is (a link|not a folder)"):
            take(folder, "GPU-a")

    assert [*outside.iterdir()] == []
    assert not (tmp_path / "none").exists()


def test_leases_that_others_may_remove_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(RefusedError, match="everybody may remove") as caught:
        make_lease(folder, "GPU-a")

    assert caught.value.hint == f"who owns it corrects it: `chmod 1777 {folder}`"


def test_a_folder_of_another_users_is_refused_until_root_has_it(open_place: Path) -> None:
    folder = open_place / "leases"
    with acting_as(4242):
        make_lease(folder, "GPU-a")
    with acting_as(4243):
        with pytest.raises(RefusedError, match="belongs to user 4242") as caught:
            make_lease(folder, "GPU-b")
        assert caught.value.hint == f"root makes it everybody's: `sudo chown root {folder}`"

    make_lease(folder, "GPU-b")  # root's `up` says nothing, and has it

    assert folder.stat().st_uid == 0
    for uid in (4242, 4243):
        with acting_as(uid):
            make_lease(folder, f"GPU-{uid}")
            Lease.take(folder, f"GPU-{uid}").touch()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lease_is_a_file(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "leases"
    make_lease(folder, "GPU-b")
    match kind:
        case "link":
            (folder / "GPU-a").symlink_to(tmp_path / "outside")
        case "pipe":
            os.mkfifo(folder / "GPU-a")
        case _:
            (folder / "GPU-a").mkdir()

    with pytest.raises(RefusedError, match="cannot make the lease"):
        make_lease(folder, "GPU-a")
    with pytest.raises(RefusedError, match="cannot take the lease"):
        Lease.take(folder, "GPU-a")

    assert not (tmp_path / "outside").exists()


@pytest.mark.slow
def test_the_bundle_stands_alone_and_is_named_by_its_content(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = bundle_agent(tmp_path / "cache")
    finally:
        os.umask(before)

    assert bundle_agent(tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert modes == {True: 0o755, False: 0o644}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(folder)],
        capture_output=True,
        text=True,
        env={},
        check=False,
    )
    assert (done.returncode, done.stderr) == (69, "runner: `RUNNER_SWEEP` is not set\n")


def test_subpackages_and_their_data_are_shipped_and_what_python_left_is_not(tmp_path: Path) -> None:
    """The bundle of `up`, and the server's image, from which Compose's service makes its own."""
    host = tmp_path / "runner"
    package = shutil.copytree(PACKAGE, host / "agent")
    left = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, package / "deep" / "deeper", ignore=left)
    (package / "deep" / "__init__.py").touch()
    (package / "deep" / "table.json").write_text("{}")
    for name in ("__pycache__/a.cpython-310.pyc", "deep/b.pyc", "deep/.c.py.swp"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).touch()
    fresh = {"deep/__init__.py", "deep/table.json", "deep/deeper/loop.py", "loop.py"}

    shipped = {name.removeprefix("runner/agent/") for name in read_agent_files(package)}
    in_image = {str(file.relative_to(package)) for file in list_code(host)}

    assert fresh <= shipped
    assert fresh <= in_image
    assert not [name for name in shipped | in_image if "pyc" in name or ".swp" in name]


@pytest.mark.slow
def test_every_module_of_the_agent_is_found_in_its_bundle(tmp_path: Path) -> None:
    """Imported from the bundle alone, as an image without runner does."""
    folder = bundle_agent(tmp_path)
    modules = [
        ".".join(file.relative_to(PACKAGE.parent.parent).with_suffix("").parts)
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name not in ("__main__.py", "sitecustomize.py")  # Python itself imports the latter
    ]
    code = (
        f"import sys; sys.path[:0] = [{str(folder)!r}]\nfor name in {modules!r}: __import__(name)"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
