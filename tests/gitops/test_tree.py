"""What is a manifest in a revision, and what is told of the rest: names and contents made to do harm."""

import pytest

from reconciler.gitops import objects
from reconciler.gitops.cache import Cache, Tree
from reconciler.gitops.git import GitError
from reconciler.manifests.parse import LARGEST
from tests.gitops.conftest import Following
from tests.gitops.remotes import BareRemote


def read(remote: BareRemote, cache: Cache, tree: str, folder: str = "") -> Tree:
    commit = remote.commit_tree(tree)
    cache.fetch(commit)
    found = cache.tree(commit, folder)
    for problem in found.problems:
        assert str(problem).isprintable()
    return found


def told(found: Tree) -> dict[str, str]:
    return {problem.file: problem.message for problem in found.problems}


@pytest.fixture
def blob(remote: BareRemote) -> str:
    return remote.blob("x: 1\n")


def test_only_what_a_manifests_folder_would_read(remote: BareRemote, cache: Cache, blob: str) -> None:
    taken = ("a.yaml", "b.yml", "sub/c.yaml", "sub/deep/d.yaml", "x.yaml.d/e.yml", "f.yaml", " .yaml", "-rf.yaml")
    left = (
        ".GIT/a.yaml",
        "README.md",
        "a.YAML",
        "a.yaml~",
        ".h.yaml",
        ".hidden/a.yaml",
        "#a#.yaml",
        "sub/.x/a.yaml",
        "old~/a.yaml",
    )
    entries = dict.fromkeys((*taken, *left), ("100644", blob)) | {"f.yaml": ("100755", blob)}
    found = read(remote, cache, remote.tree(entries))
    assert [one.path for one in found.blobs] == sorted(taken)
    assert not found.problems


def test_links_pointers_and_submodules(remote: BareRemote, cache: Cache, blob: str) -> None:
    pointer = remote.blob("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    tree = remote.tree(
        {
            "a.yaml": ("100644", blob),
            "out.yaml": ("120000", remote.blob("/etc/passwd")),
            "sub/up.yml": ("120000", remote.blob("../../../../etc/shadow")),
            ".hidden.yaml": ("120000", remote.blob("/etc/passwd")),
            "folder": ("120000", remote.blob("/etc")),
            "big.yaml": ("100644", pointer),
            "module": ("160000", "1" * 40),
            "module.yaml": ("160000", "1" * 40),
        }
    )
    found = read(remote, cache, tree)
    assert [one.path for one in found.blobs] == ["a.yaml"]
    assert list(told(found)) == ["big.yaml", "out.yaml", "sub/up.yml"]
    assert "LFS pointer" in told(found)["big.yaml"]
    assert told(found)["out.yaml"].startswith("symbolic links are not followed")
    assert told(found)["sub/up.yml"] == told(found)["out.yaml"]


@pytest.mark.parametrize("name", [b"..", b"."])
def test_names_that_lead_elsewhere(remote: BareRemote, cache: Cache, blob: str, name: bytes) -> None:
    inner = remote.tree({"a.yaml": ("100644", blob)})
    tree = remote.raw_tree([("40000", name, inner), ("100644", b"ok.yaml", blob)])
    found = read(remote, cache, tree)
    assert [one.path for one in found.blobs] == ["ok.yaml"]
    assert list(told(found).values()) == ["not a path that a manifest may have: rename it"]


def test_a_slash_in_a_name_leads_nowhere(remote: BareRemote, cache: Cache, blob: str) -> None:
    tree = remote.raw_tree([("100644", b"../../etc/a.yaml", blob), ("100644", b"/etc/b.yaml", blob)])
    found = read(remote, cache, tree)
    assert not found.blobs
    assert len(found.problems) == 2


def test_what_git_itself_refuses_is_told(remote: BareRemote, cache: Cache, blob: str) -> None:
    with pytest.raises(GitError) as refusal:
        read(remote, cache, remote.raw_tree([("100644", b"", blob)]))
    assert refusal.value.reason == "GitFailed"
    assert str(refusal.value).startswith(remote.url)


TWICE = {
    "same file": [("100644", b"a.yaml"), ("100644", b"a.yaml")],
    "file and folder": [("100644", b"a.yaml"), ("40000", b"a.yaml")],
    "folder and file": [("40000", b"a.yaml"), ("100644", b"a.yaml")],
    "same folder": [("40000", b"a"), ("40000", b"a")],
}


@pytest.mark.parametrize("case", TWICE)
def test_a_name_that_is_there_twice(remote: BareRemote, cache: Cache, blob: str, case: str) -> None:
    inner = remote.tree({"b.yaml": ("100644", blob)})
    raw = [(mode, name, inner if mode == "40000" else blob) for mode, name in TWICE[case]]
    found = read(remote, cache, remote.raw_tree(raw, in_order=False))
    assert len(found.problems) == 1
    assert "has this name" in found.problems[0].message
    assert len({one.path for one in found.blobs}) == len(found.blobs) == 1


ODD = {
    "newline\n.yaml": "newline\\n.yaml",
    "tab\t.yaml": "tab\\t.yaml",
    "\x1b[31mred.yaml": "\\x1b[31mred.yaml",
    "\x1b]0;title\x07.yaml": "\\x1b]0;title\\x07.yaml",
    "caf\udce9.yaml": "caf\\udce9.yaml",
    "\u202elmay.yaml": "\\u202elmay.yaml",
    "café ☕.yaml": "café ☕.yaml",
    "quote\"'`$(id).yaml": "quote\"'`$(id).yaml",
    "back\\slash.yaml": "back\\slash.yaml",
    ":(glob)*.yaml": ":(glob)*.yaml",
}


def test_odd_names_are_kept_and_shown_on_one_line(remote: BareRemote, cache: Cache, blob: str) -> None:
    found = read(remote, cache, remote.tree(dict.fromkeys(ODD, ("100644", blob))))
    assert {one.path for one in found.blobs} == set(ODD)
    links = read(remote, cache, remote.tree(dict.fromkeys(ODD, ("120000", blob))))
    assert set(told(links)) == set(ODD.values())


def test_odd_folders_can_be_followed(remote: BareRemote, cache: Cache, blob: str) -> None:
    for folder in ("caf\udce9\n", ":(top)x", "-x", "*", "a b", "deep/er", ".hidden"):
        found = read(remote, cache, remote.tree({f"{folder}/a.yaml": ("100644", blob)}), folder)
        assert [one.path for one in found.blobs] == ["a.yaml"], folder


@pytest.mark.parametrize("size", [255, 256, 4000])
def test_long_names(remote: BareRemote, cache: Cache, blob: str, size: int) -> None:
    found = read(remote, cache, remote.tree({f"{'n' * (size - 5)}.yaml": ("100644", blob)}))
    assert bool(found.blobs) == (size <= 255)
    assert all("the name is too long" in message for message in told(found).values())


def test_deep_folders(remote: BareRemote, cache: Cache, blob: str) -> None:
    found = read(remote, cache, remote.tree({f"{'d/' * 600}a.yaml": ("100644", blob)}))
    assert "the name is too long" in found.problems[0].message


def test_a_folder_that_is_missing_or_none(remote: BareRemote, cache: Cache, blob: str) -> None:
    entries = {"file": ("100644", blob), "link": ("120000", remote.blob("/etc")), "a/b.yaml": ("100644", blob)}
    for folder, what in {
        "nope": "there is no such folder",
        "a/nope": "there is no such folder",
        "file": "this is no folder",
        "link": "this is no folder",
        "link/inner": "there is no such folder",
        "\x1b[31m": "there is no such folder",
    }.items():
        found = read(remote, cache, remote.tree(entries), folder)
        assert not found.blobs
        assert what in found.problems[0].message, folder


def test_a_revision_without_manifests_is_empty(remote: BareRemote, cache: Cache, blob: str) -> None:
    assert read(remote, cache, remote.tree({"README": ("100644", blob)})) == Tree()
    assert read(remote, cache, remote.tree({})) == Tree()


def test_a_manifest_that_is_too_large_is_not_read(remote: BareRemote, cache: Cache) -> None:
    entries = {
        "most.yaml": ("100644", remote.blob("#" * LARGEST)),
        "more.yaml": ("100644", remote.blob("#" * (LARGEST + 1))),
        "huge.bin": ("100644", remote.blob(b"\0" * (9 * LARGEST))),
    }
    found = read(remote, cache, remote.tree(entries))
    assert [(one.path, len(one.content)) for one in found.blobs] == [("most.yaml", LARGEST)]
    assert "larger than 1 MiB" in told(found)["more.yaml"]


def test_all_manifests_together_are_limited(remote: BareRemote, following: Following) -> None:
    cache = following(most_bytes=3 * LARGEST)
    entries = {f"{number}.yaml": ("100644", remote.blob(str(number) * LARGEST)) for number in range(4)}
    found = read(remote, cache, remote.tree(entries))
    assert not found.blobs
    assert "larger than 3 MiB" in told(found)["."]
    del entries["0.yaml"]
    assert len(read(remote, cache, remote.tree(entries)).blobs) == 3


def test_many_manifests_are_read_and_too_many_refused(
    remote: BareRemote, cache: Cache, blob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"{number % 9}/{number}.yaml": ("100644", remote.blob(f"{number}")) for number in range(300)}
    found = read(remote, cache, remote.tree(entries))
    assert {one.path: one.content.decode() for one in found.blobs} == {
        f"{number % 9}/{number}.yaml": f"{number}" for number in range(300)
    }
    monkeypatch.setattr(objects, "MOST_FILES", 299)
    found = read(remote, cache, remote.tree(entries))
    assert not found.blobs
    assert "more than 299 manifests" in told(found)["."]


def test_contents_are_read_in_several_batches(
    remote: BareRemote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_BATCH", 100)
    wanted = {f"{number}.yaml": b"\n\0x" * number for number in range(40)}
    found = read(remote, cache, remote.tree({path: ("100644", remote.blob(text)) for path, text in wanted.items()}))
    assert {one.path: one.content for one in found.blobs} == wanted


def test_a_tree_that_unfolds_without_end_is_refused(remote: BareRemote, following: Following, blob: str) -> None:
    tree = remote.tree({f"{letter}.yaml": ("100644", blob) for letter in "abcdefghij"})
    for _ in range(9):
        tree = remote.tree(dict.fromkeys("abcdefghij", ("40000", tree)))
    cache = following(most_bytes=1024 * 1024)
    found = read(remote, cache, tree)
    assert not found.blobs
    assert found.problems[0].message.startswith("more than 32 MiB of names: set path under [source.git]")


SUBJECTS = {
    b"Plain": "Plain",
    b"\n\n  Late  \nbody": "Late",
    b"": "",
    b"\x1b[31mRed\x1b[0m\x07": "[31mRed [0m",
    b"caf\xc3\xa9 \xe2\x80\xaegnp": "café gnp",
    b"x" * 5000: "x" * 199 + "…",
    b"\r\nSecond\rthird": "Second",
}


@pytest.mark.parametrize(("message", "subject"), SUBJECTS.items())
def test_subjects_are_one_printable_line(remote: BareRemote, cache: Cache, message: bytes, subject: str) -> None:
    commit = remote.commit({"a.yaml": "1"}, message.decode("utf-8", "surrogateescape"))
    cache.fetch(commit)
    assert cache.revision(commit).subject == subject


HEADERS = {
    b"committer A <a> 1700000000 +0000\nencoding ISO-8859-1": ("caf\xe9", 1_700_000_000.0),
    b"committer A <a> 1700000000 +0000\nencoding unicode_escape": ("caf\ufffd", 1_700_000_000.0),
    b"committer A <a> 1700000000 +0000\nencoding ISO-8859-99": ("caf\ufffd", 1_700_000_000.0),
    b"committer A <a> 99999999999999999999 +0000": ("caf\ufffd", 0.0),
    b"committer A <a> 999999999999 +0000": ("caf\ufffd", 253402300799.0),
    b"committer A <a> -5 +0000": ("caf\ufffd", 0.0),
    b"committer": ("caf\ufffd", 0.0),
    b"committer A <> 7 > 8 +0000": ("caf\ufffd", 8.0),
}


@pytest.mark.parametrize(("header", "read_as"), HEADERS.items())
def test_odd_headers_of_a_commit(remote: BareRemote, cache: Cache, header: bytes, read_as: tuple[str, float]) -> None:
    tree = remote.tree({"a.yaml": ("100644", remote.blob("1"))})
    raw = b"tree " + tree.encode() + b"\nauthor A <a> 1 +0000\n" + header + b"\n\ncaf\xe9\n"
    commit = remote.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw).decode().strip()
    remote.git("update-ref", "refs/heads/main", commit)
    cache.fetch(commit)
    revision = cache.revision(commit)
    assert (revision.subject, revision.committed_at) == read_as
