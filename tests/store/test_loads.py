"""What the history tells of a load."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.history import Trigger
from reconciler.store import read
from reconciler.store.loads import Load, load_of
from tests.cli.filling import Filling, stamp

ARGV = ("/opt/llama server", "--model", "tiny.gguf")


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as filling:
        yield filling


def load(filling: Filling, uid: str) -> Load:
    with read.opened(filling.state) as db:
        return load_of(db, uid)


def loaded(filling: Filling, seconds: float, *, at: float, **more: Any) -> None:
    filling.end(filling.instance("coder", at=at, first_ready=stamp(at + seconds), spec={"model": "a.gguf"}, **more))


def test_the_last_load_of_the_same_model_counts(filling: Filling) -> None:
    loaded(filling, 9, at=0)
    loaded(filling, 28, at=100)
    filling.end(filling.instance("coder", at=200, spec={"model": "a.gguf"}))  # it never was Ready
    filling.end(filling.instance("coder", at=300, spec={"model": "b.gguf"}, first_ready=stamp(301)))
    loaded(filling, 0.1, at=400, trigger=Trigger.ADOPTED)
    filling.end(filling.instance("chat", at=500, spec={"model": "a.gguf"}, first_ready=stamp(503)))
    begun = filling.instance("coder", at=600, spec={"model": "a.gguf"}, first_ready=stamp(700))
    assert load(filling, begun.uid) == Load(ARGV, 28.0)


def test_a_first_load_has_none_before_it(filling: Filling) -> None:
    begun = filling.instance("coder", spec={"model": "a.gguf"})
    assert load(filling, begun.uid) == Load(ARGV, None)


def test_what_is_unknown_is_empty(filling: Filling) -> None:
    assert load(filling, "nobody") == Load()


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_rows_that_are_damaged_are_passed_over(filling: Filling, text: str) -> None:
    loaded(filling, 28, at=0)
    begun = filling.instance("coder", at=600, spec={"model": "a.gguf"})
    with sqlite3.connect(filling.state / "state.db") as connection:
        connection.execute("update instances set row = ? where uid = 'uid1'", [text])
        connection.execute("update instances set launch = ?", [text])
    connection.close()
    assert load(filling, begun.uid) == Load()
