"""Steps of the wall clock decide nothing: what is waited for is counted by the monotonic one."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from reconciler.controller.files import FileLooker
from reconciler.core.gate import QUIET, judge
from reconciler.core.model import Now

HERE = datetime.fromtimestamp(1_700_000_000, UTC)


def now(wall: float, monotonic: float) -> Now:
    return Now(monotonic, wall, "boot")


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(hours=1), timedelta(hours=-1), timedelta(days=-1)])
def test_a_model_seen_before_stays_as_old_as_it_was(tmp_path: Path, step: timedelta) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    os.utime(path, (HERE.timestamp(), HERE.timestamp()))
    looker = FileLooker()
    binary = looker.look("/bin/sh", now(HERE.timestamp(), 100.0))
    with freeze_time(HERE) as clock:
        first = looker.look(str(path), now(time.time(), 100.0))
        assert judge(binary, [first], ("", ""), 100.0).reason == "ModelGrowing"
        clock.move_to(HERE + step)
        again = looker.look(str(path), now(time.time(), 100.5))
        assert again.changed_at == first.changed_at
        assert judge(binary, [again], ("", ""), 100.5).reason == "ModelGrowing"
        assert judge(binary, [again], ("", ""), 100.0 + QUIET).reason == ""
