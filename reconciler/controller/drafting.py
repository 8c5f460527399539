"""Edits of manifests, collected before anything is written: each file's text as it was read, and as it is to be."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.controller.manifest_files import ManifestFiles
from reconciler.core.kinds import PROFILE, OtherDocument, ProfileDocument
from reconciler.core.model import Document
from reconciler.core.refusals import EditRefusedError
from reconciler.manifests import changing, edit
from reconciler.manifests.changing import Change
from reconciler.manifests.identity import identify
from reconciler.manifests.parse import parse
from reconciler.manifests.placing import Text

MOST_COMPARED = 2000
"""Lines of a text that are compared one by one: more take seconds."""
_MOST_FILES = 1000


@dataclass
class Drafting:
    """Its functions read files, and raise EditRefusedError."""

    files: ManifestFiles
    texts: dict[str, Text] = field(default_factory=dict)
    """What was edited, by name."""
    put_whole: set[str] = field(default_factory=set)
    """Names of files whose whole text is somebody's own: no error in it is old."""
    _read: dict[str, bytes | None] = field(default_factory=dict)
    _peeked: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, Text]:
        """What there is to write."""
        return {name: text for name, text in self.texts.items() if text.is_changed}

    def edited(self) -> frozenset[tuple[str, str]]:
        """Kinds and names of the documents that are not as they were, as far as they have any."""
        return frozenset(one for name in self.changed for one in self._edited_in(self.texts[name]) if all(one))

    def diff(self, name: str) -> str:
        """What changes in a file, as a unified diff."""
        text, file = self.texts[name], self.files.shown(name)
        before, after = (text.before or b"").decode(errors="replace").splitlines(), (text.after or "").splitlines()
        if len(before) + len(after) > MOST_COMPARED:
            return f"{file}: {len(before)} lines before, {len(after)} after\n"
        names = ("/dev/null" if text.before is None else file, "/dev/null" if text.after is None else file)
        return "".join(f"{line}\n" for line in difflib.unified_diff(before, after, *names, lineterm=""))

    # -- editing

    def put(self, name: str, after: str | None) -> None:
        """Give a file this text; None removes it."""
        self.texts[name] = Text(self.before(name), after)

    def before(self, name: str) -> bytes | None:
        """What a file held when it was read; None: there was none."""
        if name not in self._read:
            self._read[name] = self.files.read(name)
        return self._read[name]

    def respec(self, kind: str, name: str, changes: Sequence[Change]) -> bool:
        """Set and remove fields of one document, all else keeps every byte; False where no file declares it."""
        files = self.declaring(kind, name)
        if len(files) > 1:
            places = " and ".join(map(self.files.shown, files))
            do = f"remove it from one of them: $EDITOR {self.files.shown(files[-1])}"
            raise EditRefusedError("DeclaredTwice", f"{kind} '{name}' is declared in {places}", do)
        for file in files:
            try:
                self.put(file, changing.respec(self._whole(file), kind, name, changes))
            except changing.EditError as error:
                raise self._refused(file, error) from None
        return bool(files)

    def take(self, text: str, file: str) -> None:
        """Each document of a text in the place of the one of its name, wherever that is; new ones as NAME.yaml."""
        parsed = parse(text, file, lambda _: ())
        if parsed.problems:
            problems = [problem.data for problem in parsed.problems]
            happened = (
                f"the documents have {len(problems)} error{'s' if len(problems) > 1 else ''}: {problems[0]['text']}"
            )
            raise EditRefusedError("InvalidManifest", happened, "correct them, and apply again", problems)
        texts = dict(edit.document_texts(text))
        for document in (*parsed.others, *parsed.documents):
            self._take(document, texts[document.line])

    def use(self, wanted: str) -> bool:
        """Make this profile the only active one, empty: none; False where no file declares it."""
        profiles = [one for name in self.files.find() for one in self._profiles(name)]
        if wanted and not any(one.name == wanted for one in profiles):
            return False
        # Two that are active for a moment change nothing, and none for a moment would start all.
        for one in sorted(profiles, key=lambda one: one.name != wanted):
            if one.spec.active != (one.name == wanted):
                self.respec(PROFILE, one.name, [(("spec", "active"), one.name == wanted)])
        return True

    def write(self) -> None:
        """Write all; what was written before a failure is put back."""
        written: list[str] = []
        for name, text in self.changed.items():
            try:
                self.files.write(name, text)
            except EditRefusedError as error:
                if left := [one for one in written if not self.files.put_back(one, self.texts[one])]:
                    error.happened += f"; written before it: {', '.join(map(self.files.shown, left))}"
                raise
            written.append(name)

    # -- reading

    def declaring(self, kind: str, name: str) -> list[str]:
        """The names of the files that declare a document, however broken it is."""
        return [file for file in self.files.find() if (kind, name) in self._declared(file, name)]

    def _declared(self, file: str, name: str) -> Iterator[tuple[str, str]]:
        text = self._text(file)
        documents = edit.document_texts(text) if name in text else ()
        return (identify(document) for _, document in documents if name in document)

    def _profiles(self, name: str) -> Iterator[ProfileDocument]:
        text = self._text(name)
        parsed = parse(text, name, lambda _: ()).others if PROFILE in text else ()
        return (one for one in parsed if isinstance(one, ProfileDocument))

    def _text(self, name: str) -> str:
        """As edited so far."""
        if name in self.texts:
            return self.texts[name].after or ""
        if name not in self._peeked:
            self._peeked[name] = self.files.peek(name)
        return self._peeked[name]

    def _whole(self, name: str) -> str:
        """The same, of a file that is to be edited in part."""
        before = self.before(name) or b""
        try:
            return self.texts[name].after or "" if name in self.texts else before.decode()
        except UnicodeDecodeError:
            happened = f"{self.files.shown(name)} is not UTF-8"
            raise EditRefusedError("EditRefused", happened, "save it in that encoding first") from None

    def _take(self, document: Document | OtherDocument, text: str) -> None:
        for name in self.declaring(document.kind, document.name):
            before = self._whole(name)
            for line, one in edit.document_texts(before):
                if identify(one) == (document.kind, document.name):
                    self.put(name, edit.splice(before, line, text))
                    return
        names = (f"{document.name}{f'-{number}' if number > 1 else ''}.yaml" for number in range(1, _MOST_FILES))
        free = next(name for name in names if self.before(name) is None and name not in self.texts)
        self.put(free, text if text.endswith("\n") else f"{text}\n")

    def _edited_in(self, text: Text) -> Iterator[tuple[str, str]]:
        before = {one for _, one in edit.document_texts((text.before or b"").decode(errors="replace"))}
        return (identify(one) for _, one in edit.document_texts(text.after or "") if one not in before)

    def _refused(self, file: str, error: changing.EditError) -> EditRefusedError:
        place = ":".join([self.files.shown(file), *(str(one) for one in (error.line, error.column) if one)])
        return EditRefusedError("EditRefused", f"{place}: {error.message}", error.remedy)


def texts_shown(files: ManifestFiles, texts: Mapping[str, Text]) -> dict[str, str | None]:
    """What files are to say, by their names in problems."""
    return {files.shown(name): text.after for name, text in texts.items()}
