"""Reads revisions out of a repository's objects: nothing is checked out, so no filter, hook or attribute counts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.model import Problem
from reconciler.core.source import Revision
from reconciler.gitops.complaint import breakage, shortened
from reconciler.gitops.git import Ended, Git, GitError
from reconciler.gitops.tree import Entry, Tree, files, listed, manifests, shown
from reconciler.manifests.parse import LARGEST, TOO_LARGE

MOST_FILES = 10_000
"""Most manifests of a revision."""
MOST_NAMES = 32 * 1024 * 1024
"""Bytes of the paths of all that a revision holds, with what is told of each."""
_NARROWER = "set path under [source.git] in reconciler.toml to a folder of manifests alone"
_MISTAKEN = "the revision calls it a file, but it is a {}: commit it anew, and check the repository (git fsck)"
_BATCH = 4 * 1024 * 1024
"""Bytes of manifests that are read by one command."""
_LONGEST_COMMIT = 64 * 1024
"""Bytes of a commit that are looked at."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ENCODING = re.compile(rb"iso-?8859-\d{1,2}|latin-?1|(windows-?|cp)125\d|euc-jp|shift_jis|gbk|koi8-r", re.IGNORECASE)
"""What a commit's message may be written in besides UTF-8. Python knows more, and some of that is no text."""
_END_OF_TIME = 253402300799.0
"""The last second of the year 9999."""


def is_commit(name: str) -> bool:
    """Whether it is all the digits of a commit's name."""
    return _COMMIT.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one repository. Calls raise GitError."""

    git: Git
    folder: Path
    """The repository itself: the bare one, or `.git`."""
    most_bytes: int
    """Most bytes of all manifests of a revision."""
    name: str = "the cache of the repository"
    remedy: str = "it is made anew at the next look"
    """What to do, or what is done, when an object cannot be read."""

    def ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What a command says."""
        ended = self.git.run(self.folder, *arguments, stdin=stdin)
        if ended.code or ended.timed_out:
            raise self._breakage(ended)
        return ended.out

    def answers(self, *arguments: str) -> bool:
        """Whether a command ends well."""
        ended = self.git.run(self.folder, *arguments)
        if (ended.code or ended.timed_out) and (error := self._breakage(ended)).reason != "CacheBroken":
            raise error
        return ended.code == 0

    def holds(self, commit: str) -> bool:
        """Whether a commit is there with all that it holds."""
        return is_commit(commit) and self.answers(
            "rev-list", "--objects", "--no-walk", "--quiet", f"{commit}^{{commit}}"
        )

    def resolve(self, rev: str) -> str:
        """The commit that a name means here; empty when it means none."""
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        ended = self.git.run(self.folder, *asked)
        if (ended.code or ended.timed_out) and (error := self._breakage(ended)).reason != "CacheBroken":
            raise error
        found = ended.out.decode("ascii", "replace").strip()
        return found if ended.code == 0 and is_commit(found) else ""

    def revision(self, commit: str) -> Revision:
        """A commit's subject and date."""
        if not is_commit(commit):
            raise self.no_commit(commit)
        header, _, message = self.ask("cat-file", "commit", commit)[:_LONGEST_COMMIT].partition(b"\n\n")
        fields = dict(line.split(b" ", 1) for line in reversed(header.split(b"\n")) if b" " in line)
        text = _decode(message, fields.get(b"encoding", b"utf-8"))
        subject = next((line for line in text.splitlines() if line.strip()), "")
        stamp = re.search(rb"> (\d{1,12})( \S*)?$", fields.get(b"committer", b""))
        return Revision(commit, shortened(subject, 200), min(float(stamp[1]), _END_OF_TIME) if stamp else 0.0)

    def tree(self, commit: str, folder: str) -> Tree:
        """All manifests below a folder of a commit."""
        root = self._root(commit, folder)
        if isinstance(root, Problem):
            return Tree(problems=(root,))
        # With the folders (-t), so that millions of empty ones are seen to be many.
        ended = self.git.run(self.folder, "ls-tree", "-r", "-t", "-z", "--full-tree", root, most_bytes=MOST_NAMES)
        if ended.outgrown and not ended.timed_out:
            return Tree(problems=(Problem(shown(folder), f"more than {MOST_NAMES >> 20} MiB of names: {_NARROWER}"),))
        if ended.code or ended.timed_out:
            raise self._breakage(ended)
        entries, problems = manifests(listed(ended.out), folder)
        sizes, mistaken = self._sizes(entries)
        faults = {one.path: _MISTAKEN.format(mistaken[one.object]) for one in entries if one.object in mistaken}
        problems += [Problem(shown(folder, path), fault) for path, fault in sorted(faults.items())]
        entries = [one for one in entries if one.path not in faults]
        large = {one.path for one in entries if sizes[one.object] > LARGEST}
        problems += [Problem(shown(folder, path), TOO_LARGE) for path in sorted(large)]
        entries = [one for one in entries if one.path not in large]
        if fault := self._excess(entries, sizes):
            return Tree(problems=(Problem(shown(folder), fault), *problems))
        blobs, more = files(entries, self._contents(sizes, {one.object for one in entries}), folder)
        return Tree(tuple(blobs), tuple(sorted((*problems, *more), key=lambda one: one.file)))

    def no_commit(self, rev: str) -> GitError:
        """A name that means nothing."""
        return GitError(
            "RevisionMissing", f"{self.name} has no revision {shortened(rev, 80)!r}: name a branch, tag or commit"
        )

    def _root(self, commit: str, folder: str) -> str | Problem:
        """The object that is the folder."""
        if not is_commit(commit) or not self.resolve(commit):
            raise self.no_commit(commit)
        if not folder:
            return commit
        said = self.ask("ls-tree", "-z", "--full-tree", commit, "--", folder.rstrip("/"))
        entry = next(listed(said), None)
        if entry is not None and entry.mode == "040000":
            return entry.object
        what = "there is no such folder" if entry is None else "this is no folder"
        return Problem(
            shown(folder), f"{what} in this revision: commit it, or set path under [source.git] in reconciler.toml"
        )

    def _excess(self, entries: Sequence[Entry], sizes: dict[str, int]) -> str:
        if len(entries) > MOST_FILES:
            return f"more than {MOST_FILES} manifests: {_NARROWER}"
        if sum(sizes[one.object] for one in entries) > self.most_bytes:
            most = f"{self.most_bytes / 2**20:.3g} MiB"
            return f"all manifests together are larger than {most}: {_NARROWER}, or raise max_mib"
        return ""

    def _sizes(self, entries: Sequence[Entry]) -> tuple[dict[str, int], dict[str, str]]:
        """Bytes by object, and by object what it is where that is no file."""
        names = sorted({one.object for one in entries})
        said = self.ask("cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=_lines(names)).splitlines()
        facts = {
            name: line.decode("ascii").split(" ")
            for name, line in zip(names, said, strict=False)
            if re.fullmatch(rb"[a-z]+ \d+", line)
        }
        if len(facts) < len(names):
            raise GitError("CacheBroken", f"{self.name} lacks files of this revision; {self.remedy}")
        sizes = {name: int(size) for name, (kind, size) in facts.items() if kind == "blob"}
        return sizes, {name: kind for name, (kind, _) in facts.items() if kind != "blob"}

    def _contents(self, sizes: dict[str, int], names: set[str]) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        batch: list[str] = []
        for name in sorted(names):
            if batch and sum(sizes[one] for one in batch) + sizes[name] > _BATCH:
                contents |= self._batch(batch, sizes)
                batch = []
            batch.append(name)
        return contents | self._batch(batch, sizes)

    def _batch(self, names: Sequence[str], sizes: dict[str, int]) -> dict[str, bytes]:
        said = self.ask("cat-file", "--batch=", stdin=_lines(names))
        contents, at = {}, 0
        for name in names:
            start = at + 1  # the line that tells of the object is empty, as asked
            contents[name] = said[start : start + sizes[name]]
            at = start + sizes[name] + 1
        if at != len(said):
            raise GitError("CacheBroken", f"{self.name} does not give out the files of this revision; {self.remedy}")
        return contents

    def _breakage(self, ended: Ended) -> GitError:
        return breakage(ended, self.name, self.remedy)


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("ascii")


def _decode(text: bytes, encoding: bytes) -> str:
    try:
        return text.decode(encoding.decode("ascii") if _ENCODING.fullmatch(encoding) else "utf-8", "replace")
    except LookupError:
        return text.decode("utf-8", "replace")
