import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.files import FileLooker
from reconciler.core.gate import FileFacts, NamedFile
from reconciler.core.model import Now

NOW = Now(monotonic=1000.0, wall=1_700_000_000.0, boot="b")


def later(seconds: float) -> Now:
    return replace(NOW, monotonic=NOW.monotonic + seconds, wall=NOW.wall + seconds)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that begins like a GGUF and was last changed 60 s before NOW."""
    path = tmp_path / "a.gguf"
    path.write_bytes(b"GGUF and more")
    aged(path, 60)
    return path


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (NOW.wall - seconds,) * 2)


def test_a_file_not_seen_before_is_as_old_as_it_says(model: Path) -> None:
    facts = FileLooker().look(str(model), NOW)
    assert (facts.exists, facts.readable, facts.is_gguf, facts.executable) == (True, True, True, False)
    assert facts.changed_at == pytest.approx(NOW.monotonic - 60)


def test_a_date_in_the_future_says_nothing(model: Path) -> None:
    aged(model, -3600)
    looker = FileLooker()
    assert looker.look(str(model), NOW).changed_at == NOW.monotonic
    assert looker.look(str(model), later(5)).changed_at == NOW.monotonic


def test_a_growing_file_changes_with_each_look_until_it_rests(model: Path) -> None:
    looker = FileLooker()
    looker.look(str(model), NOW)
    for second in (1, 2, 3):
        with model.open("ab") as file:
            file.write(b"more")
        aged(model, 60)
        assert looker.look(str(model), later(second)).changed_at == NOW.monotonic + second
    assert looker.look(str(model), later(10)).changed_at == NOW.monotonic + 3


def test_a_file_rewritten_in_place_changes_though_its_size_does_not(model: Path) -> None:
    looker = FileLooker()
    before = looker.look(str(model), NOW)
    model.write_bytes(b"GGUF and else")
    after = looker.look(str(model), later(1))
    assert after.changed_at == NOW.monotonic + 1
    assert after.identity != before.identity


def test_an_unchanged_file_is_not_opened_again(model: Path) -> None:
    looker = FileLooker()
    assert looker.look(str(model), NOW) is looker.look(str(model), later(1))


def test_a_file_that_vanished_is_new_when_it_comes_back(model: Path) -> None:
    looker, path = FileLooker(), str(model)
    looker.look(path, NOW)
    moved = model.rename(model.with_name("b.gguf"))
    assert looker.look(path, later(1)) == FileFacts(path)
    moved.rename(model)
    assert looker.look(path, later(2)).changed_at == pytest.approx(NOW.monotonic - 60)


@pytest.mark.parametrize("content", [b"", b"GGU", b"<html>not found</html>"])
def test_what_does_not_begin_as_a_gguf_is_none(model: Path, content: bytes) -> None:
    model.write_bytes(content)
    assert not FileLooker().look(str(model), NOW).is_gguf


def test_a_program_may_be_executed_and_stops_being_so(model: Path) -> None:
    looker = FileLooker()
    model.chmod(0o755)
    assert looker.look(str(model), NOW).executable
    model.chmod(0o644)
    assert not looker.look(str(model), NOW).executable


def test_a_folder_or_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        facts = FileLooker().look(str(tmp_path / name), NOW)
        assert (facts.exists, facts.readable, facts.executable, facts.is_gguf) == (True, False, False, False)


def test_what_cannot_be_read_does_not_count_as_changing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    aged(tmp_path / "pipe", 60)
    looker = FileLooker()
    for second in (0, 1, 2):
        facts = looker.look(str(tmp_path / "pipe"), later(second))
        assert facts.changed_at == pytest.approx(NOW.monotonic - 60)


@pytest.mark.parametrize("path", ["", "/no/such/folder/file", "/etc/hostname/below", "/" + "x" * 300])
def test_what_is_not_there_is_told_not_raised(path: str) -> None:
    assert FileLooker().look(path, NOW) == FileFacts(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    facts = FileLooker().look(str(tmp_path), NOW)
    assert (facts.exists, facts.is_file, facts.readable, facts.executable) == (True, False, False, False)


def barriers_for_nobody(paths: list[str]) -> list[str]:
    """What bars the way to these for a user without rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            told = "\n".join(FileLooker().look(path, NOW).barred_by for path in paths)
            os.write(writing, told.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return file.read().split("\n")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_the_folder_that_bars_the_way_is_named(open_folder: Path) -> None:
    shut = open_folder / "shut"
    (shut / "inner").mkdir(parents=True)
    (shut / "inner" / "a.gguf").write_bytes(b"GGUF")
    paths = [str(shut / "inner" / "a.gguf"), str(shut / "none.gguf"), str(open_folder / "none.gguf")]
    assert barriers_for_nobody(paths) == ["", "", ""]
    shut.chmod(0o600)
    assert barriers_for_nobody(paths) == [str(shut), str(shut), ""]
    shut.chmod(0o755)
    (shut / "inner").chmod(0)
    assert barriers_for_nobody(paths) == [str(shut / "inner"), "", ""]


def test_all_files_of_a_spec_are_looked_at_with_their_fields(model: Path) -> None:
    named = [
        NamedFile("spec.flags.lora", str(model), is_model=True),
        NamedFile("spec.flags.x", "/no/x", is_model=False),
    ]
    found = FileLooker().look_at_all(str(model), named, NOW)
    told = [(facts.field, facts.exists, facts.is_model) for facts in found]
    assert told == [("spec.model", True, True), ("spec.flags.lora", True, True), ("spec.flags.x", False, False)]
