"""The game of provoked failures: its list, its judgement, and a dozen of them played."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import provoked
from chaos.arrangements import ARRANGEMENTS
from chaos.failures import FAILURES, RETRY, SETTING, STAND_IN, Failure
from chaos.provoked import Result, judged, provoke_all, share, to_json
from chaos.scenario import Options
from reconciler.core.causes import CAUSES, Mends, cause_of

SHORT = (
    "model missing",
    "model cut short",
    "model not readable",
    "port taken at the last moment",
    "flag removed",
    "context beyond a limit",
    "context beyond a memory cgroup",
    "weights beyond a limit, smaller model",
    "binary for another machine",
    "shared library missing",
    "killed",
    "crash in a request",
    "stands still",
    "listens no more",
    "GPU gone",
    "request too large",
)
BY_NAME = {failure.name: failure for failure in FAILURES}


def options(folder: Path, llama_server: str) -> Options:
    scratch = folder / "provoked"
    scratch.mkdir()
    return Options("provoked", 0, 0, 0, 0, 5.0, llama_server, folder / "none.gguf", scratch)


# ---------------------------------------------------------------- the list


def test_every_failure_of_the_list_can_be_brought_about() -> None:
    assert [failure.name for failure in FAILURES] == list(ARRANGEMENTS)
    assert len(BY_NAME) == len(FAILURES)


def test_every_cause_is_provoked() -> None:
    assert {failure.cause for failure in FAILURES} == {*CAUSES, "RequestTooLarge", "SecretMissing"}


def test_what_is_hoped_for_agrees_with_what_mends_a_cause() -> None:
    eased = {failure.cause for failure in FAILURES if failure.helps == SETTING}
    assert all(cause_of(cause).eases for cause in eased)
    edited = {cause.name for cause in CAUSES.values() if cause.mends is Mends.EDIT}
    assert not edited & {failure.cause for failure in FAILURES if failure.helps}


# ---------------------------------------------------------------- the judgement

ONE = Failure("one", "Hung", "", RETRY)
OTHER = Failure("other", "InvalidFlag", "")
GOOD = (Result(ONE, "Hung", "Ready", ("Hung",)), Result(OTHER, "InvalidFlag", "Failed"))


@pytest.mark.parametrize(
    ("results", "back", "named"),
    [
        (GOOD, (1, 1), (2, 2)),
        ((replace(GOOD[0], phase="Failed"), GOOD[1]), (0, 1), (2, 2)),
        ((GOOD[0], replace(GOOD[1], said="Unknown")), (1, 1), (1, 2)),
        ((GOOD[0], replace(GOOD[1], said="")), (1, 1), (1, 2)),
        ((GOOD[0], replace(GOOD[1], skipped="needs root")), (1, 1), (1, 1)),
        ((replace(GOOD[0], skipped="needs root"), GOOD[1]), (0, 0), (1, 1)),
    ],
)
def test_the_two_shares(results: Sequence[Result], back: tuple[int, int], named: tuple[int, int]) -> None:
    assert share(results, back=True) == back
    assert share(results, back=False) == named
    outcome = judged(results)
    assert outcome.held == (back[0] == back[1] and named[0] == named[1])
    assert outcome.figures["back to Ready with nothing typed"] == f"{back[0]} of {back[1]}"


def test_each_miss_is_told() -> None:
    told = judged((replace(GOOD[0], said="", phase="Failed"), replace(GOOD[1], skipped="needs root"))).figures
    assert told["misnamed: one"] == "nothing for Hung"
    assert told["not back: one"] == "Failed"
    assert told["not played: other"] == "needs root"


def test_the_goals_are_shares_of_many() -> None:
    many = [GOOD[0]] * 36 + [replace(GOOD[0], phase="Failed")] * 4
    assert judged(many).held
    assert judged([*many, replace(GOOD[0], phase="Failed")]).failures == ["back: 36 of 41 is below 90%"]
    assert not judged([*[GOOD[0]] * 18, replace(GOOD[0], said="Crashed")]).held


def test_results_are_written_for_the_document() -> None:
    (row, _) = json.loads(to_json(GOOD))
    assert row["failure"] == {"name": "one", "cause": "Hung", "how": "", "helps": "retry", "by": "real"}
    assert (row["said"], row["phase"], row["ends"]) == ("Hung", "Ready", ["Hung"])


# ---------------------------------------------------------------- the game


@pytest.mark.real
@pytest.mark.skipif(os.environ.get("RECONCILER_HOST") == "portable", reason="needs /proc")
@pytest.mark.long
def test_a_dozen_are_named_and_brought_back(tmp_path: Path, llama_server: str) -> None:
    results = provoke_all([BY_NAME[name] for name in SHORT], options(tmp_path, llama_server))
    assert [(one.failure.name, one.said) for one in results if not (one.named or one.skipped)] == []
    assert [
        (one.failure.name, one.phase) for one in results if one.failure.helps and not (one.back or one.skipped)
    ] == []
    # What somebody has to mend is not tried for ever.
    assert {one.phase for one in results if not one.failure.helps} <= {"Blocked", "Failed", "Ready", ""}
    stepped = {one.failure.name: one.step for one in results if one.failure.helps == SETTING and not one.skipped}
    assert all(stepped.values()), stepped
    assert stepped["GPU gone"].startswith("CPU only")
    assert BY_NAME["GPU gone"].by == STAND_IN


@pytest.mark.real
def test_one_that_breaks_off_is_a_miss_and_the_rest_are_played(
    tmp_path: Path, llama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(_: object) -> dict[str, object]:
        raise ValueError("fell")

    arranged = {**ARRANGEMENTS, "killed": replace(ARRANGEMENTS["killed"], before=fall)}
    monkeypatch.setattr(provoked, "ARRANGEMENTS", arranged)
    chosen = [BY_NAME["killed"], BY_NAME["model missing"]]
    broken, sound = provoke_all(chosen, options(tmp_path, llama_server))
    assert (broken.phase, broken.named) == ("broke off", False)
    assert sound.named
