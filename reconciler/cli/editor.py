"""The user's editor over one document: what it leaves is checked before it is put in place, and no text is lost."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.drafts import Draft
from reconciler.cli.editing import apply_edit, foresee
from reconciler.cli.failure import BAD_INPUT, FAILED, Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say
from reconciler.cli.targets import Target
from reconciler.manifests.edit import document_texts
from reconciler.manifests.parse import identify
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
    found = session.run()
    if found is None:
        return 0
    try:
        return apply_edit(found, "edit", dry_run=dry_run, timeout=timeout)
    except Failure as failure:
        if _holds(path, found.after(path)):
            raise
        raise session.kept(failure) from None


@dataclass
class _Session:
    """One edit, from the first opening of the editor to a text that is right."""

    draft: Draft
    target: Target
    path: Path
    whole: str
    """The file's text."""
    edited: str = ""
    """The newest text that was saved."""

    def run(self) -> Draft | None:
        """The edit, with which nothing is wrong; None when it was cancelled. Raises Failure."""
        chunk = self._chunk()
        shown, text, problems = chunk.text, chunk.text, list[str]()
        while True:
            text = self._open(shown, problems)
            if not text.strip() or text == chunk.text:
                say("edit cancelled: nothing was changed")
                return None
            if problems and text == shown:
                message = f"the same errors as before: {problems[0]}; nothing was changed"
                raise self.kept(Failure(message, exit_code=BAD_INPUT))
            self.edited = shown = text
            found = self._draft(chunk, text)
            problems = self._problems(chunk, text, found)
            if not problems:
                return found

    def kept(self, failure: Failure) -> Failure:
        """The same failure, with what was written kept in a file."""
        file = _kept(self.target, self.edited)
        hint = f"what you wrote is kept: put it in force with: reconciler apply -f {shlex.quote(str(file))}"
        return Failure(failure.message, hint, exit_code=failure.exit_code)

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
        file = _kept(self.target, "".join(head) + text)
        try:
            code = _run(file)
            found = _without(head, file.read_bytes().decode().removeprefix(BOM))
        except (OSError, UnicodeDecodeError):
            raise Failure("what the editor left cannot be read, or is not UTF-8; nothing was changed") from None
        finally:
            file.unlink(missing_ok=True)
        if code:
            failure = Failure(f"the editor '{_editor()}' ended with exit code {code}; nothing was changed")
            self.edited = found
            raise failure if found == text else self.kept(failure)
        return found

    def _draft(self, chunk: Chunk, text: str) -> Draft:
        draft = Draft(self.draft.settings)
        if draft.text_of(self.path) != self.whole:
            message = f"{draft.shown(self.path)} has changed meanwhile; nothing was changed"
            raise self.kept(Failure(message, exit_code=FAILED))
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


def _without(head: list[str], text: str) -> str:
    """A text without the lines that stood above it, wherever they are by now."""
    lines = [line for line in text.splitlines(keepends=True) if line not in head]
    while lines and lines[0].startswith(MARK):
        del lines[0]
    return "".join(lines)


def _kept(target: Target, text: str) -> Path:
    """A new file of this user's alone."""
    prefix = f"reconciler-edit-{target.name}-"
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".yaml")
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it wraps a descriptor
        file.write(text.encode())
    return Path(name)
