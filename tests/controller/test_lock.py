import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.lock import HeldError, hold, read_holder

HOLD = """
import sys, time
from pathlib import Path
from reconciler.controller.lock import hold
with hold(Path(sys.argv[1]), "apply"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_holds_it(tmp_path: Path, holder: "subprocess.Popen[bytes]") -> None:
    with pytest.raises(HeldError) as refusal, hold(tmp_path, "run"):
        pass
    assert str(refusal.value) == (
        f"`reconciler apply` (pid {holder.pid}) manages {tmp_path}; end it with: kill {holder.pid}"
    )
    assert (refusal.value.verb, refusal.value.pid) == ("apply", holder.pid)
    assert read_holder(tmp_path) == {"pid": holder.pid, "verb": "apply"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_holder_that_dies_lets_go(tmp_path: Path, holder: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    holder.send_signal(number)
    holder.wait()
    with hold(tmp_path, "run"):
        assert read_holder(tmp_path) == {"pid": os.getpid(), "verb": "run"}


def test_a_child_of_the_holder_does_not_hold_it_on(tmp_path: Path) -> None:
    with hold(tmp_path, "run"):
        child = subprocess.Popen(["sleep", "60"])
    with hold(tmp_path, "run"):
        pass
    child.kill()
    child.wait()


def test_it_is_free_again_after_an_error_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), hold(tmp_path, "run"):
        raise RuntimeError("inside")
    assert read_holder(tmp_path) == {}
    with hold(tmp_path, "run"):
        pass


def test_two_folders_are_two_locks(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with hold(tmp_path / "one", "run"), hold(tmp_path / "two", "run"):
        pass


def test_only_the_owner_may_open_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path, "run"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[1]", json.dumps({"verb": "run"})])
def test_a_holder_that_cannot_be_read_is_another_controller(tmp_path: Path, holder: object, content: str) -> None:
    (tmp_path / "holder.json").write_text(content)
    with pytest.raises(HeldError, match=f"^another controller manages {tmp_path}$"), hold(tmp_path, "run"):
        pass
