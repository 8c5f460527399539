"""Fallback steps with files of their own: what one lacks, and what another has; over the real llama-server."""

import os
import signal
from typing import Any

from tests.e2e.installation import Installation
from tests.e2e.limited import Limited
from tests.e2e.test_fallback import HALF, context, degraded, starts


def test_a_step_whose_file_is_missing_gives_way_to_the_next(installation: Installation) -> None:
    limited = Limited(installation)
    steps: list[dict[str, Any]] = [{"ctx": HALF, "flags": {"lora": "gone.gguf"}}, {"ctx": HALF // 2}]
    limited.declare(installation, fallback={"steps": steps})
    installation.start()
    installation.wait_ready("coder")
    assert context(installation) == HALF // 2
    assert len(starts(installation)) == 2
    described = installation.cli("describe", "server", "coder")
    assert "lora gone.gguf → ModelMissing" in " ".join(described.split())


def test_another_model_may_stand_in_for_one_that_is_missing(installation: Installation) -> None:
    step = {"model": "tiny.gguf", "on": ["ModelMissing"]}
    installation.declare("coder", model="big.gguf", fallback={"steps": [step]})
    installation.start()
    installation.wait_ready("coder")
    assert degraded(installation).startswith("ModelMissing: ")
    os.kill(installation.pids()["coder"], signal.SIGSEGV)
    installation.wait_for("another start", lambda: len(installation.instances("coder")) == 2)
    installation.wait_ready("coder")
    assert [told for _, told, _ in starts(installation)] == ["model tiny.gguf"] * 2
    copied = installation.models / "copied"
    copied.write_bytes((installation.models / "tiny.gguf").read_bytes())
    os.utime(copied, (0, 0))
    copied.rename(installation.models / "big.gguf")
    installation.cli("restart", "coder", "--primary")
    assert starts(installation)[-1] == ("Requested", "", "")
    assert degraded(installation) == ""
