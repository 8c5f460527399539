"""What processes take, and how far they have loaded: of real ones."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from reconciler.demo.models import write_model
from reconciler.runtimes import loading, usage
from reconciler.runtimes.loading import bytes_loaded
from reconciler.runtimes.usage import taken_by

NOBODY = 2**22 + 1
"""Above the largest pid."""
STEP = 4 * 1024 * 1024
MAPS = """
import mmap, sys
file = open(sys.argv[1])
mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
print(flush=True)
for line in sys.stdin:
    for at in range(0, int(line), mmap.PAGESIZE):
        mapped[at]
    print(flush=True)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.mark.parametrize("way", [usage._from_proc, usage._from_psutil])
def test_what_this_process_takes(way: object) -> None:
    assert callable(way)
    before, at = way(os.getpid()), time.process_time()
    while time.process_time() < at + 0.2:
        pass
    after = way(os.getpid())
    assert 0.15 <= after.cpu_seconds - before.cpu_seconds <= 2
    assert after.memory == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert way(NOBODY) is None


def test_the_dead_take_nothing() -> None:
    assert taken_by(NOBODY) is None


@linux
def test_mapped_pages_of_models_count_and_no_others(tmp_path: Path) -> None:
    model = tmp_path / "a model.gguf"
    model.write_bytes(b"\1" * 4 * STEP)
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", MAPS, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        seen = [loading._mapped(child.pid)]
        for end in (STEP, 4 * STEP):
            child.stdin.write(f"{end}\n")
            child.stdin.flush()
            child.stdout.readline()
            seen.append(loading._mapped(child.pid))
        child.stdin.close()
    none, some, everything = (found or 0 for found in seen)
    # The kernel maps what surrounds a page that it reads.
    assert none < STEP <= some < 4 * STEP == everything


@linux
def test_bytes_that_were_read_count(tmp_path: Path) -> None:
    model = tmp_path / "a.gguf"
    model.write_bytes(b"\1" * 4 * STEP)
    reads = "import sys; open(sys.argv[1], 'rb').read(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", reads, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = bytes_loaded(child.pid)
        assert child.stdin is not None
        child.stdin.close()
    assert found is not None
    assert 4 * STEP <= found < 5 * STEP


@linux
def test_large_processes_are_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_COUNTED", 0)
    monkeypatch.setattr(loading, "_mapped_models", lambda _: pytest.fail("walked through"))
    assert (loading._mapped(os.getpid()) or 0) > 1024 * 1024


def test_of_the_dead_nothing_is_known() -> None:
    assert bytes_loaded(NOBODY) is None


@contextmanager
def serving(llama_server: str, model: Path, port: int, mode: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [llama_server, "--model", str(model), "--port", str(port), "-c", "128", "-np", "1", "--threads", "1"]
    with log.open("wb") as out, subprocess.Popen([*argv, "--no-warmup", "--load-mode", mode], stderr=out) as server:
        try:
            yield server
        finally:
            server.kill()


@linux
@pytest.mark.real
@pytest.mark.parametrize("mode", ["none", "mmap"])
def test_a_real_load_grows_to_the_models_size(llama_server: str, free_port: int, tmp_path: Path, mode: str) -> None:
    model, log = write_model(tmp_path / "large.gguf", layers=12, pad_bytes=300_000_000), tmp_path / "log"
    size, seen = model.stat().st_size, []
    until = time.monotonic() + 60
    with serving(llama_server, model, free_port, mode, log) as server:
        while b"listening on" not in log.read_bytes():
            assert time.monotonic() < until
            assert server.poll() is None, log.read_text()
            seen.append(bytes_loaded(server.pid) or 0)
            time.sleep(0.002)
        seen.append(bytes_loaded(server.pid) or 0)
    model.unlink()
    # The pages of the header are given back at the end.
    assert all(later >= earlier - size / 100 for earlier, later in pairwise(seen))
    assert seen[0] < size / 10
    assert size * 0.9 < seen[-1] < size * 1.1
    if mode == "none":  # a mapping is there at once where the file is in memory
        assert len({found * 10 // size for found in seen}) >= 5
