"""The work on the cache and on the files: all of it blocks, and is done in one thread, one thing after the other."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.gitops.cache import Cache
from reconciler.gitops.checkout import Checkout
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.reading import Declared, Reader
from reconciler.manifests.parse import Check

CACHE = "cache.git"
"""Folder of the cache, within the source's."""
TOO_LARGE_PAUSE = 3600.0
"""Seconds until a commit that was too large is fetched again: each time costs as much as the limit allows."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _TooLarge:
    """A commit that could not be fetched for its size."""

    commit: str
    until: float
    """Monotonic time before which it is not tried again."""
    error: GitError


class Worker:
    """Everything about one repository that has to be waited for. All but `run` and `close` block."""

    def __init__(self, folder: Path, remote: Remote, path: str, check: Check) -> None:
        """`folder` holds the cache and the revisions, `path` is the manifests' folder in the repository."""
        self.checkout = Checkout(folder)
        self._folder = folder / CACHE
        self._cache = Cache(self._folder, remote, os.environ)
        self._reader = Reader(self._cache, path, check)
        self._too_large: _TooLarge | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="git")

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do a piece of work in the thread. Raises GitError, beside what the work raises, once it is closed."""
        ended = GitError("Stopped", "the controller is ending; ask again when one runs")
        if self._closed:
            raise ended
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # the work had not begun
                raise ended from None
            raise

    def close(self) -> None:
        """End what git does."""
        self._closed = True
        self._cache.stop()
        self._reader.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- the cache

    def newest(self, known: Declared | None) -> Declared:
        """What the remote has now; `known` is given back when that is it. Raises GitError."""
        self.checkout.make()
        if self._folder.is_symlink():
            self._folder.unlink()  # it would lead what is written and removed elsewhere
        commit = self._cache.look()
        if not self._cache.holds(commit):
            self._fetch(commit)
        return known if known is not None and known.revision.commit == commit else self._reader.read(commit)

    def _fetch(self, commit: str) -> None:
        """One that was too large is not fetched over and over."""
        now = time.monotonic()
        if self._too_large is not None and self._too_large.commit == commit and now < self._too_large.until:
            raise self._too_large.error
        self._too_large = None
        try:
            self._cache.fetch(commit)
        except GitError as error:
            if error.reason == "TooLarge":
                self._too_large = _TooLarge(commit, now + TOO_LARGE_PAUSE, error)
            raise

    def held(self, commit: str) -> Declared:
        """A revision that the cache holds. Raises GitError."""
        return self._reader.read(commit)

    def named(self, rev: str) -> Declared:
        """What a branch, tag or commit declares. Raises GitError."""
        return self._reader.read(self._cache.fetch_rev(rev))

    def follows(self, commit: str, before: str) -> bool:
        """Whether a commit is in the history of another, as far as that is known."""
        try:
            return self._cache.contains(commit, before)
        except GitError:
            return False

    # -- the files

    def switch(self, declared: Declared) -> None:
        """Have the files of a revision there, whole, and make it the current one. Raises OSError."""
        commit = declared.revision.commit
        self.checkout.make()
        self.checkout.put(commit, declared.blobs)
        self.checkout.switch(commit)
        self.checkout.keep_only(commit)

    def mend(self, declared: Declared) -> list[str]:
        """Put right what somebody changed in the files; the names of that. Raises OSError."""
        self.checkout.make()
        mended = self.checkout.put(declared.revision.commit, declared.blobs)
        return [*mended, "current"] if self.checkout.switch(declared.revision.commit) else mended
