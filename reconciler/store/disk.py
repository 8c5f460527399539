"""The database's file as the writer has it: changes are committed to it, or kept until they can be."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.server import STATE_UNWRITABLE
from reconciler.store import opening, renewal
from reconciler.store.changes import Backlog, Change, Line
from reconciler.store.database import Database
from reconciler.store.renewal import Lost
from reconciler.store.salvage import salvaged
from reconciler.store.trouble import (
    FAULTS,
    Cause,
    DamagedError,
    StateUnwritableError,
    Trouble,
    deleted,
    trouble_of,
)

MEND_PATIENCE = 0.05
"""Seconds for another program's lock while the state is in trouble: it is tried each second."""
DAMAGED_AGAIN = 60.0
"""Seconds within which a second damage is waited out: what breaks each new database is no matter of files."""
REOPENED = (Cause.READ_ONLY, Cause.PERMISSION, Cause.OTHER)
"""Troubles that a connection opened meanwhile does not have."""


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
        self.errors = 0
        """How often the file could not be written, or not be mended."""
        self.renewals = 0
        """How often the file was made anew."""
        self._known = known
        self._files: opening.Files = opening.files_of(path)
        self._is_apart = False
        """What is open is not what is at the path: that could not be opened yet."""
        self._lost: Lost | None = None
        """Why the file has to be made anew, whatever else is the trouble."""
        self._how = ""
        """How it was made anew, until that is told."""
        self._renewed_at = float("-inf")

    def begin_in_memory(self, trouble: Trouble, lost: Lost | None) -> None:
        """The database is a copy: the file cannot be written yet; `lost`: it never will."""
        self._go_apart()
        self._lost = lost
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
            self._note(trouble_of(error, self.path))
            if tell:
                self._tell_beginning()

    def _begin(self, trouble: Trouble) -> None:
        was = self.trouble
        self._note(trouble)
        if was is None:
            self._tell_beginning()

    def _note(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.errors += 1
        if trouble.cause is Cause.CORRUPT:
            self._lost = Lost.DAMAGED

    def _tell_beginning(self) -> None:
        note = "; what runs is watched as before, but nothing is started or stopped until it can be"
        self.tell(Event("", STATE_UNWRITABLE, f"{self.trouble}{note}", warning=True))

    def tell(self, event: Event) -> None:
        """Keep an event, and have it logged."""
        self.news.append(event)
        self.backlog.add([Line(event.server, event.reason, clean(event.message), event.warning, time.time())])

    def _mend(self) -> None:
        """End the trouble, or raise."""
        opening.be_patient(self.database.conn, MEND_PATIENCE)
        try:
            self._come_by_a_file()
            self._replay()
        finally:
            opening.be_patient(self.database.conn, opening.COMMIT_PATIENCE)

    def _come_by_a_file(self) -> None:
        """Have a database open at the path that can be written, or raise."""
        assert self.trouble is not None
        if opening.is_displaced(self._files, self.path) or (self._is_apart and opening.is_missing(self.path)):
            self._renew(self._lost or Lost.TAKEN)
        elif self._lost is not None:
            self._renew(self._lost)
        else:
            renewal.forget(self.path)
        if self._is_apart or self.trouble.cause in REOPENED:
            self._replace_by(opening.open_database(self.path, MEND_PATIENCE))
            self._files, self._is_apart = opening.files_of(self.path), False

    def _renew(self, lost: Lost) -> None:
        """Make the file anew from what is open; of a damaged one, from what can be read of it and what is known."""
        self.may_replace()
        before = self.database
        if lost is Lost.DAMAGED and not self._is_apart:
            if time.monotonic() - self._renewed_at < DAMAGED_AGAIN:
                raise DamagedError("it was damaged and made anew a moment ago")
            self.database = salvaged(before.conn, self._known(), self.path)
            self._go_apart()
        try:
            aside = renewal.renew(self.database.conn, self.path, lost, self._files if lost is Lost.TAKEN else ())
        finally:
            if before is not self.database:
                before.close()  # not before it is set aside: SQLite would write into it
        self._go_apart()
        self._lost = None
        self.renewals += 1
        self._renewed_at = time.monotonic() if lost is Lost.DAMAGED else self._renewed_at
        kept = f", and what was there is kept as {aside}" if aside else ""
        self._how = f"{self.path} {lost}; it was made anew{kept}"

    def _go_apart(self) -> None:
        self._files, self._is_apart = opening.files_of(self.path)[:1], True

    def _replace_by(self, database: Database) -> None:
        before, self.database = self.database, database
        before.close()

    def _replay(self) -> None:
        changes = list(self.backlog)
        how = self._how or f"{self.path} can be written again; what happened meanwhile is in it"
        told = Event("", "StateRecovered", how)
        changes.append(Line(told.server, told.reason, told.message, told.warning, time.time()))
        try:
            self._write(changes)
        except FAULTS:
            changes = self._without_faulty(changes)
            self._write(changes)
        self.backlog.clear()
        self.trouble, self._how = None, ""
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
