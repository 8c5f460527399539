"""What a revision declares, and when it may not be put in force."""

import os
from pathlib import Path

import pytest

from reconciler.controller.preview import check_spec
from reconciler.core.accept import Beside, Seen
from reconciler.core.model import Document
from reconciler.core.source import GIT
from reconciler.core.spec import ServerSpec
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Remote
from reconciler.gitops.reading import Declared, Reader, refusals
from tests.core.declaring import profile
from tests.gitops.remotes import BareRemote


def manifest(name: str, **spec: object) -> str:
    lines = "".join(f"  {key}: {value}\n" for key, value in {"model": "m.gguf", **spec}.items())
    return f"apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata:\n  name: {name}\nspec:\n{lines}"


def local(name: str, **spec: object) -> Document:
    return Document("LlamaServer", name, f"manifests/{name}.yaml", ServerSpec.model_validate({"model": "x", **spec}))


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    return BareRemote(tmp_path / "remote.git")


@pytest.fixture
def reader(remote: BareRemote, tmp_path: Path) -> Reader:
    cache = Cache(tmp_path / "cache.git", Remote(remote.url, "refs/heads/main"), os.environ)
    return Reader(cache, "home", check_spec)


def read(reader: Reader, commit: str) -> Declared:
    reader.cache.fetch(commit)
    return reader.read(commit)


def test_documents_bear_their_origin_and_their_place(remote: BareRemote, reader: Reader) -> None:
    files = {"home/a.yaml": manifest("a"), "home/sub/b.yml": f"# two\n---\n{manifest('b')}", "other/c.yaml": "a: ["}
    declared = read(reader, remote.commit(files, subject="Two servers"))
    assert [(one.name, one.place) for one in declared.documents] == [
        ("a", ("git:home/a.yaml", 1, GIT)),
        ("b", ("git:home/sub/b.yml", 3, GIT)),
    ]
    assert declared.problems == ()
    assert declared.revision.subject == "Two servers"


def test_what_did_not_change_is_the_same_object(remote: BareRemote, reader: Reader) -> None:
    first = read(reader, remote.commit({"home/a.yaml": manifest("a"), "home/b.yaml": manifest("b")}))
    second = read(reader, remote.commit({"home/b.yaml": manifest("b", ctx=5)}))
    assert second.documents[0] is first.documents[0]
    assert second.documents[1] is not first.documents[1]


def test_every_problem_has_its_place(remote: BareRemote, reader: Reader) -> None:
    files = {"home/a.yaml": manifest("a", ctx="many"), "home/b.yaml": "a: [", "home/c.yaml": manifest("c")}
    found = refusals(read(reader, remote.commit(files)), Seen(), {})
    assert [(one.file, one.line) for one in found] == [("git:home/a.yaml", 7), ("git:home/b.yaml", 1)]


def test_a_revision_of_too_many_documents_is_refused(remote: BareRemote, reader: Reader) -> None:
    files = {f"home/{part}.yaml": "---\n".join(manifest(f"s{part}-{n}") for n in range(700)) for part in range(3)}
    declared = read(reader, remote.commit(files))
    assert [str(one) for one in refusals(declared, Seen(), {})] == [
        "git:home/: 2100 documents, and a revision may hold 2000; name a folder with fewer"
    ]


def test_an_odd_name_stays_on_its_line(remote: BareRemote, reader: Reader) -> None:
    declared = read(reader, remote.commit({"home/a\n\x1b[31m.yaml": manifest("a")}))
    assert declared.documents[0].file == "git:home/a\\n\\x1b[31m.yaml"


def test_names_and_ports_are_judged_with_the_manifests_folder(remote: BareRemote, reader: Reader) -> None:
    declared = read(reader, remote.commit({"home/a.yaml": manifest("a"), "home/b.yaml": manifest("b", port=8001)}))
    assert refusals(declared, Seen((local("other"),)), {}) == ()
    twice = refusals(declared, Seen((local("a"),)), {})
    assert [one.file for one in twice] == ["git:home/a.yaml"]
    assert "manifests/a.yaml" in twice[0].message
    clash = refusals(declared, Seen((local("c", port=8001),)), {})
    assert [(one.file, one.field) for one in clash] == [("git:home/b.yaml", "spec.port")]


def test_a_revision_is_not_refused_for_what_came_to_be_wrong_without_it(remote: BareRemote, reader: Reader) -> None:
    before = read(reader, remote.commit({"home/a.yaml": manifest("a", port=8001)}))
    accepted = {"a": before.documents[0]}
    now = read(reader, remote.commit({"home/b.yaml": manifest("b")}))
    assert refusals(now, Seen((local("a"), local("c", port=8001))), accepted) == ()
    worse = read(reader, remote.commit({"home/a.yaml": manifest("a", port=8001, ctx=5)}))
    assert len(refusals(worse, Seen((local("a"),)), accepted)) == 1


def test_a_name_taken_over_from_the_manifests_folder_is_new(remote: BareRemote, reader: Reader) -> None:
    declared = read(reader, remote.commit({"home/a.yaml": manifest("a")}))
    mine = Document("LlamaServer", "a", "manifests/a.yaml", declared.documents[0].spec)
    assert len(refusals(declared, Seen((mine,)), {"a": mine})) == 1
    assert refusals(declared, Seen(), {"a": mine}) == ()


def test_a_renamed_server_may_keep_its_port(remote: BareRemote, reader: Reader) -> None:
    before = read(reader, remote.commit({"home/a.yaml": manifest("a", port=8001)}))
    after = read(reader, remote.commit({"home/a.yaml": None, "home/b.yaml": manifest("b", port=8001)}))
    assert refusals(after, Seen(), {"a": before.documents[0]}) == ()


# ---------------------------------------------------------------- other kinds


def other(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: llama.reconciler/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def test_other_kinds_come_from_git_too(remote: BareRemote, reader: Reader) -> None:
    files = {"home/a.yaml": manifest("a"), "home/d.yaml": other("LlamaServerDefaults", "d", "{template: {ctx: 9}}")}
    declared = read(reader, remote.commit(files))
    assert [(one.key, one.origin, one.file) for one in declared.others] == [
        ("LlamaServerDefaults/d", "git", "git:home/d.yaml")
    ]
    assert refusals(declared, Seen(), {}) == ()


def test_a_revision_with_a_profile_that_may_not_be_in_force_is_refused(remote: BareRemote, reader: Reader) -> None:
    files = {"home/a.yaml": manifest("a"), "home/p.yaml": other("Profile", "p", "{servers: [b], active: true}")}
    declared = read(reader, remote.commit(files))
    assert [str(one) for one in refusals(declared, Seen(), {})] == [
        "git:home/p.yaml:4:17: spec.servers: no manifest declares 'b': declare it, or take the name out"
    ]
    assert refusals(declared, Seen((local("b"),)), {}) == ()


def test_a_profile_beside_it_that_is_active_too_counts_where_the_revision_is_new(
    remote: BareRemote, reader: Reader
) -> None:
    mine = profile("mine", servers=["b"], active=True)
    files = {"home/a.yaml": manifest("a"), "home/p.yaml": other("Profile", "p", "{servers: [a], active: true}")}
    declared = read(reader, remote.commit(files))
    (refused,) = refusals(declared, Seen((local("b"),), others=(mine,)), {})
    assert "mine (mine.yaml:1) is active too" in refused.message
    accepted = {one.key: one for one in declared.others}
    assert refusals(declared, Seen((local("b"),), others=(mine,)), {}, Beside(accepted)) == ()
