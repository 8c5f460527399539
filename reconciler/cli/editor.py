"""The user's editor over one document: what it leaves is checked before it is put in place, and no text is lost."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.drafts import Draft
from reconciler.cli.editing import apply_edit, foresee
from reconciler.cli.failure import BAD_INPUT, INTERRUPTED, Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say
from reconciler.cli.targets import Target
from reconciler.manifests.edit import document_texts
from reconciler.manifests.identity import identify
from reconciler.manifests.text import BOM, Chunk, split

MARK = "#|"
"""What the lines begin with that this verb puts above the text, and takes away again."""
_PLACE = re.compile(r"^[^\n]*?:(\d+):(\d+): ")


def edit_document(
    invocation: Invocation, target: Target, *, dry_run: bool = False, timeout: float | None = None
) -> int:
    """Let the user edit a document, and put what is right in place. Returns the exit code. Raises Failure."""
    draft = Draft(invocation.existing_or_new())
    path = draft.find(target)
    session = _Session(draft, target, path, draft.text_of(path))
    with session.keeping():
        session.found = session.run()
        return 0 if session.found is None else apply_edit(session.found, "edit", dry_run=dry_run, timeout=timeout)


@dataclass
class _Session:
    """One edit, from the first opening of the editor to a text that is right."""

    draft: Draft
    target: Target
    path: Path
    whole: str
    """The file's text."""
    found: Draft | None = None
    """The edit, with which nothing is wrong."""
    file: Path | None = None
    """What the editor was opened on last; it stays until nothing of it can be lost."""
    edited: str | None = ""
    """The newest text that was saved; empty: none was; None: one that cannot be read."""

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Whatever goes wrong within, what was written is kept in a file. Raises Failure, which names it."""
        try:
            yield
        except Failure as failure:
            raise self._kept(failure) from None
        except KeyboardInterrupt:
            if self._is_done():
                self._drop()
                raise
            raise self._kept(Failure("interrupted; nothing was changed", self._again, exit_code=INTERRUPTED)) from None
        self._drop()

    def run(self) -> Draft | None:
        """The edit, with which nothing is wrong; None when it was cancelled. Raises Failure."""
        chunk = self._chunk()
        shown, text, problems = chunk.text, chunk.text, list[str]()
        while True:
            text = self._open(shown, problems)
            if not text.strip() or text == chunk.text:
                say("edit cancelled: nothing was changed")
                return None
            self.edited = text
            if problems and text == shown:
                message = f"the same errors as before: {problems[0]}; nothing was changed"
                raise Failure(message, self._again, exit_code=BAD_INPUT)
            shown = text
            found = self._draft(chunk, text)
            problems = self._problems(chunk, text, found)
            if not problems:
                return found

    @property
    def _again(self) -> str:
        """What to do where nothing is kept."""
        return f"begin again with: reconciler edit {self.target}"

    def _kept(self, failure: Failure) -> Failure:
        """The same failure, with what was written kept in a file."""
        if self._is_done() or self.edited == "":
            self._drop()
            return failure
        if self.edited is not None:
            with suppress(Failure):  # what the editor left is there still
                self._show(self.edited)
        is_wrong = int(failure.exit_code) == BAD_INPUT or self.edited is None
        first = "correct it, then put" if is_wrong else "put"
        hint = f"what you wrote is kept: {first} it in force with: reconciler apply -f {shlex.quote(str(self.file))}"
        return Failure(failure.message, hint, exit_code=failure.exit_code)

    def _is_done(self) -> bool:
        """Whether the edit is in its place."""
        return self.found is not None and _holds(self.path, self.found.after(self.path))

    def _show(self, text: str) -> Path:
        """A new file with a text, in place of the one before."""
        file = _file(self.target, text)
        self._drop()
        self.file = file
        return file

    def _drop(self) -> None:
        """What is in the last file is of no more use."""
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink(missing_ok=True)
        self.file = None

    def _chunk(self) -> Chunk:
        wanted = (self.target.kind, self.target.name)
        return next(chunk for chunk in split(self.whole) if chunk.content_line and identify(chunk.text) == wanted)

    def _open(self, text: str, problems: list[str]) -> str:
        """What the user makes of a text. Raises Failure when the editor fails."""
        about = f"{self.target} of {self.draft.shown(self.path)}"
        head = [f"{about}: save it to put it in force.", "Leave it as it is, or empty, to cancel."]
        if problems:
            head = [f"{about}: not put in force, for:", *problems, "Correct it, or leave it as it is to give up."]
        # The lines that are named are those of the file that is shown.
        shift = len(head)
        head = [_PLACE.sub(lambda found: f"line {int(found[1]) + shift}, column {found[2]}: ", line) for line in head]
        end = "\r\n" if "\r\n" in text else "\n"
        return self._left([f"{MARK} {line}{end}" for line in head], text)

    def _left(self, head: list[str], text: str) -> str:
        """What the editor leaves of a text that is shown below those lines. Raises Failure when it fails."""
        file = self._show("".join(head) + text)
        code = _run(file)
        try:
            found = _without(head, file.read_bytes().decode().removeprefix(BOM), text)
        except UnicodeDecodeError:
            self.edited = None
            message = "what the editor left is not UTF-8: save it in that encoding; nothing was changed"
            raise Failure(message, self._again, exit_code=BAD_INPUT) from None
        except OSError as error:
            message = f"what the editor left cannot be read: {file}: {error.strerror}; nothing was changed"
            raise Failure(message, f"look at it with: ls -la {shlex.quote(str(file))}") from None
        if code:
            self.edited = self.edited if found == text else found
            message = f"the editor '{_editor()}' ended with exit code {code}; nothing was changed"
            raise Failure(message, f"{self._again}, or name another editor: export EDITOR=nano")
        return found

    def _draft(self, chunk: Chunk, text: str) -> Draft:
        draft = Draft(self.draft.settings)
        if draft.text_of(self.path) != self.whole:
            raise Failure(f"{draft.shown(self.path)} has changed meanwhile; nothing was changed", self._again)
        if chunk.on_marker and not text.startswith("---"):
            text = f"---\n{text}"
        if chunk.closed and not text.endswith(("\n", "\r")):
            text += "\n"
        draft.put(self.path, self.whole[: chunk.start] + text + self.whole[chunk.end :], about=self.target)
        return draft

    def _problems(self, chunk: Chunk, text: str, draft: Draft) -> list[str]:
        """What is wrong with it, each place counted from the document's first line."""
        documents = document_texts(text)
        if len(documents) != 1:
            return [f"expected one document, got {len(documents)}: add others with: reconciler apply -f FILE"]
        kind, name = identify(documents[0][1])
        if name and kind and (kind, name) != (self.target.kind, self.target.name):
            told = f"this is {kind} '{name}': kind and name cannot change here"
            return [f"{told}; for a new one there is: reconciler apply -f FILE"]
        return [_moved(problem, chunk.line - 1) for problem in foresee(draft).problems]


def _moved(problem: str, lines: int) -> str:
    """A problem with its line counted from the document's first; only a place at the beginning is meant."""
    return _PLACE.sub(
        lambda found: f"{found[0].rsplit(':', 3)[0]}:{max(1, int(found[1]) - lines)}:{found[2]}: ", problem
    )


def _holds(path: Path, text: str | None) -> bool:
    """Whether a file has this text by now."""
    try:
        return text is not None and path.read_bytes() == text.encode()
    except OSError:
        return False


def _editor() -> str:
    """What to run. Raises Failure where that would be vi, without a terminal."""
    if editor := os.environ.get("VISUAL") or os.environ.get("EDITOR"):
        return editor
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = "name a program in the variable EDITOR; for one field there is: reconciler set NAME FIELD=VALUE"
        raise Failure("there is no terminal for vi", hint)
    return "vi"


def _run(file: Path) -> int:
    """Have the user edit a file; the editor's exit code. Raises Failure where there is no such program."""
    # Ctrl-C and Ctrl-\ reach us beside the editor, for which they have meanings of their own.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        return subprocess.run([*shlex.split(_editor()), str(file)], check=False).returncode
    except (OSError, ValueError) as error:
        message = f"the editor '{_editor()}' cannot be run: {getattr(error, 'strerror', None) or error}"
        raise Failure(message, "name another in the variable EDITOR, such as nano") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without(head: list[str], text: str, shown: str) -> str:
    """A text without the lines that stood above what was `shown`, wherever they are; the others are the user's."""
    lines, left = [], list(head)
    for line in text.splitlines(keepends=True):
        if line in left:
            left.remove(line)
        else:
            lines.append(line)
    # Those that look otherwise by now still stand on top, above what began like them before.
    for _ in range(min(len(left), _marked(lines) - _marked(shown.splitlines(keepends=True)))):
        del lines[0]
    return "".join(lines)


def _marked(lines: list[str]) -> int:
    """How many lines at the beginning look like those of this verb."""
    return next((number for number, line in enumerate(lines) if not line.startswith(MARK)), len(lines))


def _file(target: Target, text: str) -> Path:
    """A new file of this user's alone. Raises Failure."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"reconciler-edit-{target.name}-", suffix=".yaml")
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it wraps a descriptor
            file.write(text.encode())
    except OSError as error:
        message = f"no file can be written for the editor: {error.strerror}"
        raise Failure(message, "name a folder with room in the variable TMPDIR") from None
    return Path(name)
