"""Whole files: a document changed in its place, found, taken out, and written."""

import os
import stat
from pathlib import Path

import pytest

from reconciler.manifests import edit
from reconciler.manifests.changing import (
    REMOVED,
    ChangedMeanwhileError,
    EditError,
    find_document,
    remove_document,
    respec,
    write,
)
from reconciler.manifests.parse import parse

KIND = "LlamaServer"


def doc(name: str, more: str = "") -> str:
    return f"kind: LlamaServer\nmetadata: {{name: {name}}}\nspec:\n  ctx: 1\n{more}"


def test_one_document_of_many_is_changed() -> None:
    file = f"\ufeff# head\n--- # a\n{doc('a')}...\n%YAML 1.2\n---\n# b\n{doc('b', '# end')}\n--- {{kind: Profile}}\n"
    changes = [(("spec", "ctx"), 2), (("spec", "threads"), 4), (("metadata", "labels", "x"), "y")]
    assert respec(file, KIND, "b", changes) == file.replace(
        doc("b", "# end"),
        'kind: LlamaServer\nmetadata: {name: b, labels: {x: "y"}}\nspec:\n  ctx: 2\n  threads: 4\n# end',
    )
    assert respec(file, KIND, "b", []) == file
    assert respec(file, KIND, "b", [(("spec", "ctx"), 9), (("spec", "ctx"), 1)]) == file


@pytest.mark.parametrize(
    ("file", "name", "message", "line"),
    [
        (doc("a"), "b", "LlamaServer 'b' is not declared here", 0),
        (f"{doc('a')}---\n{doc('a')}", "a", "is declared more than once in this file", 6),
        (f"{doc('b')}---\n# x\n{doc('a', '  ctx: 2')}", "a", "the key 'ctx' is here twice", 11),
        (f"{doc('b')}---\n{doc('a')}bad: [", "a", "not valid YAML", 10),
        (f"{doc('b')}---\n{doc('a')}bad: \x07", "a", "control character", 10),
        (f"{doc('b')}---\n--- # x\n{doc('a')}", "a", "a manifest cannot hold <object", 7),
    ],
)
def test_refused_with_the_place_in_the_file(file: str, name: str, message: str, line: int) -> None:
    with pytest.raises(EditError, match=message) as refused:
        respec(file, KIND, name, [(("spec", "threads"), object())])
    assert refused.value.line == line
    assert refused.value.remedy


A, B, C = doc("a"), doc("b"), doc("c")
WITHOUT: list[tuple[str, str | None]] = [
    # The only one: nothing is left but what was about it.
    (B, None),
    (f"# head\n\n# about\n{B}\n# end\n", None),
    (f"# head\n---\n{B}", None),
    (f"\ufeff%YAML 1.2\n---\n{B}...\n", None),
    (f"---\n{B}---\n---\n", None),
    # A document that was commented out is worth its file.
    (f"{B}---\n# kind: LlamaServer\n", "# kind: LlamaServer\n"),
    (f"---\n{B}---\n# kind: LlamaServer\n", "---\n# kind: LlamaServer\n"),
    (f"# x\n---\n# kind: LlamaServer\n---\n{B}", "# x\n---\n# kind: LlamaServer\n"),
    # One of several.
    (f"{A}---\n{B}", A),
    (f"{A}---\n{B}...\n", f"{A}...\n"),
    (f"{B}---\n{C}", C),
    (f"---\n{B}---\n{C}", f"---\n{C}"),
    (f"# head\n---\n{B}---\n{C}", f"# head\n---\n{C}"),
    (f"# head\n\n# about\n{B}---\n{C}", f"# head\n\n{C}"),
    (f"# about\n{B}---\n{C}", C),
    (f"{B}--- # c\n{C}", f"--- # c\n{C}"),
    (f"{B}--- {{kind: Other}}\n", "--- {kind: Other}\n"),
    (f"{B}...\n---\n{C}", f"---\n{C}"),
    (f"{A}# a\n--- # b\n# b\n{B}# b\n---\n{C}", f"{A}# a\n---\n{C}"),
    (f"{A}---\n{B}\n# about c\n---\n{C}", f"{A}\n# about c\n---\n{C}"),
    (f"{A}...\n%YAML 1.2\n---\n{B}---\n{C}", f"{A}...\n%YAML 1.2\n---\n{C}"),
    (f"{A}...\n# x\n%YAML 1.2\n---\n{B}", f"{A}...\n# x\n"),
    ("--- {kind: Other}\n--- {kind: LlamaServer, metadata: {name: b}}\n---\n" + C, "--- {kind: Other}\n---\n" + C),
    (f"{A}\r\n---\r\n{B}", f"{A}\r\n"),
    (f"\ufeff{B}---\n{C}", f"\ufeff{C}"),
]


@pytest.mark.parametrize(("file", "expected"), WITHOUT)
def test_a_document_is_taken_out(file: str, expected: str | None) -> None:
    assert remove_document(file, KIND, "b") == expected


@pytest.mark.parametrize(("file", "expected"), WITHOUT)
def test_the_others_are_read_as_before(file: str, expected: str | None) -> None:
    def others(text: str) -> list[tuple[str, str]]:
        found = parse(text, "-", lambda _: ()).problems
        return [(problem.server, problem.message) for problem in found if problem.server != "b"]

    assert others(expected or "") == others(file)


def test_a_broken_document_is_taken_out_too() -> None:
    assert remove_document(f"{A}---\n{B}bad: [\n---\n{C}", KIND, "b") == f"{A}---\n{C}"


def test_a_document_is_found_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "all.yml"
    path.parent.mkdir()
    path.write_text(f"# one\n---\n{A}---\n\n{B}")
    (tmp_path / "c.yaml").write_text(doc("c", "b: {a: b}\n"))
    (tmp_path / "other.yaml").write_text("kind: Profile\nmetadata: {name: b}\n")
    assert find_document(tmp_path, KIND, "b") == (path, 9)
    assert find_document(tmp_path, "Profile", "b") == (tmp_path / "other.yaml", 1)


def test_what_is_not_there_and_what_is_there_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(EditError, match="the folder is missing"):
        find_document(tmp_path / "none", KIND, "a")
    with pytest.raises(EditError, match=r"no file below .* declares LlamaServer 'a'"):
        find_document(tmp_path, KIND, "a")
    (tmp_path / "1.yaml").write_text(A)
    (tmp_path / "2.yaml").write_text(f"{B}---\n{A}")
    with pytest.raises(EditError, match=r"declared more than once: .*1.yaml:1 and .*2.yaml:6"):
        find_document(tmp_path, KIND, "a")


def test_a_file_is_exchanged_whole_with_mode_and_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.txt", tmp_path / "a.yaml"
    target.write_bytes(b"old\r\n")
    target.chmod(0o640)
    link.symlink_to(target)
    inode = target.stat().st_ino
    write(link, b"old\r\n", "new é\r\n")
    assert target.read_bytes() == "new é\r\n".encode()
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != inode
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.yaml", "real.txt"]


def test_without_a_change_the_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("same")
    before = path.stat()
    write(path, b"same", "same")
    assert path.stat() == before


def test_a_file_is_removed_and_what_a_link_leads_to_is_not(tmp_path: Path) -> None:
    target, link = tmp_path / "real.txt", tmp_path / "a.yaml"
    target.write_text("old")
    link.symlink_to(target)
    write(link, b"old", None)
    assert [one.name for one in tmp_path.iterdir()] == ["real.txt"]


@pytest.mark.parametrize("after", ["new", None])
def test_what_was_changed_meanwhile_is_left(tmp_path: Path, after: str | None) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("theirs")
    with pytest.raises(ChangedMeanwhileError, match="was changed meanwhile, and is left as it is"):
        write(path, b"old", after)
    assert path.read_text() == "theirs"
    path.unlink()
    with pytest.raises(ChangedMeanwhileError, match="was removed meanwhile"):
        write(path, b"old", after)
    assert not list(tmp_path.iterdir())


def test_a_change_at_the_last_moment_is_seen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")
    durable = os.fsync

    def meanwhile(descriptor: int) -> None:
        durable(descriptor)
        path.write_text("theirs")

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(ChangedMeanwhileError):
        write(path, b"old", "new")
    assert path.read_text() == "theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]


def test_the_parts_agree(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(f"{A}---\n{B}")
    found, line = find_document(tmp_path, KIND, "b")
    before = found.read_bytes()
    write(found, before, respec(before.decode(), KIND, "b", [(("spec", "ctx"), REMOVED), (("spec", "port"), 8001)]))
    assert line == 6
    assert path.read_text() == f"{A}---\n{B}".replace(B, B.replace("ctx: 1", "port: 8001"))
    assert next(text for _, text in edit.document_texts(path.read_text())) == A
