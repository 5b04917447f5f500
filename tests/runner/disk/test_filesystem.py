"""One list of network file systems, for the server's data and for logs that others may write."""

import os
from pathlib import Path

import pytest

from runner.disk import file_systems
from runner.disk.file_systems import find_file_system, is_network, read_mounts
from runner.offline.log.writers import QUIET_S, find_open

MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,nosuid shared:3 - nfs4 host:/home rw
31 30 8:2 / /home/my\\040disk rw - xfs /dev/sdb rw
"""


def test_a_network_file_system_is_recognised_by_the_mount_it_lies_on() -> None:
    mounts = read_mounts(MOUNTS)

    kinds = [
        find_file_system(Path(path), mounts)
        for path in ("/srv/x", "/home/a/.runner", "/home/my disk/a", "/homework")
    ]

    assert kinds == ["ext4", "nfs4", "xfs", "ext4"]
    assert [is_network(kind) for kind in kinds] == [False, True, False, False]
    assert find_file_system(Path("/proc")) == "proc"


SHARED = """
    nfs nfs4 NFS4 cifs smb3 9p ceph lustre gpfs beegfs wekafs mfs pvfs2 orangefs gfs2 ocfs2 autofs
    virtiofs vboxsf vmhgfs prl_fs fuse.JuiceFS fuse.moosefs fuse.mfs fuse.quobyte fuse.s3fs
    fuse.gvfsd-fuse fuse.nobody-knows fuse"""
LOCAL = """
    ext4 xfs btrfs zfs tmpfs overlay f2fs ecryptfs unknown fuseblk fuse.fuse-overlayfs
    fuse.gocryptfs fuse.encfs fuse.cryfs fuse.mergerfs fuse.bindfs fuse.ntfs-3g fuse.squashfuse"""


@pytest.mark.parametrize("kind", SHARED.split())
def test_other_machines_may_share_it(kind: str) -> None:
    """Of a file system of a process only those are local that are known to be."""
    assert is_network(kind)


@pytest.mark.parametrize("kind", LOCAL.split())
def test_this_machine_alone_has_it(kind: str) -> None:
    assert not is_network(kind)


def test_what_is_mounted_on_demand_is_looked_at_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open the folder mounts it."""
    looks = [{str(tmp_path): "autofs"}, {str(tmp_path): "nfs4"}]
    monkeypatch.setattr(file_systems, "read_mounts", lambda: looks.pop(0))
    assert find_file_system(tmp_path / "not" / "there") == "nfs4"
    assert looks == []


@pytest.mark.parametrize("kind", ["nfs4", "smb3", "fuse.sshfs", "fuse.juicefs", "glusterfs"])
def test_a_log_that_changed_lately_may_be_written_from_another_host(
    tmp_path: Path, kind: str
) -> None:
    """The kernel here does not know who has it open there."""
    log = tmp_path / "run.wandb"
    log.touch()
    changed = log.stat().st_mtime
    shared = {"/": "ext4", str(tmp_path.resolve()): kind}

    assert find_open([log], now=changed + 1, mounts=shared) == {log}
    assert find_open([log], now=changed + QUIET_S + 1, mounts=shared) == set()
    if os.geteuid() == log.stat().st_uid:
        assert find_open([log], now=changed + 1, mounts={"/": "ext4"}) == set()
