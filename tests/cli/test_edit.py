"""`edit`: the user's editor over one document; nothing that was typed is lost."""

import os
import re
import signal
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Call, Called
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling
from tests.cli.test_diff_and_validate import answer, change, manifest
from tests.cli.test_set import TEXT

OTHER = manifest("other", "ctx: 7")


@pytest.fixture
def coder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two documents; nothing else is in the folder for temporary files."""
    (root / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))
    path = root / "manifests" / "all.yaml"
    path.parent.mkdir()
    path.write_text(f"{OTHER}---\n{TEXT}")
    return path


class Editor:
    """Programs that stand in for the user's editor, one for each time that it is opened."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.monkeypatch = monkeypatch

    def does(self, *steps: str) -> None:
        """Each step is Python that changes `text`, and may look at `path`."""
        script = self.root / "editor.py"
        cases = "".join(
            f"if turn == {turn}:\n" + "".join(f"    {line}\n" for line in step.splitlines())
            for turn, step in enumerate(steps)
        )
        script.write_text(
            "import pathlib, sys\n"
            "path = pathlib.Path(sys.argv[1])\n"
            f"shown = pathlib.Path({str(self.root / 'shown')!r})\n"
            "shown.mkdir(exist_ok=True)\n"
            "turn = len(list(shown.iterdir()))\n"
            "text = path.read_bytes().decode()\n"
            "(shown / str(turn)).write_bytes(text.encode())\n"
            "(shown / str(turn)).chmod(path.stat().st_mode & 0o777)\n"
            f"{cases}"
            "path.write_bytes(text.encode())\n"
        )
        self.monkeypatch.delenv("VISUAL", raising=False)
        self.monkeypatch.setenv("EDITOR", f"{sys.executable} '{script}'")

    def shown(self, turn: int) -> str:
        """What it was opened on."""
        return (self.root / "shown" / str(turn)).read_bytes().decode()

    @property
    def turns(self) -> int:
        """How often it was opened."""
        return len(list((self.root / "shown").iterdir()))


@pytest.fixture
def editor(root: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    return Editor(root, monkeypatch)


def kept(called: Called) -> str:
    """The text in the file that a message names."""
    found = re.search(r"reconciler apply -f (\S+)", called.err)
    assert found, called.err
    return Path(found[1]).read_text()


def test_a_document_is_edited_and_all_else_stays(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("text = text.replace('ctx: 4096', 'ctx: 8192')")
    coder.chmod(0o640)
    code, out, err = call("edit", "server", "coder")
    assert (code, err) == (0, "no controller is running: put it in force with: reconciler apply coder\n")
    assert "+ coder  start: new" in out
    assert coder.read_text() == f"{OTHER}---\n{TEXT}".replace("ctx: 4096", "ctx: 8192")
    assert coder.stat().st_mode & 0o777 == 0o640
    first, second, text = editor.shown(0).split("\n", 2)
    assert first == "#| server/coder of manifests/all.yaml: save it to put it in force."
    assert second == "#| Leave it as it is, or empty, to cancel."
    assert text == TEXT
    assert (editor.root / "shown" / "0").stat().st_mode & 0o777 == 0o600
    assert list((editor.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("step", ["pass", "text = ''", "text = '\\n \\n'", "text = text.replace('#|', '#|#')"])
def test_unchanged_or_emptied_it_is_cancelled(coder: Path, editor: Editor, call: Call, step: str) -> None:
    editor.does(step)
    before = coder.read_bytes()
    assert call("edit", "coder") == (0, "edit cancelled: nothing was changed\n", "")
    assert coder.read_bytes() == before
    assert list((editor.root / "tmp").iterdir()) == []


def test_on_an_error_it_opens_again_with_the_error_above(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("text = text.replace('ctx: 4096', 'cxt: 8192')", "text = text.replace('cxt: 8192', 'ctx: 16')")
    assert call("edit", "coder").code == 0
    assert "  ctx: 16 " in coder.read_text()
    assert "#|" not in coder.read_text()
    head, *lines = editor.shown(1).splitlines()
    assert head == "#| server/coder of manifests/all.yaml: not put in force, for:"
    named = re.match(r"#\| line (\d+), column 3: spec.cxt: unknown field, did you mean 'ctx'\?", lines[0])
    assert named
    assert editor.shown(1).splitlines()[int(named[1]) - 1].startswith("  cxt: 8192")


def test_the_same_error_again_gives_up_and_keeps_the_text(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("text = text.replace('ctx: 4096', 'cxt: 1')", "pass")
    before = coder.read_bytes()
    called = call("edit", "coder")
    assert (called.code, called.out, editor.turns) == (2, "", 2)
    assert "unknown field" in called.err
    assert kept(called) == TEXT.replace("ctx: 4096", "cxt: 1")
    assert "\nhint: what you wrote is kept: correct it, then put it in force with: reconciler apply -f " in called.err
    assert coder.read_bytes() == before


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("text = text.replace('name: coder', 'name: other2')", "LlamaServer 'other2': kind and name cannot change"),
        ("text += '---\\n' + text.replace('coder', 'b')", "expected one document, got 2"),
        ("text = '# only a comment\\n'", "expected one document, got 0"),
        ("text += '  - no'", "not valid YAML: "),
        ("text = text.replace('ctx: 4096', 'port: 8080')", "8080"),
    ],
)
def test_what_cannot_take_its_place_is_told_in_the_editor(
    coder: Path, editor: Editor, call: Call, step: str, message: str
) -> None:
    (coder.parent / "chat.yaml").write_text(manifest("chat", "port: 8080"))
    before = coder.read_bytes()
    editor.does(step, "text = ''")
    assert call("edit", "coder").out == "edit cancelled: nothing was changed\n"
    head = [line for line in editor.shown(1).splitlines() if line.startswith("#| ")]
    assert any(message in line for line in head), head
    assert coder.read_bytes() == before


def test_a_file_changed_meanwhile_is_told_and_left(coder: Path, editor: Editor, call: Call) -> None:
    editor.does(f"text = text.replace('4096', '1')\npathlib.Path({str(coder)!r}).write_text('# mine\\n')")
    called = call("edit", "coder")
    assert called.code == 1
    assert called.err.startswith("error: manifests/all.yaml has changed meanwhile; nothing was changed\n")
    assert coder.read_text() == "# mine\n"
    assert "\nhint: what you wrote is kept: put it in force with: reconciler apply -f " in called.err
    assert kept(called) == TEXT.replace("4096", "1")


@pytest.mark.parametrize("what", ["unlink()", "rename(path.parent / 'elsewhere')"])
def test_a_file_that_is_gone_meanwhile_keeps_the_text(coder: Path, editor: Editor, call: Call, what: str) -> None:
    editor.does(f"text = text.replace('4096', '1')\npathlib.Path({str(coder)!r}).{what}")
    called = call("edit", "coder")
    assert (called.code, kept(called)) == (1, TEXT.replace("4096", "1"))
    assert called.err.startswith("error: manifests/all.yaml: No such file or directory\n")


def test_text_in_another_encoding_is_kept_as_it_is(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("path.write_bytes((text + '# \xfcber\\n').encode('latin-1'))\nsys.exit(0)")
    called = call("edit", "coder")
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error: what the editor left is not UTF-8: save it in that encoding; ")
    assert "kept: correct it, then put it in force with: " in called.err
    found = re.search(r"apply -f (\S+)", called.err)
    assert found
    assert Path(found[1]).read_bytes().endswith(TEXT.encode() + b"# \xfcber\n")


@pytest.mark.parametrize("is_silent", [True, False], ids=["a controller that hangs", "Ctrl-C"])
def test_trouble_while_it_is_checked_keeps_the_text(
    controller: FakeController,
    coder: Path,
    editor: Editor,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    is_silent: bool,
) -> None:
    going_on = threading.Event()

    def answer_late(_body: object) -> tuple[int, object]:
        if not is_silent:
            os.kill(os.getpid(), signal.SIGINT)
        going_on.wait(10)
        return 500, {}

    controller.on("/preview", answer_late)
    monkeypatch.setattr("reconciler.cli.controller.PREVIEW_TIMEOUT", 0.2 if is_silent else 5.0)
    editor.does("text = text.replace('4096', '1')")
    before = coder.read_bytes()
    called = call("edit", "coder")
    going_on.set()
    told = "the controller has not answered within 200ms" if is_silent else "interrupted"
    assert called.err.startswith(f"error: {told}; nothing was changed\n")
    assert (called.code, kept(called)) == (1 if is_silent else 130, TEXT.replace("4096", "1"))
    assert coder.read_bytes() == before
    assert len(list((editor.root / "tmp").iterdir())) == 1


def test_what_the_editor_left_is_there_until_the_edit_is_in_place(
    coder: Path, editor: Editor, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, it would be all that there is."""
    there: list[str] = []

    def look(*_arguments: object, **_more: object) -> int:
        there.extend(path.read_text() for path in (editor.root / "tmp").iterdir())
        return 0

    monkeypatch.setattr("reconciler.cli.editor.apply_edit", look)
    editor.does("text = text.replace('4096', '1')")
    assert call("edit", "coder").code == 0
    assert [text.endswith(TEXT.replace("4096", "1")) for text in there] == [True]
    assert list((editor.root / "tmp").iterdir()) == []


def test_an_editor_that_leaves_a_folder(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("path.unlink()\npath.mkdir()\nsys.exit(0)")
    before = coder.read_bytes()
    code, _, err = call("edit", "coder")
    assert (code, coder.read_bytes()) == (1, before)
    assert re.match(
        r"error: what the editor left cannot be read: \S+: Is a directory; nothing was changed\nhint: ", err
    )


@pytest.mark.parametrize(
    "step",
    ["pass", "text = text.replace('#| L', '#|  L')", "text = text.partition('\\n')[2]"],
    ids=["", "other", "gone"],
)
def test_comments_like_the_ones_above_are_the_users(coder: Path, editor: Editor, call: Call, step: str) -> None:
    coder.write_text(f"#| mine\n#|mine too\n{TEXT}#| at the end\n")
    before = coder.read_bytes()
    editor.does(step)
    assert call("edit", "coder") == (0, "edit cancelled: nothing was changed\n", "")
    assert coder.read_bytes() == before


def test_a_file_that_cannot_be_written_keeps_the_text(
    coder: Path, editor: Editor, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(30, "Read-only file system", str(coder))

    monkeypatch.setattr("reconciler.manifests.changing.replace_file", refuse)
    # What is left is part of what stands there anyway.
    editor.does("text = text.partition('  flags:')[0]")
    called = call("edit", "coder")
    assert called.code == 1
    assert "manifests/all.yaml cannot be written: Read-only file system" in called.err
    assert kept(called) == TEXT.partition("  flags:")[0]


def test_what_is_written_already_is_not_kept_a_second_time(
    filling: Filling, controller: FakeController, coder: Path, editor: Editor, call: Call
) -> None:
    filling.ready("coder")
    controller.on("/reconcile", lambda _body: (500, {"error": "the controller failed"}))
    editor.does("text = text.replace('4096', '1')")
    code, _, err = call("edit", "coder")
    assert code == 1
    assert err.startswith("error: the controller failed\n")
    assert "kept" not in err
    assert "ctx: 1 " in coder.read_text()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "the editor 'false' ended with exit code 1; nothing was changed"),
        ("/nowhere/ed", "the editor '/nowhere/ed' cannot be run: No such file or directory"),
        ("'", "the editor ''' cannot be run: "),
    ],
)
def test_an_editor_that_fails_changes_nothing(
    coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    monkeypatch.setenv("VISUAL", command)
    before = coder.read_bytes()
    code, _, err = call("edit", "coder")
    assert code == 1
    assert err.startswith(f"error: {message}")
    assert coder.read_bytes() == before


def test_no_editor_and_no_terminal(coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = call("edit", "coder")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no terminal for vi\nhint: name a program in the variable EDITOR; ")


def test_an_editor_that_fails_after_saving_keeps_the_text(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("text = text.replace('4096', '1')\npath.write_text(text)\nsys.exit(3)")
    called = call("edit", "coder")
    assert called.code == 1
    assert "ended with exit code 3" in called.err
    assert kept(called) == TEXT.replace("4096", "1")


@pytest.mark.parametrize(
    "before",
    [
        f"\ufeff{TEXT}",
        TEXT.replace("\n", "\r\n"),
        TEXT.rstrip("\n"),
        f"--- # first\n{TEXT}...\n---\n{OTHER}",
        f"{TEXT}---\n{OTHER}",
        f"%YAML 1.2\n---\n{TEXT}",
    ],
    ids=["mark", "carriage returns", "no last line break", "end marker", "first", "directive"],
)
def test_every_other_byte_stays(coder: Path, editor: Editor, call: Call, before: str) -> None:
    coder.write_bytes(before.encode())
    editor.does("text = text.replace('4096', '8192').rstrip('\\r\\n')")
    assert call("edit", "coder").code == 0
    assert coder.read_bytes().decode().rstrip("\r\n") == before.replace("4096", "8192").rstrip("\r\n")


def test_a_dry_run_only_tells(coder: Path, editor: Editor, call: Call) -> None:
    editor.does("text = text.replace('4096', '8192')")
    before = coder.read_bytes()
    assert call("edit", "coder", "--dry-run").out.endswith("dry run: nothing was written\n")
    assert coder.read_bytes() == before


def test_a_comment_is_an_edit_that_changes_nothing(
    filling: Filling, controller: FakeController, coder: Path, editor: Editor, call: Call
) -> None:
    filling.ready("coder")
    controller.on("/preview", answer(change("coder", "unchanged")))
    editor.does("text = '# mine\\n' + text")
    assert call("edit", "coder").out == "  coder  unchanged\nwritten to manifests/all.yaml\n"
    assert coder.read_text() == f"{OTHER}---\n# mine\n{TEXT}"


def test_one_document_at_a_time(coder: Path, call: Call) -> None:
    assert call("edit", "server", "a", "b").code == 2
    assert call("edit", "nobody").err.startswith("error: no server 'nobody'")


def test_ctrl_c_is_the_editors_own(coder: Path, editor: Editor, call: Call) -> None:
    """It reaches the whole group of processes; what was typed so far must not be lost by that."""
    interrupt = (
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nos.kill(os.getppid(), signal.SIGINT)"
    )
    editor.does(f"{interrupt}\ntime.sleep(0.1)\ntext = text.replace('4096', '8192')")
    assert call("edit", "coder").code == 0
    assert "ctx: 8192" in coder.read_text()
