"""Changes to manifest files that are not written yet, and what they are about."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.documents import Checked, Source, check_together, read_files, shown_folder
from reconciler.cli.elsewhere import why_not_here
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import snapshot
from reconciler.cli.judging import Item
from reconciler.cli.sources import is_from_git
from reconciler.cli.targets import Target
from reconciler.installation import is_controller_running
from reconciler.manifests import changing, edit
from reconciler.manifests.identity import identify
from reconciler.manifests.placing import Text, put_back, put_in_place

if TYPE_CHECKING:
    from reconciler.settings import Settings

_MOST_FILES = 1000
"""Most files of one name that are tried for a new one."""


class OvertakenError(Failure):
    """Somebody else has changed what was read; nothing of it was written."""


@dataclass
class Draft:
    """Edits of the manifests folder: collected, checked together, and written at once."""

    settings: "Settings"
    targets: list[Target] = field(default_factory=list)
    """What was edited, in the order of the edits."""
    _texts: dict[Path, Text] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The manifests folder."""
        return Path(self.settings.manifests)

    @property
    def state(self) -> Path:
        """The state folder; there may be none yet."""
        return Path(self.settings.state)

    @property
    def changed(self) -> list[Path]:
        """The files that will be written, made or removed."""
        return [path for path, text in self._texts.items() if text.is_changed]

    def after(self, path: Path) -> str | None:
        """The new text of a file that was edited; None when it goes."""
        return self._texts[path].after

    # -- editing

    def find(self, target: Target) -> Path:
        """The file that declares it. Raises Failure, also where it is declared twice, or only Git can change it."""
        paths = self.declaring(target)
        if not paths:
            raise why_not_here(self, target)
        if len(paths) > 1:
            places = " and ".join(self.shown(path) for path in paths)
            message = f"{target.words} is declared in {places}; names must be unique"
            raise Failure(message, f"remove it from one of them: $EDITOR {shlex.quote(str(paths[-1]))}")
        return paths[0]

    def declaring(self, target: Target) -> list[Path]:
        """The files of the folder that declare it, as they are now; however broken they are. Raises Failure."""
        sources = self.sources(edited=False)
        return [self.root / one.path for one in sources if _declares(one.content.decode(errors="replace"), target)]

    def text_of(self, path: Path) -> str:
        """A file's text as edited so far. Raises Failure."""
        if path not in self._texts:
            try:
                before = path.read_bytes()
                self._texts[path] = Text(before, before.decode())
            except UnicodeDecodeError:
                raise Failure(f"{self.shown(path)} is not UTF-8", "save it in that encoding") from None
            except OSError as error:
                raise Failure(f"{self.shown(path)}: {error.strerror}", _look(path.parent)) from None
        return self._texts[path].after or ""

    def put(self, path: Path, text: str | None, *, about: Target) -> None:
        """Give a file another text; None removes it."""
        self.text_of(path)
        self._texts[path] = Text(self._texts[path].before, text)
        self._note(about)

    def respec(self, target: Target, changes: Sequence[changing.Change]) -> None:
        """Set and remove fields of one document; all else keeps every byte. Raises Failure."""
        path = self.find(target)
        try:
            text = changing.respec(self.text_of(path), target.kind, target.name, changes)
        except changing.EditError as error:
            raise self._refused(path, error) from None
        self.put(path, text, about=target)

    def remove(self, target: Target) -> None:
        """Take a document out of its file; the last one removes the file. Raises Failure.

        Declared more than once it goes wholly: what was left would be a server of that name.
        """
        for path in self.declaring(target):
            text: str | None = self.text_of(path)
            try:
                while text is not None and _declares(text, target):
                    text = changing.remove_document(text, target.kind, target.name)
            except changing.EditError as error:
                raise self._refused(path, error) from None
            self.put(path, text, about=target)

    def create(self, target: Target, text: str) -> Path:
        """A new file of that name, or the next that is free."""
        names = (f"{target.name}{f'-{number}' if number > 1 else ''}.yaml" for number in range(1, _MOST_FILES))
        path = next(self.root / name for name in names if not os.path.lexists(self.root / name))
        self._texts[path] = Text(None, text)
        self._note(target)
        return path

    def _note(self, target: Target) -> None:
        if target not in self.targets:
            self.targets.append(target)

    # -- reading

    def sources(self, *, edited: bool) -> list[Source]:
        """All files of the folder, as they are or as they will be. Raises Failure."""
        shown = shown_folder(self.settings.manifests)
        present = read_files(self.root, shown) if self.root.is_dir() else []
        if not edited:
            return present
        mine = {path.relative_to(self.root).as_posix(): text for path, text in self._texts.items() if text.is_changed}
        rest = [source for source in present if source.path not in mine]
        new = [
            Source(f"{shown}/{name}", text.after.encode(), path=name)
            for name, text in mine.items()
            if text.after is not None
        ]
        return [*rest, *new]

    def shown(self, path: Path) -> str:
        """A file as people type it."""
        return shown_folder(str(path))

    def present(self) -> dict[str, Item]:
        """The servers as they are known to the installation; none where there is none yet."""
        return snapshot(self.state, None, controller=is_controller_running(self.state))

    def checked(self, *, edited: bool) -> Checked:
        """All of them, judged together; profiles may name servers that come from Git too. Raises Failure."""
        return check_together(self.sources(edited=edited), (), self._of_git_by_name)

    @cached_property
    def _of_git_by_name(self) -> list[str]:
        return [name for name, item in self.present().items() if is_from_git(item)]

    # -- writing

    def write(self) -> list[Path]:
        """Write what was changed; returns the files. Raises Failure; what was written before that is put back."""
        written: list[Path] = []
        for path in self.changed:
            try:
                put_in_place(path, self._texts[path], partial(self._refuse_declared, path))
            except changing.ChangedMeanwhileError:
                left = self._put_back(written)
                kind = Failure if left else OvertakenError
                message = f"{self.shown(path)} has changed meanwhile; {_state_of(left)}"
                raise kind(message, "look at what is in it now, and give the command again") from None
            except OSError as error:
                state = _state_of(self._put_back(written))
                message = f"{self.shown(path)} cannot be written: {error.strerror}; {state}"
                raise Failure(message, _look(path.parent)) from None
            written.append(path)
        return written

    def _put_back(self, written: Sequence[Path]) -> list[Path]:
        """Take back what was written; returns the files with which that does not go."""
        return [path for path in written if not put_back(path, self._texts[path])]

    def _refuse_declared(self, path: Path) -> None:
        """Raise Failure where what a new file would declare is declared by now."""
        text = self._texts[path]
        if text.before is not None:
            return
        wanted = {identify(document) for _, document in edit.document_texts(text.after or "")}
        for target in (target for target in self.targets if (target.kind, target.name) in wanted):
            if paths := self.declaring(target):
                message = f"{target.words} is there by now: {self.shown(paths[0])}; nothing was changed"
                raise Failure(message, f"look at it with: reconciler edit {target}")

    def _refused(self, path: Path, error: changing.EditError) -> Failure:
        place = f"{self.shown(path)}:{error.line}:{error.column}" if error.line else self.shown(path)
        return Failure(f"{place}: {error.message}; nothing was changed", error.remedy, exit_code=BAD_INPUT)


def _declares(text: str, target: Target) -> bool:
    documents = (document for _, document in edit.document_texts(text) if target.name in document)
    return any(identify(document) == (target.kind, target.name) for document in documents)


def _state_of(written: Sequence[Path]) -> str:
    if not written:
        return "nothing was changed"
    return f"written before it: {', '.join(shown_folder(str(path)) for path in written)}"


def _look(folder: Path) -> str:
    return f"look at it with: ls -la {shlex.quote(str(folder))}"
