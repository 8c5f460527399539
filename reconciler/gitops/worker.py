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
PAUSES = {"TooLarge": 3600.0, "TimedOut": 600.0}
"""Seconds until a commit is tried again by why that failed: each time costs as much as the limits allow."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Paused:
    """A commit that cost too much."""

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
        self._paused: _Paused | None = None
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
            if not (task and task.cancelling()):  # closed before the work had begun
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
        if not self._unless_paused(commit, self._cache.holds):
            self._unless_paused(commit, self._cache.fetch, "TooLarge")  # a network that is slow may be fast again
        if known is not None and known.revision.commit == commit:
            return known
        return self._unless_paused(commit, self._reader.read)

    def _unless_paused(self, commit: str, work: Callable[[str], _Result], *reasons: str) -> _Result:
        """Do something with a commit; what failed for one of the reasons is not tried over and over."""
        now = time.monotonic()
        if self._paused is not None and self._paused.commit == commit and now < self._paused.until:
            raise self._paused.error
        self._paused = None
        try:
            return work(commit)
        except GitError as error:
            if error.reason in (reasons or PAUSES):
                self._paused = _Paused(commit, now + PAUSES[error.reason], error)
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
