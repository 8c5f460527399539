"""A folder that the controller's user may no longer write: shown as another user, for root may write everything."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.trouble import Cause, StateUnwritableError
from reconciler.store.writer import Store
from tests.store.test_writer import change_everything, on_disk, remembered

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """Another user's folder, while this process is that user."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    made = Path(tempfile.mkdtemp())
    os.chown(made, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield made
    finally:
        os.seteuid(0)
        shutil.rmtree(made)


def cause(store: Store) -> Cause | None:
    return store.trouble.cause if store.trouble else None


def test_rights_that_are_taken_do_not_matter_until_a_file_has_to_be_made(folder: Path) -> None:
    store = Store(folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(0)
    with store.transaction():
        change_everything(store)
    store.look()
    assert cause(store) is None
    folder.chmod(0o700)
    (folder / "state.db").unlink()
    folder.chmod(0o500)
    with pytest.raises(StateUnwritableError), store.transaction():
        change_everything(store, 2)
    store.mend()
    assert cause(store) is Cause.PERMISSION
    assert f"this user may not write {folder}; see whose it is, and give it back: ls -la {folder}" in str(store.trouble)
    folder.chmod(0o700)
    store.mend()
    assert [event.reason for event in store.take_news()] == ["StateUnwritable", "StateRecovered"]
    assert remembered(store) == on_disk(store)
    assert set(store.documents) == {"doc-1"}
    store.close()


def test_a_database_that_is_another_users_is_readable_at_the_start_or_refused(folder: Path) -> None:
    first = Store(folder)
    with first.transaction():
        change_everything(first)
    first.close()
    (folder / "state.db").chmod(0o400)
    folder.chmod(0o500)
    store = Store(folder)
    assert cause(store) is Cause.PERMISSION
    assert set(store.documents) == {"doc-1"}
    (folder / "state.db").chmod(0o600)
    folder.chmod(0o700)
    store.mend()
    assert [event.reason for event in store.take_news()] == ["StateUnwritable", "StateRecovered"]
    store.close()
    folder.chmod(0)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Store(folder)
    folder.chmod(0o700)
