"""Few bytes that would become many: of memory, of disk, of time, of what is told."""

import hashlib
import os
import resource
import struct
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from reconciler.gitops import storage
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Git, Remote
from tests.gitops.conftest import Following
from tests.gitops.remotes import BareRemote, http_remote
from tests.gitops.test_limits import refused

MIB = 1024 * 1024


def delta_bomb(size: int) -> bytes:
    """A pack with a blob of zeros and a second one that is told as so many copies of it."""
    base = bytes(4 * MIB)
    delta = varint(len(base)) + varint(size) + b"\xc0\x40" * (size // len(base))
    first = object_head(3, len(base)) + zlib.compress(base)
    name = hashlib.sha1(b"blob %d\0" % len(base) + base).digest()
    second = object_head(7, len(delta)) + name + zlib.compress(delta)
    pack = b"PACK" + struct.pack(">II", 2, 2) + first + second
    return pack + hashlib.sha1(pack).digest()


def varint(number: int) -> bytes:
    said = b""
    while number > 127:
        said += bytes([number & 127 | 128])
        number >>= 7
    return said + bytes([number])


def object_head(kind: int, size: int) -> bytes:
    return varint_from((kind << 4) | (size & 15), size >> 4)


def varint_from(first: int, rest: int) -> bytes:
    return bytes([first | 128]) + varint(rest) if rest else bytes([first])


def test_a_pack_that_swells_in_memory_is_left(tmp_path: Path) -> None:
    storage.create(tmp_path / "c.git", 40)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ended = Git(os.environ, 60, 16 * MIB).run(tmp_path / "c.git", "index-pack", "--stdin", stdin=delta_bomb(4096 * MIB))
    assert ended.code
    assert ended.outgrown, ended.complaint
    assert max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, before) < 1536 * 1024


def test_a_list_of_names_without_end_is_left(remote: BareRemote, tmp_path: Path) -> None:
    remote.commit({"a.yaml": "1"})
    over = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> bool:
        request.send_response(200)
        request.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        request.end_headers()
        request.wfile.write(b"001e# service=git-upload-pack\n0000")
        line = b"1" * 40 + b" refs/heads/" + b"x" * 400
        first = line + b"\0ofs-delta\n"
        request.wfile.write(b"%04x" % (len(first) + 4) + first)
        lines = (b"%04x" % (len(line) + 5) + line + b"\n") * 10_000
        try:
            while not over.is_set():
                request.wfile.write(lines)
        except OSError:
            pass
        return True

    with http_remote(remote.folder.parent) as http:
        http.override = endless
        followed = Remote(http.url("remote.git"), "refs/heads/main", timeout=60, most_bytes=MIB)
        said = refused(Cache(tmp_path / "c.git", followed, os.environ).look, "TooLarge")
        over.set()
    assert "raise max_mib" in said
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1536 * 1024


def dumb(folder: Path, request: BaseHTTPRequestHandler) -> bool:
    """Answer with a file, as a server does that knows nothing of git."""
    file = folder / request.path.split("?")[0].lstrip("/")
    content = file.read_bytes() if file.is_file() else b""
    request.send_response(200 if file.is_file() else 404)
    request.send_header("Content-Type", "text/plain")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
    return True


def test_many_files_are_as_limited_as_one(remote: BareRemote, tmp_path: Path) -> None:
    """A server that gives out objects one by one; what was fetched before stays."""
    served = remote.folder.parent
    first = remote.commit({"a.yaml": "1"})
    with http_remote(served) as http:
        cache = Cache(tmp_path / "c.git", Remote(http.url("remote.git"), "refs/heads/main", most_bytes=MIB), os.environ)
        cache.fetch(cache.look())
        remote.git("config", "core.looseCompression", "0")
        remote.commit({f"{number}": os.urandom(2 * MIB) for number in range(40)})
        remote.git("update-server-info")
        http.override = lambda request: dumb(served, request)
        largest, over = [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                found = sum(storage.size(folder) for folder in tmp_path.glob("c.git*"))
                largest[0] = max(largest[0], found)

        watching = threading.Thread(target=watch)
        watching.start()
        said = refused(lambda: cache.fetch(cache.look()), "RepositoryMissing")
        over.set()
        watching.join()
    assert "serve it with git http-backend" in said
    assert largest[0] < 60 * MIB
    assert storage.size(tmp_path / "c.git") < MIB
    assert cache.holds(first)
    assert [one.path for one in cache.tree(first, "").blobs] == ["a.yaml"]


@pytest.mark.parametrize("inner", [[], [("100644", b"x.txt")]])
def test_folders_within_folders_without_end(remote: BareRemote, cache: Cache, inner: list[tuple[str, bytes]]) -> None:
    tree = remote.raw_tree([(mode, name, remote.blob("x")) for mode, name in inner])
    for _ in range(12):
        tree = remote.raw_tree([("40000", b"%d" % number, tree) for number in range(10)])
    commit = remote.commit_tree(tree)
    cache.fetch(commit)
    began = time.monotonic()
    found = cache.tree(commit, "")
    assert time.monotonic() - began < 15
    assert [str(one) for one in found.problems] == [
        ".: more than 32 MiB of names: set path under [source.git] in reconciler.toml to a folder of manifests alone"
    ]


def test_few_of_many_problems_are_told(remote: BareRemote, cache: Cache) -> None:
    link = remote.blob("x")
    commit = remote.commit_tree(remote.raw_tree([("120000", b"%04d.yaml" % number, link) for number in range(3000)]))
    cache.fetch(commit)
    found = cache.tree(commit, "").problems
    assert len(found) == 101
    assert str(found[0]) == ".: 2900 more files are not what they should be"
    assert str(found[100]).startswith("0099.yaml: symbolic links are not followed")


MISTAKEN = {"a folder as a file": ("100644", b"x.yaml", "tree"), "a commit as a file": ("100644", b"x.yaml", "commit")}


@pytest.mark.parametrize("case", MISTAKEN)
def test_an_entry_that_is_no_file_is_told(remote: BareRemote, cache: Cache, case: str) -> None:
    mode, name, kind = MISTAKEN[case]
    good = remote.commit({"ok.yaml": "1"})
    wrong = {"tree": remote.tree({"a": ("100644", remote.blob("a"))}), "commit": good}[kind]
    commit = remote.commit_tree(remote.raw_tree([(mode, name, wrong), ("100644", b"ok.yaml", remote.blob("1"))]))
    cache.fetch(commit)
    found = cache.tree(commit, "")
    assert [one.path for one in found.blobs] == ["ok.yaml"]
    assert [str(one) for one in found.problems] == [
        f"x.yaml: the revision calls it a file, but it is a {kind}: commit it anew, and check the repository (git fsck)"
    ]
    assert cache.holds(commit)


@pytest.mark.parametrize("call", ["holds", "revision"])
def test_a_command_out_of_time_has_not_ended_well(
    remote: BareRemote, following: Following, tmp_path: Path, call: str
) -> None:
    commit = remote.commit({"a.yaml": "1"})
    following().fetch(commit)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "git").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
    slow = Cache(tmp_path / "state/git/cache.git", Remote(remote.url, "refs/heads/main", timeout=0.2), environ)
    refused(lambda: getattr(slow, call)(commit), "TimedOut")
