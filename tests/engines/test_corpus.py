"""Every log of the corpus is called what it was."""

import re
from pathlib import Path

import pytest

from reconciler.core.causes import CAUSES
from reconciler.core.model import Exit
from reconciler.engines import llama_server
from tests.engines import provoke
from tests.engines.corpus import LOGS, SAMPLES, Sample, confusion
from tests.engines.provoke import PROVOCATIONS


def _named(sample: Sample) -> str:
    return f"{sample.log}: {sample.exit}, {sample.phase}"


@pytest.mark.parametrize("sample", SAMPLES, ids=_named)
def test_the_true_cause_is_named_with_its_evidence(sample: Sample) -> None:
    found = llama_server.diagnose(sample.ending)
    assert found.cause == (sample.called or sample.cause), found.evidence
    assert sample.evidence in "; ".join(found.evidence)


def test_no_wrong_name_is_given_but_for_those_that_are_known() -> None:
    known = {(sample.cause, sample.called) for sample in SAMPLES if sample.called}
    assert {pair for pair in confusion() if pair[0] != pair[1]} == known


def test_every_log_is_judged_and_can_be_made_anew() -> None:
    written = {str(path.relative_to(LOGS).with_suffix("")) for path in LOGS.rglob("*.log")}
    judged = {sample.log for sample in SAMPLES}
    assert judged | {"request-too-large"} == written
    provoked = {sample.log for sample in SAMPLES if sample.source == "provoked"}
    assert provoked | {"request-too-large"} == set(PROVOCATIONS)
    assert all(sample.log.startswith("texts/") for sample in SAMPLES if sample.source == "from texts")


def test_logs_name_no_machine() -> None:
    for path in LOGS.rglob("*.log"):
        text = path.read_text(errors="replace")
        assert not any(place in text for place in ("/root/", "/home/", "/tmp/")), path


def test_the_words_are_those_of_the_list() -> None:
    assert {sample.cause for sample in SAMPLES} <= set(CAUSES)
    # The rest is not told by a log: the verdict of a stop, or an error of the spawn.
    unseen = {"StartupTimeout", "Hung", "Unreachable", "BinaryMissing"}
    assert set(CAUSES) - {sample.cause for sample in SAMPLES} == unseen


@pytest.mark.real
@pytest.mark.parametrize("name", ["model-truncated", "flag-value", "request-too-large", "request-at-work"])
def test_a_log_that_is_made_anew_tells_the_same_errors(
    name: str, tmp_path: Path, llama_server: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provoke, "PORT", free_port)
    (tmp_path / "models").mkdir()
    provoke.write_models(tmp_path / "models")
    code, text = provoke.provoke(PROVOCATIONS[name], llama_server, tmp_path)
    assert str(tmp_path) not in text
    assert _errors(text) == _errors((LOGS / f"{name}.log").read_text())
    expected = next((sample.exit for sample in SAMPLES if sample.log == name), Exit(code=0))
    assert code == (-expected.signal if expected.signal else expected.code)


def _errors(log: str) -> list[str]:
    """The lines of errors, or of what is no log; the others may change places."""
    lines = [line for line in log.splitlines() if not re.match(r"[\d.]+ [IWD] ", line)]
    return [re.sub(r"\d+", "0", line) for line in lines]
