"""A controller tells of a crash, and brings the server back meanwhile, whoever stands still."""

import json

import psutil
import pytest

from tests.controller.receiving import receiver
from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def test_a_crash_is_told_and_who_stands_still_delays_nothing(installation: Installation) -> None:
    file, log = installation.root / "reconciler.toml", installation.root / "told"
    script = installation.root / "tell"
    script.write_text(f"#!/bin/sh\ncat >> {log}\necho >> {log}\n")
    script.chmod(0o755)
    with receiver() as quick, receiver() as still:
        still.goes_on.clear()
        targets = (
            f'webhook = "{quick.url}"\nreasons = ["Crashed", "ModelMissing", "NotifyFailed"]',
            f'name = "chat"\nwebhook = "{still.url}"',
            f'command = ["{script}"]\nreasons = ["Ready"]\nseverity = "normal"',
        )
        file.write_text(file.read_text() + "".join(f"\n[[notify]]\n{target}\n" for target in targets))
        installation.declare("coder", restart={"initialBackoff": "0s"})
        installation.declare("lost", model="missing.gguf")
        installation.start()
        pid = installation.wait_ready("coder")["coder"]
        psutil.Process(pid).kill()
        installation.wait_for("another", lambda: installation.wait_ready("coder")["coder"] != pid)
        installation.wait_for("it is told", lambda: "Crashed" in quick.reasons())
        installation.wait_for("both are told", lambda: log.exists() and len(log.read_text().splitlines()) == 2)
        # What the first pass finds is told, too.
        assert [one["server"] for one in quick.told] == ["lost", "coder"]
        assert quick.told[1]["message"] in [message for _, message in installation.events("coder")]
        assert {json.loads(line)["reason"] for line in log.read_text().splitlines()} == {"Ready"}
        assert still.told == []
        # Neither its end nor what it says of a receiver waits for anybody, or has the address in it.
        assert installation.end(patience=5) == 0
        assert "s3cret" not in installation.log() + str(installation.events())
