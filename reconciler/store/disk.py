"""The database's file as the writer has it: changes are committed to it, or kept until they can be."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.store import opening, renewal
from reconciler.store.changes import Backlog, Change, Line
from reconciler.store.database import Database
from reconciler.store.trouble import FAULTS, Cause, StateUnwritableError, Trouble, deleted, trouble_of

MEND_PATIENCE = 0.05
"""Seconds for another program's lock while the state is in trouble: it is tried each second."""
DAMAGED_AGAIN = 60.0
"""Seconds within which a second damage is waited out: what breaks each new database is no matter of files."""


class Disk:
    """One open database, its trouble, and what waits to be written."""

    def __init__(self, path: Path, database: Database, known: Callable[[], Sequence[Change]]) -> None:
        """`known`: all that the mirror holds, for a database that has to be made from memory."""
        self.path = path
        self.database = database
        self.trouble: Trouble | None = None
        self.backlog = Backlog()
        self.news: list[Event] = []
        """What happened and was not told yet."""
        self.may_replace: Callable[[], None] = lambda: None
        """Asked before files are made anew; raises where they are another controller's by now."""
        self._known = known
        self._files: opening.Files = opening.files_of(path)
        self._made: tuple[int, int] | None = None
        """The file that a renewal made and could not open."""
        self._renewed_at = float("-inf")

    @property
    def is_in_memory(self) -> bool:
        """It could be read, but not opened for writing."""
        return self._files == ()

    def begin_in_memory(self, trouble: Trouble) -> None:
        """The database is a copy: the file cannot be written yet."""
        self._files = ()
        self._begin(trouble)

    def close(self) -> None:
        """Close it; what waits and cannot be written now either is lost."""
        with suppress(Exception):
            self.mend()
        self.database.close()

    # -- writing

    def commit(self, changes: Sequence[Change]) -> None:
        """On disk when it returns. Raises StateUnwritableError, or what is wrong with a change itself."""
        try:
            if self.trouble is not None:
                self._mend()
            self._write(changes)
        except FAULTS:
            raise
        except (sqlite3.Error, OSError) as error:
            self._begin(trouble_of(error, self.path))
            raise StateUnwritableError(str(self.trouble)) from error

    def keep(self, changes: Sequence[Change]) -> None:
        """Commit these when that is possible, and otherwise as soon as it is."""
        if self.trouble is None:
            with suppress(StateUnwritableError):
                self.commit(changes)
                return
        self.backlog.add(changes)

    def _write(self, changes: Sequence[Change]) -> None:
        if opening.is_displaced(self._files, self.path):
            raise FileNotFoundError(2, "deleted or replaced", str(self.path))
        connection = self.database.conn
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                change.run(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise

    # -- trouble

    def look(self) -> None:
        """See whether the files are still there; what is gone is made anew at once, if that is possible."""
        if self.trouble is None and opening.is_displaced(self._files, self.path):
            self.trouble = deleted(self.path)
            self.mend(tell=True)

    def suspect(self, error: Exception) -> None:
        """A check of the whole file went wrong."""
        found = trouble_of(error, self.path)
        if self.trouble is None and found.cause is Cause.CORRUPT:
            self._begin(found)

    def mend(self, *, tell: bool = False) -> None:
        """Try to end the trouble; a failure is only noted. `tell`: that it has begun, should it go on."""
        if self.trouble is None:
            return
        try:
            self._mend()
        except (sqlite3.Error, OSError) as error:
            self.trouble = trouble_of(error, self.path)
            if tell:
                self._tell_beginning()

    def _begin(self, trouble: Trouble) -> None:
        was, self.trouble = self.trouble, trouble
        if was is None:
            self._tell_beginning()

    def _tell_beginning(self) -> None:
        note = "; what runs is watched as before, but nothing is started or stopped until it can be"
        self.tell(Event("", "StateUnwritable", f"{self.trouble}{note}", warning=True))

    def tell(self, event: Event) -> None:
        """Keep an event, and have it logged."""
        self.news.append(event)
        self.backlog.add([Line(event.server, event.reason, clean(event.message), event.warning, time.time())])

    def _mend(self) -> None:
        """End the trouble, or raise."""
        opening.be_patient(self.database.conn, MEND_PATIENCE)
        try:
            how = self._come_by_a_file()
            self._replay(how)
        finally:
            opening.be_patient(self.database.conn, opening.COMMIT_PATIENCE)

    def _come_by_a_file(self) -> str:
        """A database that can be written, by what it takes; what that was."""
        assert self.trouble is not None
        if self.is_in_memory:
            self._replace_by(opening.open_database(self.path, MEND_PATIENCE))
            return ""
        if opening.is_displaced(self._files, self.path):
            return self._renew("replaced", damaged=False)
        if self.trouble.cause is Cause.CORRUPT:
            return self._renew("broken", damaged=True)
        if self.trouble.cause in (Cause.READ_ONLY, Cause.PERMISSION, Cause.OTHER):
            self._replace_by(opening.open_database(self.path, MEND_PATIENCE))
        return ""

    def _replace_by(self, database: Database) -> None:
        before, self.database = self.database, database
        self._files = opening.files_of(self.path)
        before.close()

    def _renew(self, what: str, *, damaged: bool) -> str:
        """Make the file anew, and put it in place; what was there is set aside, unless it is ours."""
        self.may_replace()
        if damaged and time.monotonic() - self._renewed_at < DAMAGED_AGAIN:
            raise opening.DamagedError("it was damaged and made anew a moment ago")
        try:
            if damaged:
                raise opening.DamagedError
            draft = renewal.draft_copy(self.database.conn, self.path)
        except sqlite3.DatabaseError as error:
            if trouble_of(error, self.path).cause is not Cause.CORRUPT:
                raise
            draft = renewal.draft_salvaged(self.database.conn, self._known(), self.path)
        there = opening.files_of(self.path)[0]
        is_ours = there in (self._files[0], self._made) and not damaged
        aside = (
            renewal.set_aside(self.path, what, time.time(), () if damaged else self._files)
            if there and not is_ours
            else None
        )
        found = draft.stat()
        self._made = (found.st_dev, found.st_ino)
        self._replace_by(renewal.put_in_place(draft, self.path))
        self._renewed_at = time.monotonic() if damaged else self._renewed_at
        gone = f"{self.path} was damaged" if damaged else f"{self.path} was deleted or replaced by another"
        return f"{gone}; it was made anew" + (f", and what was there is kept as {aside}" if aside else "")

    def _replay(self, how: str) -> None:
        changes = list(self.backlog)
        told = Event("", "StateRecovered", how or f"{self.path} can be written again; what happened meanwhile is in it")
        changes.append(Line(told.server, told.reason, told.message, told.warning, time.time()))
        try:
            self._write(changes)
        except FAULTS:
            changes = self._without_faulty(changes)
            self._write(changes)
        self.backlog.clear()
        self.trouble = None
        self.news.append(told)

    def _without_faulty(self, changes: list[Change]) -> list[Change]:
        """Those that the database takes: one that it never will must not hold back the others."""
        connection, good = self.database.conn, []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                with suppress(*FAULTS):
                    change.run(connection)
                    good.append(change)
        finally:
            connection.execute("ROLLBACK")
        return good
