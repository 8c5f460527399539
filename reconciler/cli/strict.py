"""What `validate` holds against manifests that are to come from Git: the policy there, and another revision."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.checking_flags import Checked, check_flags
from reconciler.cli.documents import Source, check_together
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.core.clean import escaped
from reconciler.core.model import Document, Problem
from reconciler.core.preview import Change, Declared, compare
from reconciler.core.selection import Selection
from reconciler.core.source import GIT, Revision
from reconciler.engines import engine_of

if TYPE_CHECKING:
    from reconciler.settings import Settings

LINK = "a symbolic link leads here, and from Git none is followed: put the file itself there"


@dataclass(frozen=True)
class Refusal:
    """One thing in a document that the policy for Git refuses."""

    document: Document
    rule: str
    message: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.document.file}:{self.line}:{self.column}: {self.document.name}: {self.message}"

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        place = {"file": self.document.file, "line": self.line, "column": self.column, "server": self.document.name}
        return {**place, "rule": self.rule, "message": self.message, "text": str(self)}


@dataclass(frozen=True)
class Base:
    """The revision that is compared with."""

    revision: Revision
    declared: Declared
    problems: tuple[Problem, ...]
    where: str = ""
    """How it was found, behind its name; empty when it was named itself."""


@dataclass(frozen=True)
class Findings:
    """All that is told of some manifests."""

    manifests: int
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    """With any of them none of the documents would be applied."""
    refusals: tuple[Refusal, ...] | None = None
    """None where the policy was not asked for."""
    base: Base | None = None
    """None where no revision was."""
    warnings: tuple[Problem, ...] = ()
    """What would be wrong with another profile, and flags that only a script may take."""
    others: int = 0
    """Documents of other kinds than servers."""
    selection: Selection = field(default_factory=Selection)
    """Which servers the active profile wants."""
    flags: Checked = field(default_factory=Checked)
    """What the llama-servers of this machine would not take."""

    @property
    def errors(self) -> int:
        """How many there are."""
        return len(self.problems) + len(self.refusals or ()) + len(self.flags.problems)

    def changes(self) -> list[dict[str, Any]] | None:
        """What would happen to each server; None where that was not asked for, or nothing would be applied."""
        if self.base is None or self.problems:
            return None
        after = Declared({document.name: document for document in self.documents}, self.selection)
        return changes(self.base, after, self.refusals or (), self.flags.blocked)


def examine(
    sources: Sequence[Source], settings: "Settings | None", base: Base | None, *, for_git: bool = False
) -> Findings:
    """Check manifests, `for_git` as those of a repository. Without `settings` those by default are meant."""
    checked = check_together((), sources)
    flags = check_flags(checked.documents, checked.others, sources, settings)
    found = Findings(
        len(sources),
        checked.documents,
        checked.problems,
        base=base,
        warnings=(*checked.warnings, *flags.warnings),
        others=len(checked.others),
        selection=checked.selection,
        flags=flags,
    )
    if settings is None or not for_git:
        return found
    problems = (*unreadable(sources), *checked.problems)
    told = refusals(checked.documents, sources, settings, base)
    return replace(found, problems=problems, refusals=tuple(told))


def refusals(
    documents: Sequence[Document], sources: Sequence[Source], settings: "Settings", base: Base | None
) -> list[Refusal]:
    """What the policy says of documents as if they came from Git. Servers of the base are the first to find room."""
    from reconciler.controller import policy  # noqa: PLC0415 - only --strict needs it

    running = frozenset(base.declared.documents if base else ())
    found = policy.refusals([replace(document, origin=GIT) for document in documents], settings, running)
    files = {source.file: source for source in sources}
    return [
        Refusal(document, denial.rule, denial.message, *files[document.file].place(document, denial.path))
        for document in documents
        for denial in found.get(document.name, ())
    ]


def unreadable(sources: Sequence[Source]) -> list[Problem]:
    """Files that a Git source would not read."""
    from reconciler.gitops.tree import length_fault  # noqa: PLC0415 - only --strict needs it

    faults = ((source, LINK if source.is_link else length_fault(source.path)) for source in sources)
    return [Problem(source.file, fault) for source, fault in faults if fault]


def base_of(folder: Path, rev: str) -> Base:
    """What a folder declares at another revision of the repository that holds it. Raises Failure.

    Where the branch that is checked out began before that, it is the revision at which it was left: what others have
    done since is not this branch's doing.
    """
    from reconciler.gitops.clone import fork_of, local_tree, root_of  # noqa: PLC0415 - only --against needs it
    from reconciler.gitops.git import GitError  # noqa: PLC0415

    try:
        root = root_of(folder)
        relative = folder.resolve().relative_to(root.resolve()).as_posix()
        fork = fork_of(root, rev)
        revision, tree = local_tree(root, fork or rev, "" if relative == "." else relative)
    except GitError as error:
        raise Failure(str(error), exit_code=BAD_INPUT) from None
    checked = check_together((), [Source(_shown(revision, blob.path), blob.content) for blob in tree.blobs])
    where = f", where this branch left {rev}" if fork else ""
    return Base(revision, checked.declared, (*tree.problems, *checked.problems), where)


def changes(base: Base, after: Declared, refused: Sequence[Refusal], flags: Mapping[str, str]) -> list[dict[str, Any]]:
    """What would happen to each server, with what would keep it from starting in `blocked`; `flags` do by name."""
    blocked: dict[str, str] = {}
    for refusal in refused:
        blocked.setdefault(refusal.document.name, refusal.message)
    blocked = {**flags, **blocked}
    found = compare(base.declared, after, lambda spec: engine_of(spec).fingerprint(spec))
    return [
        {**asdict(change), "blocked": blocked.get(change.server, "") if _starts(change) else ""} for change in found
    ]


def _starts(change: Change) -> bool:
    return change.action in ("start", "restart")


def _shown(revision: Revision, path: str) -> str:
    return escaped(f"{revision.short}:{path}")
