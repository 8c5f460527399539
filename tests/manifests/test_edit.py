import os
import stat
from pathlib import Path

import pytest

from reconciler.core.model import Document
from reconciler.manifests.edit import document_texts, put, splice
from reconciler.manifests.parse import parse

HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\n"


def text(name: str, port: int = 8001) -> str:
    return f"{HEAD}metadata:\n  name: {name}\nspec:\n  model: x.gguf\n  port: {port}\n"


def document(written: str) -> Document:
    return parse(written, "-", lambda _: ()).documents[0]


def test_document_texts_come_with_the_lines_of_their_content() -> None:
    assert document_texts("# a\na: 1\n---\n---\n# b\n\nb: 2\n...\n") == [(2, "# a\na: 1\n"), (7, "# b\n\nb: 2\n")]


FILE = "# why\n\na: 1\n# tail\n---\n---\n--- {b: 2}\n--- # x\nc: 3"


@pytest.mark.parametrize(
    ("line", "replacement", "expected"),
    [
        (1, "new: 1\n", "# why\n\nnew: 1\n---\n---\n--- {b: 2}\n--- # x\nc: 3"),
        (3, "# own\nnew: 1", "# own\nnew: 1\n---\n---\n--- {b: 2}\n--- # x\nc: 3"),
        (7, "new: 1", "# why\n\na: 1\n# tail\n---\n---\n---\nnew: 1\n--- # x\nc: 3"),
        (9, "--- {new: 1}", "# why\n\na: 1\n# tail\n---\n---\n--- {b: 2}\n--- # x\n{new: 1}"),
        (9, "# own\n---\nnew: 1\n...\n", "# why\n\na: 1\n# tail\n---\n---\n--- {b: 2}\n--- # x\n# own\nnew: 1\n"),
        (9, "%YAML 1.2\n---\nnew: 1\n", "# why\n\na: 1\n# tail\n---\n---\n--- {b: 2}\n--- # x\nnew: 1\n"),
    ],
)
def test_splice_exchanges_one_document_and_leaves_the_rest(line: int, replacement: str, expected: str) -> None:
    assert splice(FILE, line, replacement) == expected


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [(10, "a: 1\n", "no document at line 10"), (1, "", "expected one document, got 0"), (1, "a\n---\nb\n", "got 2")],
)
def test_splice_refuses(line: int, replacement: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        splice(FILE, line, replacement)


def test_a_new_document_becomes_a_file_of_its_name(tmp_path: Path) -> None:
    path = put(tmp_path / "manifests", text("chat"), document(text("chat")))
    assert path == tmp_path / "manifests" / "chat.yaml"
    assert path.read_text() == text("chat")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~current_umask()
    assert [entry.name for entry in path.parent.iterdir()] == ["chat.yaml"]


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_file_of_that_name_with_other_content_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(text("other"))
    (tmp_path / "chat-2.yaml").write_text("")
    assert put(tmp_path, text("chat"), document(text("chat"))) == tmp_path / "chat-3.yaml"
    assert (tmp_path / "chat.yaml").read_text() == text("other")
    assert (tmp_path / "chat-2.yaml").read_text() == ""


def test_a_dangling_link_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").symlink_to("nowhere")
    assert put(tmp_path, text("chat"), document(text("chat"))) == tmp_path / "chat-2.yaml"


def test_a_document_is_exchanged_wherever_it_is_declared(tmp_path: Path) -> None:
    before = f"# mine\r\n{text('one')}--- # second\n\n# about chat\n{text('chat')}\n---\n{text('three')}# end"
    path = tmp_path / "sub" / "all.yml"
    path.parent.mkdir()
    path.write_bytes(before.encode())
    assert put(tmp_path, text("chat", 9000), document(text("chat", 9000))) == path
    new = f"# mine\r\n{text('one')}--- # second\n\n# about chat\n{text('chat', 9000)}---\n{text('three')}# end"
    assert path.read_bytes() == new.encode()
    assert not (tmp_path / "chat.yaml").exists()


@pytest.mark.parametrize("broken", [f"{HEAD}metadata: {{name: chat}}\nspec: [\n", text("chat").replace("port", "prt")])
def test_a_broken_document_of_that_name_is_exchanged_too(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"{text('one')}---\n{broken}---\n{text('two')}")
    put(tmp_path, text("chat"), document(text("chat")))
    assert path.read_text() == f"{text('one')}---\n{text('chat')}---\n{text('two')}"


def test_the_known_file_is_preferred(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(text("chat"))
    known = parse(text("chat"), "manifests/b.yaml", lambda _: ()).documents
    assert put(tmp_path, text("chat", 9000), document(text("chat")), known) == tmp_path / "b.yaml"
    assert (tmp_path / "a.yaml").read_text() == text("chat")


def test_mode_and_link_are_kept_and_the_file_is_a_new_one(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.yaml"
    target.parent.mkdir()
    target.write_text(text("chat"))
    target.chmod(0o640)
    root = tmp_path / "manifests"
    root.mkdir()
    (root / "chat.yaml").symlink_to(target)
    inode = target.stat().st_ino
    assert put(root, text("chat", 9000), document(text("chat", 9000))) == root / "chat.yaml"
    assert (root / "chat.yaml").is_symlink()
    assert target.read_text() == text("chat", 9000)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != inode
    assert [entry.name for entry in target.parent.iterdir()] == ["real.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(text("chat"))
    os.chown(path, 1234, 1235)
    put(tmp_path, text("chat", 9000), document(text("chat", 9000)))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_putting_what_is_there_already_touches_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, text("chat"), document(text("chat")))
    before = path.stat()
    assert put(tmp_path, text("chat"), document(text("chat"))) == path
    assert path.stat() == before


def test_a_byte_order_mark_and_other_ends_of_line_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + text("chat").encode() + b"---\r\nkind: Other\r\n")
    put(tmp_path, text("chat", 9000), document(text("chat", 9000)))
    assert path.read_bytes() == b"\xef\xbb\xbf" + text("chat", 9000).encode() + b"---\r\nkind: Other\r\n"


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"chat \xff")
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").symlink_to("nowhere")
    assert put(tmp_path, text("chat"), document(text("chat"))) == tmp_path / "chat.yaml"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, text("chat"), document(text("chat")))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        put(tmp_path, text("chat", 9000), document(text("chat", 9000)))
    assert path.read_text() == text("chat")
    assert [entry.name for entry in tmp_path.iterdir()] == ["chat.yaml"]
