"""A few seconds of what `make soak` does for half an hour: edits, crashes, requests, and everything well afterwards."""

from pathlib import Path

import pytest

from chaos.scenario import Options
from chaos.soak import play

pytestmark = pytest.mark.real


@pytest.mark.timeout(180)
@pytest.mark.long
def test_a_short_soak(tmp_path: Path, llama_server: str, tiny_model: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    options = Options("soak", 7, 0, 0, 0, 12 / 60, llama_server, tiny_model, root)
    outcome = play(options)
    assert outcome.failures == []
    assert int(outcome.figures["processes started"]) > 9
