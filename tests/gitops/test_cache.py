"""Following a remote: what is new there, what was there, and what becomes of a cache that is broken."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.gitops import cache as cache_module
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import GitError
from tests.gitops.conftest import Following
from tests.gitops.remotes import BareRemote


def followed(cache: Cache) -> str:
    commit = cache.look()
    if not cache.holds(commit):
        cache.fetch(commit)
    assert cache.holds(commit)
    return commit


def contents(cache: Cache, commit: str, folder: str = "") -> dict[str, bytes]:
    tree = cache.tree(commit, folder)
    assert not tree.problems
    return {blob.path: blob.content for blob in tree.blobs}


def refused(call: Callable[[], object], reason: str) -> str:
    with pytest.raises(GitError) as refusal:
        call()
    said = str(refusal.value)
    assert refusal.value.reason == reason, said
    assert said.isprintable()
    assert len(said) < 900
    return said


def test_a_commit_is_looked_at_fetched_and_read(remote: BareRemote, cache: Cache) -> None:
    commit = remote.commit({"a.yaml": "a\n", "sub/b.yml": "b\n", "README.md": "no\n"}, "Add \x1b[31ma\n\nbody")
    assert cache.look() == commit
    assert not cache.holds(commit)
    cache.fetch(commit)
    assert cache.holds(commit)
    revision = cache.revision(commit)
    assert (revision.commit, revision.subject) == (commit, "Add [31ma")
    assert revision.committed_at == 1_700_000_060
    assert contents(cache, commit) == {"a.yaml": b"a\n", "sub/b.yml": b"b\n"}
    assert contents(cache, commit, "sub") == {"b.yml": b"b\n"}


def test_what_is_new_is_fetched_and_follows(remote: BareRemote, cache: Cache) -> None:
    first = remote.commit({"a.yaml": "1"})
    followed(cache)
    for number in range(60):
        second = remote.commit({"a.yaml": str(number + 2)})
    assert followed(cache) == second
    assert cache.contains(second, first)
    assert not cache.contains(first, second)
    assert contents(cache, second) == {"a.yaml": b"61"}
    assert contents(cache, first) == {"a.yaml": b"1"}


def test_of_a_long_history_only_the_last_commits_are_fetched(remote: BareRemote, cache: Cache) -> None:
    first = remote.commit({"a.yaml": "1"})
    for number in range(cache_module.DEPTH):
        last = remote.commit({"a.yaml": str(number + 2)})
    followed(cache)
    assert not cache.holds(first)
    assert not cache.contains(last, first)


def test_a_rewritten_history_is_followed_and_seen_as_such(remote: BareRemote, cache: Cache) -> None:
    first = remote.commit({"a.yaml": "1"})
    second = remote.commit({"a.yaml": "2"})
    followed(cache)
    third = remote.commit({"a.yaml": "3"}, parent=first)
    assert followed(cache) == third
    assert not cache.contains(third, second)
    assert cache.contains(third, first)
    fourth = remote.commit({"b.yaml": "4"}, parent="")
    assert followed(cache) == fourth
    assert not cache.contains(fourth, first)
    assert contents(cache, fourth) == {"b.yaml": b"4"}


def test_an_older_commit_is_followed_too(remote: BareRemote, cache: Cache) -> None:
    first = remote.commit({"a.yaml": "1"})
    remote.commit({"a.yaml": "2"})
    followed(cache)
    remote.git("update-ref", "refs/heads/main", first)
    assert followed(cache) == first


def test_a_commit_that_the_branch_has_left_can_be_fetched(remote: BareRemote, cache: Cache) -> None:
    left = remote.commit({"a.yaml": "1"})
    assert cache.look() == left
    remote.commit({"a.yaml": "2"}, parent="")
    cache.fetch(left)
    assert contents(cache, left) == {"a.yaml": b"1"}


@pytest.mark.parametrize(
    ("rev", "told"),
    [("origin/next", "without origin/: next"), ("abcdef0", "a commit by its digits: of one that was never fetched")],
)
def test_a_revision_that_is_not_there_is_told_with_how_to_name_it(
    remote: BareRemote, cache: Cache, rev: str, told: str
) -> None:
    remote.commit({"a.yaml": "1"})
    with pytest.raises(GitError, match=told):
        cache.fetch_rev(rev)


def test_a_commit_that_the_remote_has_lost_is_named(remote: BareRemote, cache: Cache) -> None:
    remote.commit({"a.yaml": "1"})
    said = refused(lambda: cache.fetch("1" * 40), "RevisionMissing")
    assert "1" * 40 in said
    for name in ("", "main", "--upload-pack=touch /tmp/x", "1" * 39):
        refused(lambda name=name: cache.fetch(name), "RevisionMissing")  # type: ignore[misc]


def test_a_deleted_branch_is_told_with_what_is_there_and_comes_back(remote: BareRemote, cache: Cache) -> None:
    commit = remote.commit({"a.yaml": "1"})
    followed(cache)
    remote.commit({"a.yaml": "1"}, branch="master")
    remote.git("update-ref", "-d", "refs/heads/main")
    said = refused(cache.look, "RefMissing")
    assert "has no branch 'main', it has master: push it (git push " in said
    assert cache.holds(commit)
    again = remote.commit({"a.yaml": "3"}, parent=commit)
    assert followed(cache) == again


def test_an_empty_repository_is_told(cache: Cache) -> None:
    assert "it has no branch at all" in refused(cache.look, "RefMissing")


def test_a_branch_whose_name_ends_another_is_not_taken_for_it(remote: BareRemote, cache: Cache) -> None:
    remote.commit({"a.yaml": "1"}, branch="old/refs/heads/main")
    refused(cache.look, "RefMissing")


@pytest.mark.parametrize("kind", ["light", "annotated", "nested"])
def test_a_tag_is_followed_where_it_moves(remote: BareRemote, following: Following, kind: str) -> None:
    cache = following(ref="refs/tags/v1")
    assert "has no tag 'v1'" in refused(cache.look, "RefMissing")
    for number in range(2):
        commit = remote.commit({"a.yaml": str(number)})
        remote.git("tag", "-f", *(() if kind == "light" else ("-a", "-m", "one")), "v1", commit)
        if kind == "nested":
            remote.git("tag", "-f", "-a", "-m", "two", "v1", "v1")
        assert followed(cache) == commit
        assert contents(cache, commit) == {"a.yaml": str(number).encode()}


def test_a_tag_of_a_file_is_refused(remote: BareRemote, following: Following) -> None:
    remote.commit({"a.yaml": "1"})
    remote.git("tag", "v1", remote.blob("no commit"))
    cache = following(ref="refs/tags/v1")
    refused(lambda: cache.fetch(cache.look()), "RevisionMissing")


def test_a_remote_that_is_gone_is_told_and_comes_back(remote: BareRemote, cache: Cache) -> None:
    commit = remote.commit({"a.yaml": "1"})
    followed(cache)
    remote.folder.rename(remote.folder.with_name("away.git"))
    for call in (cache.look, lambda: cache.fetch("1" * 40), lambda: cache.fetch_rev("main")):
        assert "check url under [source.git]" in refused(call, "RepositoryMissing")
    assert contents(cache, commit) == {"a.yaml": b"1"}
    remote.folder.with_name("away.git").rename(remote.folder)
    assert followed(cache) == commit


def test_names_for_a_diff(remote: BareRemote, cache: Cache) -> None:
    first = remote.commit({"a.yaml": "1"})
    other = remote.commit({"a.yaml": "2"}, branch="other", parent=first)
    third = remote.commit({"a.yaml": "3"})
    remote.git("tag", "-a", "-m", "one", "v1", other)
    for rev, commit in {
        "main": third,
        "other": other,
        "v1": other,
        "refs/heads/other": other,
        "HEAD": third,
        first: first,
        first[:10]: first,
        third.upper(): third,
    }.items():
        assert cache.fetch_rev(rev) == commit, rev
        assert contents(cache, commit)
    hidden = remote.commit({"a.yaml": "4"}, branch="gone", parent="")
    remote.git("update-ref", "-d", "refs/heads/gone")
    assert cache.fetch_rev(hidden) == hidden
    for rev in ("nope", "", "-x", "--help", "a b", "main\n", "HEAD~1", "@{1}", "1" * 40, "abcdef1", "*"):
        refused(lambda rev=rev: cache.fetch_rev(rev), "RevisionMissing")  # type: ignore[misc]


def test_a_repository_of_sha256_is_followed(tmp_path: Path, following: Following) -> None:
    remote = BareRemote(tmp_path / "sha256.git", object_format="sha256")
    cache = following(url=remote.url)
    for number in range(2):
        commit = remote.commit({"a.yaml": str(number)})
        assert followed(cache) == commit
        assert len(commit) == 64
        assert contents(cache, commit) == {"a.yaml": str(number).encode()}


def test_a_shallow_remote_is_followed(tmp_path: Path, remote: BareRemote, following: Following) -> None:
    for number in range(3):
        remote.commit({"a.yaml": str(number)})
    shallow = tmp_path / "shallow.git"
    remote.git("clone", "--quiet", "--bare", "--depth=1", remote.url, str(shallow))
    cache = following(url=f"file://{shallow}")
    assert contents(cache, followed(cache)) == {"a.yaml": b"2"}


# -- a cache that is broken


def _truncate(path: Path) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _spoil(path: Path) -> None:
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[12 : middle + 1] = bytes(byte ^ 0xFF for byte in raw[12 : middle + 1])
    path.write_bytes(raw)


def _spoil_contents(path: Path) -> None:
    """In the middle, where the files are: commits and folders are small, and come first in a pack."""
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 100] = bytes(byte ^ 0xFF for byte in raw[middle : middle + 100])
    path.write_bytes(raw)


def _packs(folder: Path, suffix: str) -> list[Path]:
    found = list(folder.glob(f"objects/pack/*.{suffix}"))
    assert found
    return found


def _written_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def _each(folder: Path, suffix: str, deed: Callable[[Path], None]) -> None:
    for path in _packs(folder, suffix):
        deed(path)


def _config(folder: Path) -> None:
    (folder / "config").write_text("[core]\n\tbare = maybe\n[")


def _refs(folder: Path) -> None:
    for path in (folder / "refs").rglob("*"):
        if path.is_file():
            path.write_text("nonsense\n")


def _lost_ref(folder: Path) -> None:
    (folder / "refs/reconciler/followed").write_text(f"{'1' * 40}\n")


def _locks(folder: Path) -> None:
    for name in ("refs/reconciler/followed.lock", "shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"):
        (folder / name).touch()


def _file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def _link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("/nonexistent")


def _half_made(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder / "objects").mkdir(parents=True)
    folder.with_name("cache.git.new").mkdir()
    (folder.with_name("cache.git.new") / "HEAD").touch()


def _alternates(folder: Path) -> None:
    (folder / "objects/info").mkdir(exist_ok=True)
    (folder / "objects/info/alternates").write_text("/nonexistent\n")


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "missing": shutil.rmtree,
    "half made": _half_made,
    "a file": _file,
    "a link": _link,
    "config": _config,
    "no config": lambda folder: (folder / "config").unlink(),
    "no HEAD": lambda folder: (folder / "HEAD").unlink(),
    "HEAD empty": lambda folder: (folder / "HEAD").write_text(""),
    "no objects": lambda folder: shutil.rmtree(folder / "objects"),
    "no refs": lambda folder: shutil.rmtree(folder / "refs"),
    "refs": _refs,
    "a ref to nothing": _lost_ref,
    "locks": _locks,
    "packs gone": lambda folder: _each(folder, "pack", Path.unlink),
    "the first pack gone": lambda folder: min(_packs(folder, "pack"), key=_written_at).unlink(),
    "indexes gone": lambda folder: _each(folder, "idx", Path.unlink),
    "packs truncated": lambda folder: _each(folder, "pack", _truncate),
    "packs empty": lambda folder: _each(folder, "pack", lambda path: os.truncate(path, 0)),
    "indexes truncated": lambda folder: _each(folder, "idx", _truncate),
    "packs spoilt": lambda folder: _each(folder, "pack", _spoil),
    "contents spoilt": lambda folder: _each(folder, "pack", _spoil_contents),
    "indexes spoilt": lambda folder: _each(folder, "idx", _spoil),
    "shallow": lambda folder: (folder / "shallow").write_text("nonsense\n"),
    "alternates": _alternates,
}
ONLY_SEEN_WHEN_READ = ("contents spoilt",)


@pytest.mark.parametrize("new", [False, True], ids=["same commit", "new commit"])
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_cache_heals(
    tmp_path: Path, remote: BareRemote, cache: Cache, following: Following, breakage: str, new: bool
) -> None:
    remote.commit({f"{number}.yaml": os.urandom(5000).hex() for number in range(5)})
    followed(cache)
    old = remote.commit({"a.yaml": "1\n"})
    followed(cache)
    BREAKAGES[breakage](tmp_path / "state/git/cache.git")
    commit = remote.commit({"b.yaml": "2\n"}) if new else old
    try:
        read = contents(cache, followed(cache))
    except GitError as error:
        said = error
        read = contents(cache, followed(cache))
        assert (said.reason, breakage in ONLY_SEEN_WHEN_READ) == ("CacheBroken", True)
    assert len(read) == (7 if new else 6)
    assert contents(following(), commit) == read
    assert not list((tmp_path / "state/git").glob("cache.git.*"))


def test_a_broken_cache_stays_while_the_remote_is_gone(tmp_path: Path, remote: BareRemote, cache: Cache) -> None:
    commit = remote.commit({"a.yaml": "1"})
    followed(cache)
    away = remote.folder.rename(remote.folder.with_name("away.git"))
    _refs(tmp_path / "state/git/cache.git")
    refused(lambda: cache.fetch("1" * 40), "RepositoryMissing")
    assert contents(cache, commit) == {"a.yaml": b"1"}
    away.rename(remote.folder)
    assert followed(cache) == remote.head()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, remote: BareRemote, cache: Cache) -> None:
    commit = remote.commit({"a.yaml": "1"})
    (tmp_path / "state").write_text("in the way")
    assert str(tmp_path / "state/git/cache.git") in refused(lambda: cache.fetch(commit), "GitFailed")


def test_the_cache_is_made_anew_when_many_fetches_have_left_files(
    tmp_path: Path, remote: BareRemote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MOST_PACKS", 3)
    for number in range(8):
        remote.commit({"a.yaml": str(number)})
        commit = followed(cache)
    assert len(_packs(tmp_path / "state/git/cache.git", "pack")) <= 4
    assert contents(cache, commit) == {"a.yaml": b"7"}


def test_several_threads_take_turns(remote: BareRemote, cache: Cache) -> None:
    from concurrent.futures import ThreadPoolExecutor

    commits = [remote.commit({"a.yaml": str(number)}, branch=f"b{number}", parent="") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(cache.fetch_rev, [f"b{number}" for number in range(4)])) == commits
