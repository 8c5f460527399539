"""Reading a revision takes bounded time, and ends when it is told to."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from reconciler.controller.preview import check_spec
from reconciler.gitops import reading
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.reading import Reader
from tests.gitops.remotes import BareRemote
from tests.gitops.test_reading import manifest

SLOW = "---\nspec: [" + "1," * 9000 + "]\n"
"""A tenth of a second or more."""


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    return BareRemote(tmp_path / "remote.git")


@pytest.fixture
def reader(remote: BareRemote, tmp_path: Path) -> Reader:
    return Reader(Cache(tmp_path / "cache.git", Remote(remote.url, "refs/heads/main"), os.environ), "", check_spec)


def test_a_file_that_takes_too_long_is_a_problem_and_not_read_again(
    remote: BareRemote, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_FILE", 0.3)
    commit = remote.commit({"a.yaml": SLOW * 40, "b.yaml": manifest("b")})
    reader.cache.fetch(commit)
    began = time.thread_time()
    declared = reader.read(commit)
    assert time.thread_time() - began < 2
    assert [str(one) for one in declared.problems] == [
        "git:a.yaml: reading it takes longer than 0.3 s: split it, or write it more simply"
    ]
    assert [one.name for one in declared.documents] == ["b"]
    began = time.thread_time()
    assert reader.read(commit).problems == declared.problems
    assert time.thread_time() - began < 0.2


def test_a_revision_that_takes_too_long_is_read_on_at_the_next_look(
    remote: BareRemote, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = remote.commit({"a.yaml": f"# one\n{SLOW}"})
    reader.cache.fetch(one)
    began = time.thread_time()
    reader.read(one)
    monkeypatch.setattr(reading, "LONGEST", 2.5 * (time.thread_time() - began))
    files = {f"{number}.yaml": SLOW for number in range(6)} | {"a.yaml": None, "z.yaml": manifest("z")}
    commit = remote.commit(files)
    reader.cache.fetch(commit)
    stops: list[str] = []
    found = None
    while found is None:
        try:
            found = reader.read(commit)
        except GitError as error:
            stops.append(f"{error.reason}: {error}")
        assert len(stops) < 20
    assert stops == sorted(set(stops))
    assert all(re.fullmatch(r"ReadingSlow: .* next look goes on with git:[1-6z].yaml; fewer .*", one) for one in stops)
    assert [one.name for one in found.documents] == ["z"]
    assert {one.file for one in found.problems} == {f"git:{number}.yaml" for number in range(6)}


def test_reading_ends_when_it_is_told_to(remote: BareRemote, reader: Reader) -> None:
    commit = remote.commit({f"{number}.yaml": SLOW * 20 for number in range(20)})
    reader.cache.fetch(commit)
    errors: list[str] = []

    def read() -> None:
        try:
            reader.read(commit)
        except GitError as error:
            errors.append(error.reason)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)  # in the midst of it: there is nothing to see from outside
    reader.stop()
    thread.join(3)
    assert not thread.is_alive()
    assert errors == ["Stopped"]
