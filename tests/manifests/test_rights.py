"""A file's new version: for the same people as the old one, and nothing left beside it."""

import os
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.manifests.edit import replace_file
from reconciler.manifests.rights import ACL


def as_user(group: int, groups: list[int], function: Callable[[], None]) -> str:
    """What became of it in a process of another user: empty, or the error."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgroups(groups)
            os.setresgid(group, group, group)
            os.setresuid(1000, 1000, 1000)
            function()
        except BaseException as error:  # noqa: BLE001 - nothing of this process may go on
            os.write(writing, str(getattr(error, "strerror", None) or error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading) as answer:  # noqa: PTH123 - it wraps a descriptor
        return answer.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")
@pytest.mark.parametrize(
    ("groups", "mode", "said", "group"),
    [
        ([2000], 0o660, "", 2000),
        ([], 0o640, "you are not in its group 2000, which would lose what it may do with the file", 2000),
        ([], 0o644, "", 1000),
    ],
)
def test_a_group_that_has_rights_is_kept(groups: list[int], mode: int, said: str, group: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:  # other users may not reach pytest's own folders
        Path(made).chmod(0o777)
        path = Path(made) / "chat.yaml"
        path.write_text("old")
        os.chown(path, 0, 2000)
        path.chmod(mode)
        assert as_user(1000, groups, lambda: replace_file(path, b"new")) == said
        assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (group, mode)
        assert path.read_text() == ("old" if said else "new")
        assert [entry.name for entry in Path(made).iterdir()] == ["chat.yaml"]


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """As the kernel keeps it: who (a tag and an id), and what they may do."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, rights, who) for tag, rights, who in entries)


OWNER, USER, GROUP, MASK, OTHER, NOBODY = 1, 2, 4, 16, 32, 0xFFFFFFFF


def test_the_access_list_and_other_attributes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text("old")
    acl = access_list((OWNER, 6, NOBODY), (USER, 4, 1001), (GROUP, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY))
    try:
        os.setxattr(path, ACL, acl)
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system keeps no access lists")
    replace_file(path, b"new")
    # By the mode alone, the group might read it.
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (os.getxattr(path, ACL), os.getxattr(path, "user.note")) == (acl, b"mine")


def test_the_folders_access_list_for_new_files_is_not_that_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text("old")
    acl = access_list((OWNER, 6, NOBODY), (USER, 6, 1001), (GROUP, 4, NOBODY), (MASK, 6, NOBODY), (OTHER, 4, NOBODY))
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("this file system keeps no access lists")
    replace_file(path, b"new")
    assert ACL not in os.listxattr(path)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text("old")
    ended = subprocess.Popen(["true"])
    ended.wait()
    long_ago = time.time() - 3600
    names = {f".chat.yaml.{ended.pid}.5.tmp", f".chat.yaml.{os.getpid()}.5.tmp", ".chat.yaml.mine.tmp"}
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / f".chat.yaml.{ended.pid}.6.tmp").touch()
    replace_file(path, b"new")
    left = {entry.name for entry in tmp_path.iterdir()}
    young = f".chat.yaml.{ended.pid}.6.tmp"
    assert left == {"chat.yaml", young, *names} - {f".chat.yaml.{ended.pid}.5.tmp"}
