import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.manifests.settle import Writers, can_ask, writers_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    return path


def ask(path: Path) -> Writers:
    with path.open("rb") as opened:
        return writers_of(opened.fileno())


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_writer_is_seen_until_it_closes(file: Path) -> None:
    assert ask(file) is Writers.NONE
    with file.open("a"):
        assert ask(file) is Writers.SOME
    assert ask(file) is Writers.NONE


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_writer_in_another_process_is_seen(file: Path) -> None:
    command = [sys.executable, "-c", f"f = open({str(file)!r}, 'a'); print('open', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        assert ask(file) is Writers.SOME
        writer.communicate("\n")
    assert ask(file) is Writers.NONE


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_no_lease_is_left_behind(file: Path) -> None:
    with file.open("rb") as opened:
        writers_of(opened.fileno())
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # EWOULDBLOCK while a lease is held


def test_without_a_handler_nothing_is_asked(file: Path) -> None:
    before = signal.signal(signal.SIGIO, signal.SIG_DFL)
    try:
        assert not can_ask()
        with file.open("a"):
            assert ask(file) is Writers.UNKNOWN
    finally:
        signal.signal(signal.SIGIO, before)


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_what_bears_no_lease_stays_unknown() -> None:
    reader, writer = os.pipe()
    try:
        assert writers_of(reader) is Writers.UNKNOWN
    finally:
        os.close(reader)
        os.close(writer)
