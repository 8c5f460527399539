"""The cache of a remote repository: what was fetched of it, and what that holds."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from reconciler.core.git_url import is_ref_name
from reconciler.core.source import Revision
from reconciler.gitops import storage
from reconciler.gitops.access import access, read_token
from reconciler.gitops.complaint import refusal, shortened, too_large
from reconciler.gitops.git import Ended, Git, GitError, Remote
from reconciler.gitops.objects import Objects, is_commit
from reconciler.gitops.tree import Blob, Tree

__all__ = ["DEPTH", "Blob", "Cache", "Tree"]

DEPTH = 50
"""Commits of the history that are fetched at first."""
MOST_PACKS = 200
"""Fetches after which the cache is made anew: each leaves a file, and nothing else cleans up."""
_ROOM = 8 * 1024 * 1024
"""Bytes beside the manifests that a command may write: its own framing, the index of a pack."""
_OUR_TROUBLE = ("CacheBroken", "GitFailed", "TooLarge")
"""Reasons for which a fetch into a new folder may go better."""
_ASKED = "refs/reconciler/asked"
_FETCH = (
    "fetch",
    "--quiet",
    "--no-progress",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
)


class Cache:
    """A bare repository of our own. All calls block and raise GitError alone; calls from several threads take turns."""

    def __init__(self, folder: Path, remote: Remote, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._remote = remote
        self._git = Git(environ, remote.timeout, remote.most_bytes + _ROOM)
        self._most_bytes = remote.most_bytes + _ROOM
        self._objects = Objects(self._git, folder, remote.most_bytes)
        self._turn = threading.RLock()
        self._broken = False
        """Something in it could not be read."""
        self._worn = False
        """It can be read, but the next fetch is to make it anew."""
        self._depth = DEPTH

    def stop(self) -> None:
        """End the command that runs; each further call raises GitError."""
        self._git.stop()

    def look(self) -> str:
        """The commit that the remote has now where we follow it."""
        ref = self._remote.ref
        found = self._listed(ref)
        if commit := found.get(f"{ref}^{{}}") or found.get(ref):
            return commit
        raise GitError("RefMissing", self._missing())

    def holds(self, commit: str) -> bool:
        """Whether a commit is here with all that it holds, and sound enough to read."""
        with self._turn:
            return not self._broken and storage.is_ours(self._folder) and self._objects.holds(commit)

    def fetch(self, commit: str) -> None:
        """Bring a commit here that `look` or `fetch_rev` named. A cache that is broken or too large is made anew."""
        with self._turn:
            if not is_commit(commit):
                raise self._objects.no_commit(commit)
            self._fetch(self._remote.ref, commit)

    def fetch_rev(self, rev: str) -> str:
        """The commit that a branch, a tag or a commit's name means, brought here."""
        with self._turn:
            name = rev.lower()
            if re.fullmatch(r"[0-9a-f]{7,64}", name):
                known = storage.is_ours(self._folder) and not self._broken and self._objects.resolve(name)
                if known and self.holds(known):
                    return known
            if is_commit(name):
                self._fetch(name, name)
                return name
            ref, commit = self._named(rev)
            if not self.holds(commit):
                self._fetch(ref, commit)
            return commit

    def revision(self, commit: str) -> Revision:
        """A commit's subject and date."""
        with self._turn, self._watched():
            return self._objects.revision(commit)

    def contains(self, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is in the history of a commit, as far as that was fetched."""
        with self._turn, self._watched():
            if not is_commit(ancestor) or not self._objects.resolve(ancestor):
                return False
            if not self._objects.resolve(commit):
                raise self._objects.no_commit(commit)
            return self._objects.answers("merge-base", "--is-ancestor", ancestor, commit)

    def tree(self, commit: str, folder: str) -> Tree:
        """All manifests below a folder of a commit; an empty name means the whole repository."""
        with self._turn, self._watched():
            return self._objects.tree(commit, folder)

    # -- names at the remote

    def _listed(self, *refs: str) -> dict[str, str]:
        """The objects of names at the remote, those of tags peeled too (`refs/tags/v1^{}`)."""
        patterns = [pattern for ref in refs for pattern in (ref, f"{ref}^{{}}")]
        said = self._ask_remote(None, "ls-remote", "--quiet", "--", self._remote.url, *patterns)
        pairs = [line.split("\t", 1) for line in said.decode("utf-8", "replace").splitlines() if "\t" in line]
        return {name: commit for commit, name in pairs if is_commit(commit)}

    def _named(self, rev: str) -> tuple[str, str]:
        """A branch's or tag's full name, and its commit."""
        names = [rev] if rev.startswith("refs/") or rev == "HEAD" else [f"refs/heads/{rev}", f"refs/tags/{rev}"]
        found = self._listed(*names) if is_ref_name(rev) else {}
        for name in names:
            if commit := found.get(f"{name}^{{}}") or found.get(name):
                return name, commit
        what = f"{self._remote.url} has no revision {shortened(rev, 80)!r}"
        advice = "name a branch, a tag, or a commit by its digits: of one that was never fetched, all of them"
        if rev.startswith("origin/"):
            advice = f"name it as the remote does, without origin/: {shortened(rev.removeprefix('origin/'), 80)}"
        raise GitError("RevisionMissing", f"{what}: {advice}")

    def _missing(self) -> str:
        """That what is followed is not there, and what is."""
        kind, name = ("tag", "tags") if self._remote.ref.startswith("refs/tags/") else ("branch", "heads")
        said = self._ask_remote(None, "ls-remote", "--quiet", f"--{name}", "--", self._remote.url)
        refs = [line.partition(f"\trefs/{name}/")[2] for line in said.decode("utf-8", "replace").splitlines()]
        others = ", ".join([ref for ref in refs if ref and not ref.endswith("^{}")][:5])
        there = f"it has {shortened(others)}" if others else f"it has no {kind} at all"
        ours = self._remote.ref.removeprefix(f"refs/{name}/")
        advice = f"push it (git push {self._remote.url} {ours}), or set {kind} under [source.git] in reconciler.toml"
        return f"{self._remote.url} has no {kind} {ours!r}, {there}: {advice}"

    def _ask_remote(self, folder: Path | None, *arguments: str) -> bytes:
        way = access(self._remote)
        ended = self._git.run(folder, *arguments, access=way, is_swollen=lambda: self._is_swollen(folder))
        if ended.code or ended.timed_out:
            raise self._refusal(ended)
        return ended.out

    def _is_swollen(self, folder: Path | None) -> bool:
        return folder is not None and storage.size(folder) > self._most_bytes

    def _refusal(self, ended: Ended) -> GitError:
        secret = ""
        if self._remote.token_file:
            with suppress(GitError):
                secret = read_token(self._remote.token_file)
        return refusal(ended, self._remote.url, self._remote.timeout, secret)

    # -- fetching

    def _fetch(self, wanted: str, commit: str) -> None:
        try:
            if not (self._is_usable() and self._add(wanted, commit)):
                self._make_anew(wanted, commit)
        except OSError as error:
            raise GitError(
                "GitFailed", f"the cache {self._folder} cannot be written ({error}): give it to the controller's user"
            ) from None

    def _is_usable(self) -> bool:
        if self._broken or self._worn or not storage.is_ours(self._folder):
            return False
        return storage.size(self._folder) <= self._most_bytes and storage.packs(self._folder) <= MOST_PACKS

    def _add(self, wanted: str, commit: str) -> bool:
        """Fetch what is new into the cache; False: it is to be made anew."""
        storage.tidy(self._folder)
        before = storage.names(self._folder)
        try:
            self._bring(self._folder, wanted, commit)
            return self._objects.holds(commit) and storage.size(self._folder) <= self._most_bytes
        except GitError as error:
            # All of a history that was rewritten may be too much, where its last commits are not.
            self._worn = error.reason in ("TimedOut", *_OUR_TROUBLE)
            if self._is_swollen(self._folder):
                storage.keep_only(self._folder, before)
            if error.reason in _OUR_TROUBLE:
                return False
            raise

    def _make_anew(self, wanted: str, commit: str) -> None:
        """Fetch into a new folder; what the old one holds is there until then."""
        try:
            self._replace(wanted, commit)
        except GitError as error:
            if error.reason != "TooLarge" or self._depth == 1:
                raise
            # What made it large may have been removed since: then the last commit alone is not.
            self._depth = 1
            self._replace(wanted, commit)

    def _replace(self, wanted: str, commit: str) -> None:
        draft = self._folder.with_name(f"{self._folder.name}.new")
        storage.remove(draft)
        try:
            storage.create(draft, len(commit))
            self._bring(draft, wanted, commit, f"--depth={self._depth}")
            self._check(draft, commit)
            storage.put_in_place(draft, self._folder)
        except GitError as error:
            if error.reason != "CacheBroken":
                raise
            raise GitError("GitFailed", f"{error}: if it stays so, check the repository there (git fsck)") from None
        finally:
            storage.remove(draft)
        self._broken = self._worn = False

    def _check(self, draft: Path, commit: str) -> None:
        if storage.size(draft) > self._most_bytes:
            raise too_large()
        if not replace(self._objects, folder=draft).holds(commit):
            advice = "the next look tries again; if it stays so, check the repository there (git fsck)"
            raise GitError("RevisionMissing", f"{self._remote.url} gives out no whole commit {commit}: {advice}")

    def _bring(self, folder: Path, wanted: str, commit: str, *options: str) -> None:
        """By the name first: not every server gives out a commit that no name stands for."""
        ours = "refs/reconciler/followed" if wanted == self._remote.ref else _ASKED
        self._ask_remote(folder, *_FETCH, *options, "--", self._remote.url, f"+{wanted}:{ours}")
        if wanted != commit and not replace(self._objects, folder=folder).resolve(commit):
            self._ask_remote(folder, *_FETCH, *options, "--", self._remote.url, f"+{commit}:{_ASKED}")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Remember that the cache is broken, so that the next fetch makes it anew."""
        try:
            yield
        except GitError as error:
            self._broken = self._broken or error.reason == "CacheBroken"
            raise
