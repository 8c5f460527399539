"""Reading revisions of somebody's own clone."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from reconciler.gitops.clone import fork_of, local_tree, root_of
from reconciler.gitops.git import GitError
from tests.gitops.remotes import _ENVIRON, BareRemote


def git(folder: Path, *arguments: str) -> str:
    argv = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(argv, env=_ENVIRON, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def clone(remote: BareRemote, tmp_path: Path) -> Path:
    remote.commit({"ops/a.yaml": "1\n", "README": "x"}, "First")
    remote.commit({"ops/a.yaml": "2\n"}, "Second")
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", remote.url, str(folder))
    return folder


@pytest.mark.parametrize(
    ("rev", "content"), [("HEAD", b"2\n"), ("HEAD~1", b"1\n"), ("origin/main", b"2\n"), ("main", b"2\n")]
)
def test_any_name_of_a_revision(clone: Path, remote: BareRemote, rev: str, content: bytes) -> None:
    (clone / "ops/a.yaml").write_text("changed\n")
    revision, tree = local_tree(clone, rev, "ops")
    assert [(blob.path, blob.content) for blob in tree.blobs] == [("a.yaml", content)]
    assert revision.commit == remote.text("rev-parse", rev.replace("HEAD", "main").replace("origin/", ""))
    assert revision.subject == {b"1\n": "First", b"2\n": "Second"}[content]


def test_from_any_folder_of_it_a_worktree_and_a_bare_one(clone: Path, remote: BareRemote, tmp_path: Path) -> None:
    git(clone, "worktree", "add", "--quiet", str(tmp_path / "tree"), "HEAD~1")
    for place, root, content in (
        (clone / "ops", clone, b"2\n"),
        (clone / "ops/a.yaml", clone, b"2\n"),
        (tmp_path / "tree/ops", tmp_path / "tree", b"1\n"),
        (remote.folder, remote.folder, b"2\n"),
    ):
        assert root_of(place) == root
        assert local_tree(place, "HEAD", "ops")[1].blobs[0].content == content


@pytest.mark.parametrize("rev", ["nope", "", "--all", "-h", "HEAD~9", "v1\n", "HEAD:README", "@{-1}", "\x1b[31m"])
def test_a_name_of_nothing(clone: Path, rev: str) -> None:
    with pytest.raises(GitError) as refusal:
        local_tree(clone, rev, "ops")
    assert refusal.value.reason == "RevisionMissing"
    assert f"git -C {clone} fetch " in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("rev", ["origin/next", "next", "up/next", "HEAD~1"])
def test_what_a_shallow_clone_lacks_is_there_once_fetched_as_told(remote: BareRemote, tmp_path: Path, rev: str) -> None:
    remote.commit({"ops/a.yaml": "1\n"}, "First")
    remote.commit({"ops/a.yaml": "2\n"}, "Second")
    remote.git("branch", "next", "main")
    clone = tmp_path / "a clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", remote.url, str(clone))
    git(clone, "remote", "add", "up", remote.url)
    with pytest.raises(GitError) as refusal:
        local_tree(clone, rev, "ops")
    told = re.search(r"\((git -C .*)\)", str(refusal.value))
    assert told
    git(clone, *shlex.split(told[1])[3:])
    local_tree(clone, rev, "ops")


def test_where_a_branch_was_left(clone: Path, remote: BareRemote) -> None:
    left = git(clone, "rev-parse", "HEAD")
    assert fork_of(clone, "origin/main") == ""
    remote.commit({"ops/b.yaml": "others\n"}, "Others' work")
    git(clone, "fetch", "--quiet")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "own")
    assert fork_of(clone, "origin/main") == left
    git(clone, "checkout", "--quiet", "--orphan", "alone")
    assert fork_of(clone, "origin/main") == ""
    git(clone, "commit", "--quiet", "--message", "own")
    assert fork_of(clone, "origin/main") == ""
    assert fork_of(clone, "nope") == ""


def test_outside_of_any(tmp_path: Path) -> None:
    with pytest.raises(GitError) as refusal:
        root_of(tmp_path)
    assert refusal.value.reason == "RepositoryMissing"
    (tmp_path / ".git").write_text("nonsense")
    with pytest.raises(GitError):
        local_tree(tmp_path, "HEAD", "")


def test_a_clone_without_the_files_is_told_with_what_to_do(clone: Path, remote: BareRemote, tmp_path: Path) -> None:
    """Nothing is fetched behind somebody's back."""
    remote.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", remote.url, str(partial))
    with pytest.raises(GitError) as refusal:
        local_tree(partial, "HEAD", "ops")
    assert f"git -C {partial} fsck" in str(refusal.value)
    assert "cache" not in str(refusal.value)


def test_settings_of_a_clone_run_nothing(clone: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with (clone / ".git/config").open("a") as file:
        file.write(f"[core]\n\tfsmonitor = touch {marker}\n\tpager = touch {marker}\n\tsshCommand = touch {marker}\n")
        file.write(f"[log]\n\tshowSignature = true\n[gpg]\n\tprogram = touch {marker}\n")
    assert local_tree(clone, "HEAD", "ops")[1].blobs
    assert not marker.exists()
