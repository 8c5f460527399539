"""What docs/diagnosis.md shows of the corpus and of the game."""

from dataclasses import replace
from pathlib import Path

import pytest

from chaos import report
from chaos.failures import FAILURES
from chaos.provoked import Result, to_json


def results(**first: str) -> list[Result]:
    """All as it should be, but for the first failure with something that helps."""
    played = [Result(one, one.cause, "Ready" if one.helps else "Blocked", seconds=1.25) for one in FAILURES]
    number = next(number for number, one in enumerate(FAILURES) if one.helps)
    played[number] = replace(played[number], **first)  # type: ignore[arg-type]
    return played


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "read_results", lambda path=tmp_path / "provoked.json": READ(path))
    return tmp_path / "provoked.json"


READ = report.read_results


def test_results_survive_being_written(tmp_path: Path) -> None:
    (tmp_path / "provoked.json").write_text(to_json(results()))
    read = report.read_results(tmp_path / "provoked.json")
    assert [one.failure for one in read] == list(FAILURES)
    assert read[0].said == FAILURES[0].cause


def test_results_of_another_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "provoked.json").write_text(to_json(results()[1:]))
    with pytest.raises(ValueError, match="play it again: python -m chaos --only provoked"):
        report.read_results(tmp_path / "provoked.json")


def test_those_in_the_documents_are_of_this_list() -> None:
    assert len(report.read_results()) == len(FAILURES)


@pytest.mark.parametrize(
    ("first", "line"),
    [
        ({}, "| a retry | Ready in 1.2 s |"),
        ({"said": "Unknown"}, "| `Unknown` | a retry | **miss:** Ready in 1.2 s |"),
        ({"said": ""}, "| nothing | a retry | **miss:** Ready in 1.2 s |"),
        ({"phase": "Failed"}, "| a retry | **miss:** Failed in 1.2 s |"),
        ({"skipped": "needs root", "said": "", "phase": ""}, "| a retry | not played: needs root |"),
        ({"step": "ctx 4096"}, "| a retry | Ready in 1.2 s on: ctx 4096 |"),
    ],
)
def test_each_line_tells_what_became_of_it(shown: Path, first: dict[str, str], line: str) -> None:
    shown.write_text(to_json(results(**first)))
    assert line in report.provoked()


def test_the_shares_are_of_what_was_played(shown: Path) -> None:
    helped, count = sum(bool(one.helps) for one in FAILURES), len(FAILURES)
    shown.write_text(to_json(results(phase="Failed")))
    assert f"| ≥ 90 % | {helped - 1} of {helped} (" in report.provoked_shares()
    shown.write_text(to_json(results(skipped="needs root")))
    assert f"| ≥ 95 % | {count - 1} of {count - 1} (100%) |" in report.provoked_shares()


def test_the_corpus_shows_its_misses() -> None:
    told = report.corpus()
    assert "`Unknown` (context-buffer-silent)" in told
    assert "| `GpuOutOfMemory` | 0 |" in told
