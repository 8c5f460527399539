"""What a remote, a machine or a repository may try: to hang, to be huge, to run code. Nothing is left behind."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.gitops import cache as cache_module
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Git, GitError, Remote
from tests.gitops.conftest import Following
from tests.gitops.remotes import BareRemote, http_remote
from tests.runtimes.patience import eventually

MIB = 1024 * 1024


def processes_of(folder: Path) -> list[str]:
    """Those that run with this folder for temporary files, which is how the tests mark their own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"TMPDIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0")
            if ours and " Z " not in (process / "stat").read_text():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@contextmanager
def hanging(remote: BareRemote, part: str) -> Iterator[tuple[str, threading.Event]]:
    """A remote that answers nothing to requests for a part of it; its address, and what is set when one came."""
    came, over = threading.Event(), threading.Event()
    with http_remote(remote.folder.parent) as http:

        def hang(request: object) -> bool:
            if part in getattr(request, "path", ""):
                came.set()
                return over.wait(30)
            return False

        http.override = hang
        try:
            yield http.url("remote.git"), came
        finally:
            over.set()


def refused(call: object, reason: str) -> str:
    assert callable(call)
    with pytest.raises(GitError) as refusal:
        call()
    assert refusal.value.reason == reason, str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("part", ["info/refs", "git-upload-pack"])
def test_a_remote_that_hangs_is_left_at_the_time_limit(remote: BareRemote, tmp_path: Path, part: str) -> None:
    remote.commit({"a.yaml": "1"})
    with hanging(remote, part) as (url, came):
        cache = Cache(
            tmp_path / "c.git", Remote(url, "refs/heads/main", timeout=0.5), {**os.environ, "TMPDIR": str(tmp_path)}
        )
        began = time.monotonic()
        said = refused(cache.look, "TimedOut")
        assert 0.4 < time.monotonic() - began < 10
        assert came.is_set()
        assert "took longer than 0.5 s" in said
        assert "raise timeout under [source.git]" in said
        eventually(lambda: not processes_of(tmp_path))


def test_children_that_go_on_are_ended_too(remote: BareRemote, tmp_path: Path) -> None:
    """Even those that left nobody waiting for them."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text("#!/bin/sh\nsleep 60 & exec sleep 60\n")
    (programs / "ssh").chmod(0o755)
    keys = tmp_path / "keys"
    keys.touch()
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    remote_there = Remote("git@localhost:x.git", "refs/heads/main", "", "x", str(keys), str(keys), timeout=0.5)
    refused(Cache(tmp_path / "c.git", remote_there, environ).look, "TimedOut")
    eventually(lambda: not processes_of(tmp_path))
    (programs / "ssh").write_text("#!/bin/sh\nsleep 60 >/dev/null 2>&1 & exit 1\n")
    refused(Cache(tmp_path / "c.git", remote_there, environ).look, "RemoteUnreachable")
    eventually(lambda: not processes_of(tmp_path))


def test_stop_ends_what_runs_and_what_would(remote: BareRemote, tmp_path: Path) -> None:
    commit = remote.commit({"a.yaml": "1"})
    with hanging(remote, "info/refs") as (url, came):
        cache = Cache(tmp_path / "c.git", Remote(url, "refs/heads/main"), {**os.environ, "TMPDIR": str(tmp_path)})
        errors: list[GitError] = []

        def look() -> None:
            try:
                cache.look()
            except GitError as error:
                errors.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        assert came.wait(10)
        cache.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert len(errors) == 1
    eventually(lambda: not processes_of(tmp_path))
    refused(lambda: cache.fetch(commit), "Stopped")


def test_a_huge_repository_is_refused_and_what_was_there_stays(remote: BareRemote, following: Following) -> None:
    cache = following(most_bytes=MIB)
    small = remote.commit({"a.yaml": "1"})
    cache.fetch(small)
    huge = remote.commit({"huge.bin": os.urandom(12 * MIB)})
    said = refused(lambda: cache.fetch(huge), "TooLarge")
    assert "raise max_mib under [source.git]" in said
    assert cache.holds(small)
    smaller = remote.commit({"huge.bin": None, "a.yaml": "2"})
    cache.fetch(smaller)
    assert [blob.content for blob in cache.tree(smaller, "").blobs] == [b"2"]


def test_a_cache_that_grew_too_large_is_made_anew(
    remote: BareRemote, following: Following, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_ROOM", 0)
    monkeypatch.setattr(cache_module, "DEPTH", 1)
    cache = following(most_bytes=MIB)
    for _ in range(6):
        commit = remote.commit({"a.bin": os.urandom(400 * 1024), "a.yaml": "1"})
        cache.fetch(commit)
        files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= MIB
    assert cache.holds(commit)


def test_what_a_killed_fetch_left_is_removed(remote: BareRemote, cache: Cache, tmp_path: Path) -> None:
    cache.fetch(remote.commit({"a.yaml": "1"}))
    left = tmp_path / "state/git/cache.git/objects/pack/tmp_pack_x1y2z3"
    left.write_bytes(b"x" * 1000)
    cache.fetch(remote.commit({"a.yaml": "2"}))
    assert not left.exists()


def test_output_without_end_is_cut_off(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexec yes >&2\n")
    (programs / "git").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    cache = Cache(tmp_path / "c.git", Remote("file:///x", "refs/heads/main", timeout=30, most_bytes=MIB), environ)
    refused(cache.look, "TooLarge")
    (programs / "git").write_text("#!/bin/sh\nexec yes\n")
    refused(cache.look, "TooLarge")


@pytest.mark.parametrize("missing", ["git", "sh"])
def test_programs_that_are_missing(remote: BareRemote, tmp_path: Path, missing: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    other = {"git": "sh", "sh": "git"}[missing]
    (programs / other).symlink_to(str(shutil.which(other)))
    cache = Cache(tmp_path / "c.git", Remote(remote.url, "refs/heads/main"), {"PATH": str(programs)})
    said = refused(cache.look, {"git": "GitMissing", "sh": "GitFailed"}[missing])
    assert missing in said


# -- what would run code


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def program(tmp_path: Path, marker: Path) -> str:
    """A program that leaves a mark when it runs."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    path.chmod(0o755)
    return str(path)


def settings(program: str) -> str:
    """Settings of a repository or user that would run a program."""
    return f"""
[core]
\tfsmonitor = {program}
\tsshCommand = {program}
\taskPass = {program}
\tpager = {program}
\talternateRefsCommand = {program}
\tgitProxy = {program}
\thooksPath = {Path(program).parent}/hooks
[credential]
\thelper = {program}
[filter "evil"]
\tsmudge = {program}
\tclean = {program}
\tprocess = {program}
[diff "evil"]
\ttextconv = {program}
[log]
\tshowSignature = true
[gpg]
\tprogram = {program}
[uploadpack]
\tpackObjectsHook = {program}
[init]
\ttemplateDir = {Path(program).parent}/template
[protocol "ext"]
\tallow = always
[url "ext::{program} "]
\tinsteadOf = file://
"""


@pytest.fixture
def hooks(tmp_path: Path, program: str) -> Path:
    folder = tmp_path / "hooks"
    folder.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc", "post-rewrite"):
        (folder / name).symlink_to(program)
    shutil.copytree(folder, tmp_path / "template/hooks", symlinks=True)
    return folder


def follow(cache: Cache, remote: BareRemote) -> None:
    for number in range(2):
        commit = remote.commit({"a.yaml": str(number), ".gitattributes": "* filter=evil diff=evil ident\n"})
        assert cache.look() == commit
        cache.fetch(commit)
        assert cache.revision(commit).subject == "Change"
        assert [blob.content for blob in cache.tree(commit, "").blobs] == [str(number).encode()]
        assert cache.fetch_rev("main") == commit
        assert cache.contains(commit, commit)


def test_settings_and_hooks_of_the_user_run_nothing(
    remote: BareRemote, following: Following, tmp_path: Path, program: str, marker: Path, hooks: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(settings(program))
    hostile = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG": str(home / ".gitconfig"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{program}'",
        "GIT_SSH_COMMAND": program,
        "GIT_PROXY_COMMAND": program,
        "GIT_ASKPASS": program,
        "GIT_PAGER": program,
        "GIT_EXTERNAL_DIFF": program,
        "GIT_TEMPLATE_DIR": str(tmp_path / "template"),
        "GIT_EXEC_PATH": str(tmp_path),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "nowhere"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_TRACE_CURL": str(tmp_path / "trace"),
        "BASH_ENV": program,
        "ENV": program,
        "LD_PRELOAD": "/nowhere.so",
    }
    cache = Cache(tmp_path / "c.git", Remote(remote.url, "refs/heads/main"), {**os.environ, **hostile})
    follow(cache, remote)
    assert not marker.exists()
    assert not (tmp_path / "trace").exists()


def test_settings_and_hooks_of_the_remote_run_nothing(
    remote: BareRemote, cache: Cache, program: str, marker: Path, hooks: Path
) -> None:
    follow(cache, remote)
    with (remote.folder / "config").open("a") as file:
        file.write(settings(program))
    shutil.rmtree(remote.folder / "hooks")
    shutil.copytree(hooks, remote.folder / "hooks", symlinks=True)
    commit = remote.head()
    cache.fetch(commit)
    elsewhere = BareRemote(remote.folder.with_name("other.git"))
    other = elsewhere.commit({"b.yaml": "1"})
    shutil.copytree(elsewhere.folder / "objects", remote.folder / "objects", dirs_exist_ok=True)
    (remote.folder / "refs/heads/main").write_text(other + "\n")
    assert cache.look() == other
    cache.fetch(other)
    assert [blob.path for blob in cache.tree(other, "").blobs] == ["b.yaml"]
    assert not marker.exists()


def test_settings_and_hooks_in_the_cache_run_nothing(
    remote: BareRemote, cache: Cache, tmp_path: Path, program: str, marker: Path, hooks: Path
) -> None:
    follow(cache, remote)
    folder = tmp_path / "state/git/cache.git"
    shutil.copytree(hooks, folder / "hooks", symlinks=True)
    follow(cache, remote)
    assert not marker.exists()
    with (folder / "config").open("a") as file:
        file.write(settings(program))
    assert not cache.holds(remote.head())
    follow(cache, remote)
    assert not marker.exists()
    assert program not in (folder / "config").read_text()


@pytest.mark.parametrize(
    "url", ["ext::touch% {}", "fd::0", "/{}", "ftp://127.0.0.1:9/x", "-u", "--upload-pack=touch {}"]
)
def test_other_ways_to_a_remote_are_shut(tmp_path: Path, marker: Path, url: str) -> None:
    """The settings refuse these first."""
    cache = Cache(tmp_path / "c.git", Remote(url.format(marker), "refs/heads/main", timeout=20), os.environ)
    for call in (cache.look, lambda: cache.fetch("1" * 40)):
        with pytest.raises(GitError):
            call()
    assert not marker.exists()


def test_git_is_told_no_more_than_it_needs(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nenv\n")
    (programs / "git").chmod(0o755)
    passed = {"PATH": f"{programs}:{os.environ['PATH']}", "https_proxy": "http://p", "NO_PROXY": "n"}
    given = {**passed, "SSL_CERT_FILE": "/c", "HF_TOKEN": "secret", "HTTPS_PROXY": ""}
    ended = Git(given, 10, MIB).run(None, "x")
    told = dict(line.split("=", 1) for line in ended.out.decode().splitlines() if "=" in line)
    others = {name for name in told if not name.startswith("GIT_")} - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert others == {"PATH", "https_proxy", "NO_PROXY", "LC_ALL", "HOME", "SSH_ASKPASS_REQUIRE"}
    assert {name: told[name] for name in passed} == passed
    assert told["GIT_SSL_CAINFO"] == "/c"
    assert told["GIT_ALLOW_PROTOCOL"] == "none"
    assert told["HOME"] == "/dev/null"
