"""Every benchmark runs with a few servers, yields numbers and leaves nothing. How good they are is not judged here."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import idle_pass, starts
from benchmarks.__main__ import BENCHMARKS
from benchmarks.fleet import Options, kill, open_pids, running

pytestmark = pytest.mark.real
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def options(llama_server: str, tiny_model: Path, tmp_path: Path) -> Options:
    return Options(llama_server, tiny_model, tmp_path, servers=3, rounds=1, seconds=0.5)


QUICK = {"cold-start", "idle-pass", "api"}
"""The others take long even with few servers, and measure by the same means."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in BENCHMARKS]
)
def test_a_benchmark_yields_numbers_and_leaves_nothing(name: str, options: Options) -> None:
    result = BENCHMARKS[name](options)
    assert result.benchmark == name
    if name == "first-paint" and not result.rows:
        pytest.skip(result.note)
    assert any(row.target is not None for row in result.rows)
    for row in result.rows:
        assert row.samples, row.what
        assert all(math.isfinite(sample) and sample >= 0 for sample in (*row.samples, *row.bare)), row.what
        # Half a second of idling may take no whole tick, and that nobody misses anything is what is hoped for.
        assert row.median > 0 or name in ("idle", "readers"), row.what
    assert list(options.scratch.iterdir()) == []
    assert _processes_of(options.scratch) == []
    assert psutil.Process().children() == []


def test_a_pass_that_fails_is_not_measured(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(idle_pass._WellWatch, "heard")
    with pytest.raises(RuntimeError, match=r"passes failed; the first: .* AttributeError"):
        BENCHMARKS["idle-pass"](options)
    assert psutil.Process().children() == []


def test_starts_are_seen_without_a_compiler(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    result = BENCHMARKS["manifest-to-process"](options)
    assert "no C compiler" in result.note
    assert all(0 < sample < 10_000 for sample in result.rows[0].samples)


def test_a_launcher_that_was_compiled_tells_the_starts(options: Options) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    with starts.watched(options) as watch:
        assert isinstance(watch, starts.Launcher)


def test_only_the_server_that_is_meant_is_killed(options: Options) -> None:
    with running(options) as made:
        pid = open_pids(made)["server-0001"]
        with pytest.raises(ProcessLookupError, match="is not server-0000"):
            kill(made, "server-0000", pid)
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_command_prints_a_table_and_writes_json(llama_server: str, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "idle-pass", "--servers", "2", "--rounds", "1", "--json", str(file)]
    environ = {**os.environ, "LLAMA_SERVER": llama_server}
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "| idle-pass " in done.stdout
    data = json.loads(file.read_text())
    assert data["options"]["servers"] == 2
    assert [result["benchmark"] for result in data["results"]] == ["idle-pass"]
    assert data["results"][0]["rows"][0]["holds"] is True


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "cold-strat"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert "unknown: cold-strat; there are: cold-start, " in done.stderr


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Live processes whose command line names the folder, as every server's does by its model."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        named = any(str(folder) in part for part in process.info["cmdline"] or ())
        if named and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
