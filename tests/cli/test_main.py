import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from reconciler.cli import main
from tests.cli.conftest import Call
from tests.cli.filling import Filling

PROBE = """
import sys
from reconciler.cli.main import invoke
code = invoke(sys.argv[1:])
slow = ("pydantic", "httpx", "rich", "ruamel", "sqlite_utils", "asyncio")
print("loaded:", *[name for name in slow if name in sys.modules])
"""


def loaded(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True, cwd=root
    )
    return done.stdout.rpartition("loaded:")[2].strip()


def test_help_imports_no_verb(root: Path) -> None:
    assert loaded(root, "--help") == ""


@pytest.mark.parametrize(
    "arguments", [("get", "servers"), ("get", "servers", "-o", "json"), ("get", "events"), ("logs", "coder")]
)
def test_reading_imports_nothing_slow(filling: Filling, root: Path, arguments: tuple[str, ...]) -> None:
    begun = filling.ready("coder")
    (filling.state / "logs" / "coder").mkdir(parents=True)
    (filling.state / "logs" / "coder" / f"{begun.uid}.log").touch()
    assert loaded(root, *arguments) == ""


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_has_help_and_says_in_the_list_what_it_says_itself(verb: str) -> None:
    module, text = main.VERBS[verb]
    command = getattr(importlib.import_module(f"reconciler.cli.{module}"), verb)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == text
    shown = CliRunner().invoke(main.cli, [verb, "--help"])
    assert shown.exit_code == 0
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help


def test_the_list_shows_every_verb() -> None:
    out = CliRunner().invoke(main.cli, ["--help"]).output
    for verb, (_, text) in main.VERBS.items():
        assert f"  {verb} " in out
        assert text.split()[0] in out


def test_a_misspelt_verb_is_answered(call: Call) -> None:
    called = call("aply")
    assert called.code == 2
    assert called.err == "error: no such command 'aply', did you mean 'apply'?\nhint: see: reconciler --help\n"


def test_global_options_stand_before_or_behind_the_verb(filling: Filling, call: Call, root: Path) -> None:
    filling.ready("coder")
    other = root / "other"
    other.mkdir()
    os.chdir(other)
    state = ("--state", str(filling.state))
    assert call(*state, "get", "servers", "-o", "name").out == "server/coder\n"
    assert call("get", "servers", "-o", "name", *state).out == "server/coder\n"
    assert call("--state", "/nowhere", "get", "servers", "-o", "name", *state).out == "server/coder\n"


def test_no_installation_is_one_error_with_a_way_out(call: Call) -> None:
    called = call("get", "servers")
    assert called.code == 1
    assert called.err.startswith("error: no installation found: ")
    assert called.err.endswith("begin one with: reconciler run\n")


@pytest.mark.parametrize("command", [("get", "servers"), ("apply",), ("diff",), ("stop", "--all")])
def test_a_damaged_database_is_no_traceback(call: Call, root: Path, command: tuple[str, ...]) -> None:
    for name in ("state", "manifests"):
        (root / name).mkdir()
    (root / "state" / "state.db").write_bytes(b"junk " * 300)
    called = call(*command)
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert "is damaged" in called.err


@pytest.mark.parametrize("how", ["option", "variable", "neither"])
def test_tracebacks_are_for_those_who_ask(
    filling: Filling, call: Call, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("reconciler.store.read.names", lambda _db: 1 / 0)
    if how == "variable":
        monkeypatch.setenv("RECONCILER_DEBUG", "1")
    called = call(*(("--debug",) if how == "option" else ()), "get", "servers", "x")
    assert called.code == 1
    assert ("Traceback" in called.err) == (how != "neither")
    assert "error: unexpected: ZeroDivisionError: division by zero" in called.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "version", "get --help", "get servers -o json"])
def test_a_full_disk_behind_the_output_is_told_as_such(
    filling: Filling, root: Path, words: str, unbuffered: str
) -> None:
    filling.ready("coder")
    command = [sys.executable, "-m", "reconciler", *words.split()]
    with Path("/dev/full").open("wb") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            command, check=False, cwd=root, stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    told = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert (done.returncode, len(told)) == (1, 2)
    assert "written: No space left on device" in told[0] or "cannot write: No space left on device" in told[0]


def test_a_closed_stdout_is_none(root: Path) -> None:
    command = f"exec {sys.executable} -m reconciler version >&-"
    done = subprocess.run(["sh", "-c", command], check=False, cwd=root, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error(filling: Filling, root: Path) -> None:
    for number in range(300):
        filling.event(f"server-{number}", "Started", "x" * 1000)
    command = [sys.executable, "-m", "reconciler", "get", "events", "-o", "json"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(10) == 141


def test_a_terminal_without_unicode_gets_replacements(filling: Filling, root: Path) -> None:
    filling.event("coder", "Started", "模型")
    command = [sys.executable, "-m", "reconciler", "get", "events"]
    out = subprocess.check_output(command, cwd=root, env={**os.environ, "PYTHONIOENCODING": "ascii"}, text=True)
    assert "??" in out


def test_alone_it_shows_the_help(call: Call) -> None:
    called = call()
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("Usage: reconciler ")
    assert "error:" not in called.err


def test_an_error_tells_how_to_see_where(filling: Filling, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.read.names", lambda _db: 1 / 0)
    assert call("get", "servers", "a b").err.endswith("with: reconciler --debug get servers 'a b'\n")


@pytest.mark.parametrize("arguments", [("version",), ("--version",), ("--version", "get")])
def test_the_version(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("reconciler ")
    assert out.endswith(f"Python {sys.version.split()[0]}\n")


def test_windows_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: reconciler supervises processes on Linux and macOS alone"
    assert hint == "hint: on Windows, run it inside WSL 2"
