"""Every verb on the database of an older version, with no controller running: upgrading needs no command of its own."""

import pytest

from tests.e2e.installation import Installation, document
from tests.store.older import make_older, migrations_in

pytestmark = pytest.mark.real
OLDER, NEWEST = ["first_tables"], ["first_tables", "git_source", "adoption", "kinds", "fallback"]


@pytest.fixture
def older(installation: Installation) -> Installation:
    """One server that was applied by an older version, and stopped."""
    installation.declare("one")
    installation.cli("apply")
    installation.cli("stop", "one")
    make_older(installation.state)
    return installation


def test_what_only_reads_answers_and_leaves_the_database_as_it_is(older: Installation) -> None:
    for words, code, expected in (
        ("get servers", 0, "one"),
        ("get servers -o wide", 0, "one"),
        ("get servers -o json", 0, '"origin": "local"'),
        ("get events", 0, "Ready"),
        ("get restarts one", 0, "one"),
        ("get sources", 0, "manifests come from the folder alone"),
        ("describe server one", 0, "stopped by request"),
        ("describe source git", 1, "error: no source 'git'"),
        ("logs one", 0, "listening on"),
        ("diff", 0, "no changes"),
        ("validate", 0, ""),
        ("validate --strict", 0, ""),
        ("apply --dry-run", 0, "no changes"),
    ):
        assert expected in older.cli(*words.split(), code=code), words
        assert migrations_in(older.state) == OLDER, words


def test_what_acts_brings_it_up_to_date(older: Installation) -> None:
    (older.root / "new.yaml").write_text(document("two", model="none.gguf"))
    for words, code, expected in (
        ("start one", 0, "one  Ready"),
        ("restart one", 0, "one  Ready"),
        ("stop one", 0, "one  Stopped"),
        ("start --all", 0, "one  Ready"),
        ("stop --all --no-wait", 0, "one  Stopped"),
        ("apply --no-wait", 0, ""),
        ("apply -f new.yaml", 1, "two  "),
    ):
        assert expected in older.cli(*words.split(), code=code), words
        assert migrations_in(older.state) == NEWEST, words
        make_older(older.state)


@pytest.mark.parametrize("words", ["sync", "suspend source git", "resume source git", "diff --against main"])
def test_verbs_of_a_source_say_that_there_is_none(older: Installation, words: str) -> None:
    assert "no such source: git: none is configured" in older.cli(*words.split(), code=2)


def test_a_controller_brings_it_up_to_date_and_adopts(older: Installation) -> None:
    older.cli("start", "one")
    before = older.pids()
    make_older(older.state)
    older.start()
    older.wait_for("the migration", lambda: migrations_in(older.state) == NEWEST)
    assert older.wait_ready("one") == before
